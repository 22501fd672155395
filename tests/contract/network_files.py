"""A network with every operation, in a file that version 0.1 wrote too, and files taken apart and
put together.
"""

import io
import json
from pathlib import Path

import numpy as np
import scipy.sparse as sparse

from sheaflib import Affine, Clamp, MaxPool, Network, PReLU, ReLU, Stack, layers
from sheaflib.networks.gather import Gather, Scatter

W = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 1.0, -1.0], [0.5, 0.0, 1.0]])
NET = Network(
    3,
    [
        ("z1", Affine(W, [0.0, 1.0, -1.0, 0.5])),
        ("a1", ReLU(4, 0.1)),
        ("m", MaxPool([[0, 1], [2, 3]], 4)),
        ("p", Stack(2, 3), ("m", "x")),
        ("z2", Affine(sparse.csr_array([[1.0, 0, 2, 0, 0], [0, 0, 0, 3, 4]]))),
    ],
    "softmax",
)
# one of each kind that only files of version 3 hold
RNG = np.random.default_rng(0)
FIRST, SHAPE = layers.convolution(
    RNG.standard_normal((4, 1, 3, 2)), (2, 5, 6), [1.0, 2.0, 3.0, 4.0], 1, "same", (1, 2), 2
)
POOL, POOLED = layers.max_pool(SHAPE, 3, 2, 1)
BACK, WIDE = layers.transposed(RNG.standard_normal((4, 3, 2, 2)), POOLED, stride=2)
MEAN, SMALL = layers.average_pool(WIDE, 3, 2, 1, True, False)
LAYERS = Network(
    60,
    [
        ("z1", FIRST),
        ("a1", PReLU(FIRST.n_out, [0.1, 0.2, 0.3, 0.4])),
        ("m1", POOL),
        ("z2", BACK),
        ("a2", Clamp(BACK.n_out, 0.0, 6.0)),
        ("m2", MEAN),
        ("n2", layers.batch_norm([1.0, 2, 3], [1, 1, 1], [0, 1, 2], [1, 2, 3], 0.1, 16)),
        ("a3", Clamp(MEAN.n_out, -0.5, float("inf"))),
        ("p", Stack(48, 48), ("n2", "a3")),
        ("s", layers.add(48)),
        ("g", Gather(np.arange(48)[::-1], 48)),
        ("t", Scatter(np.arange(1, 49), np.full(50, 0.5))),
    ],
)
X = np.array([[1.0, 2.0, -1.0], [0.5, -3.0, 2.0]])
# NET.save of sheaflib 0.1
OLD = Path(__file__).with_name("network-0.1.npz").read_bytes()


def bytes_of(network):
    """The file of a network."""
    file = io.BytesIO()
    network.save(file)
    return file.getvalue()


def parts_of(content):
    """The header of a file, and its arrays by the names of its parts."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop("network"))), arrays


def file_of(header, arrays):
    """The file that holds them; None is left out, a header that is an array is written as it is."""
    if header is not None and not isinstance(header, np.ndarray):
        header = np.array(json.dumps(header))
    parts = {"network": header, **arrays}
    file = io.BytesIO()
    np.savez(file, **{name: array for name, array in parts.items() if array is not None})
    return file.getvalue()
