"""What every run finds around it: environment variables and a quiet kernel profile."""

import functools
import os

from tools.project import write_whole

# The instructions that every run uses where the processor has them, whatever else it has. numba
# compiles for the processor at hand, and NumPy and OpenBLAS choose among versions of their code by
# it: another processor adds in another order, and a last digit can decide a comparison. The
# committed numbers are those of these instructions, which most x86 processors since 2013 have, so
# for the runs of tools they go before what the caller's environment says.
INSTRUCTIONS = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")  # LLVM's names
TARGET = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": ",".join(f"+{name}" for name in INSTRUCTIONS),  # else all there are here
    "OPENBLAS_CORETYPE": "Haswell",  # for the OpenBLAS of NumPy and for that of SciPy
    "OPENBLAS_L2_SIZE": "256",  # kB, of a Haswell: by the size of 1024 that a Zen 4
    # has, OpenBLAS 0.3.34 cuts matrices for another core
    # than the one named, and crashes (its issue 6021)
    "NPY_ENABLE_CPU_FEATURES": "X86_V3",  # NumPy's name for the same, and none beyond them
    "NPY_DISABLE_CPU_FEATURES": "",  # NumPy refuses to start when it is told both
}

KERNEL_PROFILE = """\
c = get_config()
c.IPKernelApp.log_level = 50
c.HistoryManager.enabled = False
# seaborn's jitter draws from NumPy's global generator
c.IPKernelApp.exec_lines = ["__import__('numpy').random.seed(0)"]
c.InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Software": None}}
"""


def cores():
    """Return the number of processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def processor_instructions():
    """Return LLVM's names of the instructions that this processor has, none where LLVM cannot tell.

    NumPy would say what it uses, which the environment of this process may have narrowed.
    """
    from llvmlite import binding

    try:
        found = binding.get_host_cpu_features()
    except RuntimeError:
        return frozenset()
    return frozenset(name for name, present in found.items() if present)


def target():
    """Return the variables that make all processors with INSTRUCTIONS compute alike, {} on others.

    They must stand in the environment before Python starts.
    """
    return dict(TARGET) if processor_instructions().issuperset(INSTRUCTIONS) else {}


def variables(project, profile, out, together=1):
    """Return the environment variables of a run with a ledger profile whose results go to `out`.

    `together` says how many notebooks share the cores.
    """
    return {
        **target(),
        **at_home(project),
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "NUMBA_CACHE_DIR": str(project.compiled),
        "PYTHONPATH": python_path(project),
        "SHEAFLIB_JOBS": str(max(1, cores() // max(1, together))),
        "SHEAFLIB_CACHE": str(project.sweeps),
        "SHEAFLIB_PROFILE": profile,
        "SHEAFLIB_OUT": str(out),
        "SHEAFLIB_CLAIMS": str(project.notebooks / "claims.toml"),
    }


def at_home(project):
    """Return the variables that keep Jupyter, IPython and matplotlib below build/.

    So a run finds no settings of its user, and needs no home directory that can be written.
    """
    home = project.build / "home"
    write_whole(home / "ipython/profile_default/ipython_kernel_config.py", KERNEL_PROFILE)
    folders = {
        "IPYTHONDIR": "ipython",
        "MPLCONFIGDIR": "matplotlib",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
    }
    return {
        "JUPYTER_PREFER_ENV_PATH": "1",
        **{name: str(home / folder) for name, folder in folders.items()},
    }


def python_path(project):
    """Return PYTHONPATH with this checkout first, so that no other sheaflib is imported."""
    root, inherited = str(project.root), os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([root, *(path for path in inherited if path not in ("", root))])


def process_environment(changes):
    """Return this process's environment with the changes.

    MPLBACKEND is left out, since agg removes the pictures from notebooks.
    """
    inherited = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    return {**inherited, **changes}
