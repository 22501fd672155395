"""The command line: what it refuses, one command at a time, and what outlives a kill."""

import errno
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy

from tools import __main__ as command_line
from tools import project as projects
from tools.project import REPOSITORY, Project, Refusal, alone
from tools.surroundings import process_environment


def start(project, *arguments, **options):
    """Start a command on a toy repository, as a shell would: in a process group of its own."""
    command = [sys.executable, "-m", "tools", "--root", str(project.root), *arguments]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=process_environment(options),
    )


def finish(process, seconds=120):
    """Return the exit status of a command and what it printed on the error stream."""
    _, said = process.communicate(timeout=seconds)
    return process.returncode, said


def tree(project):
    """Return the bytes of everything that is committed."""
    folders = (project.figures, project.notebooks, project.root / "docs")
    files = [
        *(path for folder in folders for path in folder.rglob("*")),
        project.root / "README.md",
    ]
    return {path.name: path.read_bytes() for path in files if path.is_file()}


def light(root, *sizes):
    """Return a toy repository whose notebooks, each with its size, run one after the other."""
    project = toy.make(root)
    entries, claims = [], []
    for number, size in enumerate(sizes):
        name, figure = f"0{number}-light", f"0{number}-curve"
        toy.write(project, name, *toy.good(name[:2], figure, size))
        needs = [entries[-1]["file"][:2]] if entries else []
        entries.append({"file": f"{name}.ipynb", "figures": [figure], "needs": needs})
        claims.append(toy.CLAIM.format(id=f"toy.{name[:2]}", nb=name[:2], value=size))
    toy.index(project, *entries)
    (project.notebooks / "claims.toml").write_text("".join(claims))
    return project


@pytest.mark.parametrize(
    "arguments",
    [
        ["clean", "--nonsense"],
        ["clean", "--al"],
        ["mutants", "--nonsense"],
        ["env", "extra"],
        ["quick", "extra"],
        ["batch", "--parameters", "a=1"],
        ["verify", "now"],
        ["check", "tests"],
        ["figures", "04"],
        ["figures", "--forc"],
        ["help", "me"],
        ["nonsense"],
    ],
)
def test_what_a_command_does_not_know_is_refused(tmp_path, capsys, arguments):
    (tmp_path / "build").mkdir()
    with pytest.raises(SystemExit) as ended:
        command_line.main(["--root", str(tmp_path), *arguments])
    assert ended.value.code == 2 and arguments[-1] in capsys.readouterr().err
    assert (tmp_path / "build").is_dir()


@pytest.mark.parametrize("everything", [False, True])
def test_cleaning_leaves_what_is_committed(tmp_path, everything):
    gone = ["build/a/b", "sheaflib/__pycache__/c", "notebooks/.ipynb_checkpoints/d"]
    kept = ["figures/e", ".git/__pycache__/f"]
    (gone if everything else kept).append(".venv/lib/__pycache__/g")
    for name in gone + kept:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert command_line.main(["--root", str(tmp_path), "clean", *["--all"][:everything]]) == 0
    assert [name for name in gone if (tmp_path / name).exists()] == []
    assert [name for name in kept if not (tmp_path / name).exists()] == []


def test_a_second_command_is_refused_while_one_runs_and_not_after_a_kill(tmp_path):
    project = light(tmp_path / "toy", 1)
    waits = "import os, time\nopen(os.environ['SHEAFLIB_OUT'] + '/on', 'w')\ntime.sleep(99)"
    toy.write(project, "00-light", "size = 1", waits)
    first = start(project, "figures")
    deadline = time.monotonic() + 60
    while not list(project.build.glob("stage/*/00/on")) and time.monotonic() < deadline:
        time.sleep(0.1)
    before = {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}
    for command in ("figures", "quick", "clean", "verify", "test"):
        status, said = finish(start(project, command))
        assert status == 2 and said.count("\n") == 1
        assert said.startswith(f"{command} did not start: figures runs in this checkout")
        assert str(first.pid) in said
    assert {path: path.read_bytes() for path in before} == before
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert finish(start(project, "clean"))[0] == 0 and not project.build.exists()


def test_a_command_names_itself_and_frees_the_checkout_as_it_ends(tmp_path):
    for _ in range(2):
        with alone(tmp_path, "test"):
            with pytest.raises(Refusal, match=f"test runs in this checkout .process {os.getpid()}"):
                with alone(tmp_path, "figures"):
                    pass


def test_another_python_takes_the_checkout_over(tmp_path, monkeypatch):
    """As where the environment is made first: the command goes on in its Python."""
    held = alone(tmp_path, "figures")
    options = command_line.parsed(["--root", str(tmp_path), "figures"])
    monkeypatch.setattr(command_line.environment, "ensure", lambda extras: "another python")
    monkeypatch.setattr(os, "execv", lambda *_: alone(tmp_path, "figures").__enter__().close())
    with held as file:
        command_line.perform(options, [], file)


