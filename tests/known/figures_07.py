"""The oracles of notebook 07's figures: recorded digits, closed forms, dense matrices, and the
NumPy stepper where a run is short.
"""

from functools import cache

import numpy as np
import pytest
from figure_oracles import close, numbers, oracle
from oracles import dense_laplacian, dense_system

from sheaflib import NeuralSheaf
from sheaflib.companion import tasks
from sheaflib.companion.experiments import begin_at, initial, stalks
from sheaflib.sheaves.pins import resolve
from sheaflib.training.joint import JointStepper, TrainingDiverged
from sheaflib.training.objective import loss

SEEDS = [(0, 42), (100, 43), (200, 44)]
BETA_N = [0.003, 0.009, 0.03, 0.09, 0.3, 0.6, 0.999, 1.5, 3, 9, 30]
DATA = tasks.task("paraboloid")


def plain(widths, seed, stalk_seed, fresh, beta_n, dt, n=300):
    """The NumPy stepper on a run of `experiments.train`."""
    sheaf, x = NeuralSheaf(initial("paraboloid", widths, seed, fresh)), DATA.X_train[:n]
    w = stalks(sheaf, widths, stalk_seed, fresh, n)
    return JointStepper(sheaf, x, DATA.Y_train[:n], w, beta_n / n, dt, 1.0, resolve(sheaf, (), n))


def test_loss(stepper):
    """Its present loss on the test data."""
    return loss(stepper.state()[0].network, DATA.X_test, DATA.Y_test)


test_loss.__test__ = False


def moment(n):
    """C, the second moment of [x, 1] over the first n training inputs."""
    tilde = np.hstack([DATA.X_train[:n], np.ones((n, 1))])
    return tilde, tilde.T @ tilde / n


@oracle("07-fig-10")
def _(figure):
    close(figure["beta_n"], BETA_N)
    law = np.array(figure["loss"])
    assert law.shape == (11, 3) and np.isfinite(law).all()
    # recorded: seed 0/42 at β = 1/300, here 3.33e-3
    assert law[6, 0] == pytest.approx(0.086497, abs=1e-4)
    for place, low, high in ((6, 0.078, 0.090), (9, 0.121, 0.146), (10, 0.113, 0.161)):
        close([law[place].min(), law[place].max()], [low, high], rtol=0, atol=5.1e-4)


@oracle("07-collapse")
def _(figure):
    close(figure["beta_n"], BETA_N)
    close(figure["loss"], numbers("07-fig-10")["loss"])
    tilde, C = moment(300)
    for start in ("random", "zero", "forward"):
        for k, (seed, stalk_seed) in enumerate(SEEDS):
            sheaf = NeuralSheaf(initial("paraboloid", "2x30x1", seed, False))
            w = begin_at(start, sheaf, "2x30x1", stalk_seed, False, 300)
            z = (sheaf.forward(DATA.X_train) if w is None else w)[:, :30]
            W = sheaf.network.nodes[0].operation.weight
            for i, b in enumerate(BETA_N[:10]):
                rest = np.linalg.solve(
                    np.eye(3) + b * C, (np.c_[W, np.zeros(30)] + b * z.T @ tilde / 300).T
                ).T
                assert figure[f"{start}-formula"][i][k] == pytest.approx(
                    np.linalg.norm(rest[:, :2]) / np.linalg.norm(W), rel=1e-8
                )
        ratio = np.array(figure[f"{start}-measured"]) / figure[f"{start}-formula"]
        assert (abs(ratio - 1) < 0.3).all()
    stepper = plain("2x30x1", *SEEDS[0], False, 9.0, 0.005)
    stepper.advance(200)
    W0, W1 = (
        np.linalg.norm(net.nodes[0].operation.weight)
        for net in (initial("paraboloid", "2x30x1", 0, False), stepper.state()[0].network)
    )
    assert figure["random-measured"][9][0] == pytest.approx(W1 / W0, rel=1e-8)
    bent = np.array(figure["bent"])
    assert (
        ((bent >= 0) & (bent <= 30)).all()
        and (bent == bent.round()).all()
        and (np.array(figure["bent-forward"]) == 30).all()
    )
    assert (np.array(figure["rho"]) > 1).all()  # ρ = 1 + ‖W²‖² + ‖W²R‖²


