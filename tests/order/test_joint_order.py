"""The joint flow is Euler's method: first order in dt against scipy's adaptive integration, on a
piece without a switch.
"""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import expit, softmax
from training_cases import nth, theta

from sheaflib import Network, NeuralSheaf
from sheaflib.training.drivers import joint_flow
from sheaflib.training.joint import JointStepper

RNG = np.random.default_rng(31)
DIMS = [2, 3, 2, 2]
W = [RNG.uniform(0.2, 0.8, (n, m)) for m, n in zip(DIMS, DIMS[1:])]
B = [np.full(n, 0.5) for n in DIMS[1:]]
X = RNG.uniform(0.5, 1.5, (4, 2))
PHI = {"identity": lambda z: z, "sigmoid": expit, "softmax": lambda z: softmax(z, axis=1)}
LABELS = {
    "identity": RNG.uniform(0, 1, (4, 2)),
    "sigmoid": np.array([[0.0, 1], [1, 1], [1, 0], [0, 0]]),
    "softmax": np.eye(2)[[0, 1, 1, 0]],
}
WEIGHTS = {"affine_1": 1.5, "activation_2": 0.7, "affine_3": 0.8}
SHAPES = [(4, n) for n in (3, 3, 2, 2, 2)] + [
    shape for M, b in zip(W, B) for shape in (M.shape, b.shape)
]
TIME, BETA, ALPHA = 1.0, 0.3, 1.2


def unpack(v):
    """z1, a1, z2, a2, z3, W1, b1, W2, b2, W3, b3 from one flat vector."""
    ends = np.cumsum([np.prod(shape) for shape in SHAPES])
    return [part.reshape(shape) for part, shape in zip(np.split(v, ends[:-1]), SHAPES)]


def slope(output):
    """The right-hand side, every unit active, edge by edge."""

    def rhs(_, v):
        z1, a1, z2, a2, z3, W1, b1, W2, b2, W3, b3 = unpack(v)
        r1, r2, r3 = 1.5 * (X @ W1.T + b1 - z1), a1 @ W2.T + b2 - z2, 0.8 * (a2 @ W3.T + b3 - z3)
        e1, e2, g = z1 - a1, 0.7 * (z2 - a2), PHI[output](z3) - LABELS[output]
        stalks = [r1 - e1, e1 - r2 @ W2, r2 - e2, e2 - r3 @ W3, r3 - g]
        weights = [
            part for r, a in ((r1, X), (r2, a1), (r3, a2)) for part in (r.T @ a, r.sum(axis=0))
        ]
        return np.concatenate(
            [ALPHA * part.ravel() for part in stalks] + [-BETA * part.ravel() for part in weights]
        )

    return rhs


@pytest.mark.parametrize("stepper", [None, JointStepper])
@pytest.mark.parametrize("output", PHI)
def test_first_order_in_dt(output, stepper):
    network = Network.mlp(W, B, output)
    sheaf = NeuralSheaf(network, WEIGHTS)
    start = sheaf.forward(X) + 0.15 * np.random.default_rng(32).uniform(-1, 1, (4, sheaf.N))
    split = sheaf.layout.split(start)
    begin = np.concatenate([split[name].ravel() for name in sheaf.layout.names] + [theta(network)])
    exact = solve_ivp(
        slope(output),
        (0, TIME),
        begin,
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
        t_eval=np.linspace(0, TIME, 200),
    )
    for column in exact.y.T:
        z1, _, z2, *_ = unpack(column)
        assert min(z1.min(), z2.min()) > 0.1  # one pattern for ever
    assert abs(exact.y[:, -1] - begin).max() > 0.1
    errors = []
    for dt in (0.02, 0.01, 0.005):
        steps = round(TIME / dt)
        state = nth(
            joint_flow(
                sheaf,
                X,
                LABELS[output],
                start=start,
                beta=BETA,
                alpha=ALPHA,
                dt=dt,
                every=steps,
                stepper=stepper,
            ),
            1,
        )
        assert sheaf.pattern(state.stalks, X).all() and state.record.time == pytest.approx(TIME)
        found = np.concatenate(
            [part.ravel() for part in sheaf.layout.split(state.stalks).values()]
            + [theta(state.network)]
        )
        errors.append(np.linalg.norm(found - exact.y[:, -1]))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (abs(orders - 1) < 0.1).all() and abs(orders[-1] - 1) < 0.05
