"""The tools on a toy repository: what is stale, what a failure says, what an interrupt leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest
import toy

from tools import __main__ as command_line
from tools import commands, drift, ledgers, notebooks, runner, runs, surroundings
from tools.notebooks import nbformat
from tools.project import REPOSITORY, Project, Refusal
from tools.surroundings import process_environment


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """Leave this process's environment as it was, for runs point Jupyter below their build/."""
    monkeypatch.setattr(command_line.environment, "ensure", lambda extras: sys.executable)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a toy repository whose notebooks have run once."""
    project = toy.make(tmp_path_factory.mktemp("toy") / "finished")
    assert run(project) == 0
    return project


@pytest.fixture
def project(finished, tmp_path):
    """Return a copy of the finished toy repository, which may be changed."""
    return Project(shutil.copytree(finished.root, tmp_path / "copy"))


def perform(command, project, *arguments):
    """Run a command of the tools on a toy repository and return its exit status."""
    return command_line.main(["--root", str(project.root), command, *arguments])


def run(project, *arguments):
    """Run `figures` on a toy repository and return its exit status."""
    return perform("figures", project, *arguments)


def every_kind_of_job(project, notebook, given=None):
    """Return the jobs that figures and a trial make of a notebook; verify's is like the first."""
    return [
        runs.to_run(project, notebook, project.build / "stage"),
        runs.to_run(project, notebook, project.build / "x", "custom", given),
    ]


def tree(project):
    """Return the bytes of everything that is committed."""
    folders = (project.figures, project.notebooks, project.root / "docs")
    files = [path for folder in folders for path in sorted(folder.rglob("*.*"))]
    return {path.name: path.read_bytes() for path in [*files, project.root / "README.md"]}


def stale(project):
    """Return the numbers of the stale notebooks with the reasons."""
    every = notebooks.load(project)
    reasons = {n.number: runs.stale(project, n, runs.fingerprint(project, n, every)) for n in every}
    return {number: reason for number, reason in reasons.items() if reason}


def test_a_first_run_leaves_figures_ledger_and_the_files_that_quote_it(finished):
    names = {f"{name}{end}" for name in ("00-line", "01-line") for end in runs.ENDINGS}
    assert {p.name for p in finished.figures.rglob("*.*")} == names | {
        "ledger.json",
        "LEDGER.md",
        "scoreboard.svg",
    }
    rows = json.loads((finished.figures / "ledger.json").read_text())
    verdicts = {row["id"]: row["verdict"] for row in rows}
    assert verdicts == {"toy.00": "holds", "toy.01": "holds"}
    texts = {name: (finished.root / name).read_text() for name in ledgers.GENERATED}
    assert "2 claims measured: 2 hold, 0 refuted." in texts["README.md"]
    links = "From [00](../notebooks/00-first.ipynb). [As PDF](../figures/00/00-line.pdf), "
    links += "[numbers](../figures/00/00-line.json)."
    pictures = (
        f"Claims: `toy.00`.\n\n![a (line)](../figures/00/00-line.png)\n\n*a [line]* {links}\n"
    )
    assert pictures in texts["docs/gallery.md"]
    assert {name: ledgers.filled(name, finished) for name in texts} == texts


def test_a_second_run_runs_nothing_whatever_the_times(project, capsys):
    for path in project.root.rglob("*"):
        os.utime(path, (1, 1))
    before = tree(project)
    assert run(project) == 0
    assert "nothing to run" in capsys.readouterr().out and tree(project) == before


def test_a_rerun_of_one_notebook_changes_no_byte(project, capsys):
    before = tree(project)
    assert run(project, "--notebook", "1") == 0
    assert tree(project) == before and "asked for" in capsys.readouterr().out


def test_a_changed_source_makes_a_notebook_and_those_that_need_it_stale(project):
    toy.write(project, "00-first", *toy.good("00", "00-line"), "1 + 1")
    assert stale(project) == {"00": "changed: notebook", "01": "changed: notebooks it needs"}


LIBRARY = [
    "sheaflib/companion/record/gallery.py",
    "sheaflib/plots/sheaflib.mplstyle",
    "requirements.lock",
]


@pytest.mark.parametrize("file", LIBRARY)
def test_a_changed_library_style_or_lock_makes_all_stale(project, file):
    path = project.root / file
    path.write_text(path.read_text() + "\n# changed\n")
    assert set(stale(project)) == {"00", "01"}


def test_a_changed_claim_makes_its_notebook_stale(project):
    path = project.notebooks / "claims.toml"
    path.write_text(path.read_text().replace("expected = 4", "expected = 4.0"))
    assert stale(project) == {"01": "changed: claims"}


