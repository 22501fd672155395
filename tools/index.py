"""The index of the notebooks, notebooks/index.toml: order, needs, figures, times and parameter sets."""

import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Notebook:
    """One entry of the index; `seconds` is about how long it takes on one core.

    `batch` holds (name, parameters) pairs, `reads` paths from the repository's root.
    """

    file: str
    number: str
    title: str
    path: Path
    needs: tuple = ()
    figures: tuple = ()
    reads: tuple = ()
    seconds: float = 20
    quick: dict = field(default_factory=dict)
    batch: tuple = ()

    @property
    def name(self):
        """The file's name without its ending."""
        return Path(self.file).stem


def load(project):
    """Return the notebooks of the index that exist, naming the others; ValueError when an entry is malformed."""
    entries = tomllib.loads((project.notebooks / "index.toml").read_text(encoding="utf-8")).get("notebook", [])
    notebooks = [parse(entry, project.notebooks) for entry in entries]
    numbers = [n.number for n in notebooks]
    for notebook in notebooks:
        if numbers.count(notebook.number) > 1:
            raise ValueError(f"index.toml: two notebooks have the number {notebook.number}")
        unknown = set(notebook.needs) - set(numbers[: numbers.index(notebook.number)])
        if unknown:
            raise ValueError(f"index.toml: {notebook.file} needs {sorted(unknown)}, not listed before it")
        missing = [file for file in notebook.reads if not (project.root / file).is_file()]
        if missing:
            raise ValueError(f"index.toml: {notebook.file} reads {missing}, not in the repository")
    for notebook in notebooks:
        if not notebook.path.is_file():
            print(f"index.toml lists {notebook.file}, which is not in notebooks/: left out", file=sys.stderr)
    return [notebook for notebook in notebooks if notebook.path.is_file()]


def parse(entry, folder):
    """Return one entry as a Notebook; ValueError names a key that is missing or unknown."""
    entry = dict(entry)
    known = {"file", "number", "title", "needs", "figures", "reads", "seconds", "quick", "batch"}
    if set(entry) - known or not {"file", "number", "title"} <= set(entry):
        raise ValueError(f"index.toml: an entry has the keys {sorted(entry)}; needed are file, number, title, allowed {sorted(known)}")
    for key in ("needs", "figures", "reads"):
        entry[key] = tuple(entry.get(key, ()))
    entry["batch"] = tuple((b["name"], b["parameters"]) for b in entry.get("batch", ()))
    return Notebook(path=folder / entry["file"], **entry)


def find(notebooks, asked):
    """Return the notebook with a number ("04", "4") or name; ValueError lists those there are."""
    for notebook in notebooks:
        if asked in (notebook.name, notebook.file) or asked.isdigit() and int(asked) == int(notebook.number):
            return notebook
    known = ", ".join(n.name for n in notebooks) or "none"
    raise ValueError(f"there is no notebook {asked!r}; there are: {known}")
