"""The exact flow where the answer is known: by hand, and by Runge–Kutta from event to event with
dense matrices of the definition.
"""

import numpy as np
import pytest
from oracles import dense_system, row_weights
from scipy.integrate import solve_ivp

from sheaflib import Affine, MaxPool, Network, NeuralSheaf, ReLU, hard, soft
from sheaflib.companion import tasks
from sheaflib.flow.exact_flow import exact_flow, exact_flows
from sheaflib.flow.first_zero import first_zero

RUNS = {
    "2x4x1": [
        (0.311876, "z1[0]", "slides"),
        (0.463639, "z1[3]", "crosses up"),
        (0.522060, "z1[0]", "leaves up"),
        (1.091141, "z1[2]", "crosses down"),
    ],
    "fig6": [(0.503753, "z1[0]", "crosses down"), (0.649829, "z1[3]", "crosses down")],
    "2x6x4x4x1": [
        (0.161708, "z3[2]", "crosses down"),
        (0.206345, "z3[0]", "crosses down"),
        (0.813781, "z2[3]", "crosses up"),
        (0.837413, "z1[2]", "crosses down"),
        (0.901533, "z3[0]", "slides"),
        (1.419258, "z1[5]", "crosses up"),
        (1.583301, "z3[0]", "leaves up"),
        (3.154553, "z1[1]", "crosses down"),
        (6.116472, "z2[1]", "crosses down"),
        (202.820092, "z2[2]", "crosses down"),
    ],
}


def net(b1=0.0, **options):
    return NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[b1], [0.0]]), **options)


def runge_kutta(sheaf, x, start, until):
    """Events and w(until) of an unpinned chain: integrated with a tolerance of 1e-12 from one sign
    change of z_j or of a one-sided force to the next.
    """
    kinked = [
        i for name in sheaf.layout.names[:-1:2] for i in range(*sheaf.layout[name].indices(sheaf.N))
    ]

    def system(side, slide):
        delta, c = dense_system(sheaf.network, side[kinked].astype(float), x[0])
        A, b = delta.T @ (row_weights(sheaf)[:, None] * delta), delta.T @ (row_weights(sheaf) * c)
        A[slide], b[slide] = 0, 0
        return A, b

    def one_sided(side, j, upper):
        A, b = system(np.where(np.arange(sheaf.N) == j, upper, side), [])
        return lambda t, w: b[j] - A[j] @ w

    def terminal(function, rising):
        def watched(t, w):
            return function(t, w)

        watched.terminal, watched.direction = True, 1 if rising else -1
        return watched

    t, w, side, slide, events = 0.0, start[0].copy(), start[0] >= 0, np.zeros(sheaf.N, bool), []
    while True:
        A, b = system(side, slide)
        goals = [(j, up) for j in kinked for up in ((False, True) if slide[j] else (not side[j],))]
        watch = [
            terminal(one_sided(side, j, up) if slide[j] else (lambda t, w, j=j: w[j]), up)
            for j, up in goals
        ]
        run = solve_ivp(
            lambda t, w: b - A @ w,
            (t, until),
            w,
            method="DOP853",
            rtol=1e-12,
            atol=1e-13,
            events=watch,
            max_step=0.1,
        )
        if run.status == 0:
            return events, run.y[:, -1]
        first = next(k for k, times in enumerate(run.t_events) if len(times))
        (j, up), t, w = goals[first], run.t_events[first][0], run.y_events[first][0].copy()
        w[j], onwards = 0.0, one_sided(side, j, up)(t, w)
        kind = "leaves" if slide[j] else "crosses" if (onwards > 0) == up else "slides"
        slide[j] = kind == "slides"
        side[j] = side[j] if slide[j] else up
        events.append(
            (t, sheaf.layout.label(j), kind if slide[j] else f"{kind} {'up' if up else 'down'}")
        )


