"""Random calls of every layer of images, and how far sheaflib's operations are from PyTorch's there:
values, adjoints, and the gradients of all parameters.
"""

import math
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from sheaflib import Clamp, PReLU, ReLU, layers
from sheaflib.networks.operations import NO_PATTERN

SCRIPT = Path(__file__).with_name("torch_side.py")


class Call(NamedTuple):
    """A layer: its name, the operation, the shapes it reads and writes, its arrays and its other
    arguments as PyTorch's side takes them.
    """

    layer: str
    operation: object
    reads: tuple
    writes: tuple
    arrays: dict
    options: dict


def draw(rng):
    """One call of a layer with random arguments that fit; the image may be a signal."""
    while True:
        axes = int(rng.integers(1, 3))
        layer = str(rng.choice(list(DRAWN)))
        sides = tuple(int(n) for n in rng.integers(1, 10, axes))
        try:
            return DRAWN[layer](rng, axes, sides)
        except ValueError as error:  # of arguments that do not fit each other, as PyTorch says too
            said = ("does not fit", "must be", "leaves nothing", "too large", "needs stride 1")
            if not any(text in str(error) for text in said):
                raise


def per_axis(rng, axes, least, most):
    """One number, or one an axis."""
    if rng.random() < 0.3:
        return int(rng.integers(least, most + 1))
    return tuple(int(n) for n in rng.integers(least, most + 1, axes))


def listed(value, axes):
    """As a list of one number an axis."""
    return list(value) if isinstance(value, tuple) else [value] * axes


def placing(rng, axes):
    """stride, dilation and groups."""
    found = {"stride": per_axis(rng, axes, 1, 3), "dilation": per_axis(rng, axes, 1, 3)}
    return found | {"groups": int(rng.integers(1, 4))}


def plain(options, axes):
    """Options as PyTorch takes them."""
    return {k: listed(v, axes) if k in ("stride", "dilation", "padding", "output_padding", "size",
            "output_size", "scale_factor") and v is not None else v for k, v in options.items()}  # fmt: skip


