"""Local relaxation: limits against `currents`, steps against dense textbook ones, locality by
poisoning, speed by theory.
"""

from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import pytest
import scipy.sparse as sparse
from effort import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import dense_system, row_weights
from scipy.linalg import block_diag
from scipy.special import eval_chebyt
from strategies import MODERATE, cases

from sheaflib import (
    Affine,
    Clamp,
    MaxPool,
    Network,
    NeuralSheaf,
    PReLU,
    ReLU,
    Stack,
    harmonic_extension,
    soft,
)
from sheaflib.circuits.currents import currents, ohm
from sheaflib.circuits.messages import exact_after, messages, send_up, vector_messages
from sheaflib.circuits.relaxation import (
    chebyshev,
    colours,
    edge_currents,
    gauss_seidel,
    jacobi_bounds,
    parallel_rounds,
    reach,
    red_black,
    relative_error,
)
from sheaflib.circuits.vertices import begin, vertices
from sheaflib.circuits.vertices import links as vertex_links
from sheaflib.layers import add, convolution
from sheaflib.linear.resistance import effective_resistance
from sheaflib.training.joint import output_weight
from sheaflib.training.objective import output_energy

OUTPUTS = {"identity": 1, "sigmoid": 2, "softmax": 3}
NEW = np.random.default_rng


def after(states, n):
    return next(islice(states, n, None))


def labels(output, n_batch, n, rng):
    if output == "identity":
        return rng.standard_normal((n_batch, n))
    return (
        np.eye(n)[rng.integers(0, n, n_batch)]
        if output == "softmax"
        else rng.integers(0, 2, (n_batch, n)).astype(float)
    )


def with_maps(network, maps):
    """The network with other affine maps, node -> Affine, in place of matrix-free ones too."""
    nodes = [replace(n, operation=maps.get(n.name, n.operation)) for n in network.nodes]
    return Network(network.n_in, nodes, network.output)


def unequal(network, rng):
    """The sheaf with a weight from 1/2 to 2 on every edge, the label's included."""
    return NeuralSheaf(
        network, {e.name: float(rng.uniform(0.5, 2)) for e in NeuralSheaf(network).edges}
    )


def setting(output="identity", depth=2, width=4, seed=0, n_batch=5):
    rng = NEW(seed)
    sheaf = unequal(Network.he([3, *[width] * depth, OUTPUTS[output]], rng, output), rng)
    return sheaf, rng.standard_normal((n_batch, 3)), labels(output, n_batch, OUTPUTS[output], rng)


def by_bounds(sheaf, x, y, **options):
    return chebyshev(sheaf, x, y, *jacobi_bounds(sheaf, sheaf.forward_pattern(x)), **options)


def energy(sheaf, x, y, pattern, w):
    z = w[:, sheaf.layout[sheaf.layout.names[-1]]]
    return sheaf.energy(w, x, pattern) + output_weight(sheaf) * output_energy(
        sheaf.network.output, z, y
    )


def dense(sheaf, pattern, x, y):
    """L with the label's edge, the right side b, and L's diagonal blocks, for one sample of the
    square loss.
    """
    delta, c = dense_system(sheaf.network, pattern, x)
    last, weights = sheaf.layout[sheaf.layout.names[-1]], row_weights(sheaf)
    L, b = delta.T @ (weights[:, None] * delta), delta.T @ (weights * c)
    L[last, last] += output_weight(sheaf) * np.eye(len(y))
    b[last] += output_weight(sheaf) * y
    return L, b, block_diag(*[L[own, own] for own in sheaf.layout.slices.values()])


def textbook_sweep(sheaf, L, b, order, w):
    """(D + T) ω' = b − Tᵀω with the stalks permuted into `order`, T the blocks below the diagonal
    blocks.
    """
    places = np.concatenate([np.arange(sheaf.N)[sheaf.layout[name]] for name in order])
    block = np.concatenate(
        [
            np.full(sheaf.layout[name].stop - sheaf.layout[name].start, i)
            for i, name in enumerate(order)
        ]
    )
    A, lower = L[np.ix_(places, places)], block[:, None] >= block[None]
    out = np.empty_like(w)
    out[places] = np.linalg.solve(
        np.where(lower, A, 0), b[places] - np.where(lower, 0, A) @ w[places]
    )
    return out