def test_other_commands_may_run_while_jupyterlab_is_open(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(command_line.environment, "ensure", lambda extras: sys.executable)
    monkeypatch.setattr(command_line.importlib, "import_module", lambda name: Lab(tmp_path, seen))
    assert command_line.main(["--root", str(tmp_path), "lab"]) == 0 and seen == ["taken"]


class Lab:
    """A stand-in for the module of the command `lab`."""

    def __init__(self, root, seen):
        self.root, self.seen = root, seen

    def lab(self, project, options):
        """Take the checkout for another command while the lab is open."""
        with alone(self.root, "figures"):
            self.seen.append("taken")
        return 0


def test_a_checkout_that_cannot_be_written_is_answered_in_one_line(tmp_path, monkeypatch, capsys):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(projects, "open", refuse, raising=False)
    assert command_line.main(["--root", str(tmp_path), "figures"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(tmp_path) in said and "Read-only file system" in said
    assert "copy the repository to a folder that you may write" in said
    monkeypatch.setattr(projects, "open", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command_line.main(["--root", str(tmp_path), "figures"])


def test_a_run_needs_no_home_and_finds_no_settings_of_its_user(tmp_path):
    project, home = light(tmp_path / "toy", 3), tmp_path / "home"
    toy.write(project, "00-light", *toy.good("00", "00-curve"), "import matplotlib.pyplot")
    for path in (".config/matplotlib/matplotlibrc", ".jupyter/jupyter_config.py"):
        (home / path).parent.mkdir(parents=True)
        (home / path).write_text("no such setting: 1\n")
    found = []
    for folder in (home, Path("/dev/null/home")):
        own = {"HOME": str(folder), "USERPROFILE": str(folder)}
        assert finish(start(project, "figures", "--force", **own))[0] == 0
        found.append(tree(project))
    assert found[0] == found[1] and b"stderr" not in found[0]["00-light.ipynb"]
    assert sorted(path.name for path in home.iterdir()) == [".config", ".jupyter"]


@pytest.fixture
def figures():
    """A function that starts `figures` on a toy repository: in a fork of a process that has loaded
    the tools, where nothing happens that a kill could disturb.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tools.runs"])

    def begin(project):
        words = ["--root", str(project.root), "figures"]
        process = context.Process(target=command_line.main, args=(words,))
        process.start()
        return process

    begin(Project("nowhere")).join()  # the loading is over
    return begin


def test_a_run_killed_at_any_moment_damages_nothing_and_the_next_goes_on(tmp_path, figures):
    def seconds(project):
        begin = time.monotonic()
        figures(project).join()
        return time.monotonic() - begin

    old = light(tmp_path / "old", 3, 4)
    first = seconds(old)
    changed = light(tmp_path / "changed", 4, 5)
    fresh = Project(shutil.copytree(old.root, tmp_path / "fresh"))
    shutil.copytree(changed.notebooks, fresh.notebooks, dirs_exist_ok=True)
    undisturbed = Project(shutil.copytree(fresh.root, tmp_path / "undisturbed"))
    whole = min(first, seconds(undisturbed))  # now and then a kernel takes seconds to end
    before, after = tree(fresh), tree(undisturbed)
    assert {name for name in before if before[name] != after[name]} > {"00-curve.png", "gallery.md"}

    draw, killed, ended = random.Random(0), 0, 0
    work = Project(shutil.copytree(fresh.root, tmp_path / "work-0"))
    while killed < 20:
        process = figures(work)
        process.join(draw.uniform(0, whole))
        process.kill()
        process.join()
        now = tree(work)
        visible = {name for name in now if not name.startswith(".")}
        assert visible == set(after) and all(now[n] in (before[n], after[n]) for n in visible)
        if process.exitcode:
            killed += 1
        else:
            ended += 1
            assert now == after
            work = Project(shutil.copytree(fresh.root, tmp_path / f"work-{ended}"))
    figures(work).join()
    assert {name: tree(work)[name] for name in after} == after


def test_a_clone_with_other_line_ends_has_the_same_bytes(tmp_path):
    clone = tmp_path / "clone"
    git = ["git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    subprocess.run([*git, "clone", "--quiet", REPOSITORY, clone], check=True)
    files = (
        subprocess.run(
            [*git, "ls-files", "-z"], cwd=clone, check=True, capture_output=True, text=True
        )
        .stdout.strip("\0")
        .split("\0")
    )
    endings = {Path(name).suffix for name in files if b"\r\n" in (clone / name).read_bytes()}
    assert len(files) > 100 and endings <= {".pdf", ".png", ".npz", ".onnx"}
    for name in files:
        os.utime(clone / name)
    status = [*git, "status", "--porcelain"]
    assert subprocess.run(status, cwd=clone, check=True, capture_output=True).stdout == b""