@pytest.mark.parametrize(
    "file, change",
    [
        ("figures/01/01-line.png", None),
        ("figures/01/01-line.json", b"{}"),
        ("notebooks/01-second.ipynb", "output"),
    ],
)
def test_a_lost_or_changed_result_makes_its_notebook_stale(project, file, change):
    path = project.root / file
    if change is None:
        path.unlink()
    elif change == "output":
        path.write_bytes(path.read_bytes().replace(b"size is 4", b"size is 5"))
    else:
        path.write_bytes(change)
    assert stale(project) == {"01": f"{file} is not as it was left"}


def test_a_fresh_clone_runs_everything(project):
    shutil.rmtree(project.build)
    assert set(stale(project)) == {"00", "01"}


def test_a_claim_that_no_notebook_measures_fails_the_run(project, capsys):
    with open(project.notebooks / "claims.toml", "a") as file:
        file.write(toy.CLAIM.format(id="toy.forgotten", nb="09", value=1))
    assert run(project) == 1
    assert "no notebook measures toy.forgotten (notebook 09)" in capsys.readouterr().err


def test_failures_are_named_with_their_cell_and_stop_no_other(project, capsys, monkeypatch):
    before, client = tree(project), runner.NotebookClient

    def hasty(notebook, **options):
        slow = notebook.cells[0].source == "# 04-slow"
        return client(notebook, **{**options, "timeout": 2} if slow else options)

    monkeypatch.setattr(runner, "NotebookClient", hasty)
    toy.write(project, "02-error", "a = 1", "# divide\n1 / 0")
    toy.write(project, "03-exit", "a = 1", "import sys; sys.exit(0)", "a")
    toy.write(project, "04-slow", "a = 1", "import time; time.sleep(60)")
    toy.write(project, "05-needs", "a = 1")
    toy.write(project, "06-good", "a = 1", "print(a)")
    toy.write(project, "07-dies", "a = 1", "# die\nimport os; os.kill(os.getpid(), 9)", "a")
    toy.index(
        project,
        {"file": "02-error.ipynb"},
        {"file": "03-exit.ipynb"},
        {"file": "04-slow.ipynb"},
        {"file": "05-needs.ipynb", "needs": ["02"]},
        {"file": "06-good.ipynb"},
        {"file": "07-dies.ipynb"},
    )
    assert run(project) == 1
    said = capsys.readouterr().err
    assert "02-error failed in cell `02-cell-1`: # divide" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "03-exit failed in cell `03-cell-1`" in said and "SystemExit: 0" in said
    assert "04-slow failed in cell `04-cell-1`" in said and "not run: it needs 02-error" in said
    assert "07-dies failed in cell `07-cell-1`: # die" in said and "Kernel died" in said
    assert "5 of 6 notebooks failed: " in said
    assert set(stale(project)) == {"02", "03", "04", "05", "07"}
    good = notebooks.read(project.notebooks / "06-good.ipynb")
    counts = [cell.execution_count for cell in good.cells if cell.cell_type == "code"]
    assert counts == [1, 2]
    after = tree(project)
    assert {name for name in before if after[name] != before[name]} == {"index.toml"}


def test_a_figure_that_the_index_does_not_list_is_a_problem(project, capsys):
    before = tree(project)
    toy.write(project, "01-second", *toy.good("01", "01-other", 4)[:2])
    assert run(project) == 1
    said = capsys.readouterr().err
    assert (
        "figures/01/01-other.png" in said
        and "figures/01/01-line.pdf" in said
        and "index.toml" in said
    )
    after = tree(project)
    assert {name for name in before if after[name] != before[name]} == {"01-second.ipynb"}
    assert set(after) == set(before)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ["--notebook", "01", "--parameters", "sice=3"],
            "01-second.ipynb has no parameter sice; it has: size=4",
        ),
        (["--notebook", "9"], "there is no notebook '9'; there are: 00-first, 01-second"),
        (["--parameters", "size=3"], "parameters are for one notebook"),
        (["--notebook", "1", "--parameters", "size"], "parameters are written name=value"),
        (["--notebook", "1", "--parameters", "size=3 k=1 size=4"], "each name once"),
        (["--notebook", "1", "--parameters", "size=three"], "a value as a number, list"),
    ],
)
def test_requests_that_make_no_sense_are_answered(project, capsys, arguments, said):
    assert run(project, *arguments) == 2
    assert said in capsys.readouterr().err


def test_parameters_are_typed():
    text = (
        'dt=0.02, tol=1e-10 dims=[2, 4, 1] name="a .5 True" on=true off=False k = 3 h=.5'
        " two=[True,.5]"
    )
    given = notebooks.parse_parameters(text)
    assert given == {
        "dt": 0.02,
        "tol": 1e-10,
        "dims": [2, 4, 1],
        "name": "a .5 True",
        "on": True,
        "off": False,
        "k": 3,
        "h": 0.5,
        "two": [True, 0.5],
    }
    assert type(given["k"]) is int and notebooks.parse_parameters("") == {}


