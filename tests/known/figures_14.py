"""Oracles of notebook 14's figures: the network written down by hand from its script, with the
weights of its file, in NumPy.
"""

from functools import cache

import numpy as np
import onnx
from figure_oracles import ROOT, close, oracle
from onnx import numpy_helper
from scipy.signal import correlate
from scipy.special import log_softmax
from sklearn.datasets import load_digits

from sheaflib import Affine, Network, NeuralSheaf, equilibrium, hard, read

FILE = ROOT / "notebooks" / "14-digits-cnn.onnx"
FULL, HALF = (8, 8, 8), (16, 4, 4)
AROUND = ((0, 0), (1, 1), (1, 1))
DRAWS = 3  # of flipped labels
# layer -> what it reads, the kind of its edges, and the shape that it writes
LAYERS = {
    "stem": (("x",), "affine", FULL),
    "relu": (("stem",), "activation", FULL),
    "block1.conv1": (("relu",), "affine", FULL),
    "block1.relu1": (("block1.conv1",), "activation", FULL),
    "block1.conv2": (("block1.relu1",), "affine", FULL),
    "block1.add.stack": (("block1.conv2", "relu"), "projection", (16, 8, 8)),
    "block1.add": (("block1.add.stack",), "affine", FULL),
    "block1.relu2": (("block1.add",), "activation", FULL),
    "pool.window": (("block1.relu2",), "affine", (512,)),
    "pool": (("pool.window",), "pool", (8, 4, 4)),
    "block2.conv1": (("pool",), "affine", HALF),
    "block2.relu1": (("block2.conv1",), "activation", HALF),
    "block2.conv2": (("block2.relu1",), "affine", HALF),
    "block2.shortcut": (("pool",), "affine", HALF),
    "block2.add.stack": (("block2.conv2", "block2.shortcut"), "projection", (32, 4, 4)),
    "block2.add": (("block2.add.stack",), "affine", HALF),
    "block2.relu2": (("block2.add",), "activation", HALF),
    "head": (("block2.relu2",), "affine", (10,)),
}


@cache
def weights():
    """The arrays of the file in double precision, by their names."""
    model = onnx.load(FILE)
    return {t.name: numpy_helper.to_array(t).astype(float) for t in model.graph.initializer}


def convolved(name, image):
    """A convolution (channels, height, width) that keeps height and width."""
    kernel = weights()[f"{name}.weight"]
    bias = weights()[f"{name}.bias" if f"{name}.bias" in weights() else f"{name}.weight_bias"]
    wide = np.pad(image, AROUND) if kernel.shape[-1] == 3 else image
    return np.array([correlate(wide, own, "valid")[0] + b for own, b in zip(kernel, bias)])


