"""Layers of images against plain loops over pixels, with their matrix stored and without it; what
holds for each: adjoint, absolute values, matrix, norm, gradient; and the shapes that travel.
"""

import copy
import math
import pickle
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sparse
from effort import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from sheaflib import Affine, Clamp, MaxPool, Network, NeuralSheaf, ReLU, layers
from sheaflib.linear import rational
from sheaflib.networks import affine, convolution, graph, stencil, structured

CLASSES = (structured.Structured, structured.Sum, structured.BatchNorm, structured.Separable)
MISFITS = ("does not fit", "must be", "leaves nothing", "too large", "needs stride 1")


@contextmanager
def storing(always):
    """Every operation that is made in here stores its matrix, or none does."""
    before = [kind.STORED for kind in CLASSES]
    try:
        for kind in CLASSES:
            kind.STORED = 2**40 if always else 0
        yield
    finally:
        for kind, value in zip(CLASSES, before):
            kind.STORED = value


def made(make, *args, **more):
    """(operation, shape) of a call; the example is left out where the arguments do not fit."""
    try:
        return make(*args, **more)
    except ValueError as error:
        assume(not any(text in str(error) for text in MISFITS))
        raise


sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))
sides = st.tuples(st.integers(1, 6), st.integers(1, 6))
pads = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def convolutions(draw):
    """(kernel, shape, bias, the other arguments) of a convolution with two axes."""
    groups, rng = draw(st.integers(1, 3)), np.random.default_rng(draw(seeds))
    reads, writes = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = rng.standard_normal((groups * writes, reads, *draw(sizes)))
    shape = (groups * reads, *draw(sides))
    more = {"stride": draw(sizes), "dilation": draw(sizes), "padding": draw(pads)}
    return kernel, shape, rng.standard_normal(groups * writes), more | {"groups": groups}


def slide(kernel, x, bias, stride, padding, dilation, groups):
    """A convolution of one image, pixel by pixel."""
    (top, bottom), (left, right) = padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    c_out, reads, h, w = kernel.shape
    rows = range(0, x.shape[1] - dilation[0] * (h - 1), stride[0])
    columns = range(0, x.shape[2] - dilation[1] * (w - 1), stride[1])
    out = np.zeros((c_out, len(rows), len(columns)))
    for o in range(c_out):
        first = o // (c_out // groups) * reads
        for m, i in enumerate(rows):
            for n, j in enumerate(columns):
                out[o, m, n] = bias[o]
                for c, p, q in np.ndindex(reads, h, w):
                    pixel = x[first + c, i + p * dilation[0], j + q * dilation[1]]
                    out[o, m, n] += kernel[o, c, p, q] * pixel
    return out


