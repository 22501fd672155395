"""Both ends of stiff spectra and their stated errors, against singular values with 150 digits."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from effort import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import dense_laplacian, dense_system, row_weights
from strategies import any_pattern, cases

from sheaflib import Network, NeuralSheaf, ReLU, hard, relax, soft
from sheaflib.linear import spectrum
from sheaflib.linear.fixed_pattern import Frozen, output_maps
from sheaflib.linear.resistance import effective_resistance
from sheaflib.sheaves.pins import resolve

DIGITS = 150
PINS = ["none", "hard", "soft", "both"]


def exact_eigenvalues(sheaf, pattern, pins=()):
    """All eigenvalues of L, ascending Decimals, by one-sided Jacobi on A of rows √w δ and √γ."""
    delta, _ = dense_system(sheaf.network, pattern, np.zeros(sheaf.network.n_in))
    weights, free = row_weights(sheaf), np.ones(len(delta), dtype=bool)
    if pins:
        free[pins.hard_index] = False
        delta = np.vstack([delta, np.eye(len(delta))[pins.soft_index]])
        weights = np.concatenate([weights, pins.gamma])
    with localcontext() as context:
        context.prec = DIGITS
        roots = [Decimal(float(w)).sqrt() for w in weights]
        columns = [
            [Decimal(float(v)) * root for v, root in zip(column, roots)]
            for column in delta[:, free].T
        ]
        return sorted(squares_of_singular_values(columns))


def squares_of_singular_values(columns):
    """Rotate pairs of columns until all are orthogonal: then their squared lengths are left."""

    def dot(a, b):
        return sum((x * y for x, y in zip(a, b)), Decimal(0))

    turned = True
    while turned:
        turned = False
        for i in range(len(columns)):
            for j in range(i):
                a, b = columns[j], columns[i]
                aa, bb, ab = dot(a, a), dot(b, b), dot(a, b)
                if ab * ab <= aa * bb * Decimal(10) ** -60:
                    continue
                turned = True
                zeta = (bb - aa) / (2 * ab)
                t = (1 if zeta >= 0 else -1) / (abs(zeta) + (1 + zeta * zeta).sqrt())
                c = 1 / (1 + t * t).sqrt()
                columns[j] = [c * (x - t * y) for x, y in zip(a, b)]
                columns[i] = [c * (t * x + y) for x, y in zip(a, b)]
    return [dot(column, column) for column in columns]


def off(found, exact):
    """|found/exact − 1| for a float and a Decimal."""
    return float(abs(Decimal(float(found)) / exact - 1))


@st.composite
def stiff_cases(draw):
    """A small network with weights of any size, edge weights over 16 decades, a pattern, pins."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([1e-8, 1e-4, 1.0, 10.0, 100.0, 1e4, 1e8]))
    dims = [2, *rng.integers(1, 4, draw(st.integers(1, 4)))]
    network = Network.mlp([scale * rng.standard_normal((b, a)) for a, b in zip(dims, dims[1:])])
    sheaf = NeuralSheaf(network)
    if draw(st.booleans()):
        sheaf = NeuralSheaf(network, {e.name: 10.0 ** rng.uniform(-8, 8) for e in sheaf.edges})
    last = sheaf.layout.names[-1]
    gamma = 10.0 ** rng.uniform(-8, 8)
    pins = {
        "none": (),
        "hard": hard(last, 0.0),
        "soft": soft(last, 0.0, gamma),
        "both": [hard("z1", 0.0, at=0), soft(last, 0.0, 1.0)],
    }[draw(st.sampled_from(PINS))]
    pins = resolve(sheaf, pins, 1)
    return sheaf, any_pattern(sheaf, rng), pins