def test_runs_with_parameters_quick_and_batch_touch_nothing_committed(project, capsys):
    check = toy.good("01", "01-line")[2]
    toy.write(project, "01-second", "size: int = 3\ndims = [\n    2,\n    4]", check)
    toy.index(project, {"file": "01-second.ipynb", "quick": {"size": 4}})
    with open(project.notebooks / "index.toml", "a") as file:
        file.write('[[notebook.batch]]\nname = "b"\nparameters = { size = 5 }\n')
    before = tree(project)
    assert run(project, "--notebook", "01", "--parameters", "size=4") == 0
    assert perform("batch", project) == 1
    assert "toy.01: expected 4 within 0, measured 5" in capsys.readouterr().err
    assert tree(project) == before
    assert (project.build / "runs" / "01-size=4" / "LEDGER.md").is_file()
    assert (project.build / "batch" / "01-b" / "ledger.json").is_file()
    assert perform("quick", project, "--notebook", "1") == 0
    assert (project.build / "quick" / "LEDGER.md").is_file() and tree(project) == before
    assert run(project, "--notebook", "01", "--parameters", "dims=[1,2] width=3") == 2
    said = capsys.readouterr().err
    assert "01-second.ipynb has no parameter width; it has: size=3, dims=" in said


def test_an_interrupted_run_keeps_what_is_finished(project):
    flag = project.root / "slow"
    flag.touch()
    waits = f"import os, time\nwhile os.path.exists({str(flag)!r}): time.sleep(0.1)"
    toy.write(project, "01-second", "size = 4", waits, *toy.good("01", "01-line", 4)[1:])
    toy.write(project, "00-first", *toy.good("00", "00-line"), "1 + 1")
    before = {p.name: p.read_bytes() for p in project.figures.rglob("*.*")}
    command = [sys.executable, "-m", "tools", "--root", str(project.root), "figures"]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=process_environment({}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while set(stale(project)) != {"01"} and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)  # an interrupt is ignored under nohup
    assert process.wait(30) == 130
    flag.unlink()
    after = {p.name: p.read_bytes() for p in project.figures.rglob("*.*")}
    assert {name for name in before | after if before.get(name) != after.get(name)} == {
        f"00-line{end}" for end in runs.ENDINGS
    }
    assert set(stale(project)) == {"01"} and run(project) == 0 and stale(project) == {}


SEEN = """import json, os, pathlib
share = pathlib.Path(os.environ["SHEAFLIB_JOBS"]).read_text()
seen = json.dumps({**os.environ, "SHARE": share})
pathlib.Path(os.environ["SHEAFLIB_OUT"], "seen").write_text(seen)"""


def test_notebooks_share_the_cores_and_keep_their_sweeps(project, monkeypatch):
    monkeypatch.setattr(runner, "cores", lambda: 7)
    toy.write(project, "00-first", *toy.good("00", "00-line"), SEEN)
    toy.index(
        project, {"file": "00-first.ipynb", "quick": {"size": 3}}, {"file": "01-second.ipynb"}
    )
    every = notebooks.load(project)
    assert [n.seconds for n in every] == [20, 20]
    assert perform("quick", project, "--notebook", "0") == 0
    seen = json.loads((project.build / "quick" / "seen").read_text())
    assert (seen["SHARE"], seen["SHEAFLIB_CACHE"]) == ("7", str(project.build / "sweeps"))
    for job in every_kind_of_job(project, every[0], {"size": 3}):
        assert job.variables["SHEAFLIB_CACHE"] == seen["SHEAFLIB_CACHE"]


def called(monkeypatch, command, project, *arguments):
    """Return what a command that starts another program starts, and its options."""
    given = {}
    monkeypatch.setattr(
        subprocess, "call", lambda words, **more: given.update(more, words=words) or 0
    )
    command(project, Namespace(arguments=list(arguments)))
    return given


def test_the_tests_use_and_keep_the_sweeps_of_figures(project, monkeypatch):
    monkeypatch.setattr(surroundings, "cores", lambda: 4)
    kept = project.build / "sweeps" / "a" / "b.pickle"
    kept.parent.mkdir(parents=True)
    kept.touch()
    given = called(monkeypatch, commands.test, project)["env"]
    figure = every_kind_of_job(project, notebooks.load(project)[0])[0].variables
    assert given["SHEAFLIB_JOBS"] == "2" and given["SHEAFLIB_OUT"] != figure["SHEAFLIB_OUT"]
    assert given["SHEAFLIB_CACHE"] == figure["SHEAFLIB_CACHE"] == str(project.build / "sweeps")
    assert kept.exists()


SQUARE = """\
import os
from pathlib import Path

def square(k):
    with open(Path(os.environ["COUNTED"]), "a") as file:
        file.write(f"{k}\\n")
    return k * k
"""
SWEPT = """\
import sys; sys.path.insert(0, {folder!r})
from sheaflib.companion.sweep import sweep
from counted import square
print(sweep(square, [{{"k": 2}}, {{"k": 3}}]))"""


