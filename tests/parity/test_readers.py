"""Models of PyTorch, scikit-learn, Keras and ONNX files of theirs as networks, and what is refused.

The libraries are in an environment of their own: `python -m tools torch` makes it, and .ci/run
calls that. Here a part of the models is read; `python -m tools readers` reads all.
"""

import json
import re
import subprocess
from functools import cache

import model_cases
import numpy as np
import pytest
import sklearn_models
from torch_networks import NO_PYTORCH, PYTHON, ROOT

from sheaflib.networks.readers.read import read

needs_libraries = pytest.mark.skipif(not PYTHON.exists(), reason=NO_PYTORCH)

EVERY = {"torch": 6, "keras": 5, "sklearn": 1, "files": 1}  # of so many models one is read here
ALWAYS = {"torch": ["u_net", "resnet_18", "two_heads"], "keras": ["a_square_kernel", "residual"]}


def part(library, kind):
    """The models that are read here, in every run the same."""
    names = model_cases.declared(library, kind)
    chosen = {*names[:: EVERY[library]], *ALWAYS.get(library, ())}
    return [name for name in names if name in chosen]


CASES = [
    (library, name)
    for library in EVERY
    for kind in ("read", "refused")
    for name in part(library, kind)
]


@cache
def outcomes(library):
    """What comes of the part of a library's models; one call for all."""
    return model_cases.outcomes(library, [name for of, name in CASES if of == library])


@needs_libraries
@pytest.mark.parametrize("library, name", CASES)
def test_a_model_is_read_or_refused(library, name):
    """A network as close to the model as its numbers allow, and the model left as it was; or an
    error that names layer and operation.
    """
    assert model_cases.wrong(library, name, outcomes(library)[name]) == ""


@cache
def calls():
    return model_cases.outcomes("torch-calls")


@needs_libraries
@pytest.mark.parametrize("name", model_cases.declared("torch-calls", "call"))
def test_how_a_module_may_be_passed(name):
    assert model_cases.wrong("torch-calls", name, calls()[name]) == ""


@needs_libraries
def test_nodes_bear_the_names_of_the_models_layers():
    found = outcomes("torch")["resnet_18"]["nodes"]
    for name, kind in {
        "stem.0": "Convolution",
        "stem.3": "ImagePool",
        "blocks.0.conv1": "Convolution",
        "blocks.2.down.0": "Convolution",
        "blocks.2.relu": "ReLU",
        "head": "Affine",
    }.items():
        assert found[name] == kind
    found = outcomes("keras")["residual"]["nodes"]
    for name in ("stem", "first", "second", "third"):
        assert found[name] == "Convolution"
    assert found["head"] == "Affine"


def test_there_are_as_many_models_as_are_asked_for():
    """The 19 kinds that people were seen to have, and 20 more."""
    assert len(model_cases.declared("torch", "read")) >= 39
    assert len(model_cases.declared("torch", "refused")) >= 10


def test_what_readers_committed_is_of_these_models():
    said = json.loads(model_cases.FILE.read_text(encoding="utf-8"))
    for library, bound in model_cases.BOUNDS.items():
        assert list(said[library]["read"]) == model_cases.declared(library, "read")
        assert list(said[library]["refused"]) == model_cases.declared(library, "refused")
        assert max(said[library]["read"].values()) <= bound


def test_a_scaler_is_not_left_out():
    """It is the first node; without it the perceptron would say something else."""
    model, x = sklearn_models.standard_scaler(), sklearn_models.inputs(50, seed=2)
    network, alone = read(model), read(model.steps[-1][1])
    assert [node.name for node in network.nodes][:2] == ["standardscaler", "mlpclassifier.layer1"]
    assert np.abs(network(x) - model.predict_proba(x)).max() < 1e-12
    assert np.abs(alone(x) - model.predict_proba(x)).max() > 0.1


def test_the_second_of_two_classes_is_what_is_written():
    model, x = sklearn_models.two_classes_with_names(), sklearn_models.inputs(50, seed=2)
    assert list(model.classes_) == ["no", "yes"]
    assert np.abs(read(model)(x)[:, 0] - model.predict_proba(x)[:, 1]).max() < 1e-12


@needs_libraries
def test_the_example_of_the_page_on_reading_networks_runs():
    """The block of docs/your-own-network.md that reads a module of PyTorch, as it stands."""
    text = (ROOT / "docs" / "your-own-network.md").read_text(encoding="utf-8")
    (block,) = (code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    told = subprocess.run(
        [PYTHON, "-c", block], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert told.startswith("Network(x(2) -> 0(4)") and "read to" in told