@pytest.mark.parametrize("name, until", [("2x4x1", 10.0), ("fig6", 10.0), ("2x6x4x4x1", 205.0)])
def test_events_of_the_recorded_runs(name, until):
    """Unpinned they end at the forward pass. "2x6x4x4x1": 8 crossings and one slide; Euler's dozens
    of switches are its chatter.
    """
    sheaf, x, start = tasks.heat_run(name)
    flow = exact_flow(sheaf, x, start)
    expected, state = runge_kutta(sheaf, x, start, until)
    for wanted, atol in ((expected, 1e-9), (RUNS[name], 1e-6)):
        assert [event[1:] for event in flow.events] == [event[1:] for event in wanted]
        np.testing.assert_allclose(
            [event.time for event in flow.events], [event[0] for event in wanted], rtol=0, atol=atol
        )
    np.testing.assert_allclose(flow.at([until])[0], state, rtol=0, atol=1e-10)
    np.testing.assert_allclose(flow.limit, sheaf.forward(x)[0], rtol=0, atol=1e-12)
    assert (
        flow.settled
        and flow.settled_from == flow.events[-1].time
        and flow.decompositions == len(flow.events) + 1
    )
    assert {unit: len(intervals) for unit, intervals in flow.slides.items()} == {
        "2x4x1": {"z1[0]": 1},
        "fig6": {},
        "2x6x4x4x1": {"z3[0]": 1},
    }[name]


def test_a_slide_for_ever():
    """x = 0, b¹ = ½, a¹ held at −1: Q_− = ½, Q_+ = −½, so z¹ stays; z² = −1 + e^{−t} from 0."""
    flow = exact_flow(net(0.5), [[0.0]], [[0.0, 0.0, 0.0]], pins=hard("a1", -1.0))
    assert not flow.events and flow.settled and flow.slides == {"z1[0]": [(0.0, np.inf)]}
    times = np.array([0.0, 0.3, 2.0])
    np.testing.assert_allclose(
        flow.at(times),
        np.stack([0 * times, 0 * times - 1, np.exp(-times) - 1], axis=1),
        rtol=0,
        atol=1e-15,
    )


def test_a_flow_of_which_all_is_clamped_stays():
    values = [0.5, -1.0, 2.0]
    pins = [hard(stalk, value) for stalk, value in zip(("z1", "a1", "z2"), values)]
    flow = exact_flow(net(0.5), [[0.0]], [[7.0, 7.0, 7.0]], pins=pins)
    assert flow.settled and flow.events == []
    np.testing.assert_array_equal(flow.at([0.0, 1.0, np.inf]), [values] * 3)


@pytest.mark.parametrize(
    "z, b, a, kinds, times",
    [
        # on the left ż = 1 − z: z = 1 − 2e^{−t}; on the right Q_+ = 1 > 0
        (-1.0, 1.0, 0.0, ["crosses up"], [np.log(2)]),
        (-1.0, 1.0, -2.0, ["slides"], [np.log(2)]),  # there Q_+ = 1 − 2 < 0 and Q_− = 1
        # ż = −3/2 − 2z: z = −3/4 + 7/4 e^{−2t}; Q_− = −½
        (1.0, -0.5, -1.0, ["crosses down"], [np.log(7 / 3) / 2]),
        (1.0, 0.5, -2.0, ["slides"], [np.log(7 / 3) / 2]),  # ż = −3/2 − 2z as well, but Q_− = ½
    ],
)
def test_one_kink_with_its_reader_held(z, b, a, kinds, times):
    flow = exact_flow(net(b), [[0.0]], [[z, 0.0, 0.0]], pins=hard("a1", a))
    assert [event.kind for event in flow.events] == kinds
    np.testing.assert_allclose([event.time for event in flow.events], times, rtol=1e-14)
    fast = exact_flow(net(b), [[0.0]], [[z, 0.0, 0.0]], pins=hard("a1", a), alpha=2.5)
    np.testing.assert_allclose(
        [event.time for event in fast.events], np.array(times) / 2.5, rtol=1e-14
    )
    stiff = exact_flow(net(b, edge_weights=3.0), [[0.0]], [[z, 0.0, 0.0]], pins=hard("a1", a))
    np.testing.assert_allclose(
        [event.time for event in stiff.events], np.array(times) / 3, rtol=1e-14
    )