@pytest.fixture
def sweeping(project, tmp_path, monkeypatch):
    """Return the toy repository, whose only notebook sweeps, and the file of cases computed."""
    monkeypatch.setattr(runner, "cores", lambda: 1)
    (tmp_path / "counted.py").write_text(SQUARE)
    count = tmp_path / "count"
    count.touch()
    monkeypatch.setenv("COUNTED", str(count))
    for name in ("companion/sweep.py", "support/progress.py"):
        toy.bring(project, name)
    toy.write(project, "00-first", *toy.good("00", "00-line"), SWEPT.format(folder=str(tmp_path)))
    toy.index(project, {"file": "00-first.ipynb", "figures": ["00-line"]})
    claim = toy.CLAIM.format(id="toy.00", nb="00", value=3)
    (project.notebooks / "claims.toml").write_text(claim)
    return project, count


def test_what_verify_computes_from_empty_caches_is_computed_no_second_time(sweeping):
    project, count = sweeping
    compiled = project.compiled / "kept.nbi"
    compiled.parent.mkdir(exist_ok=True)
    compiled.touch()
    perform("verify", project)
    assert sorted(count.read_text().split()) == ["2", "3"] and not compiled.exists()
    assert run(project, "--notebook", "0") == 0 and sorted(count.read_text().split()) == ["2", "3"]
    perform("verify", project)
    assert sorted(count.read_text().split()) == ["2", "2", "3", "3"], "verify takes nothing kept"


@pytest.mark.skipif(shutil.which("bash") is None, reason="the script is for bash")
@pytest.mark.parametrize(
    "checked, verified, tried, tested, worst",
    [
        (0, 0, 0, 0, 0),
        (0, 2, 0, 0, 2),
        (0, 0, 0, 2, 2),
        (2, 0, 0, 0, 2),
        (0, 0, 2, 0, 2),
        (1, 1, 0, 2, 2),
        (1, 3, 1, 2, 3),
    ],
)
def test_the_script_runs_all_commands_and_ends_as_the_worst(
    tmp_path, checked, verified, tried, tested, worst
):
    make, browser = tmp_path / "make", tmp_path / "chromium"
    browser.write_text("#!/bin/sh\n")  # so that none is installed
    browser.chmod(0o755)
    make.write_text(
        '#!/bin/sh\necho "$(pwd) $*"\ncase $1 in\ntorch) exit 0;;\n'
        f"check) exit {checked};;\nbrowser) exit {tried};;\n"
        f"verify) exit {verified};;\ntest) exit {tested};;\n*) exit 9;;\nesac\n"
    )
    make.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(REPOSITORY / ".ci" / "run")],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    called = ["torch", "check", "verify", "browser", "test ARGS=--nothing-skipped"]
    assert done.stdout.splitlines() == [f"{REPOSITORY} {command}" for command in called]
    assert done.returncode == worst


@pytest.mark.parametrize(
    "given, more",
    [
        ([], None),
        (["-x", "-k", "dense"], None),
        (["tests/dense"], ["tests/dense"]),
        (["tests/dense/test_pins.py::test_a", "-x"], ["tests/dense/test_pins.py::test_a"]),
    ],
)
def test_paths_take_the_place_of_all_tests_and_flags_add_to_them(monkeypatch, given, more):
    words = called(monkeypatch, commands.test, Project(), *given)["words"]
    standing = [
        w for w in words if w.partition("/")[0] in ("tests", "notebooks") and not w.endswith(".cfg")
    ]
    if more is None:  # the longest notebooks first
        assert standing[-1] == "tests"
        every = [path.name for path in (REPOSITORY / "notebooks").glob("*.ipynb")]
        assert standing[0].startswith("notebooks/06") and len(standing) == len(every) + 1
    assert more is None or standing == more
    assert words[len(words) - len(given) :] == given


def test_the_check_lints_and_takes_a_file_of_each_kind(monkeypatch):
    asked = []
    monkeypatch.setattr(
        subprocess, "call", lambda words, **_: asked.append(words[2]) or -9 * ("mypy" in words)
    )
    assert commands.check(Project(), None) == 9 and asked == ["ruff", "ruff", "mypy", "pytest"]
    kinds = {path.name for path in (REPOSITORY / "tests").iterdir() if any(path.glob("test_*.py"))}
    kinds -= {"book"}  # its tests run in the book's own environment
    assert {name.split("/")[1] for name in commands.KINDS} == kinds
    assert all((REPOSITORY / name).is_file() for name in commands.KINDS)