# limits
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "output, depth",
    [("identity", 1), ("identity", 2), ("sigmoid", 1), ("sigmoid", 2), ("softmax", 1)],
)
def test_every_scheme_ends_at_the_equilibrium(output, depth):
    sheaf, x, y = setting(output, depth, width=3, seed=11)
    exact = currents(sheaf, x, y).relaxed
    off = sheaf.forward(x) + NEW(1).standard_normal((len(x), sheaf.N)) / 10
    tolerance = {"rtol": 0, "atol": 1e-8 * np.abs(exact).max()}
    sweeps = 200 * depth
    for scheme in (gauss_seidel, red_black):
        np.testing.assert_allclose(after(scheme(sheaf, x, y), sweeps), exact, **tolerance)
    if output == "identity":
        np.testing.assert_allclose(
            after(gauss_seidel(sheaf, x, y, off, order=sheaf.layout.names), sweeps),
            exact,
            **tolerance,
        )
        np.testing.assert_allclose(
            after(by_bounds(sheaf, x, y, start=off), sweeps // 2), exact, **tolerance
        )


@given(cases(scales=MODERATE))
def test_the_equilibrium_and_nothing_else_stays_where_it_is(case):
    """Any network: every vertex is at rest there. L being positive definite, that is so of no other
    point.
    """
    sheaf, x = case.sheaf, case.x
    y = NEW(0).standard_normal((len(x), sheaf.network.n_out))
    exact = harmonic_extension(
        sheaf, x, pins=soft(sheaf.layout.names[-1], y, output_weight(sheaf)), pattern=case.pattern
    ).cochain
    scale = 1 + np.abs(exact).max()
    for vertex in vertices(*begin_with(sheaf, x, y, case.pattern)).values():
        np.testing.assert_allclose(
            vertex.update(exact), exact[:, vertex.own], rtol=0, atol=1e-9 * scale
        )
        assert np.abs(vertex.force(exact)).max() < 1e-8 * scale


def begin_with(sheaf, x, y, pattern):
    x, y, _, pattern = begin(sheaf, x, y, None, pattern)
    return sheaf, x, y, pattern


def residual_network(rng, output="identity"):
    """Two skips, one of them around a convolution and a pool, and a Stack that reads one stalk
    twice.
    """

    def small(*shape):
        return 0.4 * rng.standard_normal(shape)

    skip = small(4, 4)
    nodes = [
        ("z1", Affine(small(4, 3))),
        ("a1", ReLU(4, 0.1)),
        ("z2", convolution(small(1, 1, 1, 2), (1, 1, 4))[0]),
        ("p2", MaxPool([[0, 1], [1, 2]], 3)),
        ("z3", Affine(sparse.csr_array(small(4, 2)))),
        ("p3", Stack(4, 4), ("z3", "a1")),
        ("s3", add(4)),
        ("z4", Affine.from_maps(lambda a: a @ skip.T, lambda e: e @ skip, (4, 4))),
        ("a4", ReLU(4)),
        ("p4", Stack(4, 4), ("a4", "a4")),
        ("s4", add(4)),
        ("z5", Affine(small(OUTPUTS[output], 4))),
    ]
    return Network(3, nodes, output)


@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_skips_pools_and_convolutions_too(output):
    rng = NEW(0)
    sheaf = unequal(residual_network(rng, output), rng)
    x, y = rng.standard_normal((4, 3)), labels(output, 4, OUTPUTS[output], rng)
    exact = currents(sheaf, x, y)
    for scheme in (gauss_seidel, red_black) if output == "identity" else (red_black,):
        assert relative_error(exact, after(scheme(sheaf, x, y), 600)) < 1e-4
    with pytest.raises(
        ValueError,
        match="sheaf is no chain: node 'p3' reads z3, a1, expected z3 alone.*Around a loop",
    ):
        messages(sheaf, x, y)
    for call in (partial(vector_messages, x=x, y=y), partial(exact_after, vectors=True)):
        with pytest.raises(
            ValueError,
            match="sheaf is no chain: node 'p3' reads z3, a1, expected z3 alone.*Around a loop",
        ):
            call(sheaf)


# steps
# --------------------------------------------------------------------------------------------------


@given(cases(scales=MODERATE), st.randoms(use_true_random=False))
def test_gauss_seidel_is_the_textbook_iteration(case, random):
    sheaf, names = case.sheaf, list(case.sheaf.layout.names)
    y = NEW(0).standard_normal((len(case.x), sheaf.network.n_out))
    shuffled = random.sample(names, len(names))
    runs = [
        (names[::-1], gauss_seidel(sheaf, case.x, y, case.w, case.pattern)),
        (shuffled, gauss_seidel(sheaf, case.x, y, case.w, case.pattern, order=shuffled)),
        (
            [name for colour in colours(sheaf) for name in colour],
            red_black(sheaf, case.x, y, case.w, case.pattern),
        ),
    ]
    for order, states in runs:
        start, first, second = islice(states, 3)
        np.testing.assert_array_equal(start, case.w)
        for i, s in enumerate(case.pattern):
            L, b, _ = dense(sheaf, s, case.x[i], y[i])
            expected = textbook_sweep(sheaf, L, b, order, case.w[i])
            scale = 1 + max(np.abs(expected).max(), np.abs(case.w).max())
            np.testing.assert_allclose(first[i], expected, rtol=0, atol=1e-9 * scale)
            np.testing.assert_allclose(
                second[i], textbook_sweep(sheaf, L, b, order, expected), rtol=0, atol=1e-8 * scale
            )


@examples(12)
@given(cases(scales=MODERATE, outputs=tuple(OUTPUTS), cube=True))
def test_the_energy_never_rises(case):
    sheaf, rng = case.sheaf, NEW(0)
    y = labels(sheaf.network.output.name, len(case.x), sheaf.network.n_out, rng)
    groups = [(name,) for name in sheaf.layout.names]
    for states in (
        gauss_seidel(sheaf, case.x, y, case.w, case.pattern),
        red_black(sheaf, case.x, y, case.w, case.pattern),
        parallel_rounds(sheaf, case.x, y, groups, case.w, case.pattern),
    ):
        found = np.array([energy(sheaf, case.x, y, case.pattern, w) for w in islice(states, 12)])
        assert (np.diff(found, axis=0) <= 1e-11 * (1 + np.abs(found).max())).all()


def test_a_vertex_solve_is_a_minimum_over_its_stalk():
    """No step from it lowers the energy, and the energy before was higher: at each vertex, for each
    loss.
    """
    for output in OUTPUTS:
        sheaf, x, y = setting(output)
        x, y, w, pattern = begin(sheaf, x, y, NEW(1).standard_normal((5, sheaf.N)), None)
        for vertex in vertices(sheaf, x, y, pattern).values():
            best = w.copy()
            best[:, vertex.own] = vertex.update(w)
            least = energy(sheaf, x, y, pattern, best)
            assert (least < energy(sheaf, x, y, pattern, w)).all()
            assert np.abs(vertex.force(best)).max() < 1e-9
            for step in NEW(2).standard_normal((20, 5, vertex.own.stop - vertex.own.start)):
                moved = best.copy()
                moved[:, vertex.own] += 1e-3 * step
                assert (energy(sheaf, x, y, pattern, moved) > least).all()


# Chebyshev
# --------------------------------------------------------------------------------------------------


@given(cases(scales=MODERATE))
def test_chebyshev_is_its_polynomial_and_keeps_its_bound(case):
    """ω_s − ω* = T_s((mean − D⁻¹L)/half)/T_s(mean/half) (ω_0 − ω*), and ‖·‖ ≤ 2 q^s ‖ω_0 − ω*‖ in
    the norms of L and D.
    """
    sheaf, x = case.sheaf, case.x
    y = NEW(0).standard_normal((len(x), sheaf.network.n_out))
    low, high = jacobi_bounds(sheaf, case.pattern)
    states = list(islice(chebyshev(sheaf, x, y, low, high, case.w, case.pattern), 12))
    for i, s in enumerate(case.pattern):
        L, b, D = dense(sheaf, s, x[i], y[i])
        C = np.linalg.cholesky(D)
        values, Q = np.linalg.eigh(np.linalg.solve(C, np.linalg.solve(C, L).T))
        assume(values[0] > 1e-9)
        np.testing.assert_allclose((low[i], high[i]), values[[0, -1]], rtol=1e-5)
        assume(values[-1] > values[0] * (1 + 1e-6))
        V = np.linalg.solve(C.T, Q)  # VᵀDV = I, VᵀLV = diag(values)
        rest = np.linalg.solve(L, b)
        parts = V.T @ D @ (case.w[i] - rest)
        mean, half, root = (high[i] + low[i]) / 2, (high[i] - low[i]) / 2, np.sqrt(high[i] / low[i])
        for step, w in enumerate(states):
            shrink = eval_chebyt(step, (mean - values) / half) / eval_chebyt(step, mean / half)
            error = w[i] - rest
            scale = 1 + np.abs(rest).max() + np.abs(case.w).max()
            np.testing.assert_allclose(
                error, V @ (shrink * parts), rtol=0, atol=1e-7 * scale * np.sqrt(root)
            )
            for norm in (L, D):
                before, now = (np.sqrt(e @ norm @ e) for e in (case.w[i] - rest, error))
                assert (
                    now
                    <= 2 * ((root - 1) / (root + 1)) ** step * before * (1 + 1e-6) + 1e-9 * scale
                )


def test_no_local_scaling_of_a_chain_is_better_than_its_blocks():
    """κ(D⁻¹L) ≤ κ(S⁻¹L) for S = I and for random positive definite blocks."""
    sheaf, x, y = setting(depth=3)
    pattern = sheaf.forward_pattern(x)
    low, high = jacobi_bounds(sheaf, pattern)
    rng = NEW(0)
    for i, s in enumerate(pattern):
        L, _, _ = dense(sheaf, s, x[i], y[i])
        for spread in (0, 0, 0.1, 0.5, 0.5):
            parts = [np.eye(n) + spread * rng.standard_normal((n, n)) for n in sheaf.layout.dims]
            values = np.sort(
                np.linalg.eigvals(np.linalg.solve(block_diag(*[A @ A.T for A in parts]), L)).real
            )
            assert high[i] / low[i] <= values[-1] / values[0] * (1 + 1e-9)


@pytest.mark.parametrize(
    "scheme",
    [gauss_seidel, lambda s, *given: gauss_seidel(s, *given, order=s.layout.names), red_black],
)
def test_all_sweeps_of_a_chain_end_at_one_rate(scheme):
    """The error falls by μ² a sweep, μ = 1 − λ_min(D⁻¹L) (Young's theorem), and λ_max = 1 + μ."""
    sheaf, x, y = setting(depth=2, n_batch=1, seed=3)
    exact = currents(sheaf, x, y)
    low, high = jacobi_bounds(sheaf, exact.pattern)
    assert low[0] + high[0] == pytest.approx(2, rel=1e-12)
    states = [relative_error(exact, w) for w in islice(scheme(sheaf, x, y), 121)]
    n = next(i for i, error in enumerate(states) if error < 1e-6)
    assert (states[n + 10] / states[n]) ** 0.1 == pytest.approx((1 - low[0]) ** 2, rel=1e-3)


# messages
# --------------------------------------------------------------------------------------------------


def steady(output, depth):
    """Orthogonal weights and leaky units: the first edge still counts at the output of 32
    layers.
    """
    rng = NEW(depth)
    nodes = [("z0", Affine(np.linalg.qr(rng.standard_normal((5, 5))).Q))]
    for layer in range(1, depth + 1):
        nodes += [
            (f"a{layer}", ReLU(5, 0.98)),
            (
                f"z{layer}",
                Affine(np.linalg.qr(rng.standard_normal((5, 5))).Q, rng.standard_normal(5)),
            ),
        ]
    sheaf = unequal(Network(5, nodes, output), rng)
    return sheaf, rng.standard_normal((4, 5)), labels(output, 4, 5, rng)


@pytest.mark.parametrize(
    "output, depth",
    [
        *(("identity", depth) for depth in (0, 1, 2, 3, 16)),
        *((output, depth) for output in ("sigmoid", "softmax") for depth in (0, 1, 3)),
    ],
)
@pytest.mark.parametrize("vectors", [False, True])
def test_messages_are_exact_after_4k_plus_1_rounds_of_vectors_after_6k_and_no_sooner(
    output, depth, vectors
):
    sheaf, x, y = steady(output, depth)
    exact, n = currents(sheaf, x, y), max(6 * depth, 1) if vectors else 4 * depth + 1
    assert exact_after(sheaf, vectors) == n
    scale = np.abs(exact.relaxed).max()
    for start in (None, NEW(1).standard_normal((len(x), sheaf.N))):
        *_, sooner, there, later = islice(
            (vector_messages if vectors else messages)(sheaf, x, y, start), n + 2
        )
        assert np.abs(sooner - exact.relaxed).max() > 1e-5 * scale
        np.testing.assert_allclose(there, exact.relaxed, rtol=0, atol=1e-10 * scale)
        np.testing.assert_array_equal(there, later)
        assert relative_error(exact, there) < 1e-10


def test_vector_messages_on_an_even_chain_and_with_few_outputs():
    """K = 2 is 3 rounds; wide layers, two outputs; a pattern that is not the forward pass's."""
    rng = NEW(0)
    pair = unequal(
        Network(
            3,
            [
                ("z1", Affine(rng.standard_normal((4, 3)))),
                ("z2", Affine(rng.standard_normal((2, 4)))),
            ],
        ),
        rng,
    )
    wide = unequal(Network.he([3, 9, 7, 2], rng, "identity"), rng)
    for sheaf, n in ((pair, 3), (wide, 12)):
        x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
        pattern = rng.integers(0, 2, (6, sheaf.M)).astype(bool)
        expected = harmonic_extension(
            sheaf, x, pins=soft(sheaf.layout.names[-1], y, output_weight(sheaf)), pattern=pattern
        ).cochain
        *_, sooner, there = islice(
            vector_messages(sheaf, x, y, pattern=pattern), exact_after(sheaf, vectors=True) + 1
        )
        assert exact_after(sheaf, vectors=True) == n
        np.testing.assert_allclose(there, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
        assert np.abs(sooner - expected).max() > 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_resistance_of_vector_messages_grows_an_edge_every_other_round(output):
    """From when m is at the output on, its stalk obeys Ohm's law of the 1 + s // 2 edges next to
    it.
    """
    sheaf, x, y = setting(output, depth=4)
    last, K, forward = sheaf.layout[sheaf.layout.names[-1]], 9, sheaf.forward(x)
    parts = list(effective_resistance(sheaf, sheaf.pattern(forward, x)).edges.values())
    for s, w in enumerate(islice(vector_messages(sheaf, x, y), 2 * K + 1)):
        rho = sum(parts[-min(1 + s // 2, K) :])
        expected = (
            forward[:, last] + (rho @ ohm(sheaf, rho, forward[:, last], y)[:, :, None])[:, :, 0]
        )
        if s:
            np.testing.assert_allclose(
                w[:, last], expected, rtol=0, atol=1e-10 * np.abs(expected).max()
            )


@pytest.mark.parametrize("weight", [1e-3, 1.0, 1e3])
def test_no_weight_makes_messages_slower(weight):
    """Sweeps with these stiff and slack edges are far from there after as many."""
    rng = NEW(0)
    network = Network.he([3, 5, 5, 5, 2], rng)
    sheaf = NeuralSheaf(
        network, {e.name: weight ** (i % 2) for i, e in enumerate(NeuralSheaf(network).edges)}
    )
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    exact, n = currents(sheaf, x, y), exact_after(sheaf)
    assert relative_error(exact, after(messages(sheaf, x, y), n)) < 1e-10
    assert (
        relative_error(exact, after(vector_messages(sheaf, x, y), exact_after(sheaf, vectors=True)))
        < 1e-10
    )
    assert relative_error(exact, after(gauss_seidel(sheaf, x, y), n)) > 0.01


def test_messages_pass_convolutions_and_every_selection():
    rng, keep = NEW(0), NEW(1).standard_normal((3, 3))
    nodes = [
        ("z1", convolution(rng.standard_normal((2, 1, 2, 2)), (1, 3, 4))[0]),
        ("p1", MaxPool(rng.integers(0, 12, (5, 3)), 12)),
        ("z2", Affine(sparse.csr_array(rng.standard_normal((3, 5))), [1, 0, -1])),
        ("a2", ReLU(3, 0.2)),
        ("z3", Affine.from_maps(lambda a: a @ keep.T, lambda e: e @ keep, (3, 3))),
        ("a3", ReLU(3, -1.0)),
        ("z4", Affine(np.ones((2, 3)))),
        ("a4", PReLU(2, [0.5, -0.25])),
        ("z5", Affine(rng.standard_normal((3, 2)))),
        ("a5", Clamp(3, -0.5, 1.0)),
        ("z6", Affine(rng.standard_normal((2, 3)))),
    ]
    sheaf = unequal(Network(12, nodes), rng)
    x, y = rng.standard_normal((4, 12)), rng.standard_normal((4, 2))
    assert exact_after(sheaf) == 21
    assert relative_error(currents(sheaf, x, y), after(messages(sheaf, x, y), 21)) < 1e-12
    assert relative_error(currents(sheaf, x, y), after(vector_messages(sheaf, x, y), 30)) < 1e-12


def test_the_upward_message_is_the_forward_value_and_its_resistance():
    sheaf, x, y = setting(depth=3)
    pattern = sheaf.forward_pattern(x)
    message = x, None
    for name, link in zip(sheaf.layout.names, vertex_links(sheaf, x, pattern).values()):
        message = send_up(link, *message)
        np.testing.assert_allclose(message[0], sheaf.forward(x)[:, sheaf.layout[name]], atol=1e-12)
        np.testing.assert_allclose(
            message[1], effective_resistance(sheaf, pattern, name).total, atol=1e-12
        )


@pytest.mark.parametrize("scheme", [messages, vector_messages])
def test_the_first_current_is_backpropagations(scheme):
    """With no message yet ρ is 1/w of the last edge alone: where that is stiff, the current is the
    error.
    """
    rng = NEW(0)
    network = Network.he([3, 4, 1], rng)
    sheaf = NeuralSheaf(network, {"affine_2": 1e9})
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 1))
    found = edge_currents(sheaf, x, after(scheme(sheaf, x, y), 1), sheaf.forward_pattern(x))
    np.testing.assert_allclose(found[:, -1:], y - network(x), rtol=1e-5)


# locality
# --------------------------------------------------------------------------------------------------


@given(cases(scales=MODERATE, outputs=tuple(OUTPUTS)))
def test_a_vertex_reads_nothing_but_what_its_edges_join(case):
    """NaN in every other stalk, in x and y where they are not joined, other maps, edge weights and
    patterns elsewhere: the same update.
    """
    sheaf, rng, network = case.sheaf, NEW(0), case.sheaf.network
    y = labels(network.output.name, len(case.x), network.n_out, rng)
    here = vertices(sheaf, case.x, y, case.pattern)
    for name, vertex in here.items():
        mine = [e for e in sheaf.edges if name in (e.tail, e.head)]
        joined, heads = {end for e in mine for end in (e.tail, e.head)}, {e.head for e in mine}
        w = case.w.copy()
        for other in set(sheaf.layout.names) - joined:
            w[:, sheaf.layout[other]] = np.nan
        maps = {
            n.name: Affine(
                rng.standard_normal((n.operation.n_out, n.operation.n_in)),
                np.full(n.operation.n_out, 9.0),
            )
            for n in network.nodes
            if isinstance(n.operation, Affine) and n.name not in heads
        }
        stiffer = {
            e.name: (1 if e in mine else 7) * sheaf.edge_weights[e.name] for e in sheaf.edges
        }
        there = NeuralSheaf(with_maps(network, maps), stiffer)
        pattern = case.pattern.copy()
        for n in network.nodes:
            if n.name not in heads and n.name in sheaf.pattern_layout:
                pattern[:, sheaf.pattern_layout[n.name]] = 0
        x = case.x if "x" in joined else np.full_like(case.x, np.nan)
        nothing = np.full_like(y, np.nan)
        poisoned = vertices(there, x, y if name == sheaf.layout.names[-1] else nothing, pattern)[
            name
        ]
        for found, expected in (
            (poisoned.update(w), vertex.update(case.w)),
            (poisoned.force(w), vertex.force(case.w)),
        ):
            assert np.isfinite(found).all()
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(
    "scheme", ["red-black", "output first", "chebyshev", "messages", "vectors"]
)
def test_a_label_is_felt_one_edge_further_a_round(scheme, depth):
    sheaf, x, y = setting(depth=depth, width=8)
    schemes = {
        "red-black": lambda s, *given: parallel_rounds(s, *given, colours(s)),
        "chebyshev": by_bounds,
        "messages": messages,
        "vectors": vector_messages,
        "output first": lambda s, *given: parallel_rounds(
            s, *given, [(name,) for name in s.layout.names[::-1]]
        ),
    }
    n = 2 * depth + 1
    felt = reach(schemes[scheme], sheaf, x, y, y + 1, n)
    np.testing.assert_array_equal(felt, np.arange(n + 1)[:, None] + np.arange(n)[None] >= n)


@given(cases(scales=MODERATE, outputs=tuple(OUTPUTS)))
def test_around_skips_too(case):
    """After s rounds every edge both of whose ends are s or more edges below the output has its old
    current, bit for bit.
    """
    sheaf, output, rng = case.sheaf, case.sheaf.network.output.name, NEW(0)
    y, other = (labels(output, len(case.x), sheaf.network.n_out, rng) for _ in range(2))
    edges = [e for e in sheaf.edges if e.head in sheaf.layout]
    distance = {sheaf.layout.names[-1]: 0}
    for _ in edges:
        for e in edges:
            for near, far in ((e.tail, e.head), (e.head, e.tail)):
                if near in distance and far != "x":
                    distance[far] = min(distance.get(far, np.inf), distance[near] + 1)
    felt = reach(
        lambda s, *given: parallel_rounds(s, *given, colours(s)), sheaf, case.x, y, other, 6
    )
    for rounds, row in enumerate(felt):
        for e, feels in zip(edges, row):
            assert (
                not feels
                or min(distance.get(e.tail, np.inf), distance.get(e.head, np.inf)) < rounds
            )


@pytest.mark.parametrize("scheme", [messages, vector_messages])
def test_a_message_is_read_by_the_next_vertex_alone(scheme):
    """A start moved at one stalk: after s rounds the stalk s above it is off, and no other."""
    sheaf, x, y = setting(depth=4, width=8)
    start = NEW(1).standard_normal((len(x), sheaf.N))
    moved = start.copy()
    moved[:, sheaf.layout["z2"]] += 1
    for rounds, (a, b) in enumerate(
        islice(zip(scheme(sheaf, x, y, start), scheme(sheaf, x, y, moved)), 6)
    ):
        assert [name for name, own in sheaf.layout.slices.items() if (a != b)[:, own].any()] == [
            sheaf.layout.names[2 + rounds]
        ]


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("scheme", [messages, vector_messages])
def test_what_is_changed_spreads_one_vertex_a_round(scheme, output):
    """Another x, y, or map, bias, weight and pattern of one edge: after s rounds no stalk beyond s
    − 1 from where it is met is off.
    """
    sheaf, x, y = setting(output, depth=2)
    rng, network, names = NEW(1), sheaf.network, sheaf.layout.names
    start, pattern, K = rng.standard_normal((len(x), sheaf.N)), sheaf.forward_pattern(x), len(names)
    relabelled = y + 1 if output == "identity" else np.roll(y, 1, axis=1)
    other = {
        "x": (0, 0, sheaf, x + 9, y, pattern),
        "y": (K - 1, K - 1, sheaf, x, relabelled, pattern),
    }
    for edge, node in enumerate(network.nodes):
        n_out, n_in = node.operation.n_out, node.operation.n_in
        maps = (
            {node.name: Affine(rng.standard_normal((n_out, n_in)), np.full(n_out, 9.0))}
            if isinstance(node.operation, Affine)
            else {}
        )
        weights = {
            e.name: (7 if e.head == node.name else 1) * sheaf.edge_weights[e.name]
            for e in sheaf.edges
        }
        flipped = pattern.copy()
        if node.name in sheaf.pattern_layout:
            flipped[:, sheaf.pattern_layout[node.name]] ^= True
        other[node.name] = (
            max(edge - 1, 0),
            edge,
            NeuralSheaf(with_maps(network, maps), weights),
            x,
            y,
            flipped,
        )
    for low, high, there, *inputs in other.values():
        runs = zip(
            scheme(sheaf, x, y, start, pattern), scheme(there, *inputs[:2], start, inputs[2])
        )
        for s, (a, b) in enumerate(islice(runs, 3 * K)):
            off = [i for i, name in enumerate(names) if (a != b)[:, sheaf.layout[name]].any()]
            assert not off if s == 0 else set(off) <= set(range(low - s + 1, high + s))
        assert off


# colours, measures, arguments
# ------------------------------------------------------------------------------------------------


@given(cases())
def test_no_edge_joins_two_of_a_colour(case):
    found = colours(case.sheaf)
    assert sorted(name for colour in found for name in colour) == sorted(case.sheaf.layout.names)
    assert not [e for e in case.sheaf.edges for colour in found if {e.tail, e.head} <= set(colour)]


def test_relative_error_is_1_at_the_forward_pass_and_0_at_rest():
    sheaf, x, y = setting("softmax")
    exact = currents(sheaf, x, y)
    assert relative_error(exact, exact.forward) == pytest.approx(1, rel=1e-12)
    assert relative_error(exact, exact.relaxed) < 1e-12
    middle = (exact.forward + exact.relaxed) / 2
    assert relative_error(exact, middle) == pytest.approx(0.5, rel=1e-12)
    with pytest.raises(ValueError, match="exact holds no current"):
        relative_error(currents(NeuralSheaf(Network.mlp([[[2.0]]])), [[1.0]], [[2.0]]), [[2.0]])


SCHEMES = {
    "gauss_seidel": gauss_seidel,
    "red_black": red_black,
    "chebyshev": partial(chebyshev, low=0.1, high=1.9),
    "messages": messages,
    "vector_messages": vector_messages,
    "parallel_rounds": partial(parallel_rounds, groups=[["z1", "z3"], ["a1"]]),
}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_nothing_that_was_given_or_yielded_is_shared(scheme):
    sheaf, x, y = setting()
    start = NEW(1).standard_normal((len(x), sheaf.N))
    before = [array.copy() for array in (x, y, start)]
    expected = list(islice(scheme(sheaf, x, y, start=start), 5))
    for array, old in zip((x, y, start), before):
        np.testing.assert_array_equal(array, old)
    for step, w in enumerate(islice(scheme(sheaf, x, y, start=start), 5)):
        np.testing.assert_array_equal(w, expected[step])
        for array in (w, x, y, start):
            array[:] = 9


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"x": np.ones((5, 2))}, r"x has the wrong shape: got \(5, 2\)"),
        ({"y": np.ones((4, 1))}, "y has 4 rows, expected 5"),
        ({"y": None}, "y is None"),
        ({"start": np.ones((5, 3))}, "start has the wrong shape"),
        ({"start": np.ones((2, 17))}, "start has 2 rows, expected 5"),
        ({"pattern": np.ones((5, 3))}, "pattern has shape"),
        ({"sheaf": 3}, "sheaf is a int"),
    ],
)
def test_bad_arguments_are_named_at_once(scheme, wrong, message):
    sheaf, x, y = setting()
    with pytest.raises((ValueError, TypeError), match=message):
        scheme(**{"sheaf": sheaf, "x": x, "y": y} | wrong)


