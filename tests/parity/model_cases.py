"""Models of other libraries, read in the environment of build/torch: which there are, what comes of
reading them, and what `make readers` commits of it.
"""

import ast
import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from torch_networks import PYTHON, ROOT

HERE = Path(__file__).parent
SIDE = HERE / "reader_side.py"
FILE = ROOT / "figures" / "14" / "readers.json"
MODULES = {
    "torch": "torch_modules",
    "torch-calls": "torch_calls",
    "sklearn": "sklearn_models",
    "keras": "keras_models",
    "files": "model_files",
}
# how far apart a network and its model may be: PyTorch and scikit-learn compute in float64
BOUNDS = {"torch": 1e-12, "sklearn": 1e-12, "keras": 1e-5, "files": 1e-5}
PACKAGES = ("torch", "onnx", "onnxruntime", "onnxscript", "keras", "scikit-learn", "skl2onnx")


def declared(library, kind):
    """The names of the models of a library that are "read" or "refused", or a "call", as its
    module marks them; the module itself is not imported, since here its library may be missing.
    """
    found = []
    tree = ast.parse((HERE / f"{MODULES[library]}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            marks = [ast.unparse(mark).partition("(")[0] for mark in node.decorator_list]
            found += [node.name] * (kind in marks)
    return found


def outcomes(library, names=()):
    """What comes of reading these models, or all: name -> what reader_side.py says of it."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        subprocess.run([PYTHON, SIDE, file, library, *names], check=True, capture_output=True)
        return json.loads(file.read_text(encoding="utf-8"))


def wrong(library, name, found):
    """Why an outcome is not what its model asks for; "" where it is."""
    if name in declared(library, "refused"):
        if found.get("error") != "ValueError":
            return f"{library}, {name}: it was not refused: {found}"
        missing = [words for words in found["says"] if not found["fits"][words]]
        return f"{library}, {name}: {found['said']!r} lacks {missing}" if missing else ""
    if "error" in found:
        return f"{library}, {name}: {found['error']}: {found['said']}"
    if library not in BOUNDS:
        return ""
    off = max(found["difference"], found["told"])
    if not off <= BOUNDS[library]:
        return f"{library}, {name}: off by {off:g}"
    if found["output"] != found["expected"]:
        return f"{library}, {name}: the output is {found['output']}, expected {found['expected']}"
    return "" if found["left"] else f"{library}, {name}: the model was changed"


def compared():
    """What the file holds: versions of all packages, and of each library the models that are read,
    with their differences to two digits, and those that are refused, with the message.

    AssertionError where one is wrong.
    """
    code = f"from importlib.metadata import version; print([version(p) for p in {PACKAGES!r}])"
    told = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True).stdout
    versions = [version.partition("+")[0] for version in ast.literal_eval(told)]
    written: dict = {"versions": dict(zip(PACKAGES, versions))}
    for library in BOUNDS:
        found = outcomes(library)
        faults = [wrong(library, name, outcome) for name, outcome in found.items()]
        assert not any(faults), "\n".join(filter(None, faults))
        written[library] = {
            "read": {n: float(f"{found[n]['told']:.1e}") for n in declared(library, "read")},
            "refused": {n: found[n]["said"] for n in declared(library, "refused")},
        }
    return written