def test_one_limit_guards_every_cell_in_runs_and_in_tests(project, monkeypatch):
    words = called(monkeypatch, commands.test, project)["words"]
    following = dict(zip(words, words[1:]))
    assert following["--nbval-cell-timeout"] == str(runner.CELL_SECONDS)
    assert following["--nbval-kernel-startup-timeout"] == str(runner.KERNEL_SECONDS)
    given = []
    client = runner.NotebookClient
    monkeypatch.setattr(
        runner,
        "NotebookClient",
        lambda *a, **options: given.append(options) or client(*a, **options),
    )
    monkeypatch.setattr(client, "execute", lambda *_, **__: None)
    for job in every_kind_of_job(project, notebooks.load(project)[0]):
        runner.execute(job, project.build / "jobs", [], [])
    assert [options["timeout"] for options in given] == 2 * [runner.CELL_SECONDS]
    assert [options["startup_timeout"] for options in given] == 2 * [runner.KERNEL_SECONDS]
    toy.index(project, {"file": "00-first.ipynb", "timeout": 2})
    with pytest.raises(ValueError, match="an entry has the keys .*'timeout'"):
        notebooks.load(project)


INSTRUCTION_VARIABLES = set(surroundings.TARGET)
HASWELL = {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "sse4.2", "popcnt"}


@pytest.mark.parametrize("present", [HASWELL, HASWELL | {"avx512f", "avx512vl"}])
def test_a_run_uses_the_same_instructions_whatever_else_there_are(project, monkeypatch, present):
    monkeypatch.setattr(surroundings, "processor_instructions", lambda: frozenset(present))
    given = surroundings.variables(project, "full", project.build / "x")
    assert given["NUMBA_CPU_NAME"] == "haswell" and given["OPENBLAS_CORETYPE"] == "Haswell"
    assert set(given["NUMBA_CPU_FEATURES"].split(",")) <= {f"+{name}" for name in HASWELL}
    assert (given["NPY_ENABLE_CPU_FEATURES"], given["NPY_DISABLE_CPU_FEATURES"]) == ("X86_V3", "")


@pytest.mark.parametrize("present", [set(), {"neon"}, HASWELL - {"avx2"}, HASWELL - {"fma"}])
def test_a_processor_without_these_instructions_is_left_as_it_is(project, monkeypatch, present):
    monkeypatch.setattr(surroundings, "processor_instructions", lambda: frozenset(present))
    given = surroundings.variables(project, "full", project.build / "x")
    assert not INSTRUCTION_VARIABLES & set(given)


def test_the_tests_and_live_notebooks_use_them_too(project, monkeypatch):
    monkeypatch.setattr(surroundings, "processor_instructions", lambda: frozenset(HASWELL))
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    for command in (commands.lab, commands.test, commands.check):
        environment = called(monkeypatch, command, project)["env"]
        assert surroundings.TARGET.items() <= environment.items()


def test_other_instructions_make_every_notebook_stale(project, monkeypatch):
    other = frozenset() if surroundings.target() else frozenset(HASWELL)
    monkeypatch.setattr(surroundings, "processor_instructions", lambda: other)
    assert stale(project) == {
        "00": "changed: environment",
        "01": "changed: environment, notebooks it needs",
    }


USED = """\
import json
import numpy, scipy.linalg
from numba.core.registry import cpu_target
from threadpoolctl import threadpool_info
blas = [lib["architecture"] for lib in threadpool_info() if lib["internal_api"] == "openblas"]
simd = numpy.show_config(mode="dicts")["SIMD Extensions"]["found"]
_, name, features = cpu_target.target_context.codegen().magic_tuple()
print(json.dumps([name, features, blas, simd]))"""


@pytest.mark.skipif(not surroundings.target(), reason="this processor is left as it is")
@pytest.mark.parametrize(
    "inherited",
    [
        {
            "OPENBLAS_CORETYPE": "SkylakeX",
            "NUMBA_CPU_NAME": "generic",
            "NPY_DISABLE_CPU_FEATURES": "X86_V3",
        },
        {"NPY_ENABLE_CPU_FEATURES": "no-such-feature"},
    ],
)
def test_the_libraries_use_these_whatever_the_environment_said(tmp_path, monkeypatch, inherited):
    for name in INSTRUCTION_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in inherited.items():
        monkeypatch.setenv(name, value)
    changes = surroundings.variables(Project(tmp_path), "full", tmp_path / "x")
    environment = process_environment(changes)
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", USED],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "CPU_FEATURES" not in done.stderr, done.stderr
    name, features, blas, simd = json.loads(done.stdout)
    assert name == "haswell" and features == surroundings.TARGET["NUMBA_CPU_FEATURES"]
    assert set(blas) <= {"Haswell"} and set(simd) <= {"X86_V3"}