@oracle("07-euler-limit")
def _(figure):
    close(figure["beta_n"][:11], BETA_N)
    close(figure["loss"][:11], numbers("07-fig-10")["loss"])
    dead = np.array([[v is None for v in row] for row in figure["loss"]])
    limit = 2 / (0.005 * np.linalg.eigvalsh(moment(300)[1])[-1])
    assert (dead == (np.array(figure["beta_n"]) > limit)[:, None]).all()
    for name, low, high, predicted in zip(
        figure["settings"], figure["trains"], figure["diverges"], figure["predicted"]
    ):
        n, dt = int(name.split(",")[0][2:]), float(name.split("dt=")[1])
        assert predicted == pytest.approx(2 / (dt * np.linalg.eigvalsh(moment(n)[1])[-1]), rel=1e-8)
        assert 0.95 * predicted < low < high < 1.05 * predicted and high / low < 1.02
    with pytest.raises(TrainingDiverged):
        plain("2x30x1", *SEEDS[0], False, 1.05 * limit, 0.005).advance(400)
    plain("2x30x1", *SEEDS[0], False, 0.95 * limit, 0.005).advance(400)


@oracle("07-fig-e4")
def _(figure):
    assert figure["T"] == [0.5, 1, 2.5, 5, 10, 20, 25, 50]
    for widths, dt in (("2x30x1", 0.005), ("2x10x8x1", 0.01), ("2x8x6x4x1", 0.01)):
        paper, fresh = plain(widths, 42, 42, False, 1.0, dt), plain(widths, 1, 1, True, 1.0, dt)
        for stepper, found in (
            (paper, figure[f"{widths}-42"]),
            (fresh, np.array(figure[f"{widths}-fresh"])[:, 0]),
        ):
            stepper.advance(round(0.5 / dt))
            assert found[0] == pytest.approx(test_loss(stepper), rel=1e-8)
            stepper.advance(round(0.5 / dt))
            assert found[1] == pytest.approx(test_loss(stepper), rel=1e-8)


@cache
def born(depth, seed):
    """A network of the depth law and its patterns at the first 50 training inputs."""
    sheaf = NeuralSheaf(initial("paraboloid", "x".join(["2", *["10"] * depth, "1"]), seed, True))
    x = DATA.X_train[:50]
    return sheaf, sheaf.forward_pattern(x)


@oracle("07-depth-law")
def _(figure):
    assert figure["depth"] == list(range(1, 9))
    for depth in (1, 4, 8):
        sheaf, patterns = born(depth, 2)
        gaps = [np.linalg.eigvalsh(dense_laplacian(sheaf, s))[0] for s in patterns]
        last = [np.linalg.inv(dense_system(sheaf.network, s, np.zeros(2))[0])[-1] for s in patterns]
        assert figure["gap"][depth - 1][1] == pytest.approx(np.median(gaps), rel=1e-7)
        assert figure["rho"][depth - 1][1] == pytest.approx(
            np.median([(row**2).sum() for row in last]), rel=1e-8
        )
    soonest = int(np.argmin(figure["time"][0]))
    stepper = plain("2x10x1", soonest + 1, soonest + 1, True, 1.0, 0.02, n=100)
    goal = 0.5 * DATA.Y_train[:100].var()
    stepper.advance(round(figure["time"][0][soonest] / 0.02) - 50)
    assert loss(stepper.state()[0].network, stepper.x, stepper.y) >= goal
    stepper.advance(50)
    assert loss(stepper.state()[0].network, stepper.x, stepper.y) < goal
