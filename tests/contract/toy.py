"""A toy repository for the tests of the tools: tiny notebooks, two claims, a copy of ledger and gallery."""

import json
import shutil
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.project import REPOSITORY, Project

CLAIM = '["{id}"]\nnotebook = "{nb}"\nstatement = "a sum"\nsource = "derived"\nwhere = "here"\nexpected = {value}\n'
README = "\n".join(f"<!-- begin: {n} -->\n<!-- end: {n} -->" for n in ("figures", "gallery", "ledger"))
CURVE = """\
import matplotlib.pyplot as plt
from sheaflib import gallery
gallery.style()
fig, ax = plt.subplots(figsize=(2, 2))
ax.plot([0, size]);
gallery.save(fig, "{name}", {{"y": [0, size]}}, caption="a [line]", seed=0)"""


def write(project, name, *codes):
    """Write a notebook of code cells with fixed ids, its first code cell the parameters."""
    number = name[:2]
    cells = [new_markdown_cell(f"# {name}", id=f"{number}-title")]
    cells += [new_code_cell(code, id=f"{number}-cell-{k}") for k, code in enumerate(codes)]
    cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(new_notebook(cells=cells), project.notebooks / f"{name}.ipynb")


def good(number, name, value=3):
    """Return the code cells of a notebook that draws one figure and checks one claim."""
    check = f'from sheaflib.ledger import Ledger\nLedger("{number}").check("toy.{number}", size, f"size is {{size}}")'
    return f"size = {value}", CURVE.format(name=name), check


def index(project, *entries):
    """Write the index: entries are dicts with file and anything else."""
    lines = []
    for entry in entries:
        entry = {"number": entry["file"][:2], "title": entry["file"], **entry}
        lines += ["[[notebook]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items() if not isinstance(value, dict))]
        lines += [f"quick = {{ {', '.join(f'{k} = {v}' for k, v in entry['quick'].items())} }}"] if "quick" in entry else []
    (project.notebooks / "index.toml").write_text("\n".join(lines) + "\n")


def make(root):
    """Make a toy repository of two good notebooks and return its Project."""
    project = Project(Path(root))
    project.notebooks.mkdir(parents=True)
    library = project.root / "sheaflib"
    library.mkdir()
    (library / "__init__.py").write_text('"""Toy."""\n')
    for name in ("ledger.py", "claims.py", "gallery.py", "drawing.py", "sheaflib.mplstyle"):
        shutil.copy(REPOSITORY / "sheaflib" / name, library / name)
    (project.root / "pyproject.toml").write_text('[project]\ndependencies = ["numpy>=1"]\n')
    (project.root / "requirements.lock").write_text("")
    (project.root / "README.md").write_text(README)
    (project.notebooks / "claims.toml").write_text(CLAIM.format(id="toy.00", nb="00", value=3) + CLAIM.format(id="toy.01", nb="01", value=4))
    write(project, "00-first", *good("00", "first"))
    write(project, "01-second", *good("01", "second", 4))
    index(project, {"file": "00-first.ipynb", "figures": ["first"]},
          {"file": "01-second.ipynb", "figures": ["second"], "needs": ["00"]})
    return project