@given(stiff_cases())
def test_the_errors_of_a_dense_solver_are_no_larger_than_stated(drawn):
    """And what is stated is worth something: rounding of a singular value of A at most."""
    sheaf, s, pins = drawn
    exact = exact_eigenvalues(sheaf, s[0], pins)
    if not exact:
        return
    found = spectrum.extremes(sheaf, s, pins=pins)
    root_kappa = float((exact[-1] / exact[0]).sqrt())
    assert off(found.largest[0], exact[-1]) <= found.error_high[0] <= 1e-13
    if found.below_rounding[0]:
        assert pins and root_kappa > 1e13 and found.lower()[0] == 0
        return
    assert off(found.smallest[0], exact[0]) <= found.error_low[0] <= 2e-12 + 1e-13 * root_kappa
    assert Decimal(found.lower()[0]) <= exact[0]
    if not pins:
        assert found.error_low[0] <= 1e-11


@given(stiff_cases())
def test_an_eigenvalue_lies_within_the_errors_that_lanczos_states(drawn):
    """Which one, the random start decides; λ₁ is not above, λ_max not below, and `lower` holds."""
    sheaf, s, pins = drawn
    exact = exact_eigenvalues(sheaf, s[0], pins)
    if not exact:
        return
    found = spectrum.extremes(sheaf, s, pins=pins, dense=0)
    assert min(off(found.largest[0], value) for value in exact) <= found.error_high[0] <= 1e-4
    assert exact[-1] >= Decimal(found.largest[0] * (1 - 1e-13))
    if found.below_rounding[0]:
        assert pins and exact[-1] > Decimal(10) ** 26 * exact[0]
        return
    assert min(off(found.smallest[0], value) for value in exact) <= found.error_low[0]
    assert exact[0] <= Decimal(found.smallest[0]) * Decimal(1 + found.error_low[0])
    assert Decimal(found.lower()[0]) <= exact[0]


@given(cases(cube=True, most=4), st.sampled_from([0, 400]), st.integers(0, 3))
def test_the_errors_hold_for_every_kind_of_network(case, dense, held):
    """Maps from 1e-6 to 1e6, often of low rank, stacks and pooling; some coordinates clamped."""
    assume(held < case.sheaf.N <= 16)
    at = np.random.default_rng(held).permutation(case.sheaf.N)[:held]
    pins = [hard(stalk, 0.0, place) for stalk, place in map(case.sheaf.layout.locate, at)]
    pins = resolve(case.sheaf, pins, 2)
    found = spectrum.extremes(case.sheaf, case.pattern, pins=pins, dense=dense)
    for i, s in enumerate(case.pattern):
        exact = exact_eigenvalues(case.sheaf, s, pins)
        assert min(off(found.largest[i], value) for value in exact) <= found.error_high[i]
        if not found.below_rounding[i]:
            assert min(off(found.smallest[i], value) for value in exact) <= found.error_low[i]
            assert Decimal(found.lower()[i]) <= exact[0]
            if dense:
                assert off(found.smallest[i], exact[0]) <= found.error_low[i]
        else:
            assert held and exact[-1] > Decimal(10) ** 26 * exact[0]


@pytest.mark.parametrize("dense", [0, 400])
@pytest.mark.parametrize("gain", [1e3, 1e5, 1e6, 1e10, 1e20, 1e70])
def test_a_chain_of_two_edges_in_closed_form(gain, dense):
    """δ = [[1, 0], [−g, 1]]: λ₁λ_max = 1 and λ₁ + λ_max = 2 + g², so that κ(L) is about g⁴."""
    sheaf = NeuralSheaf(
        Network(
            1,
            [
                ("z1", Network.mlp([[[1.0]]]).nodes[0].operation, ("x",)),
                ("z2", Network.mlp([[[gain]]]).nodes[0].operation, ("z1",)),
            ],
        )
    )
    found = spectrum.extremes(sheaf, np.zeros((1, 0)), dense=dense)
    with localcontext() as context:
        context.prec = 400
        trace = 2 + Decimal(gain) ** 2
        high = (trace + (trace**2 - 4).sqrt()) / 2
        assert off(found.smallest[0], 1 / high) <= found.error_low[0] <= 1e-13
        assert off(found.largest[0], high) <= found.error_high[0] <= 1e-13


