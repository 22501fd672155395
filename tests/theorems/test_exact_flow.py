"""The exact flow is a gradient flow: V falls, Euler tends to it, it can be taken up again anywhere,
and it ends at a strict local minimum.
"""

from typing import NamedTuple

import numpy as np
from effort import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from sheaflib import NeuralSheaf, hard, heat, soft
from sheaflib.companion.random_networks import random_network
from sheaflib.equilibria.certificate import certify
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.newton import equilibrium
from sheaflib.flow.exact_flow import exact_flow


class Case(NamedTuple):
    sheaf: NeuralSheaf
    x: np.ndarray
    start: np.ndarray
    pins: list

    def energy(self, w):
        """V of cochains (T, N), springs included."""
        pins = PinnedEnergy(self.sheaf, self.x, self.pins).pins
        return self.sheaf.energy(w, np.repeat(self.x, len(w), axis=0)) + np.array(
            [pins.energy(v[None])[0] for v in w]
        )


@st.composite
def cases(draw, pinned=st.booleans()):
    """Small networks, chains and merges, any slope of the ReLU, edge weights, pins; hypothesis
    draws the kind, a generator the numbers.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = [
        draw(st.integers(1, 3)),
        *draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)),
        draw(st.integers(1, 2)),
    ]
    network = random_network(
        rng,
        widths,
        draw(st.sampled_from([0.0, 0.6])),
        slope=draw(st.sampled_from([0.0, 0.0, 0.1, -1.0, 1.5])),
    )
    sheaf = NeuralSheaf(network)
    if draw(st.booleans()):
        sheaf = NeuralSheaf(network, {edge.name: rng.uniform(0.5, 2) for edge in sheaf.edges})
    pins, last = [], sheaf.layout.names[-1]
    if draw(pinned):
        target = 3 * rng.standard_normal(network.n_out)
        pins.append(hard(last, target) if draw(st.booleans()) else soft(last, target, gamma=2.0))
        inner = draw(st.sampled_from([None, *sheaf.layout.names[:-1]]))
        if inner:
            pins.append(
                hard(inner, rng.standard_normal(), at=0)
                if draw(st.booleans())
                else soft(inner, rng.standard_normal(), gamma=0.7)
            )
    return Case(
        sheaf, rng.standard_normal((1, network.n_in)), 2 * rng.standard_normal((1, sheaf.N)), pins
    )


def grid(flow):
    """Times that hold every event, the middle of every piece, and a tail."""
    at = np.array([piece.time for piece in flow.pieces])
    return np.unique(np.concatenate([at, (at[1:] + at[:-1]) / 2, at[-1] + np.linspace(0, 20, 20)]))


@given(cases())
def test_energy_never_rises_and_the_path_is_continuous(case):
    flow = exact_flow(*case[:3], pins=case[3])
    times = grid(flow)
    energy = case.energy(flow.at(times))
    assert (np.diff(energy) <= 1e-12 * (1 + energy[0])).all()
    for before, after in zip(flow.pieces, flow.pieces[1:]):
        ends = flow.quadratics.decompose(before).at(np.array([after.time - before.time]))[0]
        np.testing.assert_allclose(ends, after.w, rtol=0, atol=1e-11 * (1 + np.abs(after.w).max()))


@given(cases())
def test_sides_are_kept_and_sliders_stay_at_zero(case):
    """Between events no z_j changes its sign, and during a slide z_j = 0 exactly."""
    flow = exact_flow(*case[:3], pins=case[3])
    times, layout = grid(flow), case.sheaf.layout
    states, units = flow.at(times), flow.quadratics.units
    for piece, stop in zip(flow.pieces, [*(piece.time for piece in flow.pieces[1:]), np.inf]):
        z = states[(times > piece.time) & (times < stop)][:, units]
        side = np.where(piece.side[units], 1, -1)
        assert (z * np.where(piece.slide[units], 0, side) >= -1e-13 * (1 + np.abs(z))).all()
        assert (z[:, piece.slide[units]] == 0).all()
    label = [layout.label(i) for i in range(case.sheaf.N)]
    for unit, intervals in flow.slides.items():
        for begin, end in intervals:
            assert (states[(times >= begin) & (times < end)][:, label.index(unit)] == 0).all()


@examples(10)
@given(cases())
def test_euler_tends_to_it_with_the_first_power_of_dt(case):
    """The largest error at 30 times up to t = 1.5: ten times smaller steps leave a tenth, or, where
    a slide chatters, less than a third.
    """
    flow, errors = exact_flow(*case[:3], pins=case[3]), []
    exact = flow.at(np.linspace(0, 1.5, 31))
    for steps in (1500, 15_000):
        states = heat(
            case.sheaf, case.x, case.start, dt=1.5 / steps, pins=case.pins, every=steps // 30
        )
        euler = np.array([state.cochain[0] for state, _ in zip(states, exact)])
        errors.append(np.abs(euler - exact).max())
    assume(errors[1] > 1e-10)
    assert errors[1] < errors[0] / (3 if flow.slides else 8)


@given(case=cases(), where=st.floats(0.05, 0.95))
def test_taken_up_again_it_goes_on_alike(case, where):
    """The semigroup law, from a time inside any piece."""
    flow = exact_flow(*case[:3], pins=case[3])
    ends = [*(piece.time for piece in flow.pieces), flow.pieces[-1].time + 2.0]
    for begin, end in zip(ends, ends[1:]):
        if end - begin < 1e-3:
            continue
        t = begin + where * (end - begin)
        again = exact_flow(case.sheaf, case.x, flow.at([t]), pins=case.pins)
        later = [event for event in flow.events if event.time > t]
        assert [event[1:] for event in again.events] == [event[1:] for event in later]
        np.testing.assert_allclose(
            [event.time + t for event in again.events],
            [event.time for event in later],
            rtol=1e-8,
            atol=1e-9,
        )
        np.testing.assert_allclose(
            again.limit, flow.limit, rtol=0, atol=1e-11 * (1 + np.abs(flow.limit).max())
        )


@given(cases(pinned=st.just(True)))
def test_the_limit_is_a_strict_local_minimum_and_newton_stays_there(case):
    flow = exact_flow(*case[:3], pins=case[3])
    assert flow.settled
    assert certify(PinnedEnergy(case.sheaf, case.x, case.pins), flow.limit[None]).minimum().all()
    newton = equilibrium(case.sheaf, case.x, pins=case.pins, start=flow.limit[None])
    np.testing.assert_allclose(
        newton.cochain[0], flow.limit, rtol=0, atol=1e-11 * (1 + np.abs(flow.limit).max())
    )


@given(cases(pinned=st.just(False)))
def test_without_pins_the_limit_is_the_forward_pass(case):
    flow, expected = exact_flow(*case[:3], pins=case[3]), case.sheaf.forward(case.x)[0]
    np.testing.assert_allclose(
        flow.limit, expected, rtol=0, atol=1e-10 * (1 + np.abs(expected).max())
    )
    np.testing.assert_allclose(
        flow.at([1e6])[0], expected, rtol=0, atol=1e-10 * (1 + np.abs(expected).max())
    )


@given(st.integers(0, 2**32 - 1))
def test_starts_on_the_kinks_end_as_well(seed):
    """Zero biases, x = 0 or not, starts of zeros and whole numbers: kinks at which every derivative
    may vanish.
    """
    rng = np.random.default_rng(seed)
    network = random_network(rng, [2, *rng.integers(1, 4, 2), 1])
    sheaf = NeuralSheaf(network)
    x = rng.integers(-1, 2, (1, 2)).astype(float)
    for start in (
        np.zeros((1, sheaf.N)),
        sheaf.forward(x),
        rng.integers(-1, 2, (1, sheaf.N)).astype(float),
    ):
        flow = exact_flow(sheaf, x, start, max_events=200)
        np.testing.assert_allclose(
            flow.limit, sheaf.forward(x)[0], rtol=0, atol=1e-10 * (1 + np.abs(flow.limit).max())
        )
