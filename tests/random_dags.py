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
from sheaflib.layers import (
    adaptive_average_pool,
    adaptive_max_pool,
    add,
    average_pool,
    batch_norm,
    convolution,
    max_pool,
    pad,
    permutation,
    transposed,
    upsample,
)
from sheaflib.networks.convolution import Convolution, TransposedConvolution
from sheaflib.networks.structured import BatchNorm

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
    """With groups, dilation, strides and padding of any kind, of images and of signals."""
    axes, groups = len(shape) - 1, int(rng.choice(divisors(shape[0])))
    if not axes:
        return None
    sizes, strides, dilations = (rng.integers(1, top, axes).tolist() for top in (4, 3, 3))
    padding = rng.integers(0, 3, (axes, 2)).tolist()
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, sizes)]
    if any(n + sum(more) < span for n, more, span in zip(shape[1:], padding, spans)):
        return None
    c_out, read = groups * int(rng.integers(1, 3)), shape[0] // groups
    kernel = rng.standard_normal((c_out, read, *sizes)) / np.sqrt(read * math.prod(sizes))
    return convolution(
        kernel,
        shape,
        rng.standard_normal(c_out) / 2,
        stride=tuple(strides),
        padding=[tuple(ends) for ends in padding],
        dilation=tuple(dilations),
        groups=groups,
    )


def backwards(rng, shape):
    """A transposed convolution."""
    axes, groups = len(shape) - 1, int(rng.choice(divisors(shape[0])))
    if not axes:
        return None
    sizes, strides, dilations = (rng.integers(1, 3, axes).tolist() for _ in range(3))
    padding = rng.integers(0, 2, axes).tolist()
    more = [int(rng.integers(0, max(s, d))) for s, d in zip(strides, dilations)]
    sides = [
        (n - 1) * s - 2 * p + d * (k - 1) + 1 + m
        for n, s, p, d, k, m in zip(shape[1:], strides, padding, dilations, sizes, more)
    ]
    if min(sides) < 1:
        return None
    written = int(rng.integers(1, 3))
    kernel = rng.standard_normal((shape[0], written, *sizes)) / np.sqrt(shape[0])
    return transposed(
        kernel,
        shape,
        rng.standard_normal(groups * written) / 2,
        stride=tuple(strides),
        padding=tuple(padding),
        output_padding=tuple(more),
        groups=groups,
        dilation=tuple(dilations),
    )


def divisors(n):
    return [k for k in range(1, n + 1) if n % k == 0]


def normed(rng, shape):
    n = shape[0]
    scale, shift, mean = rng.standard_normal((3, n))
    return batch_norm(
        scale, shift, mean, rng.uniform(0.5, 2, n), pixels=math.prod(shape[1:])
    ), shape