@pytest.mark.parametrize("dense", [0, 400])
@pytest.mark.parametrize("depth, gain", [(3, 1e5), (6, 30.0), (9, 1e3)])
@pytest.mark.parametrize("pins", ["none", "hard", "soft", "stiff", "activities"])
def test_chains_whose_condition_number_is_scaled_up(depth, gain, pins, dense):
    """κ(L) is 1e12 to 1e90 without pins, and pins leave 1e0 to 1e10 of it: λ₁ is known to 1e-4."""
    sheaf = NeuralSheaf(Network.mlp([[[gain]]] * depth))
    s, last = np.ones((1, sheaf.M)), f"z{depth}"
    pins = {
        "none": (),
        "hard": hard(last, 0.0),
        "soft": soft(last, 0.0, 1.0),
        "stiff": soft(last, 0.0, 1e8),
        "activities": [hard(f"a{i}", 0.0) for i in range(1, depth)],
    }[pins]
    pins = resolve(sheaf, pins, 1)
    exact = exact_eigenvalues(sheaf, s[0], pins)
    found = spectrum.extremes(sheaf, s, pins=pins, dense=dense)
    assert found.error_low[0] < 1e-4
    if dense or not pins:
        assert off(found.smallest[0], exact[0]) <= found.error_low[0]
    assert min(off(found.smallest[0], value) for value in exact) <= found.error_low[0]
    assert Decimal(found.lower()[0]) <= exact[0]


def stiff_network(gain):
    """Six hidden layers of 50, N = 605: κ(L) is 8e8 for a gain of 3, and 4e10 for a gain of 4."""
    rng, dims = np.random.default_rng(0), [5, *[50] * 6, 5]
    weights = [gain * rng.standard_normal((b, a)) * np.sqrt(2 / a) for a, b in zip(dims, dims[1:])]
    return NeuralSheaf(Network.mlp(weights)), rng.standard_normal((3, 5))


@pytest.mark.parametrize("gain", [3.0, 7.0])
@pytest.mark.parametrize("pinned", PINS)
def test_stiff_networks_beyond_a_dense_solver(gain, pinned):
    """κ(L) is 1e9 to 1e14, L is known by passes alone, and λ₁ to what is stated."""
    sheaf, x = stiff_network(gain)
    patterns = sheaf.forward_pattern(x)
    middle = [hard(f"z{i}", 0.0, at=[0, 3]) for i in range(1, 6)]
    pins = {
        "none": (),
        "hard": hard("z7", 0.0),
        "soft": soft("z7", 0.0, 1.0),
        "both": [hard("z7", 0.0), *middle],
    }[pinned]
    found = spectrum.extremes(sheaf, patterns, pins=pins)
    assert found.steps[0] <= 16
    assert (found.error_low < 1e-5).all() and (found.error_high < 1e-4).all()
    for i, s in enumerate(patterns):
        sizes = np.linalg.svd(root(sheaf, s, pins), compute_uv=False)
        svd = 1e-14 * sizes[0] / sizes[-1]  # what singular values may err by
        assert abs(found.smallest[i] / sizes[-1] ** 2 - 1) <= found.error_low[i] + svd
        assert abs(found.largest[i] / sizes[0] ** 2 - 1) <= found.error_high[i]


def root(sheaf, s, pins):
    """A as a dense matrix."""
    delta, _ = dense_system(sheaf.network, s, np.zeros(sheaf.network.n_in))
    delta = np.sqrt(row_weights(sheaf))[:, None] * delta
    pins = resolve(sheaf, pins, 1)
    springs = np.sqrt(pins.gamma)[:, None] * np.eye(sheaf.N)[pins.soft_index]
    return np.vstack([delta, springs])[:, pins.free]


@pytest.mark.parametrize("pins", [(), hard("z7", 0.0), soft("z7", 0.0, 1.0)])
def test_chebyshevs_iteration_runs_on_stiff_networks(pins):
    """It asks for λ₁ of the pieces it is on, with their corners clamped."""
    sheaf, x = stiff_network(3.0)
    start = sheaf.forward(x + 0.1)
    run = relax(sheaf, x, start, stepper="chebyshev", pins=pins, max_steps=200)
    assert np.isfinite(run.cochain).all()


