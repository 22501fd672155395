"""A network with every operation, in a file that version 0.1 wrote too, and files taken apart and
put together.
"""

import io
import json
from pathlib import Path

import numpy as np
import scipy.sparse as sparse

from sheaflib import Affine, MaxPool, Network, ReLU, Stack

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