def pooled(kind, rng, shape, **more):
    axes = len(shape) - 1
    if not axes:
        return None
    sizes, strides = rng.integers(1, 4, axes).tolist(), rng.integers(1, 3, axes).tolist()
    padding = [int(rng.integers(0, size // 2 + 1)) for size in sizes]
    if any(n + 2 * p < k for n, p, k in zip(shape[1:], padding, sizes)):
        return None
    return kind(shape, tuple(sizes), tuple(strides), padding=tuple(padding), **more)


def averaged(rng, shape):
    return pooled(
        average_pool,
        rng,
        shape,
        ceil_mode=bool(rng.integers(2)),
        count_include_pad=bool(rng.integers(2)),
    )


def topped(rng, shape):
    return pooled(max_pool, rng, shape, ceil_mode=bool(rng.integers(2)))


def evenly(rng, shape):
    """An adaptive pool, of means or of maxima."""
    axes = len(shape) - 1
    if not axes:
        return None
    kind = adaptive_average_pool if rng.integers(2) else adaptive_max_pool
    return kind(shape, tuple(rng.integers(1, 3, axes).tolist()))


def moved(rng, shape):
    """More rows and columns, every pixel twice, or another order."""
    if len(shape) == 1:
        return permutation(rng.permutation(shape[0])), shape
    if rng.integers(2):
        return upsample(shape, 2)
    ends = [tuple(rng.integers(0, 2, 2).tolist()) for _ in shape[1:]]
    return pad(shape, ends, str(rng.choice(["constant", "replicate", "circular"])))


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
    "transposed": backwards,
    "average pool": averaged,
    "max pool": topped,
    "adaptive pool": evenly,
    "moves": moved,
    "stack": None,
}
OF_IMAGES = ("convolution", "transposed", "average pool", "max pool", "adaptive pool")


def random_dag(rng, kinds=tuple(KINDS), most=9, outputs=OUTPUTS, image=0.6):
    """A network of up to `most` nodes between two affine ones, on images or on vectors.

    kinds: which of KINDS are drawn; image: how often the input is an image.
    """
    if rng.random() < image:
        start = (int(rng.integers(1, 4)), *rng.integers(2, 6, size=rng.integers(1, 3)).tolist())
    else:
        start = (int(rng.integers(2, 6)),)
    shapes, nodes = {"x": start}, []
    for k in range(int(rng.integers(2, most + 1))):
        names, order = list(shapes), rng.permutation(kinds).tolist()
        if rng.random() < 0.5:
            order.sort(key=lambda kind: kind not in OF_IMAGES)
        if k == 0:
            order = ["convolution" if len(start) > 1 and rng.random() < 0.7 else "dense"]
        for kind in order:
            tails = [names[-1] if rng.random() < 0.9 else str(rng.choice(names))]
            if kind == "stack":
                tails.append(str(rng.choice(names)))
                found = stacked([shapes[name] for name in tails])
            else:
                found = KINDS[kind](rng, shapes[tails[0]])
            if found and math.prod(found[1]) <= WIDEST:
                break
        else:  # none of the kinds can read it
            kind, found = "dense", dense(rng, shapes[tails[0]])
            tails = tails[:1]
        operation, shape = found
        name = f"{kind} {k}"
        nodes.append((name, operation, tails))
        shapes[name] = shape
    # a dense end: of a softmax whose logits share all their parts no parameter would feel anything
    if kind != "dense":
        nodes.append(("last", dense(rng, shape)[0], name))
    output = str(rng.choice(outputs))
    return Network(math.prod(start), nodes, output)


def stacked(shapes):
    """Stalks side by side: images of one size keep their shape."""
    operation = Stack(*(math.prod(shape) for shape in shapes))
    if all(len(shape) > 1 for shape in shapes) and len({shape[1:] for shape in shapes}) == 1:
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
    if isinstance(operation, BatchNorm):
        names = ("scale", "shift", "mean", "variance")
        numbers = {"eps": operation.eps}
        return "norm", numbers, {name: getattr(operation, name) for name in names}
    if isinstance(operation, (Convolution, TransposedConvolution)):
        return _convolution(operation)
    rows, columns, entries = operation.triplets()
    weight = np.zeros((operation.n_out, operation.n_in))
    weight[rows, columns] = entries
    own = {"weight": weight, "bias": operation.bias}
    if type(operation) is Affine and sparse.issparse(operation.weight):
        own["stored"] = stored(operation.weight)
    return "affine", {}, own


def _convolution(operation):
    """The same of a convolution of either kind; numbers of a signal are those of its one axis."""
    axes = operation.kernel.ndim - 2
    numbers = {"shape": operation.shape, "groups": operation.groups}
    for name in ("stride", "dilation", "padding", "output_padding"):
        if hasattr(operation, name):
            numbers[name] = np.array(getattr(operation, name))[-axes:].tolist()
    kind = "convolution" if isinstance(operation, Convolution) else "transposed"
    return kind, numbers, dict(operation.parameters)


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
