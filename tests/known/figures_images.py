"""Oracles of 01-residual-cnn and 05-channel: shapes and order written down by hand, and the energy
around the pinned state by layers written out in NumPy.
"""

import numpy as np
from figure_oracles import oracle

from sheaflib.companion.digits import digits
from sheaflib.companion.residual import residual_cnn

FULL, HALF = [4, 8, 8], [4, 4, 4]
READS = {
    "conv1": "x",
    "norm1": "conv1",
    "relu1": "norm1",
    "pool.window": "relu1",
    "pool": "pool.window",
    "conv2": "pool",
    "norm2": "conv2",
    "relu2": "norm2",
    "conv3": "relu2",
    "norm3": "conv3",
    "stack": ("norm3", "pool"),
    "add": "stack",
    "relu3": "add",
    "mean": "relu3",
    "fc": "mean",
}


@oracle("01-residual-cnn")
def _(n):
    # along one axis of 8 pixels four windows of 3, 2 apart, the first cut by the rim: 2 + 3 + 3 + 3
    copies = 4 * (2 + 3 + 3 + 3) ** 2
    assert n["stalks"] == {
        "x": [1, 8, 8],
        **dict.fromkeys(("conv1", "norm1", "relu1"), FULL),
        "pool.window": [copies],
        **dict.fromkeys(("pool", "conv2", "norm2", "relu2", "conv3", "norm3"), HALF),
        "stack": [8, 4, 4],
        **dict.fromkeys(("add", "relu3"), HALF),
        "mean": [4, 1, 1],
        "fc": [10],
    }
    assert n["new"] == ["pool.window"]
    found = {}
    for tail, head, kind in n["edges"].values():
        found.setdefault(head, []).append((tail, kind))
    kinds = {"pool": "pool", "relu": "activation", "stac": "projection"}
    expected = {}
    for head, tails in READS.items():
        kind = "affine" if head == "pool.window" else kinds.get(head[:4], "affine")
        expected[head] = [(tail, kind) for tail in np.atleast_1d(tails)]
    assert found == expected


def windows(image):
    """Of (channels, 8, 8) the pixels of each 3×3 window that are in the image, window by window."""
    for plane in image:
        for i in range(-1, 7, 2):
            for j in range(-1, 7, 2):
                yield plane[max(i, 0) : i + 3, max(j, 0) : j + 3].ravel()


def convolved(kernel, image):
    """A convolution with padding 1, pixel by pixel."""
    around = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    height, width = image.shape[1:]
    return np.array(
        [
            [
                [(own * around[:, i : i + 3, j : j + 3]).sum() for j in range(width)]
                for i in range(height)
            ]
            for own in kernel
        ]
    )


def layers(network, x):
    """name -> what the layer computes of a dict of stalks, in NumPy, but for the numbers of the
    batch normalisations, which are affine in each channel.
    """
    made = {node.name: node.operation for node in network.nodes}

    def kernel(name):
        return made[name].parameters["kernel"]

    def norm(name, a):
        flat = np.zeros((2, a.size))
        flat[1] = a.ravel()
        return made[name].value(flat)[1].reshape(a.shape)

    sizes = [len(own) for own in windows(np.zeros(FULL))]
    ends = np.cumsum(sizes)[:-1]
    fc = made["fc"].parameters
    return {
        "conv1": lambda w: convolved(kernel("conv1"), x),
        "norm1": lambda w: norm("norm1", w["conv1"]),
        "relu1": lambda w: np.maximum(w["norm1"], 0),
        "pool.window": lambda w: np.concatenate(list(windows(w["relu1"]))),
        "pool": lambda w: np.array([p.max() for p in np.split(w["pool.window"], ends)]),
        "conv2": lambda w: convolved(kernel("conv2"), w["pool"]),
        "norm2": lambda w: norm("norm2", w["conv2"]),
        "relu2": lambda w: np.maximum(w["norm2"], 0),
        "conv3": lambda w: convolved(kernel("conv3"), w["relu2"]),
        "norm3": lambda w: norm("norm3", w["conv3"]),
        "stack": lambda w: np.concatenate([w["norm3"], w["pool"]]),
        "add": lambda w: w["stack"][:4] + w["stack"][4:],
        "relu3": lambda w: np.maximum(w["add"], 0),
        "mean": lambda w: w["relu3"].mean(axis=(1, 2)),
        "fc": lambda w: fc["weight"] @ w["mean"].ravel() + fc["bias"],
    }


def energy(computed, w):
    """Half of the total discord."""
    return sum(
        0.5 * ((w[name].ravel() - layer(w).ravel()) ** 2).sum() for name, layer in computed.items()
    )


@oracle("05-channel")
def _(n):
    """The pinned channel is one unit up, and no other small move lowers the energy; what lies
    downstream has no discord.
    """
    x = digits(1)[0].reshape(1, 8, 8)
    np.testing.assert_array_equal(np.array(n["image"]), x[0])
    network = residual_cnn(np.random.default_rng(0)).separated()
    computed, calm = layers(network, x), {}
    for name, layer in computed.items():
        calm[name] = layer(calm)
        calm[name] = calm[name].reshape(np.shape(n[name]))
    w = {name: calm[name] + np.array(n[name]) for name in computed}
    assert n["pinned"] == ["conv2", 1]
    np.testing.assert_allclose(np.array(n["conv2"])[1], 1, rtol=0, atol=1e-9)
    left = {name: abs(w[name].ravel() - layer(w).ravel()).max() for name, layer in computed.items()}
    names = list(computed)
    downstream = names[names.index("conv2") + 1 :]
    assert max(left[name] for name in downstream) < 1e-7
    assert min(left[name] for name in names if name not in downstream) > 0.01
    least, rng = energy(computed, w), np.random.default_rng(1)
    for k in range(200):
        size = 10.0 ** -rng.integers(1, 4)
        moved = {
            name: part + size * rng.standard_normal(part.shape) * (rng.random(part.shape) < 0.1)
            for name, part in w.items()
        }
        moved["conv2"][1] = w["conv2"][1]
        assert energy(computed, moved) > least
    for name in ("conv1", "relu1", "pool"):  # what no selection reads, so V has a gradient
        flat = rng.integers(w[name].size, size=6)
        for place in flat:
            up, down = dict(w), dict(w)
            for other, sign in ((up, 1), (down, -1)):
                part = w[name].copy()
                part.ravel()[place] += sign * 1e-5
                other[name] = part
            ends = [energy(computed, other) for other in (up, down)]
            assert min(ends) > least
            assert abs(ends[0] - ends[1]) < 1e-8  # ∂V/∂w · 2e-5