def test_bad_orders_bounds_and_groups(monkeypatch):
    sheaf, x, y = setting()
    for order in (["z1"], ["z1", "z1", "a1", "z2", "a2", "z3"], ["q", "a1", "z2", "a2", "z3"]):
        with pytest.raises(
            ValueError, match="order is .*, expected every stalk once: z1, a1, z2, a2, z3"
        ):
            gauss_seidel(sheaf, x, y, order=order)
    for groups, message in (
        ([], "groups is empty"),
        ([["z1", "a1"]], "expected no edge within a group: activation_1 is"),
        ([["q"]], "stalk 'q' is unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            parallel_rounds(sheaf, x, y, groups)
    for low, high, message in (
        (0, 1, "expected 0 < low ≤ high"),
        (2, 1, "expected 0 < low ≤ high"),
        ([1, 1], 2, r"low has shape \(2,\)"),
        (1, np.nan, "high must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            chebyshev(sheaf, x, y, low, high)
    for call in (by_bounds, SCHEMES["chebyshev"]):
        with pytest.raises(
            ValueError,
            match="the output is a sigmoid: Chebyshev's semi-iteration is for the square loss",
        ):
            call(*setting("sigmoid"))
    with pytest.raises(ValueError, match="rounds=-1 must be ≥ 0"):
        reach(red_black, sheaf, x, y, y, -1)
    monkeypatch.setattr("sheaflib.circuits.vertices.ENTRIES", 15)
    with pytest.raises(
        ValueError,
        match=(
            "stalk 'a1' is 4 wide and an affine edge leaves it: its vertex solves would hold 16"
            " numbers"
        ),
    ):
        gauss_seidel(sheaf, x, y)


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1.0, 1e4, 1e8])
def test_bounds_of_a_chain_at_any_scale(scale):
    """L = [[2, −1, 0], [−1, 1 + s², −s], [0, −s, 2]] has D⁻¹L with the eigenvalues 1 and 1 ∓ √½,
    whatever the weight s.
    """
    low, high = jacobi_bounds(NeuralSheaf(Network.mlp([[[1.0]], [[scale]]])), [True])
    np.testing.assert_allclose([low[0], high[0]], [1 - np.sqrt(0.5), 1 + np.sqrt(0.5)], rtol=1e-14)
