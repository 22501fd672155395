"""Files of ONNX for test_readers.py: networks that are trained here and written by PyTorch,
skl2onnx and Keras, held against onnxruntime; and files that would be read wrong in silence.
"""

import io
import os
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

os.environ["KERAS_BACKEND"] = "torch"
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from model_marks import marks  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from torch import nn  # noqa: E402


class File(NamedTuple):
    """The bytes of a file, which of its outputs is read (None for its one), and inputs for it."""

    content: bytes
    output: str | None
    x: np.ndarray


READ, REFUSED, read, refused = marks()


def run(file):
    """What onnxruntime makes of a file's inputs."""
    session = onnxruntime.InferenceSession(file.content, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    kind = np.float64 if given.type == "tensor(double)" else np.float32
    names = [file.output or session.get_outputs()[0].name]
    rows = given.shape[0] if isinstance(given.shape[0], int) else len(file.x)
    parts = [file.x[k : k + rows].astype(kind) for k in range(0, len(file.x), rows)]
    return np.concatenate([session.run(names, {given.name: part})[0] for part in parts])


def digits():
    """Images (n, 64) and labels."""
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels


def trained_in_pytorch():
    """A small network with batch norm, pooling and a skip connection, after three epochs."""
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
            self.conv = nn.Conv2d(6, 6, 3, padding=1)
            self.pool = nn.MaxPool2d(3, 2, 1)
            self.head = nn.Linear(96, 10)

        def forward(self, x):
            a = torch.relu(self.stem(x))
            return self.head(self.pool(torch.relu(a + self.conv(a))).flatten(1))

    model, (images, labels) = Net(), digits()
    x, y = torch.tensor(images).reshape(-1, 1, 8, 8), torch.tensor(labels)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(3):
        for rows in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model.eval(), x


@read("identity")
def written_by_pytorch():
    model, x = trained_in_pytorch()
    free = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.onnx.export(model, (x[:2],), dynamo=True, dynamic_shapes=free, verbose=False)
    return File(program.model_proto.SerializeToString(), None, x[:50].numpy())


@read("identity")
def written_by_the_old_exporter_of_pytorch():
    model, x = trained_in_pytorch()
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (x[:2],),
            stream,
            dynamo=False,
            input_names=["image"],
            dynamic_axes={"image": {0: "batch"}},
        )
    return File(stream.getvalue(), None, x[:50].numpy())


@read("softmax")
def written_by_skl2onnx():
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, labels = digits()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp = MLPClassifier(hidden_layer_sizes=(32,), max_iter=20, random_state=0)
        model = make_pipeline(StandardScaler(), mlp).fit(images, labels)
    options = {id(model): {"zipmap": False}}
    proto = to_onnx(model, images[:1], options=options, target_opset=17)
    return File(proto.SerializeToString(), "probabilities", images[:50])


@read("softmax")
def written_by_keras():
    import keras

    keras.utils.set_random_seed(0)
    images, labels = digits()
    x = images.reshape(-1, 8, 8, 1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(6, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, labels, epochs=2, batch_size=128, verbose=0)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "model.onnx"
        model.export(str(file), format="onnx", verbose=False)
        return File(file.read_bytes(), None, x[:50])


# ------------------------------------------------------------------------ what could go wrong


def made(nodes, constants, outputs, n=4):
    """A file with the input x (batch, n) and these nodes, constants and outputs of two axes."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["batch", n])],
        [helper.make_tensor_value_info(o, TensorProto.DOUBLE, None) for o in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def layers(seed=0):
    """A hidden layer, a head, and a layer after it, with their weights."""
    rng = np.random.default_rng(seed)
    constants = {"A": rng.standard_normal((4, 5)), "B": rng.standard_normal((5, 3))}
    constants["C"] = rng.standard_normal((3, 3))
    nodes = [
        helper.make_node("MatMul", ["x", "A"], ["z"], name="hidden"),
        helper.make_node("Relu", ["z"], ["a"], name="relu"),
        helper.make_node("MatMul", ["a", "B"], ["y"], name="head"),
    ]
    return nodes, constants, rng.standard_normal((20, 4))


@read("identity")
def a_branch_left_after_the_head():
    nodes, constants, x = layers()
    nodes += [helper.make_node("MatMul", ["y", "C"], ["left"], name="left")]
    return File(made(nodes, constants, ["y"]), None, x)


@read("identity")
def one_of_two_heads():
    nodes, constants, x = layers()
    nodes += [helper.make_node("MatMul", ["y", "C"], ["other"], name="other")]
    return File(made(nodes, constants, ["y", "other"]), "y", x)


@refused("y, other", "output=")
def two_heads():
    nodes, constants, x = layers()
    nodes += [helper.make_node("MatMul", ["y", "C"], ["other"], name="other")]
    return File(made(nodes, constants, ["y", "other"]), None, x)


@refused("Tanh", "bend", "piecewise affine")
def tanh_classifier():
    nodes, constants, x = layers()
    nodes[1] = helper.make_node("Tanh", ["z"], ["a"], name="bend")
    nodes += [helper.make_node("Softmax", ["y"], ["p"], name="softmax")]
    return File(made(nodes, constants, ["p"]), None, x)


@refused("Dropout", "drop", "training")
def dropout_in_training_mode():
    nodes, constants, x = layers()
    constants |= {"ratio": np.array(0.5), "training": np.array(True)}
    nodes[1:1] = [helper.make_node("Dropout", ["z", "ratio", "training"], ["d"], name="drop")]
    nodes[2] = helper.make_node("Relu", ["d"], ["a"], name="relu")
    return File(made(nodes, constants, ["y"]), None, x)


@refused("Mul", "gate", "sigmoid")
def a_gate():
    nodes, constants, x = layers()
    nodes += [
        helper.make_node("Sigmoid", ["y"], ["g"], name="sigmoid"),
        helper.make_node("Mul", ["y", "g"], ["o"], name="gate"),
    ]
    return File(made(nodes, constants, ["o"]), None, x)


@refused("Softmax", "along the batch axis")
def softmax_along_the_batch():
    nodes, constants, x = layers()
    nodes += [helper.make_node("Softmax", ["y"], ["p"], name="softmax", axis=0)]
    return File(made(nodes, constants, ["p"]), None, x)
