"""What is stale, judged by content: hashes of everything a notebook's results follow from, kept in build/state.json."""

import json
import sys
from importlib.metadata import version

from tools import environment, notebooks, surroundings
from tools.project import digest, file_digest, write_whole

SKIPPED = ("__pycache__", ".nbi", ".nbc", ".tmp")


def fingerprint(project, notebook, every):
    """Return the hashes of what a notebook's results follow from, by kind; `every` is the whole index."""
    needed = [n for n in every if n.number in notebook.needs]
    claims = {k: v for k, v in project.claims().items() if v.get("notebook") == notebook.number}
    return {
        "notebook": notebooks.source_digest(notebook.path),
        "library": library_digest(project),
        "claims": digest(claims),
        "environment": environment_digest(project),
        "files it reads": digest([[file, file_digest(project.root / file)] for file in notebook.reads]),
        "notebooks it needs": digest([fingerprint(project, n, every) for n in needed]),
    }


def library_digest(project):
    """Return a hash of sheaflib: sources, data and style."""
    files = sorted(p for p in (project.root / "sheaflib").rglob("*") if p.is_file() and not str(p).endswith(SKIPPED[1:]))
    return digest([[p.relative_to(project.root).as_posix(), file_digest(p)] for p in files if SKIPPED[0] not in p.parts])


def environment_digest(project):
    """Return a hash of Python's version, the lock, what is installed, and the instructions used."""
    needed = environment.requirements(project.root, environment.NOTEBOOKS)
    installed = [[name, version(name)] for name, _ in needed]
    return digest([sys.version_info[:2], file_digest(project.root / "requirements.lock"), installed,
                   surroundings.target()])


def load(project):
    """Return the state of the last runs here, {} in a fresh clone or when the file cannot be read."""
    try:
        return json.loads((project.build / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def remember(project, notebook, print_, files):
    """Note that a notebook ran with this fingerprint and left these files."""
    outputs = {file.relative_to(project.root).as_posix(): file_digest(file) for file in files}
    state = {**load(project), notebook.number: {"fingerprint": print_, "outputs": outputs}}
    write_whole(project.build / "state.json", json.dumps(state, indent=1, sort_keys=True) + "\n")


def stale(project, notebook, print_):
    """Return why a notebook must run, "" when its results stand."""
    last = load(project).get(notebook.number)
    if not last:
        return "not yet run here"
    changed = [kind for kind in print_ if last["fingerprint"].get(kind) != print_[kind]]
    if changed:
        return f"changed: {', '.join(changed)}"
    other = [file for file, known in last["outputs"].items() if file_digest(project.root / file) != known]
    return f"{other[0]} is not as it was left" if other else ""