def scheduled(monkeypatch, project, jobs, places=1, broken=()):
    """Return the names of jobs in the order in which they begin, and their problems."""
    begun = []

    def execute(job, share, clients, lost):
        if lost:
            return runner_execute(job, share, clients, lost)
        begun.append(job.name)
        return "broken" if job.name in broken else "", 0.0

    runner_execute = runner.execute
    monkeypatch.setattr(runner, "execute", execute)
    monkeypatch.setattr(runner, "cores", lambda: places)
    problems = runner.run(project, jobs)
    monkeypatch.setattr(runner, "execute", runner_execute)
    return begun, {job.name: problem for job, problem in problems.items()}


def awaiting(name, seconds=20, needs=()):
    """Return a job that nothing runs."""
    notebook = notebooks.Notebook(Path(name), name, name, name, needs=needs, seconds=seconds)
    return runner.Job(name, notebook, Path("nowhere"), {})


def test_the_longest_that_can_run_is_begun_first(monkeypatch, project):
    jobs = [
        awaiting("00"),
        awaiting("01", 5),
        awaiting("02", 300),
        awaiting("03"),
        awaiting("04", 900, needs=("01",)),
        awaiting("05", 40),
    ]
    begun, problems = scheduled(monkeypatch, project, jobs)
    assert begun == ["02", "05", "00", "03", "01", "04"] and not any(problems.values())


def test_what_needs_a_failed_notebook_does_not_run(monkeypatch, project):
    jobs = [
        awaiting("00", 1),
        awaiting("01", 9, needs=("00",)),
        awaiting("02", 5),
        awaiting("03", needs=("01",)),
    ]
    begun, problems = scheduled(monkeypatch, project, jobs, broken=["00"])
    assert begun == ["02", "00"]
    assert problems == {
        "02": "",
        "00": "broken",
        "01": "not run: it needs 00, which failed",
        "03": "not run: it needs 01, which failed",
    }


def test_a_job_that_becomes_ready_goes_before_shorter_ones_that_wait(monkeypatch, project):
    jobs = [
        awaiting("00", 50),
        awaiting("01", 30),
        awaiting("02", 40, needs=("00",)),
        awaiting("03", 20),
    ]
    begun, _ = scheduled(monkeypatch, project, jobs)
    assert begun == ["00", "02", "01", "03"]


def test_verify_finds_drift_and_what_is_not_made_and_reports_bytes_without_failing(project, capsys):
    toy.index(
        project,
        {"file": "00-first.ipynb", "figures": toy.LINE | {"00-never": {}}},
        {"file": "01-second.ipynb", "figures": ["01-line"]},
    )
    figure = project.figures / "01" / "01-line.json"
    figure.write_text(figure.read_text().replace("[0, 4", "[0, 4.1", 1))
    (project.figures / "gone.json").write_text("{}")
    ledger = project.figures / "ledger.json"
    ledger.write_text(ledger.read_text().replace('"measured": 4', '"measured": 5'))
    assert perform("verify", project) == 1
    said = capsys.readouterr()
    for text in (
        "figures/00/00-never.json is not made",
        "01-line numbers.y[1]: 4, committed 4.1",
        "gone is committed and no longer made",
        "claim toy.01 measured: 4, committed 5",
    ):
        assert f"drift: {text}\n" in said.err
    assert (
        "12 of 14 committed files are byte-identical; "
        "not: figures/01/01-line.json, figures/ledger.json" in said.out
    )
    assert "2 notebooks run again, 6 drifts, 0 failures" in said.out


def figure_drift(new, old, rtol=0.0, atol=0.0):
    """Return the drifts of a figure's numbers."""
    committed = {"numbers": old, "rtol": rtol, "atol": atol}
    return list(drift.differences({"numbers": new}, committed))


def test_drift_allows_what_the_tolerances_allow():
    assert figure_drift({"a": [1.0, 2.0]}, {"a": [1.0 + 1e-9, 2.0]}, 1e-6) == []
    assert figure_drift({"a": [1.0, 2.1]}, {"a": [1.0, 2.0]}, 1e-6) == [
        "numbers.a[1]: 2.1, committed 2.0"
    ]
    assert figure_drift({"a": [1.0]}, {"a": [1.0, 2.0]}, 1, 1) == [
        "numbers.a[1]: 'missing', committed 2.0"
    ]
    assert figure_drift({"a": 1.0, "b": 2}, {"a": 1.0}, 1, 1) == [
        "numbers.b: 2, committed 'missing'"
    ]
    others = (True, 1), ("x", "y"), (None, 0), ([1], {"a": 1}), (1.0, [1.0]), ([1], 1)
    for new, old in others:
        assert figure_drift({"a": new}, {"a": old}, 1, 1)
    for same in (True, "x", None, 2.5, [], {}):
        assert figure_drift({"a": same}, {"a": same}) == []


