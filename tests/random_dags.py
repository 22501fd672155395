"""Random feedforward DAGs of every operation, drawn by a seeded generator, and what a reader of
another kind needs to compute them: `described`.

Numbers are of order one, and so are stalks and gradients. Images keep their shape (channels,
height, width) from node to node, so that convolutions and pools can follow each other; every other
operation reads them flattened. Each node reads one or two earlier stalks, most often the last.
"""

import math

import numpy as np
import scipy.sparse as sparse

from sheaflib import Affine, Clamp, MaxPool, Network, PReLU, ReLU, Stack
from sheaflib.layers import add, average_pool, batch_norm, convolution, max_pool

WIDEST = 60  # coordinates of a stalk
OUTPUTS = ("identity", "sigmoid", "softmax")


def dense(rng, shape):
    n, m = math.prod(shape), int(rng.integers(2, 7))
    return Affine(rng.standard_normal((m, n)) / np.sqrt(n), rng.standard_normal(m) / 2), (m,)


def scattered(rng, shape):
    """A sparse map that stores some zeros too."""
    n, m = math.prod(shape), int(rng.integers(2, 7))
    rows, columns = np.nonzero(rng.random((m, n)) < 0.6)
    entries = rng.standard_normal(len(rows)) / np.sqrt(n) * (rng.random(len(rows)) < 0.9)
    weight = sparse.csr_array((entries, (rows, columns)), shape=(m, n))
    return Affine(weight, rng.standard_normal(m) / 2), (m,)


def relu(rng, shape):
    return ReLU(math.prod(shape)), shape


def leaky(rng, shape):
    return ReLU(math.prod(shape), float(rng.choice([0.2, -0.5, -1.0]))), shape


def prelu(rng, shape):
    """A slope a channel, or one for all."""
    channels = shape[0] if rng.random() < 0.7 else 1
    return PReLU(math.prod(shape), rng.uniform(-0.5, 0.8, channels)), shape


def clamp(rng, shape):
    """Two bounds, or one of them."""
    low, high = sorted(rng.uniform(-1, 1.5, 2).tolist())
    kind = rng.integers(4)
    bounds = (low if kind != 1 else -math.inf), (high + 0.1 if kind != 2 else math.inf)
    return Clamp(math.prod(shape), *bounds), shape


def pool(rng, shape):
    """Windows anywhere: some overlap, some hold an entry twice."""
    n, m = math.prod(shape), int(rng.integers(2, 6))
    return MaxPool(rng.integers(0, n, size=(m, int(rng.integers(1, 5)))), n), (m,)