def test_what_is_below_rounding_is_said():
    """A spring of 1 holds a gain of 1e200: λ₁ rests on digits of the gain that no float has."""
    sheaf = NeuralSheaf(Network.mlp([[[1e100]], [[1e100]]]))
    s, pins = np.ones((1, 1)), soft("z2", 0.0, 1.0)
    for dense in (0, 400):
        found = spectrum.extremes(sheaf, s, pins=pins, dense=dense)
        assert found.error_low[0] == np.inf and found.below_rounding.all() and found.lower()[0] == 0
        assert found.error_high[0] < 1e-13
        assert repr(found).startswith("Extremes(λ₁ below rounding, λ_max 1e+200")
    for call in (spectrum.smallest, spectrum.extreme):
        with pytest.raises(ArithmeticError, match="λ₁ of sample 0 is below rounding: .* of inf"):
            call(sheaf, s, pins=pins)


def test_the_repr_says_which_digits_are_none():
    one = np.ones(3)
    made = [
        spectrum.Extremes(one, one, one, one, one, one, (9, 3), 10, 9, np.array(error), one * 0)
        for error in ([0.0, 1e-4, 0.0], [0.0, 0.02, 0.0], [np.inf, 0.02, np.inf])
    ]
    assert [repr(m).split(", λ_max")[0] for m in made] == [
        "Extremes(λ₁ 1",
        "Extremes(λ₁ 1 to a relative 2e-02",
        "Extremes(λ₁ 1 to a relative 2e-02 and below rounding in 2 samples",
    ]
    np.testing.assert_array_equal(made[2].lower(), [0, 0.98 * made[0].lower()[0], 0])


@pytest.mark.parametrize("dense", [0, 400])
def test_what_leaves_float64_is_an_error(dense):
    sheaf = NeuralSheaf(Network.mlp([[[1e160]], [[1e160]]]))
    with pytest.raises(OverflowError, match="leaves float64"):
        spectrum.extremes(sheaf, np.ones((1, 1)), dense=dense)
    with pytest.raises(OverflowError, match="leaves float64"):
        spectrum.eigenvalues(sheaf, [1])
    with pytest.raises(OverflowError, match="bound of λ_max leaves float64: the largest edge"):
        spectrum.bound(sheaf)


def test_the_bound_squares_nothing_that_it_need_not():
    """Norms of 1e200 beside edge weights of 1e-300."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1e200]], [[1e200]]]), 1e-300)
    assert spectrum.bound(sheaf) == pytest.approx(1e100, rel=1e-14)


@examples(100)  # those that need the inverse are rare
@given(stiff_cases())
def test_every_eigenvalue_has_digits(drawn):
    """Without pins to rounding times κ^¼, with pins at least to that of singular values of A.

    A solver for L itself would lose all eigenvalues below 1e-16 λ_max.
    """
    sheaf, s, pins = drawn
    exact = exact_eigenvalues(sheaf, s[0], pins)
    if not exact:
        return
    found = spectrum.eigenvalues(sheaf, s[0], pins=pins)
    assert len(found) == len(exact) and (np.diff(found) >= 0).all()
    root_kappa = float((exact[-1] / exact[0]).sqrt())
    allowed = 1e-13 * (np.sqrt(root_kappa) if not pins else root_kappa)
    if allowed < 0.1:
        np.testing.assert_array_less([off(f, e) for f, e in zip(found, exact)], allowed)


@pytest.mark.parametrize("depth, gain", [(4, 1e5), (5, 1e4), (6, 1e3)])
def test_small_eigenvalues_are_those_of_the_inverse(depth, gain):
    """κ(L) is 1e36 to 1e40: singular values of A alone miss the smallest eigenvalue by more than a
    hundredth of it, and the inverse has twelve of its digits."""
    sheaf = NeuralSheaf(Network.mlp([[[gain]]] * depth))
    s = np.ones(sheaf.M)
    exact, sizes = exact_eigenvalues(sheaf, s), np.linalg.svd(root(sheaf, s, ()), compute_uv=False)
    assert off(sizes[-1] ** 2, exact[0]) > 0.01
    found = spectrum.eigenvalues(sheaf, s)
    np.testing.assert_array_less([off(f, e) for f, e in zip(found, exact)], 1e-12)


# the parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pinned", PINS)
def test_the_solution_and_its_stresses(pinned):
    """A y = r and Aᵀr = v: a gain of 1e9 that the output's pin cuts does not stay in them."""
    rng = np.random.default_rng(0)
    network = Network.mlp([30 * rng.standard_normal((2, 2)) for _ in range(6)])
    sheaf = NeuralSheaf(network, {"affine_2": 0.01})
    pins = {
        "none": (),
        "hard": hard("z6", 0.0),
        "soft": soft("z6", 0.0, 3.0),
        "both": [hard("z1", 0.0, at=1), hard("z6", 0.0, at=0), soft("z6", 0.0, 3.0, at=1)],
    }[pinned]
    s = np.ones((1, sheaf.M))
    frozen, A = Frozen(sheaf, s, pins=pins), root(sheaf, s[0], pins)
    v = rng.standard_normal((1, frozen.n))
    expected = np.linalg.svd(A, compute_uv=False)
    atol = 1e-12 * np.abs(A).max()
    np.testing.assert_allclose(frozen.stress(v)[0], A @ v[0], rtol=1e-12, atol=atol)
    r = rng.standard_normal((1, len(A)))
    np.testing.assert_allclose(frozen.load(r)[0], A.T @ r[0], rtol=1e-12, atol=atol)
    y, r = frozen.solve(v, refinements=2)
    worst = 1e-13 * expected[0] / expected[-1]
    assert np.linalg.norm(A @ y[0] - r[0]) <= worst * np.linalg.norm(r)
    assert np.linalg.norm(A.T @ r[0] - v[0]) <= worst * np.linalg.norm(v)