def test_a_record_may_move_on_its_side_of_a_bound_and_keeps_its_verdict():
    row = {"expected": {"below": 1e-9}, "tolerance": None, "verdict": "holds", "measured": 0.0}
    assert list(drift.differences({**row, "measured": 3e-10}, row)) == []
    assert list(drift.differences({**row, "verdict": "refuted"}, row)) == [
        "verdict: 'refuted', committed 'holds'"
    ]
    near = {**row, "expected": 2.0, "tolerance": {"relative": 0.1}, "measured": 2.0}
    assert list(drift.differences({**near, "measured": 2.19}, near)) == []
    assert list(drift.differences({**near, "measured": 2.3}, near))


def test_drift_of_what_stands_without_an_expectation_is_a_thousandth():
    free = {
        "expected": None,
        "tolerance": None,
        "verdict": "measured",
        "measured": {"c": 1.234, "d": [2, 1e-17]},
    }

    def drifts(row, measured):
        return list(drift.differences({**row, "measured": measured}, row))

    assert drifts(free, {"c": 1.235, "d": [2, 3e-16]}) == []
    assert drifts(free, {"c": 1.237, "d": [3, 0.0]}) == [
        "measured.c: 1.237, committed 1.234",
        "measured.d[0]: 3, committed 2",
    ]
    assert drifts(free, {"c": 1.234}) == ["measured.d: 'missing', committed [2, 1e-17]"]
    fine = {**free, "tolerance": {"relative": 1e-6}, "measured": {"c": 1.234}}
    assert drifts(fine, {"c": 1.23401}) == ["measured.c: 1.23401, committed 1.234"]
    mixed = {
        "expected": {"a": 1.0},
        "tolerance": 0.1,
        "verdict": "holds",
        "measured": {"a": 1.0, "c": 1000.0},
    }
    assert drifts(mixed, {"a": 1.05, "c": 1000.9}) == []
    assert drifts(mixed, {"a": 1.2, "c": 1002.0}) == [
        "measured.a: 1.2, committed 1.0",
        "measured.c: 1002.0, committed 1000.0",
    ]


def test_the_ledger_counts_what_stands_without_an_expectation_apart(tmp_path):
    row = {
        "notebook": "00",
        "statement": "s",
        "source": "paper",
        "where": "w",
        "expected": 1,
        "measured": 1,
        "tolerance": 0,
        "text": "one",
        "evidence": "e",
        "written": "before",
    }
    verdicts = ["measured", "holds", "refuted", "holds"]
    written = [{**row, "id": f"c{k}", "verdict": v} for k, v in enumerate(verdicts)]
    (tmp_path / "00.json").write_text(json.dumps(written))
    rows = ledgers.merge(tmp_path, [notebooks.Notebook(Path("00"), "00", "00", "first")])
    assert [r["id"] for r in rows] == ["c2", "c1", "c3", "c0"]
    assert ledgers.counts(rows) == "4 claims measured: 2 hold, 1 refuted, 1 without an expectation."
    assert ledgers.counts(rows[:3]) == "3 claims measured: 2 hold, 1 refuted."
    rows[-1].update(expected=None, tolerance=None)
    table = ledgers.table(rows, {"00": "00.ipynb"})
    before, after = table.split("## The paper says")
    assert "`c2`" in before and "`c0`" not in before
    assert "`c0` | — | one | [00](00.ipynb) |" in after
    assert "Of 3 expectations 3 were written before" in " ".join(before.split())
    rows[1]["written"] = "after"
    first_screen = " ".join(ledgers.table(rows, {"00": "00.ipynb"}).split())
    assert "Of 3 expectations 2 were written before" in first_screen


def test_cleaning_removes_what_runs_leave_and_is_idempotent():
    cell = nbformat.v4.new_code_cell("print(1)", id="00-print", execution_count=1)
    cell.metadata = {
        "tags": ["parameters"],
        "papermill": {"status": "completed"},
        "execution": {},
        "collapsed": True,
        "mystnb": {"image": {"alt": "a line"}},
    }
    cell.outputs = [
        nbformat.v4.new_output("stream", name=name, text=text)
        for name, text in (
            ("stdout", "\x1b[1m1\x1b[0m"),
            ("stdout", "\n2\n"),
            ("stderr", "e"),
            ("stdout", "3"),
        )
    ]
    cell.outputs += [nbformat.v4.new_output("display_data", {"text/plain": "x"}, metadata={"a": 1})]
    title = nbformat.v4.new_markdown_cell("# A", id="00-a", metadata={"editable": 1, "tags": []})
    metadata = {"papermill": {}, "widgets": {}, "language_info": {"name": "python", "version": "3"}}
    whole = nbformat.v4.new_notebook(cells=[title, cell], metadata=metadata)
    text = notebooks.clean(whole)
    assert notebooks.clean(nbformat.reads(text, 4)) == text
    assert text.endswith("}\n") and '\n "cells"' in text
    kept = nbformat.reads(text, 4)
    title, cell = kept.cells
    assert title.metadata == {} and title.source == "# A"
    assert cell.metadata == {"tags": ["parameters"], "mystnb": {"image": {"alt": "a line"}}}
    assert cell.execution_count == 1
    assert [o.get("text") for o in cell.outputs] == ["1\n2\n", "e", "3", None]
    assert cell.outputs[-1].data == {"text/plain": "x"} and cell.outputs[-1].metadata == {}
    assert kept.metadata.language_info == {"name": "python"} and "widgets" not in kept.metadata


