"""Operators of ONNX that are affine: layers with weights, sums, scalings, means."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import scipy as sp

from sheaflib.networks.convolution import Convolution, TransposedConvolution
from sheaflib.networks.readers.onnx_call import Call
from sheaflib.networks.readers.onnx_reference import evaluate
from sheaflib.networks.readers.onnx_windows import axes, check_windows, padding, trimmed
from sheaflib.networks.readers.tracing import image
from sheaflib.networks.readers.views import View, check_size, size
from sheaflib.networks.structured import BatchNorm, Separable, means
from sheaflib.networks.windows import Pair, grids


def gemm(call: Call) -> View:
    """Gemm: alpha A B + beta C, where A or B is a constant."""
    factors = _factors(call)
    for place, name in enumerate(("transA", "transB")):
        if len(factors[place].shape) != 2:
            raise ValueError(
                f"its input {place} has shape {factors[place].shape}, expected two axes"
            )
        if call.attribute(name, 0):
            factors[place] = _turned(factors[place])
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    more = call.given(2)
    if not any(isinstance(tensor, View) for tensor in factors):
        product = one_sample([call.view(2)], alpha * factors[0] @ factors[1], 0)
        return call.tracer.scaled(call.label, call.view(2), beta, product)
    found = _product(call, factors[0], factors[1], alpha)
    if isinstance(more, View):
        scaled = call.tracer.scaled(f"{call.label}.beta", more, beta, 0.0)
        return call.tracer.sum(call.label, [found, scaled])
    if more is None:
        return found
    bias = one_sample([found], call.constant(2), 2)
    return call.tracer.scaled(call.label, found, 1.0, beta * bias)


def _turned(tensor: Any) -> Any:
    """A matrix transposed."""
    if isinstance(tensor, np.ndarray):
        return tensor.T
    if tensor.batch > 1:
        raise ValueError("it transposes the computed tensor (transA), which mixes the samples")
    fill = None if tensor.fill is None else tensor.fill.T
    return replace(tensor, places=tensor.places.T, fill=fill)


def matmul(call: Call) -> View:
    """MatMul of a computed tensor and a constant, on either side."""
    first, second = _factors(call)
    return _product(call, first, second)


def _factors(call: Call) -> list:
    """The two tensors that an operator multiplies, of which one is computed."""
    found = [
        call.inputs[k] if isinstance(call.inputs[k], View) else call.constant(k) for k in (0, 1)
    ]
    if any(tensor is None for tensor in found):
        raise ValueError("one of the two tensors that it multiplies is missing")
    return found


def _product(call: Call, first: Any, second: Any, factor: float = 1.0) -> View:
    """The product of a computed tensor and a constant, in either order, times a factor."""
    if isinstance(first, View) and isinstance(second, View):
        raise ValueError("it multiplies two computed tensors, as attention does")
    if isinstance(first, View):
        return _from_right(call, first, factor * _matrix(second, first))
    weight, view = factor * _matrix(first, second), second
    if weight.ndim != 2:
        raise ValueError(f"its constant has shape {weight.shape}, expected two axes")
    if view.one.ndim == 1 and not view.lead:
        return call.tracer.affine(call.label, view, weight, None)
    return call.tracer.along(call.label, view, weight)


def _matrix(weight: np.ndarray, view: View) -> np.ndarray:
    """A constant without axes of size 1 before its last two, where these add none to a product."""
    if 2 < weight.ndim <= len(view.shape) and set(weight.shape[:-2]) == {1}:
        return weight.reshape(weight.shape[-2:])
    return weight


def _from_right(call: Call, view: View, weight: np.ndarray) -> View:
    """The last axis of a tensor multiplied by a constant (n, m), or (n,)."""
    if weight.ndim not in (1, 2):
        raise ValueError(f"its constant has shape {weight.shape}, expected one axis or two")
    matrix = weight if weight.ndim == 2 else weight[:, None]
    if not view.one.ndim or view.one.shape[-1] != len(matrix):
        raise ValueError(f"its tensors have shapes {view.shape} and {weight.shape}")
    *lead, n = view.one.shape
    shape = (*lead, len(matrix.T)) if weight.ndim == 2 else tuple(lead)
    if size(tuple(lead)) == 1:
        found = call.tracer.affine(call.label, view, matrix.T, None)
        return found.rearranged(None, shape)
    # one map for all places along the other axes: a convolution of size 1
    flat = view.rearranged(None, (size(tuple(lead)), n))
    found = call.tracer.along(call.label, flat.rearranged((1, 0), (n, size(tuple(lead)))), matrix.T)
    return found.rearranged((1, 0), shape)


def convolution(call: Call) -> View:
    """Conv in one or two dimensions."""
    kernel, bias = call.constant(1), call.constant(2)
    count = kernel.ndim - 2
    if count not in (1, 2):
        raise ValueError(f"its kernel has shape {kernel.shape}, expected one or two dimensions")
    sizes = [int(n) for n in kernel.shape[2:]]
    strides, dilations = axes(call, "strides", count), axes(call, "dilations", count)
    whole = call.view()
    sides = [int(n) for n in whole.one.shape[1:]]
    pads = padding(call, sides, sizes, strides, dilations)
    view, more = trimmed(whole, 0.0)
    pads = [(p + before, q + after) for (p, q), (before, after) in zip(pads, more)]
    placing: dict[str, Any] = {"stride": tuple(strides), "dilation": tuple(dilations)}
    groups = call.attribute("group", 1)
    made = Convolution(kernel, image(view), bias, padding=tuple(pads), groups=groups, **placing)
    return call.tracer.written(call.label, made, view, made.written)


def transposed(call: Call) -> View:
    """ConvTranspose in one or two dimensions."""
    kernel, bias = call.constant(1), call.constant(2)
    count = kernel.ndim - 2
    if count not in (1, 2):
        raise ValueError(f"its kernel has shape {kernel.shape}, expected one or two dimensions")
    strides, dilations = axes(call, "strides", count), axes(call, "dilations", count)
    more = axes(call, "output_padding", count, 0)
    shape = image(call.view())
    pads, more = _transposed_padding(call, shape[1:], kernel.shape[2:], strides, dilations, more)
    placing: dict[str, Any] = {
        "stride": tuple(strides),
        "padding": tuple(pads),
        "output_padding": tuple(more),
        "dilation": tuple(dilations),
    }
    groups = call.attribute("group", 1)
    made = TransposedConvolution(kernel, shape, bias, groups=groups, **placing)
    return call.tracer.written(call.label, made, call.view(), made.written)


def _transposed_padding(
    call: Call, sides: tuple, sizes: tuple, strides: list, dilations: list, more: list[int]
) -> tuple[list[Pair], list[int]]:
    """(before, after) of every axis of a ConvTranspose, and its output padding."""
    count, auto = len(sides), call.attribute("auto_pad", "NOTSET")
    wanted = call.attribute("output_shape")
    if wanted is None and auto in ("NOTSET", "VALID"):
        pads = [0] * (2 * count) if auto == "VALID" else axes(call, "pads", 2 * count, 0)
        return [(pads[i], pads[i + count]) for i in range(count)], more
    found, rest = [], []
    for i, (n, k, s, d) in enumerate(zip(sides, sizes, strides, dilations)):
        full = s * (n - 1) + d * (k - 1) + 1 + more[i]
        total = full - (wanted[-count:][i] if wanted is not None else n * s)
        rest.append(more[i] + max(0, -total))
        total = max(0, total)
        ends = (total // 2, total - total // 2)
        found.append(ends if auto == "SAME_UPPER" else ends[::-1])
    return found, rest


def batch_norm(call: Call) -> View:
    """BatchNormalization in inference."""
    if call.attribute("training_mode", 0) or len(call.node.output) > 1:
        raise ValueError("it is in training mode: export the model in evaluation mode")
    scale, shift, mean, variance = (call.constant(place) for place in range(1, 5))
    eps, view = call.attribute("epsilon", 1e-5), call.tracer.whole(call.label, call.view())
    shape = (-1, *[1] * (view.one.ndim - 1))
    channels = view.in_order(np.arange(len(scale)).reshape(shape)).astype(int)
    pixels = len(channels) // len(scale)
    if (channels == np.repeat(np.arange(len(scale)), pixels)).all():
        made = BatchNorm(scale, shift, mean, variance, eps, pixels)
    else:  # channels stand last, as TensorFlow has them
        numbers = (scale[channels], shift[channels], mean[channels], variance[channels])
        made = BatchNorm(*numbers, eps)
    return view.onto(call.tracer.add(call.label, made, view.sources))


def average_pool(call: Call) -> View:
    """AveragePool in one or two dimensions."""
    sizes = [int(n) for n in call.attribute("kernel_shape")]
    count = len(sizes)
    strides, dilations = axes(call, "strides", count), axes(call, "dilations", count)
    shape = image(call.view())
    sides = list(shape[1:])
    pads = padding(call, sides, sizes, strides, dilations)
    check_windows(sides, sizes, pads)
    ceil = bool(call.attribute("ceil_mode", 0))
    matrices = []
    for n, k, s, p, d, grid in zip(
        sides, sizes, strides, pads, dilations, grids(sides, sizes, strides, pads, dilations, ceil)
    ):
        if call.attribute("count_include_pad", 0):  # but not what lies beyond the padding
            taps = np.arange(len(grid))[:, None] * s - p[0] + np.arange(k) * d
            taken = (taps < n + p[1]).sum(axis=1)
        else:
            taken = (grid >= 0).sum(axis=1)
        matrices.append(means(grid, n, taken))
    made = Separable(shape, *([[[1.0]]] if count == 1 else []), *matrices)
    return call.tracer.written(call.label, made, call.view(), made.written)


def reduce_mean(call: Call, mean: bool = True) -> View:
    """ReduceMean, and ReduceSum: over some axes or all."""
    ordered, kept, shape = reduced(call)
    if ordered is None:
        return call.view()
    count = ordered.one.shape[-1]
    row = sp.sparse.csr_array(np.full((1, count), 1 / count if mean else 1.0))
    made = Separable((kept, count), [[1.0]], row)
    return call.tracer.written(call.label, made, ordered, shape)


def reduce_sum(call: Call) -> View:
    return reduce_mean(call, mean=False)


def global_average(call: Call) -> View:
    """GlobalAveragePool."""
    shape = image(call.view())
    sides = [sp.sparse.csr_array(np.full((1, n), 1 / n)) for n in shape[1:]]
    made = Separable(shape, *([[[1.0]]] if len(sides) == 1 else []), *sides)
    return call.tracer.written(call.label, made, call.view(), made.written)


def reduced(call: Call) -> tuple[View | None, int, tuple[int, ...]]:
    """The tensor as (kept, reduced) entries of each sample, how many are kept, and the shape that a
    reduction over its axes writes in one sample. None in place of the tensor where no axis is
    reduced.
    """
    view = call.view()
    rank, first = len(view.shape), len(view.lead)
    given = call.axes(1, rank)
    if not given:
        if call.attribute("noop_with_empty_axes", 0):
            return None, 0, ()
        given = list(range(rank))
    if first and 0 in given and view.batch > 1:
        raise ValueError("it reduces the batch axis, which mixes the samples")
    one = view.one.shape
    over = sorted(axis - first for axis in given if axis >= first)
    keeps = [axis for axis in range(len(one)) if axis not in over]
    count = math.prod(one[axis] for axis in keeps)
    if call.attribute("keepdims", 1):
        shape = tuple(1 if axis in over else n for axis, n in enumerate(one))
    else:
        shape = tuple(one[axis] for axis in keeps)
    more = math.prod(one[axis] for axis in over)
    return view.rearranged((*keeps, *over), (count, more)), count, shape


def add(call: Call) -> View:
    """Add and Sum of computed tensors and constants."""
    views, constants = _parts(call)
    if constants:
        shift = sum(constants[1:], constants[0])
        views = [call.tracer.scaled(call.label, views[0], 1.0, shift), *views[1:]]
    return views[0] if len(views) == 1 else call.tracer.sum(call.label, views)


def mean(call: Call) -> View:
    """Mean of several tensors."""
    total, count = add(call), len(call.inputs)
    return call.tracer.scaled(f"{call.label}.mean", total, 1 / count, 0.0)


def subtract(call: Call) -> View:
    """Sub of computed tensors and constants."""
    first, second = call.given(0), call.given(1)
    if not isinstance(second, View):
        shift = -one_sample([call.view()], call.constant(1), 1)
        return call.tracer.scaled(call.label, call.view(), 1.0, shift)
    negative = call.tracer.scaled(f"{call.label}.negative", second, -1.0, 0.0)
    if isinstance(first, View):
        return call.tracer.sum(call.label, [first, negative])
    return call.tracer.scaled(call.label, negative, 1.0, one_sample([second], call.constant(0), 0))


def multiply(call: Call) -> View:
    """Mul of a computed tensor and a constant."""
    views, constants = _parts(call)
    if len(views) > 1:
        raise ValueError("it multiplies two computed tensors, as gates do")
    return call.tracer.scaled(call.label, views[0], constants[0], 0.0)


def divide(call: Call) -> View:
    """Div by a constant."""
    if isinstance(call.given(1), View):
        raise ValueError("it divides by a computed tensor")
    divisor = one_sample([call.view()], call.constant(1), 1)
    if (divisor == 0).any():
        raise ValueError("it divides by 0")
    return call.tracer.scaled(call.label, call.view(), 1 / divisor, 0.0)


def negative(call: Call) -> View:
    """Neg."""
    return call.tracer.scaled(call.label, call.view(), -1.0, 0.0)


def cumulated(call: Call) -> View:
    """CumSum along an axis."""
    view = call.view()
    axis = int(np.ravel(call.constant(1))[0]) % len(view.shape) - len(view.lead)
    if axis < 0:
        raise ValueError("it sums along the batch axis, which mixes the samples")
    one = view.one.shape
    others = [k for k in range(len(one)) if k != axis]
    shape = (math.prod(one[k] for k in others), one[axis])
    check_size(one[axis] ** 2)
    turned = view.rearranged((*others, axis), shape)
    units = [np.eye(one[axis]), np.array(1)]
    matrix = evaluate("CumSum", call.attributes, units, 1, call.opset)[0].T
    made = Separable(shape, [[1.0]], matrix)
    found = call.tracer.written(call.label, made, turned, [*(one[k] for k in others), one[axis]])
    return found.rearranged([*range(axis), len(others), *range(axis, len(others))], one)


def _parts(call: Call) -> tuple[list[View], list[np.ndarray]]:
    """The computed inputs of an operator, and the constants as they stand in one sample."""
    places = range(len(call.inputs))
    views = [call.view(k) for k in places if isinstance(call.inputs[k], View)]
    constants = [
        one_sample(views, call.constant(k), k)
        for k in places
        if not isinstance(call.inputs[k], View)
    ]
    return views, constants


def one_sample(views: list[View], constant: np.ndarray, place: int) -> np.ndarray:
    """A constant, the input at a place, as it meets the entries of one sample of these tensors:
    without the batch axis, where it has one.

    Raises ValueError where it differs between samples.
    """
    rank, batch = max(len(view.shape) for view in views), views[0].batch
    has_batch = any(view.lead for view in views)
    if constant.ndim < rank or not has_batch:
        return constant
    if constant.ndim > rank or constant.shape[0] not in (1, batch):
        raise ValueError(f"its input {place} has shape {constant.shape}, which adds axes")
    if (constant != constant[:1]).any():
        raise ValueError(f"its input {place} differs between the samples of a batch")
    return constant[0]