def test_leverage_is_the_sum_of_what_each_entry_weighs():
    """Σ_i |r_i| (|√w_i v_i| + (Σ_j w_i F_ij² v_j²)^½), its inner sums by four random passes."""
    rng, ratios = np.random.default_rng(1), []
    for _ in range(40):
        sheaf = NeuralSheaf(Network.he([3, 8, 7, 2], rng), {"affine_2": 4.0})
        s, pins = any_pattern(sheaf, rng), soft("z3", 0.0, 2.0)
        v, r = rng.standard_normal((1, sheaf.N)), rng.standard_normal((1, sheaf.N + 2))
        A = root(sheaf, s[0], pins)
        own = np.vstack([np.diag(np.diag(A)), A[sheaf.N :]])
        terms = np.abs(own @ v[0]) + np.sqrt((A - own) ** 2 @ v[0] ** 2)
        ratios.append(Frozen(sheaf, s, pins=pins).leverage(v, r)[0] / (np.abs(r[0]) @ terms))
    assert abs(np.mean(ratios) - 1) < 1 / 3 and np.min(ratios) > 0.5 and np.max(ratios) < 2


def test_the_root_of_a_saturated_softmax_keeps_its_small_entries():
    """p = (½, ½, 2e-18): J is 3p₃/2 on (1, 1, −2)/√6, ½ on (1, −1, 0)/√2, and 0 on (1, 1, 1)."""
    sheaf = NeuralSheaf(Network.he([2, 4, 3], np.random.default_rng(0), "softmax"))
    half = output_maps(sheaf, [[0.0, 0.0, -40.0]], 1, "identity")[0]
    small = np.exp(-40.0) / 2
    assert half[2, 2] == pytest.approx(np.sqrt(1.5 * small) * 2 / 3, rel=1e-6)
    np.testing.assert_allclose(half[:2, :2], np.array([[1, -1], [-1, 1]]) / np.sqrt(8), atol=1e-8)
    J = output_maps(sheaf, [[0.3, -1.0, 0.5]], 1, "jacobian")[0]
    half = output_maps(sheaf, [[0.3, -1.0, 0.5]], 1, "identity")[0]
    np.testing.assert_allclose(half @ half, J, atol=1e-15)
    np.testing.assert_allclose(half, half.T, atol=1e-15)
    assert np.linalg.eigvalsh(half)[0] > -1e-15