@pytest.mark.parametrize("name", ledgers.GENERATED)
def test_a_file_without_its_part_or_with_another_is_refused(project, name):
    file = project.root / name
    whole = file.read_text()
    begin, end = f"<!-- begin: {ledgers.GENERATED[name]} -->", "<!-- end: other -->"
    said = f"^{name} needs exactly one pair {begin} ... "
    for text in ("", "no markers", begin, whole + whole, whole + end):
        file.write_text(text)
        with pytest.raises(Refusal, match=said):
            ledgers.filled(name, project)
    file.unlink()
    with pytest.raises(Refusal, match=said):
        ledgers.filled(name, project)


def test_an_index_is_checked(project):
    toy.index(project, {"file": "00-first.ipynb", "needs": ["01"]}, {"file": "01-second.ipynb"})
    with pytest.raises(ValueError, match="00-first.ipynb needs what is not listed before it: 01"):
        notebooks.load(project)
    toy.index(project, {"file": "00-first.ipynb", "figurs": []})
    with pytest.raises(ValueError, match="an entry has the keys"):
        notebooks.load(project)
    toy.index(project, {"file": "00-first.ipynb", "batch": [{}]})
    with pytest.raises(ValueError, match="has in batch what is no name and parameters"):
        notebooks.load(project)
    (project.notebooks / "index.toml").write_text("[[notebook]\n")
    with pytest.raises(Refusal, match="^index.toml: "):
        notebooks.load(project)


def test_a_file_that_a_notebook_reads_is_there(project):
    reads = ["figures/00/00-line.json", "figures/gone.json"]
    toy.index(project, {"file": "00-first.ipynb", "reads": reads})
    said = "00-first.ipynb reads what is not in the repository: figures/gone.json"
    with pytest.raises(ValueError, match=said):
        notebooks.load(project)


def test_a_changed_file_that_a_notebook_reads_makes_it_stale_unless_a_needed_one_made_it(project):
    bench = project.figures / "bench.json"
    bench.write_text('[{"name": "a", "ratio": 2.5}]')
    toy.write(project, "00-first", *toy.good("00", "00-line"))
    toy.index(
        project,
        {"file": "00-first.ipynb", "figures": ["00-line"], "reads": ["figures/bench.json"]},
        {
            "file": "01-second.ipynb",
            "figures": ["01-line"],
            "needs": ["00"],
            "reads": ["figures/00/00-line.json"],
        },
    )
    before = (project.figures / "00" / "00-line.json").read_bytes()
    assert run(project) == 0 and (project.figures / "00" / "00-line.json").read_bytes() != before
    assert stale(project) == {}
    bench.write_text('[{"name": "a", "ratio": 2.6}]')
    assert stale(project) == {"00": "changed: files it reads", "01": "changed: notebooks it needs"}


def test_measured_times_are_the_committed_ones_wherever_results_go(project):
    toy.write(
        project,
        "00-first",
        "from sheaflib.companion.record import gallery",
        "print(gallery.bench())",
    )
    toy.index(project, {"file": "00-first.ipynb"})
    (project.figures / "bench.json").write_text('[{"name": "a", "ratio": 2.5}]')
    job = runs.to_run(project, notebooks.load(project)[0], project.build / "x", "custom")
    assert runner.run(project, [job]) == {job: ""}
    last = notebooks.read(job.folder / "notebooks" / "00-first.ipynb").cells[-1]
    assert last.outputs[0].text == "{'a': {'name': 'a', 'ratio': 2.5}}\n"


def test_make_types_one_python_line_each():
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "PYTHON")) and name not in ("ARGS", "NB", "P")
    }

    def recipe(*arguments):
        command = ["make", "-n", "--no-print-directory", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=inherited, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert recipe("figures") == "python3 -m tools figures --notebook '' --parameters ''"
    assert recipe("-B", "figures").endswith("--force")
    quoted = r"'a='\''B'\'''"
    assert (
        recipe("figures", "NB=04", "P=a='B'")
        == f"python3 -m tools figures --notebook '04' --parameters {quoted}"
    )
    for target in command_line.COMMANDS:
        said = recipe(target)
        assert said.startswith(f"python3 -m tools {target}") and "\n" not in said
    assert recipe() == recipe("help") == "python3 -m tools help"
    fuzz = "python3 -m tools test tests/contract/test_fuzz.py"
    assert recipe("fuzz") == fuzz and recipe("fuzz", "ARGS=-x") == f"{fuzz} -x"
