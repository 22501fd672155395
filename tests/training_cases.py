"""Training problems drawn by hypothesis or by hand, and how two states of training are compared."""

from itertools import islice
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from sheaflib import Affine, Network, NeuralSheaf, ReLU, hard, soft

OUTPUTS = ("identity", "sigmoid", "softmax")


class Problem(NamedTuple):
    """What `joint_flow` takes first: a sheaf, inputs (B, n_0), labels (B, n_out), stalks (B, N)."""

    sheaf: NeuralSheaf
    x: np.ndarray
    y: np.ndarray
    start: np.ndarray


def chain(dims, rng, output="identity", slopes=None, scale=1.0):
    """A chain with random weights (He, times `scale`), random biases and any slopes of its
    ReLUs.
    """
    nodes = []
    for layer, (m, n) in enumerate(zip(dims, dims[1:]), start=1):
        nodes += [
            (
                f"z{layer}",
                Affine(
                    scale * rng.standard_normal((n, m)) * np.sqrt(2 / m),
                    0.3 * rng.standard_normal(n),
                ),
            ),
            (f"a{layer}", ReLU(n, slopes[layer - 1] if slopes and layer < len(dims) - 1 else 0.0)),
        ]
    return Network(dims[0], nodes[:-1], output)


def labels(output, rng, n_batch, n_out):
    """Random labels that this output takes."""
    if output == "softmax":
        return np.eye(n_out)[rng.integers(0, n_out, n_batch)]
    return (
        rng.standard_normal((n_batch, n_out))
        if output == "identity"
        else rng.integers(0, 2, (n_batch, n_out)).astype(float)
    )


def pose(network, rng, n_batch=5, weighted=False):
    """A problem on a network: random inputs, labels and stalks; `weighted`: edge weights between ½
    and 2.
    """
    sheaf = NeuralSheaf(network)
    if weighted:
        sheaf = NeuralSheaf(network, {e.name: rng.uniform(0.5, 2) for e in sheaf.edges})
    y = labels(network.output.name, rng, n_batch, network.n_out)
    return Problem(
        sheaf,
        rng.standard_normal((n_batch, network.n_in)),
        y,
        rng.standard_normal((n_batch, sheaf.N)),
    )


@st.composite
def problems(
    draw,
    batches=(1, 2, 5),
    outputs=OUTPUTS,
    widest=9,
    deepest=4,
    slopes=(0.0, 0.0, 0.2, 1.0, -0.5),
    weighted=True,
):
    """A problem on a chain of 1 … `deepest` affine layers; hypothesis draws its shape, a seeded
    generator its numbers.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dims = [
        draw(st.integers(1, 3)),
        *draw(st.lists(st.integers(1, widest), max_size=deepest - 1)),
        draw(st.integers(1, 5)),
    ]
    network = chain(
        dims, rng, draw(st.sampled_from(outputs)), [draw(st.sampled_from(slopes)) for _ in dims]
    )
    return pose(network, rng, draw(st.sampled_from(batches)), weighted and draw(st.booleans()))


def random_pins(problem, rng, least=0):
    """Hard and soft pins on some stalks, whole or in part, one row a sample or shared."""
    pins, layout = [], problem.sheaf.layout
    for name in rng.choice(
        layout.names, size=rng.integers(least, min(3, len(layout.names)) + 1), replace=False
    ):
        width = layout[name].stop - layout[name].start
        if rng.random() < 0.5:
            pins.append(
                hard(
                    name,
                    rng.standard_normal((len(problem.x), width)) if rng.random() < 0.5 else 0.5,
                )
            )
        else:
            pins.append(soft(name, rng.standard_normal(width), gamma=rng.choice([0.3, 2.0])))
            pins.append(
                hard(name, -0.2, at=0) if rng.random() < 0.3 else soft(name, 1.0, gamma=0.5, at=-1)
            )
    return pins


def nth(states, n):
    """The n-th yield, the start being the 0-th."""
    return next(islice(states, n, None))


def theta(network):
    """All parameters as one flat array."""
    return gradients(network.parameters)


def gradients(found):
    """Gradients, node -> parameter -> array, as one flat array in the order of `theta`."""
    parts = [part for own in found.values() for part in own.values()]
    return np.concatenate(
        [np.ravel(part.data if hasattr(part, "indptr") else part) for part in parts]
    )


def gap(one, other):
    """The largest difference of two states in stalks and weights."""
    return max(
        abs(one.stalks - other.stalks).max(), abs(theta(one.network) - theta(other.network)).max()
    )


def assert_same_bits(one, other):
    """Two states agree bit for bit, in stalks, weights and clock."""
    np.testing.assert_array_equal(one.stalks, other.stalks)
    np.testing.assert_array_equal(theta(one.network), theta(other.network))
    assert (one.record.step, one.record.time) == (other.record.step, other.record.time)
