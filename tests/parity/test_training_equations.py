"""A third implementation of training, from the equations alone, and the fused exponential against
NumPy's.
"""

import numpy as np
import pytest
from scipy.special import expit, softmax
from training_cases import chain, nth, pose, theta

from sheaflib import NeuralSheaf
from sheaflib.companion import tasks
from sheaflib.companion.experiments import TABLE_E1, initial, stalks
from sheaflib.training.drivers import joint_flow
from sheaflib.training.joint import JointStepper
from sheaflib.training.kernels import IDENTITY, SIGMOID, SOFTMAX, errors, exponential

PHI = {"identity": lambda z: z, "sigmoid": expit, "softmax": lambda z: softmax(z, axis=1)}


def follow(W, b, z, a, x, y, phi, beta, dt, steps):
    """Lists over layers W (n_ℓ, n_{ℓ-1}), b, stalks z and a (B, n_ℓ): ω̇ = −∂E/∂ω, θ̇ = −β ∂E/∂θ,
    Euler, everything from old values.
    """
    for _ in range(steps):
        below, hidden = [x, *a], range(len(a))
        r = [v @ M.T + c - u for M, c, u, v in zip(W, b, z, below)]
        e = [np.where(z[i] >= 0, z[i], 0) - a[i] for i in hidden]
        dz = [r[i] - (z[i] >= 0) * e[i] for i in hidden] + [r[-1] - (phi(z[-1]) - y)]
        da = [e[i] - r[i + 1] @ W[i + 1] for i in hidden]
        W = [M - dt * beta * s.T @ v for M, s, v in zip(W, r, below)]
        b = [c - dt * beta * s.sum(axis=0) for c, s in zip(b, r)]
        z, a = [u + dt * du for u, du in zip(z, dz)], [v + dt * dv for v, dv in zip(a, da)]
    return W, b, z, a


def compare(sheaf, x, y, start, beta, dt, steps, stepper=None):
    """The largest difference between that loop and `joint_flow`."""
    affine = [node.operation for node in sheaf.network.affine_nodes]
    parts = list(sheaf.layout.split(start).values())
    W, b, z, a = follow(
        [m.weight for m in affine],
        [m.bias for m in affine],
        parts[::2],
        parts[1::2],
        x,
        y,
        PHI[sheaf.network.output.name],
        beta,
        dt,
        steps,
    )
    state = nth(
        joint_flow(sheaf, x, y, start=start, beta=beta, dt=dt, every=steps, stepper=stepper), 1
    )
    names = sheaf.layout.names
    expected = sheaf.layout.join({**dict(zip(names[::2], z)), **dict(zip(names[1::2], a))})
    weights = np.concatenate([part.ravel() for pair in zip(W, b) for part in pair])
    return max(abs(state.stalks - expected).max(), abs(theta(state.network) - weights).max())


@pytest.mark.parametrize("row", TABLE_E1.values(), ids=TABLE_E1)
def test_a_dozen_lines_of_numpy_give_the_same_1000_steps(row):
    sheaf = NeuralSheaf(initial(row["task"], row["widths"], 42, False))
    data = tasks.task(row["task"])
    start = (
        stalks(sheaf, row["widths"], 42, False, 300)
        if sheaf.network.output.is_identity
        else sheaf.forward(data.X_train)
    )
    assert compare(sheaf, data.X_train, data.Y_train, start, 1 / 300, row["dt"], 1000) < 1e-10


@pytest.mark.parametrize("stepper", [None, JointStepper])
@pytest.mark.parametrize(
    "dims, output",
    [
        ([3, 4], "identity"),
        ([1, 1, 1], "identity"),
        ([2, 12, 8, 6, 1], "sigmoid"),
        ([3, 2, 9, 4], "softmax"),
    ],
)
def test_the_same_lines_at_other_depths(dims, output, stepper):
    rng = np.random.default_rng(sum(dims))
    problem = pose(chain(dims, rng, output), rng, 11)
    assert compare(*problem, 0.3, 0.01, 200, stepper) < 1e-10


# the exponential of the kernels
# --------------------------------------------------------------------------------------------


def grid():
    """Points all over [−708, 708], and close to the places where the kernel goes from one power of
    two to the next.
    """
    rng, half = np.random.default_rng(0), (np.arange(-1021, 1021) + 0.5) * np.log(2)
    small = np.concatenate([[0.0], 10.0 ** np.arange(-320, -2, 7)])
    return np.concatenate(
        [
            rng.uniform(-708, 708, 20_000),
            rng.uniform(-1, 1, 2000),
            half,
            np.nextafter(half, 0),
            small,
            -small,
            [-708.0, 708.0],
        ]
    )


def test_exponential_to_4_ulp():
    x = np.clip(grid(), -708, 708)
    found, expected = np.array([exponential(t) for t in x]), np.exp(x)
    assert (abs(found - expected) <= 4 * np.spacing(expected)).all()


def test_exponential_beyond_its_range_and_of_nan():
    assert exponential(1e4) == exponential(708.0) and exponential(-1e4) == exponential(-708.0)
    assert exponential(np.inf) == exponential(708.0) and exponential(-np.inf) == exponential(-708.0)
    assert np.isnan(exponential(np.nan))


def output_error(code, z, y):
    """`errors` on rows (n_out, L): g, and the energy it returns."""
    g = np.zeros_like(z)
    return g, errors(g, z, 0, y, code, np.zeros(z.shape[1]))


@pytest.mark.parametrize(
    "code, phi",
    [(IDENTITY, lambda z: z), (SIGMOID, expit), (SOFTMAX, lambda z: softmax(z, axis=0))],
)
def test_output_errors_of_the_kernel(code, phi):
    rng = np.random.default_rng(1)
    z = rng.standard_normal((5, 32)) * 10.0 ** rng.integers(-2, 3, (5, 32))
    y = np.eye(5)[rng.integers(0, 5, 32)].T.copy()
    g, energy = output_error(code, z, y)
    np.testing.assert_allclose(g, phi(z) - y, rtol=1e-14, atol=1e-15)
    exact = {
        IDENTITY: 0.5 * ((z - y) ** 2).sum(),
        SIGMOID: (np.logaddexp(0, z) - y * z).sum(),
        SOFTMAX: (
            (
                np.log(np.exp(z - z.max(axis=0)).sum(axis=0)) + z.max(axis=0) - (y * z).sum(axis=0)
            ).sum()
        ),
    }[code]
    # no logarithm is taken
    slack = {IDENTITY: 0, SIGMOID: z.size * np.log(2), SOFTMAX: 32 * np.log(5)}[code]
    assert exact - slack - 1e-9 <= energy <= exact + 1e-9


@pytest.mark.parametrize("code", [IDENTITY, SIGMOID, SOFTMAX])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_no_number_shows_in_the_energy(code, bad):
    """At every place, whatever its label."""
    for place in np.ndindex(3, 8):
        z, y = np.ones((3, 8)), np.zeros((3, 8))
        z[place], y[0] = bad, 1
        g, energy = output_error(code, z, y)
        assert not np.isfinite(energy)
        assert not np.isnan(bad) or np.isnan(g[place])
