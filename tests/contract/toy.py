"""A toy repository for the tests of the tools: tiny notebooks, two claims, ledger and gallery."""

import json
import shutil
from pathlib import Path

from tools.ledgers import GENERATED
from tools.notebooks import nbformat  # which it loads without a slow part that is not needed
from tools.project import REPOSITORY, Project

CLAIM = """\
["{id}"]
notebook = "{nb}"
statement = "a sum"
says = "size is {{}}"
source = "derived"
where = "here"
expected = {value}
"""
LINE = {"00-line": {"caption": "a [line]", "seed": 0}}  # the index on the figure of CURVE
PYPROJECT = """\
[project]
name = "toy"
dependencies = ["numpy>=1"]
[project.optional-dependencies]
plots = ["matplotlib"]
notebooks = ["toy[plots]"]
"""
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
COPIED = (
    "companion/record/ledger.py",
    "companion/record/claims.py",
    "companion/record/gallery.py",
    "companion/record/index.py",
    "companion/repository.py",
    "plots/rounding.py",
    "plots/files.py",
    "plots/sheaflib.mplstyle",
    "support/extras.py",
    "support/files.py",
)
SKETCH = """\
import json, os
from pathlib import Path
folder = Path(os.environ["SHEAFLIB_OUT"], "figures", "{name}"[:2])
folder.mkdir(parents=True, exist_ok=True)
numbers = {{"y": [0, size] * 500}}
drawn = {{"caption": f"a line to {{size}}", "numbers": numbers, "rtol": 0, "atol": 0}}
for ending in (".json", ".pdf", ".png"):
    (folder / ("{name}" + ending)).write_text(json.dumps(drawn))"""
CURVE = """\
import matplotlib.pyplot as plt
from sheaflib.companion.record import gallery
gallery.style()
fig, ax = plt.subplots(figsize=(2, 2))
ax.plot([0, size]);
fig.numbers = {{"y": [0, size]}}
gallery.save(fig, "{name}")"""


def write(project, name, *codes):
    """Write a notebook of code cells with fixed ids, its first code cell the parameters."""
    number = name[:2]
    cells = [nbformat.v4.new_markdown_cell(f"# {name}", id=f"{number}-title")]
    for k, code in enumerate(codes):
        cells.append(nbformat.v4.new_code_cell(code, id=f"{number}-cell-{k}"))
    cells[1].metadata["tags"] = ["parameters"]
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.write(notebook, project.notebooks / f"{name}.ipynb")


def good(number, name, value=3, figure=SKETCH):
    """Return the code cells of a notebook that makes one figure and checks one claim.

    SKETCH writes files, which is fast, and CURVE draws with sheaflib.companion.record.gallery.
    """
    check = (
        "from sheaflib.companion.record.ledger import Ledger\n"
        f'Ledger("{number}").check("toy.{number}", size)'
    )
    return f"size = {value}", figure.format(name=name), check


def toml(value):
    """Return a value as TOML in one line: a dict as an inline table, all else as JSON has it."""
    if not isinstance(value, dict):
        return json.dumps(value)
    return "{ " + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + " }"


def index(project, *entries):
    """Write the index: entries are dicts with file and anything else."""
    lines = []
    for entry in entries:
        entry = {"number": entry["file"][:2], "title": entry["file"], **entry}
        quick = ", ".join(f"{k} = {v}" for k, v in entry.pop("quick", {}).items())
        lines += ["[[notebook]]", *(f"{key} = {toml(v)}" for key, v in entry.items())]
        lines += [f"quick = {{ {quick} }}"] if quick else []
    (project.notebooks / "index.toml").write_text("\n".join(lines) + "\n")


def bring(project, name):
    """Copy a file of sheaflib, with the packages that it lies in, into a toy."""
    target = project.root / "sheaflib" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "sheaflib" / name, target)
    for folder in list(Path(name).parents)[:-1]:
        opening = f"{folder.as_posix()}/__init__.py"
        shutil.copy(REPOSITORY / "sheaflib" / opening, project.root / "sheaflib" / opening)


def make(root):
    """Make a toy repository of two good notebooks, one of which draws, and return its Project."""
    project = Project(Path(root))
    project.notebooks.mkdir(parents=True)
    library = project.root / "sheaflib"
    library.mkdir()
    (library / "__init__.py").write_text('"""Toy."""\n')
    for name in COPIED:
        bring(project, name)
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    (project.root / "requirements.lock").write_text("")
    (project.root / "docs").mkdir()
    for file, part in GENERATED.items():
        (project.root / file).write_text(f"<!-- begin: {part} -->\n<!-- end: {part} -->\n")
    claims = [CLAIM.format(id=f"toy.{nb}", nb=nb, value=v) for nb, v in (("00", 3), ("01", 4))]
    (project.notebooks / "claims.toml").write_text("".join(claims))
    write(project, "00-first", *good("00", "00-line", figure=CURVE))
    write(project, "01-second", *good("01", "01-line", 4))
    index(
        project,
        {"file": "00-first.ipynb", "figures": LINE},
        {"file": "01-second.ipynb", "figures": ["01-line"], "needs": ["00"]},
    )
    return project
