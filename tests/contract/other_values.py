"""Notebooks at other values of their parameters, and of the numbers that their Try sections name:
what is run, and what a run then says.
"""

import ast
import json
import re
import shutil
from dataclasses import replace

import nbformat

from tools import notebooks, runner
from tools.project import write_whole
from tools.surroundings import variables

# For each notebook its sets: parameters, and texts of code cells with what stands in their place,
# as the notebook's Try section tells its reader to change them. Each parameter has two values that
# are neither its default nor its quick one. All are small: a set takes some seconds.
SETS = {
    "00": [
        ({"dt": 0.02, "tol": 1e-11, "starts": 2, "seed": 1}, {}),
        (
            {"dt": 0.5, "tol": 1e-6, "starts": 3, "seed": 2},
            {
                "[[0.5], w[1:]]": "[w[:8], [0.0]]",
                'sheaflib.hard("z1", 0.5, at=0)': 'sheaflib.hard("z2", 0.0)',
            },
        ),
    ],
    "01": [
        ({"seed": 2, "images": 3, "channels": 2}, {}),
        ({"seed": 3, "images": 1, "channels": 3}, {"weight = 0.25": "weight = 100"}),
    ],
    "02": [
        (
            {"seed": 1, "exact_dims": [3, 3, 3, 1], "recorded": ["2x4x1/7"], "networks": 40}
            | {"patterns_each": 2, "cube_networks": 8, "points_each": 3},
            {},
        ),
        (
            {"seed": 2, "exact_dims": [2, 2, 1], "recorded": ["2x4x1/7", "2x6x4x1/0"]}
            | {"networks": 25, "patterns_each": 3, "cube_networks": 5, "points_each": 2},
            {},
        ),
    ],
    "03": [
        (
            {"seed": 1, "samples": 3, "wrong": ["2x4x1/7", "2x4x1/42"], "step": 0.25}
            | {"widths": [6, 20, 4], "image": 8, "depths": 12},
            {},
        ),
        (
            {"seed": 2, "samples": 1, "wrong": ["2x6x4x1/0"], "step": 2.0**-6}
            | {"widths": [4, 30, 30, 3], "image": 12, "depths": 3},
            {"flipped[0, 7]": "flipped[0, 2]"},
        ),
    ],
    "04": [
        (
            {"dt": 0.02, "tol": 1e-10, "seed": 1, "n_fine": 1500, "t_fine": 15}
            | {"t_phase": 8, "n_starts": 7},
            {},
        ),
        (
            {"dt": 0.05, "tol": 1e-8, "seed": 2, "n_fine": 900, "t_fine": 110}
            | {"t_phase": 3, "n_starts": 3},
            {},
        ),
    ],
    "05": [
        (
            {"dt": 0.005, "tol": 1e-11, "gammas": [0.5, 5.0], "n_grid": 12},
            {"label = 2.0": "label = 3.0"},
        ),
        (
            {"dt": 0.02, "tol": 1e-6, "gammas": [2.0, 20.0, 50.0], "n_grid": 15},
            {
                "label = 2.0": "label = 0.5",
                "shift = 1.0": "shift = 0.01",
                "pixels] + 1": "pixels] * 0",
            },
        ),
    ],
    "06": [
        ({"steps_scale": 0.01, "seeds": 1, "n_grid": 15}, {}),
        ({"steps_scale": 0.03, "seeds": 3, "n_grid": 31}, {}),
    ],
    "07": [
        (
            {"T": 3.0, "dt": 0.02, "seeds": [[100, 42], [42, 44]], "depth_seeds": 1}
            | {"T_depth": 2.0},
            {},
        ),
        (
            {"T": 2.0, "dt": 0.03, "seeds": [[200, 43]], "depth_seeds": 3, "T_depth": 6.0},
            {"inputs = x  # Try: 2 * x": "inputs = 2 * x"},
        ),
    ],
    "08": [
        (
            {"samples": 15, "flow_samples": 5, "toys": 10, "listed": 6, "starts": 2}
            | {"exact_samples": 4, "deep_samples": 4, "deep_layers": 2, "seed": 1},
            {},
        ),
        (
            {"samples": 10, "flow_samples": 3, "toys": 5, "listed": 10, "starts": 3}
            | {"exact_samples": 2, "deep_samples": 3, "deep_layers": 1, "seed": 2},
            {"(-0.5, 2.0), (0.5, -2.0)": "(-0.5, 0.5), (0.5, -2.0)"},
        ),
    ],
    "09": [
        (
            {"steps_1h": 30_000, "steps_3h": 22_000, "permutations": 3, "starts": 1}
            | {"draws": 2, "seed": 1},
            {},
        ),
        (
            {"steps_1h": 35_000, "steps_3h": 30_000, "permutations": 5, "starts": 3}
            | {"draws": 3, "seed": 2},
            {},
        ),
    ],
    "10": [
        (
            {"steps": 15_000, "networks": 20, "residual_steps": 50, "seed": 3}
            | {"depth_seeds": 2, "T_depth": 10.0},
            {},
        ),
        (
            {"steps": 20_000, "networks": 25, "residual_steps": 60, "seed": 1}
            | {"depth_seeds": 3, "T_depth": 5.0},
            {},
        ),
    ],
    "11": [
        ({"seeds": 2, "share": 0.04, "every": 5, "networks": 10, "steps": 1000, "seed": 1}, {}),
        ({"seeds": 4, "share": 0.03, "every": 6, "networks": 15, "steps": 1500, "seed": 2}, {}),
    ],
    "12": [
        ({"steps_1h": 30_000, "steps_3h": 22_000, "n_spectra": 5, "seed": 1}, {}),
        (
            {"steps_1h": 35_000, "steps_3h": 30_000, "n_spectra": 8, "seed": 2},
            {"rounds=100": "rounds=3"},
        ),
    ],
    "13": [
        ({"digit_draws": 2, "n_digits": 300, "seed": 1}, {}),
        ({"digit_draws": 4, "n_digits": 150, "seed": 2}, {}),
    ],
    "14": [
        ({"n_images": 80, "flip_draws": 1, "n_spectra": 2, "seed": 1}, {}),
        ({"n_images": 110, "flip_draws": 4, "n_spectra": 4, "seed": 2}, {}),
    ],
}