def test_at_a_limit_on_the_kink_nothing_can_be_proven():
    """z¹ = e^{−2t}: with a¹ held at 1 and b¹ = −1 it decays to the kink itself."""
    flow = exact_flow(net(-1.0), [[0.0]], [[1.0, 0.0, 0.0]], pins=hard("a1", 1.0))
    assert (
        not flow.events
        and not flow.settled
        and flow.reason == "at rest up to rounding"
        and flow.settled_from == np.inf
    )
    np.testing.assert_allclose(flow.limit, [0.0, 1.0, 1.0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("start, limit", [(-1.0, [-0.5, 1.0, 2.0]), (1.0, [1 / 3, 7 / 6, 2.0])])
def test_two_limits_of_one_output_pinned_net(start, limit):
    """x = 0, b¹ = −½, z² = 2: the two equilibria of the recorded runs."""
    flow = exact_flow(net(-0.5), [[0.0]], [[start, 1.0, 2.0]], pins=hard("z2", 2.0))
    assert flow.settled and not flow.events
    np.testing.assert_allclose(flow.limit, limit, rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", [None, *range(12)])
def test_identical_units_have_their_events_together(seed):
    """Two copies of a unit that slides, leaves and rests: each event comes twice, and neither copy
    disturbs the other, though rounding puts their events 1e-15 apart: without a seed in the last
    digits that Python's version decides, with one in the last digits of the start."""
    rng = np.random.default_rng(94)
    W1 = np.repeat(rng.standard_normal((2, 2)), 2, axis=0)
    W2 = np.repeat(rng.standard_normal((2, 4))[:1, [0, 0, 2, 2]], 2, axis=0)
    W3 = np.repeat(rng.standard_normal((1, 1)), 2, axis=1)
    biases = [
        np.repeat(rng.standard_normal(2), 2),
        np.repeat(rng.standard_normal(1), 2),
        rng.standard_normal(1),
    ]
    network = Network.mlp([W1, W2, W3], biases)
    sheaf, x = NeuralSheaf(network), rng.standard_normal((1, 2))
    start = sheaf.forward(2 * x)
    start[:, :4] = np.repeat(rng.standard_normal(2), 2)
    pin = hard("z3", rng.standard_normal())
    if seed is not None:
        signs = np.random.default_rng(seed).choice([-1, 0, 1], start.shape)
        start = start * (1 + 2e-16 * signs)
    flow = exact_flow(sheaf, x, start, pins=pin)
    assert flow.settled and len(flow.events) == 6
    for one, other in zip(flow.events[::2], flow.events[1::2]):
        assert one.kind == other.kind
        assert one.unit != other.unit
        assert other.time - one.time < 1e-12


def test_stopped_early():
    sheaf, x, start = tasks.heat_run("2x4x1")
    for flow, end, count in (
        (exact_flow(sheaf, x, start, until=0.5), 0.5, 2),
        (exact_flow(sheaf, x, start, max_events=3), 1.091141, 3),
    ):
        assert (
            len(flow.events) == count
            and flow.end == pytest.approx(end, abs=1e-6)
            and not flow.settled
        )
        np.testing.assert_array_equal(flow.at([0.4]), exact_flow(sheaf, x, start).at([0.4]))
        with pytest.raises(ValueError, match="its limit is not known"):
            flow.limit
        with pytest.raises(ValueError, match="times holds 1.5"):
            flow.at([1.5])


def test_what_is_not_covered_is_refused():
    pool = NeuralSheaf(Network(2, [("z1", Affine(np.eye(2))), ("p1", MaxPool([[0, 1]], 2))]))
    with pytest.raises(ValueError, match="max-pool"):
        exact_flow(pool, [[1.0, 2.0]], np.zeros((1, pool.N)))
    tied = NeuralSheaf(
        Network(1, [("z1", Affine([[1.0]])), ("a1", ReLU(1)), ("z2", Affine([[1.0]]), "z1")])
    )
    with pytest.raises(ValueError, match="do not separate"):
        exact_flow(tied, [[1.0]], np.zeros((1, tied.N)))
    sigmoid = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], output="sigmoid"))
    with pytest.raises(ValueError, match="a_out is pinned"):
        exact_flow(sigmoid, [[1.0]], np.zeros((1, 3)), pins=hard("a_out", 0.5))
    with pytest.raises(ValueError, match="start holds a_out"):
        exact_flow(sigmoid, [[1.0]], np.zeros((1, 4)))
    np.testing.assert_allclose(
        exact_flow(sigmoid, [[1.0]], np.zeros((1, 3))).limit, [1.0, 1.0, 1.0], atol=1e-14
    )
    with pytest.raises(ValueError, match="use exact_flows for a batch"):
        exact_flow(net(), [[1.0], [2.0]], np.zeros((2, 3)))
    with pytest.raises(ValueError, match="start has 1 rows"):
        exact_flows(net(), [[1.0], [2.0]], np.zeros((1, 3)))