def summed(rng, shape):
    """The sum of the two halves of what is read, where there are two."""
    n = math.prod(shape)
    return (add(n // 2), (n // 2,)) if n % 2 == 0 else None


def convolved(rng, shape):
    if len(shape) != 3:
        return None
    c_out, sides = int(rng.integers(1, 4)), rng.integers(1, 4, size=2).tolist()
    stride, padding = int(rng.integers(1, 3)), int(rng.integers(0, 2))
    if min(n + 2 * padding - k for n, k in zip(shape[1:], sides)) < 0:
        return None
    kernel = rng.standard_normal((c_out, shape[0], *sides)) / np.sqrt(shape[0] * math.prod(sides))
    bias = rng.standard_normal(c_out) / 2
    return convolution(kernel, shape, bias, stride=stride, padding=padding)


def normed(rng, shape):
    n = shape[0]
    scale, shift, mean = rng.standard_normal((3, n))
    return batch_norm(
        scale, shift, mean, rng.uniform(0.5, 2, n), pixels=math.prod(shape[1:])
    ), shape


def pooled(kind, rng, shape):
    if len(shape) != 3:
        return None
    size = int(rng.integers(1, 4))
    return kind(shape, size, int(rng.integers(1, 3))) if size <= min(shape[1:]) else None


def averaged(rng, shape):
    return pooled(average_pool, rng, shape)


def topped(rng, shape):
    return pooled(max_pool, rng, shape)


# how a node is made: a function of a generator and of the shape that is read -> the operation and
# the shape that it writes, None where it cannot read such a shape
KINDS = {
    "dense": dense,
    "sparse": scattered,
    "relu": relu,
    "leaky": leaky,
    "prelu": prelu,
    "clamp": clamp,
    "pool": pool,
    "add": summed,
    "convolution": convolved,
    "batch norm": normed,
    "average pool": averaged,
    "max pool": topped,
    "stack": None,
}
OF_IMAGES = ("convolution", "batch norm", "average pool", "max pool")


def random_dag(rng, kinds=tuple(KINDS), most=9, outputs=OUTPUTS, image=0.6):
    """A network of up to `most` nodes after an affine one, on images or on vectors.

    kinds: which of KINDS are drawn; image: how often the input is an image.
    """
    if rng.random() < image:
        start = (int(rng.integers(1, 3)), *rng.integers(3, 6, size=2).tolist())
    else:
        start = (int(rng.integers(2, 6)),)
    shapes, nodes = {"x": start}, []
    first = "convolution" if len(start) == 3 and "convolution" in kinds else "dense"
    for k in range(int(rng.integers(2, most + 1))):
        names, order = list(shapes), rng.permutation(kinds).tolist()
        if rng.random() < 0.5:
            order.sort(key=lambda kind: kind not in OF_IMAGES)
        for kind in [first] if k == 0 else order:
            tails = [names[-1] if rng.random() < 0.9 else str(rng.choice(names))]
            if kind == "stack":
                tails.append(str(rng.choice(names)))
                found = stacked([shapes[name] for name in tails])
            else:
                found = KINDS[kind](rng, shapes[tails[0]])
            if found and math.prod(found[1]) <= WIDEST:
                break
        else:  # none of the kinds can read it
            found = dense(rng, shapes[tails[0]])
            tails = tails[:1]
        operation, shape = found
        name = f"{kind} {k}"
        nodes.append((name, operation, tails))
        shapes[name] = shape
    if not isinstance(operation, Affine):
        nodes.append(("last", dense(rng, shape)[0], name))
    output = str(rng.choice(outputs))
    return Network(math.prod(start), nodes, output)


def stacked(shapes):
    """Stalks side by side: images of one size keep their shape."""
    operation = Stack(*(math.prod(shape) for shape in shapes))
    if all(len(shape) == 3 for shape in shapes) and len({shape[1:] for shape in shapes}) == 1:
        return operation, (sum(shape[0] for shape in shapes), *shapes[0][1:])
    return operation, (operation.n_out,)


def kinds_of(network):
    """The kinds that the names of a network's nodes tell."""
    return {node.name.rpartition(" ")[0] for node in network.nodes} - {""}


# for a reader of another kind
# --------------------------------------------------------------------------------------------------


def described(network):
    """A network as steps, which JSON can hold, and arrays by name.

    A step has the name, the inputs, the kind and the numbers of a node; the arrays of node k are
    called "k.weight" and so on. The weight of a sparse map is written out, with "stored", which is
    1 where it may change.
    """
    steps, arrays = [], {}
    for k, node in enumerate(network.nodes):
        kind, numbers, own = _step(node.operation)
        steps.append(
            {
                "name": node.name,
                "inputs": list(node.inputs),
                "kind": kind,
                "parameters": sorted(network.parameters.get(node.name, ())),
                **numbers,
            }
        )
        arrays |= {f"{k}.{name}": value for name, value in own.items()}
    return steps, arrays


def _step(operation):
    """The kind, the numbers and the arrays of an operation."""
    if isinstance(operation, ReLU):
        return "relu", {"slope": operation.slope}, {}
    if isinstance(operation, PReLU):
        return "prelu", {}, {"slope": operation.slope}
    if isinstance(operation, Clamp):
        return "clamp", {"low": operation.low, "high": operation.high}, {}
    if isinstance(operation, MaxPool):
        return "pool", {}, {"windows": operation.windows}
    if isinstance(operation, Stack):
        return "stack", {}, {}
    own = {"weight": operation.weight, "bias": operation.bias}
    if sparse.issparse(operation.weight):
        own |= {"weight": operation.weight.toarray(), "stored": stored(operation.weight)}
    return "affine", {}, own


def stored(weight):
    """1 where a sparse matrix stores an entry, which may be zero, and 0 elsewhere."""
    ones = np.ones_like(weight.data)
    return sparse.csr_array((ones, weight.indices, weight.indptr), weight.shape).toarray()


def written_out(value, like):
    """A parameter or its gradient as an array; of a sparse one the entries that are stored in
    `like`, zero elsewhere.
    """
    if not sparse.issparse(like):
        return np.asarray(value)
    full = value.toarray() if sparse.issparse(value) else np.asarray(value)
    return np.where(stored(like) != 0, full, 0)
