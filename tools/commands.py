"""The commands around the notebooks: test, check, lab, torch and readers; environments of their
own.
"""

import shutil
import subprocess
import sys

from tools import notebooks
from tools.environment import interpreter
from tools.runner import CELL_SECONDS, KERNEL_SECONDS
from tools.surroundings import cores, process_environment, python_path, target, variables

NBVAL = [
    "--nbval",
    "--nbval-current-env",
    "--nbval-sanitize-with",
    "tests/sanitize.cfg",
    "--nbval-cell-timeout",
    str(CELL_SECONDS),
    "--nbval-kernel-startup-timeout",
    str(KERNEL_SECONDS),
]
RUFF = ["--quiet", "--cache-dir", "build/ruff"]
LINT = (["ruff", "check", *RUFF], ["ruff", "format", "--check", *RUFF], ["mypy"])
KINDS = [
    f"tests/{name}.py"
    for name in (
        "theorems/test_energy",
        "dense/test_blocks",
        "known/test_one_neuron",
        "order/test_step_limit",
        "parity/test_gradients",
        "contract/test_bad_input",
        "range/test_limits",
    )
]


def test(project, options):
    """Run unit tests and strict nbval in one pytest call; returns its exit status.

    The longest notebooks come first, so that the cores end at about the same time. Paths among the
    arguments take the place of all tests and notebooks.
    """
    paths = [
        a
        for a in options.arguments
        if not a.startswith("-") and (project.root / a.partition("::")[0]).exists()
    ]
    by_length = [
        f"notebooks/{n.file}"
        for n in sorted(notebooks.load(project), key=lambda notebook: -notebook.seconds)
    ]
    return pytest(
        project,
        [*([] if paths else [*by_length, "tests"]), *NBVAL, "-n", str(cores()), *options.arguments],
    )


def pytest(project, arguments):
    """Run pytest in the environment of all runs; returns its exit status."""
    return run(
        project,
        ["-m", "pytest", "-q", "--dist", "loadfile", "--no-loadscope-reorder", *arguments],
        project.build / "test",
        together=len(notebooks.load(project)),
    )


def run(project, words, out, together=1, python=sys.executable):
    """Run Python, this one or another, in the environment of all runs, results into `out`;
    returns its status.
    """
    changes = variables(project, "full", out, together)
    return subprocess.call([python, *words], cwd=project.root, env=process_environment(changes))


def readers(project, options):
    """Compare every operation and gradient with PyTorch's; returns the exit status."""
    script = ["tests/parity/readers.py"]
    return torch(project, options) or run(project, script, project.build / "readers")


def check(project, options):
    """Lint, check types, and run one file of each kind of tests; returns the worst status."""
    said = [subprocess.call([sys.executable, "-m", *words], cwd=project.root) for words in LINT]
    return max(map(abs, [*said, pytest(project, KINDS)]))  # below 0: killed by a signal


def lab(project, options):
    """Open notebooks/ in JupyterLab, with this checkout's sheaflib; returns its exit status."""
    return subprocess.call(
        [sys.executable, "-m", "jupyterlab", *options.arguments],
        cwd=project.notebooks,
        env=process_environment(
            {**target(), "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": python_path(project)}
        ),
    )


def torch(project, options):
    """Make build/torch, an environment with PyTorch and the other libraries whose models are read,
    in the versions of readers.lock; returns pip's exit status.

    They stay out of requirements.lock, since most registries hand out PyTorch's build for CUDA,
    with several GB of libraries; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu leads to
    the one for processors.
    """
    return own_environment(project, "torch", "readers.lock")[1]


def own_environment(project, name, lock):
    """Make or renew the environment build/`name` from a lock file; returns its Python and pip's
    exit status.
    """
    folder, status = project.build / name, None
    python = interpreter(folder)
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        status = subprocess.call(
            [python, "-m", "pip", "install", "--quiet", "-r", project.root / lock]
        )
    finally:
        if status != 0:  # else it would be taken for a whole one
            shutil.rmtree(folder, ignore_errors=True)
    return python, status