def test_a_batch_is_its_samples():
    sheaf = NeuralSheaf(Network.he([2, 4, 1], np.random.default_rng(3)))
    x = np.random.default_rng(4).standard_normal((3, 2))
    start = np.random.default_rng(5).standard_normal((3, sheaf.N))
    y = np.array([[1.0], [-2.0], [0.0]])
    for i, flow in enumerate(exact_flows(sheaf, x, start, pins=soft("z2", y, gamma=2.0))):
        alone = exact_flow(sheaf, x[[i]], start[[i]], pins=soft("z2", y[i], gamma=2.0))
        assert flow.events == alone.events
        np.testing.assert_array_equal(flow.limit, alone.limit)


# the march
# --------------------------------------------------------------------------------------------------


def test_zeros_of_polynomials_in_e_to_the_minus_t():
    """Π (e^{−t} − e^{−s}) over s = 1, 2, 2.001, 3, times −1: the first zero is 1, then from 2.0005
    on 2.001.
    """
    roots = np.exp([-1.0, -2.0, -2.001, -3.0])
    coefficients = np.poly(roots)[::-1]  # of p^0 … p^4
    for begin, sign, expected in (
        (0.0, 1.0, 1.0),
        (1.5, -1.0, 2.0),
        (2.0005, 1.0, 2.001),
        (2.5, -1.0, 3.0),
    ):
        c = sign * coefficients * np.exp(-begin * np.arange(5))
        zero = first_zero(c[:1], c[None, 1:], np.arange(1.0, 5.0))
        assert zero.which == 0 and begin + zero.time == pytest.approx(expected, abs=1e-9)


def test_a_double_zero_is_no_zero_if_it_is_missed_by_little():
    """(e^{−t} − ½)² + δ has none; with −δ its first is where e^{−t} = ½ + √δ."""
    for delta in (1e-3, 1e-6, 1e-9):
        c, rates = np.array([[-1.0, 1.0]]), np.array([1.0, 2.0])
        missed = first_zero(np.array([0.25 + delta]), c, rates)
        assert missed.which is None and missed.proven and missed.evaluations < 300
        hit = first_zero(np.array([0.25 - delta]), c, rates)
        assert hit.time == pytest.approx(-np.log(0.5 + delta**0.5), abs=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_a_sum_that_starts_at_zero_rises_or_falls_by_its_first_derivative(order):
    """±(1 − e^{−t})^order."""
    c = np.poly([1.0] * order)[::-1]
    c, rates = (-1) ** order * c, np.arange(1.0, order + 1)
    up = first_zero(c[:1], c[None, 1:], rates)
    assert up.which is None and up.time == np.inf
    down = first_zero(-c[:1], -c[None, 1:], rates)
    assert down.which == 0 and down.time == 0


def test_steps_never_pass_a_zero():
    """Against a dense grid, on random sums."""
    rng, grid = np.random.default_rng(0), np.linspace(0, 30, 30_001)
    for _ in range(50):
        rates = np.sort(rng.uniform(0.01, 8, 6))
        c = rng.standard_normal((4, 6))
        star = rng.standard_normal(4)
        star += np.maximum(0, 0.01 - (star + c.sum(axis=1)))
        values = star[:, None] + c @ np.exp(-np.multiply.outer(rates, grid))
        negative = (values < 0).any(axis=0)
        first = grid[negative.argmax()] if negative.any() else np.inf
        zero = first_zero(star, c, rates, horizon=30.0)
        assert zero.time <= first if negative.any() else zero.which is not None or zero.time >= 30
        if zero.which is not None:
            assert abs(star[zero.which] + c[zero.which] @ np.exp(-rates * zero.time)) < 1e-13