# parameters whose default is also a number of something else in the notebook: in 10 the speed of
# training is always measured after 1000 steps of the main run, too
SETS["15"] = [({"label": 2.0, "seed": 2}, {}), ({"label": 2.6, "seed": 3}, {})]
COINCIDE = {"10": ("residual_steps", "T_depth")}

LISTEN = """\
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.text import Text

from sheaflib.companion.record import gallery

_texts = Path(os.environ["SHEAFLIB_OUT"]) / "texts"


def listen(fig, name):
    for key, value in fig.numbers.items():
        gallery.storable(gallery.short(value), f"{name}: {key}")
    _texts.mkdir(parents=True, exist_ok=True)
    texts = [text.get_text() for text in fig.findobj(Text) if text.get_visible()]
    (_texts / f"{name}.json").write_text(json.dumps(texts), encoding="utf-8")
    plt.close(fig)


gallery.save = listen
"""
NUMBER = re.compile(
    r"(?<![\w.,])(\d{1,3}(?:[, \u202f]\d{3})+|\d+)(\.\d+)?(e[+-]?\d+)?(?![\w.]\w|\w)"
)
TICK = re.compile(r"[−-]?[\d.,]*|\$\\mathdefault\{.*\}\$")


def run(project, notebook, parameters, edits, folder):
    """Run a copy of a notebook with edits and parameters, which checks the numbers of its figures
    and keeps their texts, but does not draw them, to save half the time; returns its problem, ""
    where every cell ran.
    """
    shutil.rmtree(folder, ignore_errors=True)
    read = notebooks.read(notebook.path)
    code = [cell for cell in read.cells if cell.cell_type == "code"]
    for old, new in edits.items():
        (cell,) = [cell for cell in code if old in cell.source]
        cell.source = cell.source.replace(old, new)
    first = read.cells.index(code[0])
    read.cells.insert(first, nbformat.v4.new_code_cell(LISTEN, id=f"{notebook.number}-listen"))
    copy = replace(notebook, path=folder / "copy" / notebook.file)
    write_whole(copy.path, nbformat.writes(read))
    given = variables(project, "custom", folder)
    job = runner.Job(folder.name, copy, folder, given, parameters)
    return runner.run(project, [job])[job]


def said(folder):
    """Return the texts of a finished run, output by output and figure by figure.

    What a claim expects, which is said to hold at the default parameters, is left out, and so are
    the numbers at ticks.
    """
    (ran,) = (folder / "notebooks").glob("*.ipynb")
    texts = []
    for cell in notebooks.read(ran).cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            texts += [line.partition("; expected ")[0] for line in text.splitlines()]
    for file in sorted((folder / "texts").glob("*.json")):
        texts += [t for t in json.loads(file.read_text("utf-8")) if not TICK.fullmatch(t)]
    return texts


def defaults_in(texts, defaults, given):
    """Return the texts that hold the default of a number that was given another value.

    Whole numbers from 1000 on count wherever they stand. Others may well be in a text for another
    reason, so they count only with their name, as in "dt = 0.01" or "5 seeds".
    """
    changed = {
        name: default
        for name, default in defaults.items()
        if name in given and given[name] != default and isinstance(default, (int, float))
    }
    found = []
    for text in texts:
        for match in NUMBER.finditer(text):
            value = float(re.sub("[, \u202f]", "", match[0]))
            before, after = text[: match.start()], text[match.end() :]
            for name, default in changed.items():
                named = re.search(rf"\b{name} ?= ?$", before) or re.match(rf" {name}\b", after)
                large = default == round(default) and default >= 1000
                if value == default and (named or large):
                    found.append(f"{name} = {default}: {text}")
    return found


def literal_numbers(source):
    """Return the literal parts, with a number in them, of what a cell prints and of its f-strings.

    Names such as z1, 2x4x1 and [2,4,1] and the formats of numbers are no numbers of a sentence.
    """
    nodes = list(ast.walk(ast.parse(source)))
    formats = [node.format_spec for node in nodes if isinstance(node, ast.FormattedValue)]
    parts = []
    for node in nodes:
        if isinstance(node, ast.JoinedStr) and node not in formats:
            parts += node.values
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            parts += node.args
    texts = [part.value for part in parts if isinstance(part, ast.Constant)]
    return [t for t in texts if re.search(r"(?<![\w.,\[/-])\d+(?![\w\]/x])", str(t))]