def exact_injections(sheaf, s, error, spring):
    """η = W⁻¹Gᵀ(ρ + I/γ)⁻¹e for two outputs, in Decimals."""
    delta, _ = dense_system(sheaf.network, s, np.zeros(sheaf.network.n_in))
    N = len(delta)
    with localcontext() as context:
        context.prec = DIGITS
        G = [[Decimal(int(i == j)) for j in range(N)] for i in (N - 2, N - 1)]
        for row in G:  # Gδ = rows of the identity
            for j in reversed(range(N)):
                for k in range(j + 1, N):
                    row[j] -= row[k] * Decimal(float(delta[k, j]))
        weights = [Decimal(float(w)) for w in row_weights(sheaf)]
        give = Decimal(0) if np.isinf(spring) else 1 / Decimal(spring)
        rho = [[sum(x * y / w for x, y, w in zip(a, b, weights)) for b in G] for a in G]
        rho[0][0], rho[1][1] = rho[0][0] + give, rho[1][1] + give
        e = [Decimal(float(v)) for v in error]
        determinant = rho[0][0] * rho[1][1] - rho[0][1] * rho[1][0]
        current = [
            (rho[1][1] * e[0] - rho[0][1] * e[1]) / determinant,
            (rho[0][0] * e[1] - rho[1][0] * e[0]) / determinant,
        ]
        return [(G[0][j] * current[0] + G[1][j] * current[1]) / weights[j] for j in range(N)]


@pytest.mark.parametrize("spring", [np.inf, 1e-8, 1e8])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e4])
def test_injections_of_a_stiff_network(scale, spring):
    """Two outputs read one unit, and its gain moves them alike: κ of G diag(w)^-½ is up to 1e11.

    The error is by that, and not by its square, which is the condition number of ρ.
    """
    rng = np.random.default_rng(3)
    shapes = ((3, 2), (1, 3), (2, 1))
    network = Network.mlp([scale * rng.standard_normal(shape) for shape in shapes])
    sheaf = NeuralSheaf(network, {"affine_2": 1e-4, "affine_3": 1e4})
    s, error = np.ones((1, sheaf.M)), rng.standard_normal((1, 2))
    law = effective_resistance(sheaf, s)
    found = law.injections(error, spring)[0]
    exact = np.array([float(v) for v in exact_injections(sheaf, s[0], error[0], spring)])
    stress = np.sqrt(row_weights(sheaf))  # as energy counts them
    worst = np.linalg.cond(law.G[0] / stress)
    missed = np.linalg.norm(stress * (found - exact))
    assert missed <= 1e-14 * worst * np.linalg.norm(stress * exact)
    assert law.norm[0] == pytest.approx(np.linalg.norm(law.G[0] / stress, 2) ** 2, rel=1e-13)


def test_no_check_may_rest_on_the_quotient_of_L():
    """vᵀLv of the bottom vectors that Lanczos finds misses λ₁ by 100 times more than L⁻¹ does."""
    sheaf, x = stiff_network(4.0)
    patterns = sheaf.forward_pattern(x)
    found = spectrum.extremes(sheaf, patterns)
    exact = spectrum.extremes(sheaf, patterns, dense=1000)
    L = [dense_laplacian(sheaf, s) for s in patterns]
    quotients = np.array([v @ matrix @ v for v, matrix in zip(found.bottom, L)])
    assert np.median(np.abs(quotients / exact.smallest - 1)) > 1e-9
    np.testing.assert_allclose(found.smallest, exact.smallest, rtol=1e-11)


def test_a_unit_that_is_off():
    """Its map is 0 and L = I: there is rounding of the diagonal alone."""
    affine = Network.mlp([[[2.0]]]).nodes[0].operation
    sheaf = NeuralSheaf(Network(1, [("z1", affine, ("x",)), ("a1", ReLU(1), ("z1",))]))
    found = spectrum.extremes(sheaf, [[0]])
    assert found.smallest[0] == found.largest[0] == 1 and found.error_low[0] < 1e-14
