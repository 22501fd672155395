"""Rates: Euler is first order, its late decay is 2 ln(1 − α dt λ₁) a step, a soft pin is O(1/γ)
from the hard one.
"""

import numpy as np
import pytest
from oracles import dense_laplacian
from scipy.linalg import expm

from sheaflib import Network, NeuralSheaf, hard, harmonic_extension, heat, relax, soft
from sheaflib.linear import spectrum

RNG = np.random.default_rng(12)
SHEAF = NeuralSheaf(
    Network.mlp(
        [RNG.uniform(0.2, 1, (3, 2)), RNG.uniform(-1, 1, (2, 3))], [[1.0, 1.0, 1.0], [0.5, -0.5]]
    ),
    {"affine_2": 2.0},
)
X = np.array([[1.0, 0.5]])
# all three ReLUs stay active: one pattern for ever
START = SHEAF.forward(X) + 0.2 * RNG.uniform(-1, 1, (1, SHEAF.N))
ONES = np.ones(3)


def at_time(time, dt, alpha, pins=()):
    steps = round(time / dt)
    run = relax(
        SHEAF, X, START, dt=dt, alpha=alpha, pins=pins, max_steps=steps, every=steps, tol=1e-300
    )
    assert len(run.history.switches) == 0 and run.history.steps[0] == steps
    return run.cochain[0]


def exact(time, alpha, gamma=0.0):
    """w(t) = w* + e^{−αtL}(w(0) − w*); a spring on a¹ towards 0 adds γ to L there."""
    L = dense_laplacian(SHEAF, ONES)
    a1 = np.arange(3, 6)
    rest = np.linalg.solve(
        L + gamma * np.diag(np.isin(np.arange(SHEAF.N), a1)), L @ SHEAF.forward(X)[0]
    )
    L[a1, a1] += gamma
    return rest + expm(-alpha * time * L) @ (START[0] - rest)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_euler_is_first_order(alpha, gamma):
    time, pins = 1.0 / alpha, () if gamma == 0 else soft("a1", 0.0, gamma)
    steps = np.array([0.02, 0.01, 0.005, 0.0025, 0.00125]) / alpha
    errors = [
        np.linalg.norm(at_time(time, dt, alpha, pins) - exact(time, alpha, gamma)) for dt in steps
    ]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert abs(orders[-1] - 1) < 0.02
    assert (abs(orders - 1) < 0.1).all()


@pytest.mark.parametrize("alpha, dt", [(1.0, 0.01), (1.0, 0.05), (0.3, 0.1), (2.0, 0.02)])
def test_late_discord_decays_by_the_factor_of_the_slowest_mode(alpha, dt):
    """With unit edge weights V and discord are one quadratic form; its last mode shrinks by (1 − α
    dt λ₁)² a step.
    """
    sheaf = NeuralSheaf(SHEAF.network)
    low, following = spectrum.eigenvalues(sheaf, ONES)[:2]
    # the second mode is then e^-32 of the first in discord
    steps = 10 * int(1.6 / (alpha * dt * (following - low)))
    run = relax(sheaf, X, START, dt=dt, alpha=alpha, max_steps=steps + 10, every=10, tol=1e-300)
    total = run.history.total[:, 0]
    assert total[-1] > 1e-22  # far above rounding
    measured = np.log(total[-1] / total[-2]) / 10
    assert measured == pytest.approx(2 * np.log(1 - alpha * dt * low), rel=1e-6)


@pytest.mark.parametrize("stalk, at", [("z1", 0), ("a1", None), ("z2", 1)])
def test_soft_pin_approaches_the_hard_one_like_one_over_gamma(stalk, at):
    limit = harmonic_extension(SHEAF, X, pins=hard(stalk, 2.0, at)).cochain
    gammas = 10.0 ** np.arange(2, 7)
    gaps = [
        np.linalg.norm(
            harmonic_extension(SHEAF, X, pins=soft(stalk, 2.0, gamma, at)).cochain - limit
        )
        for gamma in gammas
    ]
    orders = np.log10(np.divide(gaps[:-1], gaps[1:]))
    assert abs(orders[-1] - 1) < 1e-3
    assert (abs(orders - 1) < 0.05).all()


def test_doubling_alpha_is_doubling_dt():
    """Only the product α·dt enters a step; the clock is dt."""
    slow = list(zip(range(50), heat(SHEAF, X, START, dt=0.04, alpha=1.0)))
    fast = list(zip(range(50), heat(SHEAF, X, START, dt=0.02, alpha=2.0)))
    for (_, a), (_, b) in zip(slow, fast):
        np.testing.assert_array_equal(a.cochain, b.cochain)
        assert a.time == 2 * b.time == pytest.approx(0.04 * a.step)


def test_default_step_is_one_over_alpha_times_the_bound():
    run = relax(SHEAF, X, START, alpha=2.0, max_steps=1)
    assert run.history.dt == pytest.approx(1 / (2 * spectrum.bound(SHEAF)), rel=1e-14)