def windows(image):
    """The pixels of the 2 × 2 windows, window by window: (windows, 4)."""
    channels, height, width = image.shape
    parts = image.reshape(channels, height // 2, 2, width // 2, 2)
    return parts.transpose(0, 1, 3, 2, 4).reshape(-1, 4)


def computed(name, reads):
    """What a layer makes of the stalks that it reads."""
    own = reads[0]
    last = name.rpartition(".")[2]
    if last in ("stem", "conv1", "conv2", "shortcut"):
        return convolved(name, own)
    if last.startswith("relu"):
        return np.maximum(own, 0)
    if last == "stack":
        return np.concatenate(reads)
    if last == "add":
        return own[: len(own) // 2] + own[len(own) // 2 :]
    if name == "pool.window":
        return windows(own).ravel()
    if name == "pool":
        return own.reshape(-1, 4).max(axis=1)
    assert name == "head"
    return weights()["head.weight"] @ own.ravel() + weights()["head.bias"]


def forward(x):
    """All stalks of an image (64,)."""
    w = {"x": x.reshape(1, 8, 8)}
    for name, (reads, _, shape) in LAYERS.items():
        w[name] = computed(name, [w[read] for read in reads]).reshape(shape)
    return w


def test_images():
    """The images (500, 64) and labels that the script keeps for the test."""
    images, labels = load_digits(return_X_y=True)
    kept = np.random.default_rng(0).permutation(1797)[:500]
    return images[kept] / 16, labels[kept]


test_images.__test__ = False


@oracle("14-sheaf")
def _(n):
    stalks = {name: list(shape) for name, (_, _, shape) in LAYERS.items()}
    assert n["stalks"] == {"x": [1, 8, 8], **stalks}
    assert n["new"] == ["pool.window"]
    found = {}
    for tail, head, kind in n["edges"].values():
        found.setdefault(head, []).append((tail, kind))
    assert found == {
        name: [(tail, kind) for tail in reads] for name, (reads, kind, _) in LAYERS.items()
    }


def energies(w, x, label):
    """The discord of every layer, and the energy, of the stalks w of an image (64,), which are
    computed from w["image"] where that is there; the class `label` is pinned.
    """
    first = w.get("image", x).reshape(1, 8, 8)
    left = {"image": ((first.ravel() - x) ** 2).sum()} if "image" in w else {}
    for name, (reads, _, _) in LAYERS.items():
        made = computed(name, [first if read == "x" else w[read] for read in reads])
        left[name] = ((w[name].ravel() - made.ravel()) ** 2).sum()
    cost = -log_softmax(w["head"])[label]
    energy = sum(left.values()) / 2 + cost
    off = np.eye(10)[label] - np.exp(log_softmax(w["head"]))
    return left | {"a_out": (off**2).sum()}, energy


@oracle("14-pinned-label")
def _(n):
    """Both states are minima of an energy written out by hand, and their discords are those."""
    images, labels = test_images()
    x, label = images[0], 8
    assert labels[0] != label
    close(n["image"], x)
    network = read(FILE).separated()
    nodes = [("image", Affine(np.eye(64)), "x")]
    for node in network.nodes:
        reads = ["image" if name == "x" else name for name in node.inputs]
        nodes.append((node.name, node.operation, reads))
    free = Network(64, nodes, "softmax")
    for made, name in ((network, "held"), (free, "loose")):
        sheaf = NeuralSheaf(made)
        rest = equilibrium(sheaf, x[None], pins=hard("a_out", np.eye(10)[[label]]))
        flat = sheaf.layout.split(rest.cochain[0, : sheaf.N])
        w = {layer: flat[layer].reshape(shape) for layer, (_, _, shape) in LAYERS.items()}
        if name == "loose":
            close(n["moved"], flat["image"], rtol=1e-6, atol=1e-8)
            w["image"] = flat["image"]
        left, least = energies(w, x, label)
        assert set(n[name]) == set(left)
        for layer, own in left.items():
            close(n[name][layer], own, rtol=1e-5)
        rng = np.random.default_rng(1)
        for _ in range(60):
            size = 10.0 ** -rng.integers(2, 5)
            near = {
                layer: part
                + size * rng.standard_normal(part.shape) * (rng.random(part.shape) < 0.1)
                for layer, part in w.items()
            }
            assert energies(near, x, label)[1] > least
        up, down = (w | {"head": w["head"] + sign * 1e-5 * np.eye(10)[3]} for sign in (1, -1))
        ends = [energies(other, x, label)[1] for other in (up, down)]
        assert min(ends) > least and abs(ends[0] - ends[1]) < 1e-9  # ∂V/∂head · 2e-5


def flipped(labels, draw):
    """The labels with 5 % replaced by another digit, and which those are."""
    chance = np.random.default_rng(draw)
    at = chance.choice(500, 25, replace=False)
    given = labels.copy()
    given[at] = (labels[at] + chance.integers(1, 10, 25)) % 10
    return given, given != labels


def places(score, wrong, lengths):
    """How many of the wrong ones are among so many of the highest scores."""
    order = np.argsort(-score, kind="stable")
    return [wrong[order[:length]].sum() for length in lengths]


@oracle("14-flips")
def _(n):
    """Losses by a forward pass of our own, and discord within what they allow; five flipped labels,
    and the second draw, solved again.
    """
    images, labels = test_images()
    logs = np.array([log_softmax(forward(x)["head"]) for x in images])
    given, wrong = flipped(labels, 0)
    loss, discord = -logs[np.arange(500), given], np.array(n["discord"])
    close(n["loss"], loss, rtol=1e-6)
    assert n["flipped"] == wrong.astype(int).tolist()
    assert n["lengths"] == list(range(1, 76))
    # at rest the energy is at most that of the forward pass, and the output edge's ‖y − p‖² is at
    # most twice its cross-entropy
    assert (discord <= 2 * loss * (1 + 1e-6) + 1e-9).all()
    sheaf = NeuralSheaf(read(FILE).separated())

    def solved(at, classes):
        rest = equilibrium(sheaf, images[at], pins=hard("a_out", np.eye(10)[classes[at]]))
        assert rest.converged.all()
        return (sheaf.discrepancy(rest.cochain, images[at]) ** 2).sum(axis=1)

    some = np.flatnonzero(wrong)[:5]
    close(discord[some], solved(some, given), rtol=1e-3)
    assert n["found"]["discord"][0] == places(discord, wrong, n["lengths"])
    own, flips = flipped(labels, 1)
    score, other = discord.copy(), np.flatnonzero(own != given)
    score[other] = solved(other, own)
    assert n["found"]["discord"][1] == places(score, flips, n["lengths"])
    for draw in range(DRAWS):
        own, flips = flipped(labels, draw)
        cost = -logs[np.arange(500), own]
        assert n["found"]["loss"][draw] == places(cost, flips, n["lengths"])