def convolution(rng, axes, sides):
    more = placing(rng, axes)
    c_in, c_out = (more["groups"] * int(n) for n in rng.integers(1, 4, 2))
    kernel = rng.standard_normal((c_out, c_in // more["groups"], *rng.integers(1, 4, axes)))
    bias, shape = rng.standard_normal(c_out), (c_in, *sides)
    kind = rng.integers(4)
    if kind == 0:
        padding, more["stride"] = "same", 1
    elif kind == 1:
        padding = "valid"
    elif kind == 2:
        padding = per_axis(rng, axes, 0, 3)
    else:
        padding = tuple(tuple(int(n) for n in rng.integers(0, 4, 2)) for _ in range(axes))
    made, written = layers.convolution(kernel, shape, bias, padding=padding, **more)
    theirs = plain(more, axes)
    if isinstance(padding, str):
        theirs["padding"] = padding
    else:
        ends = [p if isinstance(p, tuple) else (p, p) for p in listed(padding, axes)]
        theirs["around"] = [n for end in reversed(ends) for n in end]
    return Call("convolution", made, shape, written, {"kernel": kernel, "bias": bias}, theirs)


def transposed(rng, axes, sides):
    more = placing(rng, axes)
    c_in, c_out = (more["groups"] * int(n) for n in rng.integers(1, 4, 2))
    kernel = rng.standard_normal((c_in, c_out // more["groups"], *rng.integers(1, 4, axes)))
    bias, shape = rng.standard_normal(c_out), (c_in, *sides)
    more["padding"], more["output_padding"] = per_axis(rng, axes, 0, 2), per_axis(rng, axes, 0, 2)
    made, written = layers.transposed(kernel, shape, bias, **more)
    arrays = {"kernel": kernel, "bias": bias}
    return Call("transposed", made, shape, written, arrays, plain(more, axes))


def pooling(rng, axes, sides):
    shape = (int(rng.integers(1, 4)), *sides)
    more = {
        "size": per_axis(rng, axes, 1, 4),
        "padding": per_axis(rng, axes, 0, 2),
        "ceil_mode": bool(rng.integers(2)),
    }
    if rng.integers(2):
        more["stride"] = per_axis(rng, axes, 1, 4)
    return shape, more


def average_pool(rng, axes, sides):
    shape, more = pooling(rng, axes, sides)
    more["count_include_pad"] = bool(rng.integers(2))
    made, written = layers.average_pool(shape, **more)
    return Call("average_pool", made, shape, written, {}, plain(more, axes))


def max_pool(rng, axes, sides):
    shape, more = pooling(rng, axes, sides)
    more["dilation"] = per_axis(rng, axes, 1, 2)
    made, written = layers.max_pool(shape, **more)
    return Call("max_pool", made, shape, written, {}, plain(more, axes))


def adaptive(name):
    def drawn(rng, axes, sides):
        shape = (int(rng.integers(1, 4)), *sides)
        size = per_axis(rng, axes, 1, 7)
        made, written = getattr(layers, name)(shape, size)
        return Call(name, made, shape, written, {}, plain({"output_size": size}, axes))

    return drawn


def global_pool(name):
    def drawn(rng, axes, sides):
        shape = (int(rng.integers(1, 4)), *sides)
        made, written = getattr(layers, name)(shape)
        return Call(name, made, shape, written, {}, {})

    return drawn


def batch_norm(rng, axes, sides):
    channels = int(rng.integers(1, 5))
    scale, shift, mean, variance = rng.standard_normal((4, channels))
    variance, eps = variance**2, float(rng.choice([1e-5, 0.1]))
    made = layers.batch_norm(scale, shift, mean, variance, eps, math.prod(sides))
    fixed = {"mean": mean.tolist(), "variance": variance.tolist(), "eps": eps}
    shape = (channels, *sides)
    return Call("batch_norm", made, shape, shape, {"scale": scale, "shift": shift}, fixed)


def pad(rng, axes, sides):
    shape, mode = (int(rng.integers(1, 4)), *sides), str(rng.choice(list(layers.MODES)))
    padding = tuple(tuple(int(n) for n in rng.integers(0, 4, 2)) for _ in range(axes))
    made, written = layers.pad(shape, padding, mode)
    around = [n for end in reversed(padding) for n in end]
    return Call("pad", made, shape, written, {}, {"around": around, "mode": mode})


def upsample(rng, axes, sides):
    shape, factor = (int(rng.integers(1, 4)), *sides), per_axis(rng, axes, 1, 3)
    made, written = layers.upsample(shape, factor)
    return Call("upsample", made, shape, written, {}, plain({"scale_factor": factor}, axes))


def permutation(rng, axes, sides):
    order = rng.permutation(math.prod(sides))
    shape = (math.prod(sides),)
    return Call(
        "permutation", layers.permutation(order), shape, shape, {}, {"order": order.tolist()}
    )


def add(rng, axes, sides):
    n, parts = math.prod(sides), int(rng.integers(2, 5))
    return Call("add", layers.add(n, parts), (n * parts,), (n,), {}, {"parts": parts})


def relu(rng, axes, sides):
    n, slope = math.prod(sides), float(rng.choice([0.0, 0.1, -1.0]))
    return Call("relu", ReLU(n, slope), (n,), (n,), {}, {"slope": slope})


def prelu(rng, axes, sides):
    channels = int(rng.integers(1, 4))
    slope, shape = rng.standard_normal(channels), (channels, *sides)
    made = PReLU(math.prod(shape), slope)
    return Call("prelu", made, shape, shape, {"slope": slope}, {})


def clamp(rng, axes, sides):
    n, (low, high) = math.prod(sides), np.sort(rng.standard_normal(2)).tolist()
    return Call("clamp", Clamp(n, low, high), (n,), (n,), {}, {"low": low, "high": high})


DRAWN = {
    f.__name__: f
    for f in (
        convolution,
        transposed,
        average_pool,
        max_pool,
        batch_norm,
        pad,
        upsample,
        permutation,
        add,
        relu,
        prelu,
        clamp,
    )
}
DRAWN |= {name: adaptive(name) for name in ("adaptive_average_pool", "adaptive_max_pool")}
DRAWN |= {name: global_pool(name) for name in ("global_average_pool", "global_max_pool")}


def posed(call, rng, n_batch=3):
    """A call as PyTorch's side takes it, with what it reads and what its output is multiplied by."""
    given = {"layer": call.layer, "x": rng.standard_normal((n_batch, *call.reads))}
    given["e"] = rng.standard_normal((n_batch, *call.writes))
    given |= {f"array/{name}": array for name, array in call.arrays.items()}
    return given | {f"option/{name}": value for name, value in call.options.items()}


def ours(call, given):
    """Value, adjoint and gradients of an operation, named as PyTorch's side names them."""
    x, e = (given[name].reshape(len(given["x"]), -1) for name in "xe")
    s = call.operation.pattern(x)
    found = {"value": call.operation.value(x), "felt": call.operation.adjoint(e, s)}
    gradient = call.operation.gradient(x, e, s if s.shape[1] else NO_PATTERN)
    if call.layer == "permutation":  # its entries could be trained, PyTorch's could not
        gradient = {}
    return found | {f"gradient/{name}": value for name, value in gradient.items()}


def differences(calls, python, seed=0):
    """Of each call the largest difference of anything from what PyTorch computes, by a process of
    that interpreter, relative to the largest entry; inf where one side has something more.
    """
    rng = np.random.default_rng(seed)
    given = [posed(call, rng) for call in calls]
    asked = {f"layer-{i}/{key}": v for i, arrays in enumerate(given) for key, v in arrays.items()}
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "given.npz"), Path(folder, "found.npz")
        np.savez(source, **asked)
        subprocess.run([python, "-I", SCRIPT, source, target], check=True)
        theirs = [{} for _ in calls]
        with np.load(target) as arrays:
            for name in arrays:
                problem, _, key = name.partition("/")
                theirs[int(problem.removeprefix("layer-"))][key] = arrays[name]
    return [distance(ours(c, g), found) for c, g, found in zip(calls, given, theirs)]


def distance(found, expected):
    """The largest relative difference of arrays by name."""
    if found.keys() != expected.keys():
        return math.inf
    most = 0.0
    for name, array in expected.items():
        if found[name].size != array.size:
            return math.inf
        off = np.abs(found[name].ravel() - array.ravel()).max()
        most = max(most, float(off / max(np.abs(array).max(), 1e-300)) if off else 0.0)
    return most


def largest_difference(python, count=500, seed=0):
    """The largest difference over so many random calls, by layer, and over all (`max` of it)."""
    rng = np.random.default_rng(seed)
    calls = [draw(rng) for _ in range(count)]
    found = {}
    for call, off in zip(calls, differences(calls, python, seed)):
        found[call.layer] = max(found.get(call.layer, 0.0), off)
    return found