def spread(kernel, x, bias, stride, padding, dilation, groups, output_padding):
    """A transposed convolution of one image: every pixel adds a kernel to what is written."""
    c_in, writes, h, w = kernel.shape
    steps = [(n - 1) * s for n, s in zip(x.shape[1:], stride)]
    full = [
        n + d * (k - 1) + 1 + more for n, d, k, more in zip(steps, dilation, (h, w), output_padding)
    ]
    out = np.zeros((writes * groups, *full)) + bias[:, None, None]
    for c, i, j, o, p, q in np.ndindex(*x.shape, writes, h, w):
        place = i * stride[0] + p * dilation[0], j * stride[1] + q * dilation[1]
        out[c // (c_in // groups) * writes + o, *place] += kernel[c, o, p, q] * x[c, i, j]
    (top, bottom), (left, right) = padding
    return out[:, top : full[0] - bottom, left : full[1] - right]


def check(operation, expected, seed=0):
    """What an affine operation must fulfil, `expected` being a function of one flat image."""
    rng = np.random.default_rng(seed)
    a, e = rng.standard_normal((3, operation.n_in)), rng.standard_normal((3, operation.n_out))
    value = np.array([np.ravel(expected(one)) for one in a])
    near = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(operation.value(a), value, **near)
    np.testing.assert_allclose(operation.linear(a) + operation.bias, value, **near)
    start = np.ravel(expected(np.zeros(operation.n_in)))
    W = np.array([np.ravel(expected(one)) - start for one in np.eye(operation.n_in)]).T
    rows, columns, entries = operation.triplets()
    found = sparse.coo_array((entries, (rows, columns)), shape=W.shape).toarray()
    np.testing.assert_allclose(found, W, **near)
    np.testing.assert_allclose(operation.adjoint(e), e @ W, **near)
    np.testing.assert_allclose(
        operation.absolute(np.abs(a)), np.abs(a) @ np.abs(W).T + np.abs(start), **near
    )
    np.testing.assert_allclose(operation.absolute_adjoint(np.abs(e)), np.abs(e) @ np.abs(W), **near)
    np.testing.assert_allclose(operation.weight @ a.T, W @ a.T, **near)
    np.testing.assert_allclose(operation.weight.T @ e.T, W.T @ e.T, **near)
    assert operation.norm >= np.linalg.norm(W, 2) * (1 - 1e-12)
    check_gradient(operation, a, e)


def check_gradient(operation, a, e):
    """⟨e, F(a)⟩ is affine in every parameter, so one difference is its derivative, and exact but
    for rounding.
    """
    found = operation.gradient(a, e)
    assert found.keys() == operation.parameters.keys()
    rng = np.random.default_rng(1)
    for name, value in operation.parameters.items():
        if sparse.issparse(value):
            continue
        step = rng.standard_normal(value.shape)
        other = operation.with_parameters(**{name: value + step})
        slope = (e * (other.value(a) - operation.value(a))).sum()
        assert found[name].shape == value.shape
        assert (found[name] * step).sum() == pytest.approx(slope, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("stored", [True, False])
@given(convolutions())
def test_a_convolution_is_what_a_loop_over_pixels_makes(stored, case):
    kernel, shape, bias, more = case
    with storing(stored):
        operation, written = made(layers.convolution, kernel, shape, bias, **more)
        assert operation.stored == stored and isinstance(operation, Affine)
        check(operation, lambda x: slide(kernel, x.reshape(shape), bias, **more))
    assert slide(kernel, np.zeros(shape), bias, **more).shape == written


@pytest.mark.parametrize("stored", [True, False])
@given(convolutions(), sizes)
def test_a_transposed_convolution_is_what_a_loop_over_pixels_makes(stored, case, output_padding):
    kernel, (_, *image_sides), _, more = case
    more["output_padding"] = tuple(n - 1 for n in output_padding)
    shape, channels = (len(kernel), *image_sides), kernel.shape[1] * more["groups"]
    bias = np.random.default_rng(0).standard_normal(channels)
    with storing(stored):
        operation, written = made(layers.transposed, kernel, shape, bias, **more)
        check(operation, lambda x: spread(kernel, x.reshape(shape), bias, **more))
    assert spread(kernel, np.zeros(shape), bias, **more).shape == written


@pytest.mark.parametrize("make", [layers.convolution, layers.transposed])
@pytest.mark.parametrize("stored", [True, False])
def test_a_signal_is_an_image_of_height_1(make, stored):
    rng = np.random.default_rng(3)
    kernel, bias, channels = rng.standard_normal((4, 2, 3)), rng.standard_normal(4), 4
    more = {"stride": 2, "padding": ((1, 2),), "dilation": 2, "groups": 2}
    flat = {"stride": (1, 2), "padding": ((0, 0), (1, 2)), "dilation": (1, 2), "groups": 2}
    with storing(stored):
        signal, written = make(kernel, (channels, 9), bias, **more)
        picture, shape = make(kernel[:, :, None], (channels, 1, 9), bias, **flat)
    a, e = rng.standard_normal((2, signal.n_in)), rng.standard_normal((2, signal.n_out))
    assert written == (shape[0], shape[2])
    np.testing.assert_array_equal(signal.value(a), picture.value(a))
    np.testing.assert_array_equal(signal.adjoint(e), picture.adjoint(e))
    np.testing.assert_array_equal(
        signal.gradient(a, e)["kernel"], picture.gradient(a, e)["kernel"][:, :, 0]
    )


def windows_of(n, k, stride, pad, dilation, ceil):
    """Where the windows of a pooling begin along an axis: those that end within the padded axis;
    with `ceil` also one that begins before the padding on the right, where the one before it does
    not reach the end.
    """
    starts, end = [-pad], n + pad - 1
    while starts[-1] <= end:
        starts.append(starts[-1] + stride)
    reach = dilation * (k - 1)
    if ceil:
        return [i for i in starts if i < n and i - stride + reach < end]
    return [i for i in starts if i + reach <= end]


def pooled(x, size, stride, padding, dilation, ceil, one):
    """A pooling of one image by loops; `one` takes the pixels of a window that are in the image,
    and how many taps it has within the padded image.
    """
    channels, *lengths = x.shape
    starts = [windows_of(*axis, ceil) for axis in zip(lengths, size, stride, padding, dilation)]
    out = np.zeros((channels, *(len(s) for s in starts)))
    for c, m, n in np.ndindex(*out.shape):
        rows, columns = (
            [start + t * d for t in range(k)]
            for start, k, d in zip((starts[0][m], starts[1][n]), size, dilation)
        )
        inside = [
            x[c, i, j] for i in rows for j in columns if 0 <= i < lengths[0] and 0 <= j < lengths[1]
        ]
        taps = [i < lengths[0] + padding[0] for i in rows]
        across = [j < lengths[1] + padding[1] for j in columns]
        out[c, m, n] = one(inside, sum(taps) * sum(across))
    return out


@st.composite
def poolings(draw):
    """(shape, size, stride, padding, ceil_mode) of a pooling."""
    shape, size = (draw(st.integers(1, 3)), *draw(sides)), draw(sizes)
    padding = tuple(draw(st.integers(0, k // 2)) for k in size)
    return shape, size, draw(sizes), padding, draw(st.booleans())


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("stored", [True, False])
@given(poolings())
def test_an_average_pool_is_what_loops_make(stored, include, case):
    shape, size, stride, padding, ceil = case

    def mean(inside, taps):
        return sum(inside) / (taps if include else len(inside))

    with storing(stored):
        operation, written = made(layers.average_pool, *case, include)
        expected = pooled(np.zeros(shape), size, stride, padding, (1, 1), ceil, mean)
        assert expected.shape == written
        check(
            operation, lambda x: pooled(x.reshape(shape), size, stride, padding, (1, 1), ceil, mean)
        )
        assert operation.parameters == {}


@given(poolings(), sizes)
def test_a_max_pool_is_what_loops_make(case, dilation):
    shape, size, stride, padding, ceil = case
    pool, written = made(layers.max_pool, shape, size, stride, padding, dilation, ceil)
    a = np.random.default_rng(0).integers(-3, 3, (4, pool.n_in)).astype(float)  # with ties

    def most(inside, taps):
        return max(inside)

    expected = [
        pooled(one.reshape(shape), size, stride, padding, dilation, ceil, most) for one in a
    ]
    assert expected[0].shape == written
    np.testing.assert_array_equal(pool.value(a), np.reshape(expected, (4, -1)))
    plain = MaxPool(pool.windows, pool.n_in)
    np.testing.assert_array_equal(pool.pattern(a), plain.pattern(a))
    assert pool.norm == plain.norm
    np.testing.assert_array_equal(pool.value(a, pool.pattern(a)), pool.value(a))
    assert pool.pattern(a).dtype == plain.pattern(a).dtype and repr(pool) == repr(plain)


@given(sides, sizes, seeds)
def test_adaptive_pools_take_the_windows_of_their_definition(lengths, counts, seed):
    shape = (2, *lengths)
    x = np.random.default_rng(seed).standard_normal((1, math.prod(shape)))
    mean, written = layers.adaptive_average_pool(shape, counts)
    most, same = layers.adaptive_max_pool(shape, counts)
    assert written == same == (2, *counts)
    for c, i, j in np.ndindex(written):
        rows, columns = (
            slice(math.floor(k * n / m), math.ceil((k + 1) * n / m))
            for k, n, m in zip((i, j), lengths, counts)
        )
        window = x.reshape(shape)[c, rows, columns]
        place = np.ravel_multi_index((c, i, j), written)
        assert mean.value(x)[0, place] == pytest.approx(window.mean(), abs=1e-12)
        assert most.value(x)[0, place] == window.max()


def test_a_global_pool_of_a_large_image_is_one_window():
    shape = (3, 40, 50)
    x = np.random.default_rng(0).standard_normal((2, 6000))
    most, written = layers.global_max_pool(shape)
    assert written == (3, 1, 1) and most.windows.shape == (3, 2000)
    np.testing.assert_array_equal(most.value(x), x.reshape(2, 3, -1).max(axis=2))
    mean, written = layers.global_average_pool(shape)
    np.testing.assert_allclose(mean.value(x), x.reshape(2, 3, -1).mean(axis=2), atol=1e-14)


@pytest.mark.parametrize("mode", layers.MODES)
@pytest.mark.parametrize("stored", [True, False])
@given(sides, pads)
def test_padding_is_numpys(stored, mode, lengths, padding):
    shape = (2, *lengths)
    names = {"replicate": "edge", "circular": "wrap"}
    with storing(stored):
        operation, written = made(layers.pad, shape, padding, mode)
        around = ((0, 0), *padding)
        check(operation, lambda x: np.pad(x.reshape(shape), around, mode=names.get(mode, mode)))
    assert written == tuple(n + sum(more) for n, more in zip(shape, around))


@pytest.mark.parametrize("stored", [True, False])
@given(sides, sizes)
def test_upsampling_repeats_pixels(stored, lengths, factors):
    shape = (2, *lengths)
    with storing(stored):
        operation, written = layers.upsample(shape, factors)
        check(operation, lambda x: np.kron(x.reshape(shape), np.ones((1, *factors))))
    assert written == (2, *(n * k for n, k in zip(lengths, factors)))


@pytest.mark.parametrize("stored", [True, False])
def test_sums_batch_norms_and_permutations(stored):
    rng = np.random.default_rng(0)
    scale, shift, mean, variance = rng.standard_normal((4, 3))
    with storing(stored):
        check(layers.add(4, 3), lambda x: x.reshape(3, 4).sum(axis=0))
        norm = layers.batch_norm(scale, shift, mean, variance**2, 0.1, 5)
        gain = scale / np.sqrt(variance**2 + 0.1)
        check(norm, lambda x: (x.reshape(3, 5) - mean[:, None]) * gain[:, None] + shift[:, None])
        assert norm.norm == pytest.approx(np.abs(gain).max(), rel=2e-6)
    order = rng.permutation(6)
    check(layers.permutation(order), lambda x: x[order])


@pytest.mark.parametrize("kind", ["separable, long", "separable, high"])
def test_sides_too_large_for_a_dense_matrix_are_multiplied_sparsely(kind, monkeypatch):
    monkeypatch.setattr(structured, "DENSE", 0)
    shape = (2, 3, 4) if kind == "separable, high" else (2, 1, 5)
    with storing(False):
        operation, _ = layers.pad(shape, ((2, 1), (1, 1)) if shape[1] > 1 else ((0, 0), (1, 2)))
        padding = ((0, 0), (2, 1), (1, 1)) if shape[1] > 1 else ((0, 0), (0, 0), (1, 2))
        check(operation, lambda x: np.pad(x.reshape(shape), padding))


def test_chunks_of_a_batch_are_put_together(monkeypatch):
    """With as many samples to a chunk as fit, and with one."""
    rng = np.random.default_rng(0)
    with storing(False):
        operation, _ = layers.convolution(rng.standard_normal((4, 3, 3, 3)), (3, 6, 5), padding=1)
    a, e = rng.standard_normal((7, operation.n_in)), rng.standard_normal((7, operation.n_out))

    def all_of_it():
        gradient = operation.gradient(a, e)["kernel"]
        return operation.value(a), operation.adjoint(e), gradient

    expected = all_of_it()
    for chunk in (1, 3 * 27 * 30):
        monkeypatch.setattr(stencil, "CHUNK", chunk)
        for found, value in zip(all_of_it(), expected):
            np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-12)


# norms --------------------------------------------------------------------------------------------


def symbol(kernel, shape, **more):
    """The bound by the symbol and the norm of the dense matrix."""
    operation = convolution.Convolution(kernel, shape, **more)
    dense = np.linalg.norm(operation.matrix().toarray(), 2)
    return stencil.symbol_bound(operation._grouped, operation.stencil.windows), dense


@pytest.mark.parametrize("grid", [*stencil.GRIDS, (8, 0)])
@given(convolutions(), st.sampled_from([0.0, 1.0, 5.0]))
def test_the_bound_by_the_symbol_is_never_below_the_norm(grid, case, more):
    kernel, shape, _, options = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stencil, "GRIDS", (grid,))
        bound, dense = made(symbol, kernel + more, shape, **options)
    assert bound >= dense


@pytest.mark.parametrize("k, most", [(1, 1.001), (2, 1.02), (3, 1.03)])
def test_the_bound_by_the_symbol_is_sharp_for_large_images(k, most):
    """The norms of the matrices of larger and larger images tend to the supremum; what remains is
    the grid's factor, 1.001 an axis at 32 frequencies.
    """
    kernel = np.random.default_rng(k).standard_normal((3, 2, k, k))
    bound, dense = symbol(kernel, (2, 24, 24), padding=k // 2)
    assert dense <= bound <= most * dense


def test_windows_beside_each_other_have_the_norm_of_their_kernel():
    """With the stride of its size a kernel is applied to each window by itself."""
    kernel = np.random.default_rng(0).standard_normal((5, 2, 3, 2))
    bound, dense = symbol(kernel, (2, 6, 6), stride=(3, 2))
    assert np.linalg.norm(kernel.reshape(5, -1), 2) == pytest.approx(dense, rel=1e-12)
    assert dense <= bound <= 1.001 * dense


def test_a_kernel_of_zeros_has_norm_0():
    with storing(False):
        assert layers.convolution(np.zeros((2, 1, 3, 3)), (1, 5, 5))[0].norm == 0


@given(seeds, st.sampled_from([1.0, 1e-150, 1e150]), st.booleans())
def test_the_bound_of_a_large_sparse_map_is_one_and_sharp_for_one_sign(seed, scale, signs):
    rng = np.random.default_rng(seed)
    dense = rng.random((40, 50)) * (rng.random((40, 50)) < 0.2) * scale
    dense = dense * rng.choice([-1, 1], dense.shape) if signs else dense
    bound, norm = affine.absolute_bound(sparse.csr_array(dense)), np.linalg.norm(dense, 2)
    ones = math.sqrt(np.abs(dense).sum(axis=0).max() * np.abs(dense).sum(axis=1).max())
    assert norm <= bound <= ones * (1 + 1e-6)
    if not signs:
        assert bound <= 1.5 * norm


def test_the_bound_of_a_map_that_can_only_be_applied():
    """Of functions; it may fail once in a thousand random starts."""
    for seed in range(20):
        dense = np.random.default_rng(seed).standard_normal((70, 60))
        foreign = Affine.from_maps(lambda a: a @ dense.T, lambda e: e @ dense, dense.shape)  # noqa: B023
        bound = affine.random_bound(foreign.weight)
        assert np.linalg.norm(dense, 2) <= bound <= 2 * np.linalg.norm(dense, 2)
    flat = Affine.from_maps(lambda a: 3 * a, lambda e: 3 * e, (50, 50))
    assert affine.random_bound(flat.weight) == pytest.approx(3, rel=1e-5)


def test_a_large_map_is_bounded_with_at_most_20_passes(monkeypatch):
    """Counted; the entries up to which Lanczos runs are set to none."""
    monkeypatch.setattr(affine, "ENTRIES", 0)
    calls, n = [], 200
    step = Affine.from_maps(
        lambda a: calls.append(len(a)) or 2 * a, lambda e: calls.append(len(e)) or 2 * e, (n, n)
    )
    calls.clear()
    assert step.norm >= 2
    assert sum(calls) <= 20


# shapes -------------------------------------------------------------------------------------------


def small_network(rng, whole=False):
    """A network of most layers on images of 2 × 6 × 6, with integer or real numbers."""

    def numbers(*shape):
        return rng.integers(-2, 3, shape).astype(float) if whole else rng.standard_normal(shape)

    first, shape = layers.convolution(numbers(2, 2, 3, 3), (2, 6, 6), numbers(2), padding="same")
    pool, shape = layers.max_pool(shape, 3, 2, 1)
    back, up = layers.transposed(numbers(2, 1, 2, 2), shape, numbers(2), stride=2, groups=2)
    both, stacked = layers.concatenation((2, 6, 6), up)
    last, _ = layers.global_average_pool(up)
    nodes = [
        ("z1", first),
        ("a1", ReLU(first.n_out)),
        ("m1", pool),
        ("z2", back),
        ("p", both, ("a1", "z2")),
        ("s", layers.add(first.n_out)),
        ("a2", Clamp(first.n_out, 0.0, 6.0)),
        ("g", last),
        ("z3", Affine(numbers(1, 2))),
    ]
    return Network(72, nodes), stacked


def test_shapes_travel_from_layer_to_layer():
    network, stacked = small_network(np.random.default_rng(0))
    assert stacked == (4, 6, 6)
    picture = (2, 6, 6)
    names = dict.fromkeys(("x", "z1", "a1", "z2", "s", "a2"), picture)
    assert dict(network.shapes) == names | {"m1": (2, 3, 3), "p": stacked, "g": (2, 1, 1)}
    layout = NeuralSheaf(network).layout
    assert layout.label(layout["a1"].start + 36 + 6 * 4 + 5) == "a1[channel 1, row 4, column 5]"
    assert layout.label(layout["z3"].start) == "z3[0]"


def test_a_stalk_has_the_shape_in_which_it_is_read():
    """A decoder: a dense layer writes what a transposed convolution reads as an image."""
    rng = np.random.default_rng(0)
    up, _ = layers.transposed(rng.standard_normal((2, 1, 2)), (2, 3), stride=2)
    nodes = [("z1", Affine(np.ones((6, 4)))), ("a1", ReLU(6)), ("z2", up)]
    sheaf = NeuralSheaf(Network(4, nodes))
    assert dict(sheaf.network.shapes) == {"z1": (2, 3), "a1": (2, 3), "z2": (1, 6)}
    assert sheaf.layout.label(5) == "z1[channel 1, place 2]"


def test_plain_networks_have_no_shapes():
    network = Network.he([2, 3, 1], np.random.default_rng(0), "softmax")
    sheaf = NeuralSheaf(network)
    assert dict(network.shapes) == {}
    assert sheaf.layout.label(4) == "a1[1]" and sheaf.augmented_layout.label(7) == "a_out[0]"


@examples(10)
@given(seeds)
def test_the_coboundary_of_layers_is_exact_in_rationals(seed):
    """With whole numbers δ is, entry by entry, and its determinant is 1 as nodes are in order."""
    network, _ = small_network(np.random.default_rng(seed), whole=True)
    x = np.random.default_rng(seed).integers(-3, 4, (1, 72)).astype(float)
    results = []
    for stored in (True, False):
        with storing(stored):
            sheaf = NeuralSheaf(small_network(np.random.default_rng(seed), whole=True)[0])
            results.append(sheaf.coboundary(sheaf.forward_pattern(x)[0]).toarray())
    np.testing.assert_array_equal(*results)
    delta = results[0]
    assert (np.triu(delta, 1) == 0).all() and (np.diag(delta) == 1).all()
    first = slice(0, 12)
    assert rational.determinant(rational.rational(delta[first, first])) == 1


def test_operations_of_images_are_frozen_and_can_be_copied():
    network, _ = small_network(np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((2, 72))
    for again in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        np.testing.assert_array_equal(again(x), network(x))
    for node in network.nodes:
        with pytest.raises(AttributeError):
            node.operation.n_out = 3
        with pytest.raises(AttributeError):
            node.operation.anything = 3


def test_a_large_network_in_pieces_is_the_one_in_one_piece(monkeypatch):
    with storing(False):
        sheaf = NeuralSheaf(small_network(np.random.default_rng(0))[0])
        x = np.random.default_rng(1).standard_normal((5, 72))
        whole = sheaf.forward(x), sheaf.network(x)
        monkeypatch.setattr(graph, "AT_ONCE", 1)
        np.testing.assert_allclose(sheaf.forward(x), whole[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(sheaf.network(x), whole[1], rtol=1e-12, atol=1e-12)


def test_an_impossible_extent_is_refused():
    """What is written is small, but what it is cut out of would have 10¹⁰ entries."""
    with pytest.raises(ValueError, match=r"padding=65536 asks for \d+ numbers"):
        layers.transposed(np.ones((1, 1, 2, 2)), (1, 200, 200), padding=2**16, dilation=2**17 - 198)
