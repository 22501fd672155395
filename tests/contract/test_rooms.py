"""The rooms of sheaflib, its packages and modules: few, small, named for what they hold, and each
imports only from those drawn below it in sheaflib/README.md, which this holds against the imports.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

import sheaflib

FOLDER = Path(sheaflib.__file__).parent
MODULES = sorted(path for path in FOLDER.rglob("*.py") if path != FOLDER / "__init__.py")
DRAWING = (FOLDER / "README.md").read_text(encoding="utf-8")
DRAWN = re.findall(r"^    (\w+)  ", DRAWING, re.MULTILINE)
FLOORS = {name: place for place, name in enumerate(reversed(DRAWN))}  # the lowest is 0
PACKAGES = sorted(
    path.parent.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/**/__init__.py")
)
CORE = ("support", "networks", "layers", "sheaves", "linear", "equilibria", "flow")
MOST_LINES, MOST_KERNEL_LINES = 300, 500


def room(path):
    """Return the package or module of sheaflib that a file belongs to."""
    return path.relative_to(FOLDER).parts[0].removesuffix(".py")


def imported_rooms(path):
    """Return the rooms that a file imports from, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("sheaflib.")}
    return found - {room(path)}


def lines_of_code(path):
    """Return how many lines hold code: no docstrings, comments and blank lines."""
    source = path.read_text(encoding="utf-8")
    silent = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    held = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            held |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                held -= set(range(node.lineno, node.end_lineno + 1))
    return len(held)


def test_the_drawing_shows_every_room_once_and_there_are_few():
    shown = {room(path) for path in MODULES}
    assert sorted(DRAWN) == sorted(shown)
    assert len(shown) <= 12


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_module_imports_from_lower_floors_only(path):
    assert [name for name in imported_rooms(path) if FLOORS[name] >= FLOORS[room(path)]] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_holds_what_it_may_import_and_where_the_paper_is(package):
    said = ast.get_docstring(ast.parse((FOLDER / package / "__init__.py").read_text("utf-8")))
    holds, may, paper = re.fullmatch(
        r"(.+)\n\nMay import: (.+?)\.\nIn the paper: (.+)", said, re.DOTALL
    ).groups()
    assert len(holds) > 20 and len(paper) > 5
    needed = set()
    for path in (FOLDER / package).rglob("*.py"):
        needed |= imported_rooms(path)
    if may == "everything":
        allowed = set(FLOORS)
    elif may == "nothing of sheaflib":
        allowed = set()
    else:
        allowed = set(re.split(r",\s+", may))
    assert allowed <= set(FLOORS)
    assert "/" not in package or package.startswith(("companion/", "networks/"))
    assert needed <= allowed


@pytest.mark.parametrize(
    "path, never",
    [
        ("sheaves/cellular.py", ("networks",)),
        ("sheaves/layout.py", ("networks",)),
        ("sheaves/discord.py", ("sheaves.pins", "sheaves.forces")),
        ("sheaves/neural.py", ("sheaves.pins", "sheaves.forces", "sheaves.discord")),
        ("sheaves/pins.py", ("sheaves.forces", "sheaves.discord")),
        ("networks/affine.py", ("networks.graph", "networks.selection", "networks.output")),
        ("networks/storage.py", ("networks.graph",)),
        ("linear/spectrum.py", ("linear.harmonic", "linear.rest")),
        ("linear/harmonic.py", ("linear.spectrum",)),
        ("flow/euler.py", ("flow.kernels", "flow.heat")),
        ("training/joint.py", ("training.kernels", "training.drivers")),
    ],
)
def test_inside_a_room_data_flow_one_way(path, never):
    """What stands under `if TYPE_CHECKING` is never imported."""
    source = (FOLDER / path).read_text(encoding="utf-8")
    source = re.sub(r"if TYPE_CHECKING:\n(    .*\n)+", "", source)
    assert not [name for name in never if f"sheaflib.{name}" in source]


@pytest.mark.parametrize("name", CORE)
def test_the_core_is_below_training_pictures_and_companion(name):
    above = ("training", "circuits", "diagnosis", "plots", "companion")
    assert FLOORS[name] < min(FLOORS[other] for other in above)


def test_nothing_imports_the_companion():
    importers = [path for path in MODULES if "companion" in imported_rooms(path)]
    assert importers == [] and "companion" not in imported_rooms(FOLDER / "__init__.py")


def test_no_room_is_named_like_what_is_public():
    assert not {room(path) for path in MODULES} & set(sheaflib.__all__)
    assert len(sheaflib.__all__) <= 40


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_module_is_small(path):
    assert lines_of_code(path) <= (MOST_KERNEL_LINES if path.stem == "kernels" else MOST_LINES)


def test_lines_of_code_are_counted_without_words(tmp_path):
    path = tmp_path / "some.py"
    path.write_text('"""Text.\n\nMore.\n"""\n\n# why\nx = [\n    1,\n]  # here\n', encoding="utf-8")
    assert lines_of_code(path) == 3
