"""The network of notebook 14, as it is committed: what its script says of it holds, and it tells
nothing of the machine that it was made on. It is not trained again.
"""

import ast
import re
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_digits

from sheaflib import NeuralSheaf
from sheaflib.networks.readers.read import read

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
FILE, SCRIPT = NOTEBOOKS / "14-digits-cnn.onnx", NOTEBOOKS / "14-digits-cnn.py"
MODEL = onnx.load(FILE)


def settings():
    """The numbers that the script gives names to."""
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }


def kept_images():
    """The images that the script keeps for the test, (n, 64), and their labels."""
    images, labels = load_digits(return_X_y=True)
    kept = np.random.default_rng(0).permutation(len(images))[: settings()["TEST"]]
    return images[kept] / 16, labels[kept]


def test_it_was_made_with_the_settings_of_its_script():
    told = {entry.key: entry.value for entry in MODEL.metadata_props}
    said = settings()
    assert told["seed"] == str(said["SEED"]) and told["epochs"] == str(said["EPOCHS"])
    assert told["test images"] == str(said["TEST"])


def test_it_is_as_accurate_as_it_says():
    images, labels = kept_images()
    inputs = {"image": images.reshape(-1, 1, 8, 8).astype(np.float32)}
    (found,) = ReferenceEvaluator(MODEL).run(None, inputs)
    right = (found.argmax(axis=1) == labels).mean()
    told = {entry.key: entry.value for entry in MODEL.metadata_props}
    assert right >= 0.97 and abs(right - float(told["test accuracy"])) <= 1 / len(labels)


def test_it_is_a_residual_network_with_a_pool_and_a_softmax_for_any_number_of_images():
    kinds = [node.op_type for node in MODEL.graph.node]
    assert {"Conv", "MaxPool", "Add", "Relu", "Gemm"} <= set(kinds) and kinds[-1] == "Softmax"
    (given,) = MODEL.graph.input
    sides = [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim]
    assert sides == ["batch", 1, 8, 8] and FILE.stat().st_size < 300_000


def test_it_names_no_place():
    assert not re.search(rb"/(root|home|tmp|usr|work)|site-packages|\.py\W*line", FILE.read_bytes())


def test_it_is_read_with_the_names_of_its_layers():
    network = read(FILE)
    names = [node.name for node in network.nodes]
    for name in ("stem", "block1.conv1", "block1.conv2", "pool", "block2.conv1", "head"):
        assert name in names
    assert network.difference < 1e-5 and network.output.name == "softmax"
    assert 3000 <= NeuralSheaf(network.separated()).N <= 10_000
    images, labels = kept_images()
    assert (network(images).argmax(axis=1) == labels).mean() >= 0.97
