"""The step limit 2/(α·λ_max): at the harmonic extension, at the start with pins; and the energy
that stops a flow beyond it.
"""

import numpy as np
import pytest

from sheaflib import HeatUnstable, Network, NeuralSheaf, hard, heat, relax
from sheaflib.flow.euler import EulerStepper, flow_energy
from sheaflib.flow.kernels import CompiledStepper, can_compile
from sheaflib.sheaves.forces import force
from sheaflib.sheaves.pins import resolve

# δ = [[1, 0, 0], [−s, 1, 0], [0, −W, 1]], W = 0.1: λ_max = 1.11 with the neuron off (s = 0), 2.62
# with it on
TINY = NeuralSheaf(Network.mlp([[[1.0]], [[0.1]]]))
DT = 1.0  # 2/2.62 < DT < 2/1.11, and beyond what is safe for both
ON, OFF = [[1.0, 1.0, 0.0]], [[-1.0, 0.0, 0.0]]
STEPPERS = [
    EulerStepper,
    pytest.param(
        CompiledStepper,
        marks=pytest.mark.skipif(not can_compile(TINY), reason="numba is not there"),
    ),
]


def dense_limit(s, free=(0, 1, 2)):
    delta = np.array([[1, 0, 0], [-s, 1, 0], [0, -0.1, 1.0]])[:, list(free)]
    return 2 / np.linalg.eigvalsh(delta.T @ delta)[-1]


@pytest.mark.parametrize("free", [(0, 1, 2), (0, 1)])
def test_the_two_patterns_lie_on_both_sides(free):
    assert dense_limit(1, free) < DT < dense_limit(0, free)
    assert DT > 0.5  # 2/(1 + 1)², safe for every pattern


def test_unpinned_the_harmonic_extension_decides():
    """x = −1 rests with the neuron off: a start with it on is let through; x = 1 rests with it on:
    a start with it off is not.
    """
    run = relax(TINY, [[-1.0]], ON, dt=DT, tol=1e-13)
    np.testing.assert_allclose(run.cochain, [[-1.0, 0.0, 0.0]], rtol=0, atol=1e-11)
    with pytest.raises(ValueError, match="at the harmonic extension") as refused:
        relax(TINY, [[1.0]], OFF, dt=DT)
    assert f"{dense_limit(1):.3g}" in str(refused.value)


def test_pinned_the_start_decides():
    """The same two runs with the output clamped: the first is refused, the second begins."""
    pin = hard("z2", 0.0)
    with pytest.raises(ValueError, match="at the start") as refused:
        heat(TINY, [[-1.0]], ON, dt=DT, pins=pin)
    assert f"{dense_limit(1, (0, 1)):.3g}" in str(refused.value)
    assert next(heat(TINY, [[1.0]], OFF, dt=DT, pins=pin)).step == 0


# the energy limit with an output edge of weight 50
# ----------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("output_force", ["identity", "jacobian"])
def test_the_energy_of_a_flow_is_the_integral_of_its_force(output, output_force):
    """Along a segment inside one pattern, a_out clamped: E(end) − E(start) = −∫ force · dw, by
    Gauss–Legendre.
    """
    rng, n_out = np.random.default_rng(3), {"sigmoid": 1, "softmax": 3}[output]
    sheaf = NeuralSheaf(
        Network.mlp([rng.standard_normal((3, 2)), rng.standard_normal((n_out, 3))], output=output),
        {"affine_1": 2.0, "output": 50.0},
    )
    x, w = [[1.0, -0.5]], 0.3 * rng.standard_normal((2, sheaf.N + n_out))
    w[:, :3] = 1 + abs(w[:, :3])  # every neuron is on along the way
    pins = resolve(sheaf, hard("a_out", np.full(n_out, 1 / n_out)), 1, True)
    start, end = pins.impose(w[:1]), pins.impose(w[1:])
    nodes, weights = np.polynomial.legendre.leggauss(40)
    along = [
        force(
            sheaf,
            start + (1 + t) / 2 * (end - start),
            x,
            pins=pins,
            pattern=None,
            output_force=output_force,
        )
        @ (end - start)[0]
        for t in nodes
    ]
    energy = [flow_energy(sheaf, state, x, pins, output_force)[0] for state in (start, end)]
    assert energy[1] - energy[0] == pytest.approx(-0.5 * weights @ np.ravel(along), rel=1e-11)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_both_engines_weigh_the_output_edge_in_the_limit(stepper):
    """z¹ − 0 and 50 · (p − ½), start z = 20 where φ is flat: Euler maps z to z − dt(z ± 25).

    E = z²/2 + 50 (ln(1 + eᶻ) − z/2) is 700 at the start, so 1400 is the limit. dt = 1 goes on
    between ±25, E = 937.5; dt = 1.5 reaches −47.5, E = 2315.6, in its first step; without the 50
    that would be 1151.9.
    """
    sheaf = NeuralSheaf(Network.mlp([[[1.0]]], output="sigmoid"), {"output": 50.0})
    pin = hard("a_out", 0.5)
    run = relax(
        sheaf,
        [[0.0]],
        [[20.0, 0.5]],
        dt=1.0,
        pins=pin,
        output_force="identity",
        max_steps=50,
        stepper=stepper,
    )
    assert abs(run["z1"][0, 0]) == pytest.approx(25, abs=1e-6) and run.history.steps[0] == 50
    with pytest.raises(HeatUnstable, match=r"grew to 2\.32e\+03 \(limit 1\.4e\+03\) at step 1 "):
        relax(
            sheaf,
            [[0.0]],
            [[20.0, 0.5]],
            dt=1.5,
            pins=pin,
            output_force="identity",
            stepper=stepper,
        )
