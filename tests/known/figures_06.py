"""The oracles of notebook 06's figures: recorded digits, the NumPy steps of training, closed forms
of one hidden layer.
"""

from functools import cache
from itertools import islice

import numpy as np
from figure_oracles import close, numbers, oracle
from paraboloid_runs import TRAIN, run, stalks

from sheaflib import Network, NeuralSheaf, gradient_descent, joint_flow
from sheaflib.companion import experiments
from sheaflib.companion.tasks import paper_network, task
from sheaflib.sheaves.pins import resolve
from sheaflib.training.drivers import loss
from sheaflib.training.joint import JointStepper, edge_energies


@cache
def paraboloid_run():
    """Fig. 7's problem (sheaf, x, y, random stalks), and the network and the stalks of its sheaf
    run after 100 000 steps.
    """
    network = paper_network("2x30x1", 0)
    return NeuralSheaf(network), *TRAIN, stalks(network, "2x30x1"), run("1H", "sheaf")[100_000]


def one_layer(network):
    """W¹, b¹, W² as a row and b² of a network with one hidden layer and one output."""
    first, second = (node.operation for node in network.affine_nodes)
    return first.weight, first.bias, second.weight[0], second.bias[0]


def one_layer_output(network, x):
    W1, b1, W2, b2 = one_layer(network)
    return np.maximum(x @ W1.T + b1, 0) @ W2 + b2


def setting(name):
    """A row of Table E.1: train and test data, the sheaf, and the stalks that its run starts
    from.
    """
    row = experiments.TABLE_E1[name]
    data = task(row["task"])
    sheaf = NeuralSheaf(experiments.initial(row["task"], row["widths"], 42, False))
    regression = row["task"] in ("paraboloid", "saddle")
    start = experiments.stalks(sheaf, row["widths"], 42, False, 300) if regression else None
    return data, sheaf, start, row["dt"]


def train_and_test(network, data):
    """The loss on the two."""
    return loss(network, data.X_train, data.Y_train), loss(network, data.X_test, data.Y_test)


def stepped(name, steps):
    """Train and test loss of sheaf training in a row of Table E.1, by steps of the NumPy oracle."""
    data, sheaf, start, dt = setting(name)
    x, y = data.X_train, data.Y_train
    start = sheaf.forward(x) if start is None else start
    stepper = JointStepper(sheaf, x, y, start, 1 / 300, dt, 1.0, resolve(sheaf, (), 300))
    stepper.advance(steps)
    return train_and_test(stepper.state()[0].network, data)


def flowed(name, method, steps):
    """Train and test loss of a row of Table E.1 after a part of its run."""
    data, sheaf, start, dt = setting(name)
    x, y = data.X_train, data.Y_train
    if method == "sheaf":
        cold = 1000 if start is None else 0
        flow = joint_flow(sheaf, x, y, start=start, beta=1 / 300, dt=dt, cold=cold, every=steps)
    else:
        flow = gradient_descent(sheaf, x, y, lr=0.01 if start is None else 0.005, every=steps)
    _, then = islice(flow, 2)
    return train_and_test(then.network, data)


@oracle("06-two-sheaves")
def _(n):
    assert n == {
        "stalks": {"z1": 3, "a1": 3, "z2": 1},
        "weights": {"theta1": 3 * 2 + 3, "theta2": 3 + 1},
    }


@oracle("06-fig-7")
def _(n):
    sheaf, x, y, start, _ = paraboloid_run()
    assert n["step"] == list(range(0, 100_001, 1000))
    close(
        [n["sheaf-train"][i] for i in (0, 10, 20, 50, 100)],
        [12.099576, 0.529305, 0.231004, 0.084129, 0.063092],
        rtol=0,
        atol=5.1e-7,
    )
    close(
        [n["gradient descent-train"][i] for i in (10, 100)],
        [0.029372, 0.003293],
        rtol=0,
        atol=5.1e-7,
    )
    close(n["sheaf-test"][-1], 0.086497, rtol=0, atol=5.1e-7)
    discord = {"affine_1": 6.263408e-4, "activation_1": 1.417299e-3, "affine_2": 7.661507e-5}
    close(
        [n[f"energy-{edge}"][-1] for edge in discord],
        150 * np.array(list(discord.values())),
        rtol=1e-6,
    )
    z1, a1, z2 = start[:, :30], start[:, 30:60], start[:, 60]
    W1, b1, W2, b2 = one_layer(sheaf.network)
    first = {
        "affine_1": x @ W1.T + b1 - z1,
        "activation_1": np.maximum(z1, 0) - a1,
        "affine_2": a1 @ W2 + b2 - z2,
        "output": z2 - y[:, 0],
    }
    close([n[f"energy-{edge}"][0] for edge in first], [(r**2).sum() / 2 for r in first.values()])
    stepper = JointStepper(sheaf, x, y, start, 1 / 300, 0.005, 1.0, resolve(sheaf, (), 300))
    stepper.advance(1000)
    then, w = stepper.state()
    close(n["sheaf-train"][1], loss(then.network, x, y))
    close([n[f"energy-{edge}"][1] for edge in first], list(edge_energies(then, x, y, w).values()))
    total = np.sum([n[f"energy-{edge}"] for edge in first], axis=0)
    assert (np.diff(total) < 0).all()
    descended, _ = run("1H", "gradient descent")[1000]
    close(n["gradient descent-train"][1], loss(descended, x, y), rtol=1e-8)


@oracle("06-fig-8")
def _(n):
    axis = np.array(n["axis"])
    grid = np.array([(p, q) for q in axis for p in axis])
    close(n["target"], ((grid**2).sum(axis=1) - 2 / 3).reshape(20, 20))
    sheaf, x, y, _, (network, _) = paraboloid_run()
    close(loss(network, x, y), 0.063092, rtol=0, atol=5.1e-7)
    close(n["sheaf"], one_layer_output(network, grid).reshape(20, 20), rtol=1e-6, atol=1e-6)
    for name, steps, recorded in (("gd-main", 10_000, 0.029372), ("gd-equal", 100_000, 0.003293)):
        network, _ = run("1H", "gradient descent")[steps]
        close(loss(network, x, y), recorded, rtol=0, atol=5.1e-7)
        close(n[name], one_layer_output(network, grid).reshape(20, 20), rtol=1e-6, atol=1e-6)


@oracle("06-fig-9")
def _(n):
    data = task("circular")
    network = paper_network("2x25x1", 0, "sigmoid")
    axis = np.array(n["axis"])
    grid, x, y = np.array([(p, q) for q in axis for p in axis]), data.X_train, data.Y_train
    cross = np.log1p(np.exp((1 - 2 * y[:, 0]) * one_layer_output(network, x))).mean()
    options = {"beta": 1 / 300, "dt": 0.005, "cold": 1000, "every": 1000}
    flows = {
        "sheaf": joint_flow(NeuralSheaf(network), x, y, **options),
        "gradient descent": gradient_descent(NeuralSheaf(network), x, y, lr=0.01, every=100),
    }
    for name, flow in flows.items():
        states = list(islice(flow, 101))
        then, last = states[1].network, states[-1].network
        assert n[f"{name}-step"] == [state.record.step for state in states]
        close(n[f"{name}-train"][:2], [cross, loss(then, x, y)], rtol=1e-8)
        close(n[f"{name}-test"][1], loss(then, data.X_test, data.Y_test), rtol=1e-8)
        close(n[f"{name}-train"][-1], loss(last, x, y), rtol=1e-6)
        p = np.array(n[f"{name}-probability"]).ravel()
        radius = np.hypot(*grid.T)
        # disk inside 1, annulus from 1.5, noise
        assert (p[radius < 0.8] < 0.5).all() and (p[radius > 2] > 0.5).all()
        close(p, 1 / (1 + np.exp(-one_layer_output(last, grid))), rtol=1e-6, atol=1e-6)


@oracle("06-resistance")
def _(n):
    _, x, y, _, (network, stalks) = paraboloid_run()
    W1, b1, W2, b2 = one_layer(network)
    m = x @ W1.T + b1 >= 0
    e, a = y[:, 0] - one_layer_output(network, x), np.where(m, x @ W1.T + b1, 0)

    def weight_change(on_output, on_rho):
        """−Σ_i (on_output ∂ŷ + on_rho ∂ρ) by W¹, b¹, W², b², by hand: ŷ = W² M (W¹x + b¹) + b², ρ =
        1 + ‖W²‖² + ‖W² M‖².
        """
        paths = (on_output[:, None] * m) * W2
        second = on_output @ a + 2 * W2 * (on_rho @ (1 + m))
        return -np.concatenate(
            [(paths.T @ x).ravel(), paths.sum(axis=0), second, [on_output.sum()]]
        )

    rho = 1 + (W2**2).sum() + ((W2 * m) ** 2).sum(axis=1)
    close(np.array(n["quartiles"])[:, -1], np.percentile(2 * (1 + rho), [25, 50, 75]), rtol=1e-6)
    descent = weight_change(-2 * e / 300, np.zeros(300))
    equilibrium = weight_change(-e / (1 + rho) / 300, -(e**2) / (1 + rho) ** 2 / 2 / 300)
    close(n["equilibrium"][-1], descent @ descent / (descent @ equilibrium), rtol=1e-6)
    z1, a1, z2 = stalks[:, :30], stalks[:, 30:60], stalks[:, 60]
    r1, r2 = z1 - x @ W1.T - b1, z2 - a1 @ W2 - b2
    actual = np.concatenate([(r1.T @ x).ravel(), r1.sum(axis=0), r2 @ a1, [r2.sum()]]) / 300
    close(n["actual"][-1], descent @ descent / (descent @ actual), rtol=1e-5)
    assert n["step"] == list(range(10_000, 100_001, 10_000))


@oracle("06-fig-e3")
def _(n):
    names = {"sheaf": "sheaf", "gd": "gradient descent"}
    for row, expected in {
        "paraboloid-1h": (0.0884, 0.0044),
        "circular-1h": (0.0679, 0.0031),
    }.items():
        close(
            [n[f"{row}-{name}-test"][-1] for name in names.values()], expected, rtol=0, atol=5.1e-5
        )
    for row, given in experiments.TABLE_E1.items():
        assert n[f"{row}-step"] == list(range(0, given["steps"] + 1, given["steps"] // 100))
        assert n[f"{row}-sheaf-train"][0] == n[f"{row}-gradient descent-train"][0]
        assert n[f"{row}-sheaf-train"][-1] > n[f"{row}-gradient descent-train"][-1]
        for method in names.values():
            ends = [n[f"{row}-{method}-{part}"][1] for part in ("train", "test")]
            close(ends, flowed(row, method, given["steps"] // 100), rtol=1e-8)
    close([n[f"blobs-1h-sheaf-{part}"][1] for part in ("train", "test")], stepped("blobs-1h", 1000))


@oracle("06-table-e1")
def _(n):
    curves = numbers("06-fig-e3")
    for part in ("train", "test"):
        own, fresh = n[f"{part}-authors"], n[f"{part}-fresh"]
        assert set(own) == set(fresh) == set(experiments.TABLE_E1)
        for row, methods in fresh.items():
            for name, losses in methods.items():
                assert len(losses) == 5 and own[row][name] == curves[f"{row}-{name}-{part}"][-1]
    data, rng = task("paraboloid"), np.random.default_rng(3)
    network = Network.mlp(
        [rng.standard_normal((30, 2)), rng.standard_normal((1, 30)) * np.sqrt(2 / 30)]
    )
    start = np.random.default_rng([3, 1]).standard_normal((300, 61))
    flows = {
        "sheaf": joint_flow(
            NeuralSheaf(network), data.X_train, data.Y_train, start=start, every=100_000
        ),
        "gradient descent": gradient_descent(
            NeuralSheaf(network), data.X_train, data.Y_train, lr=0.005, every=100_000
        ),
    }
    for name, flow in flows.items():
        last = list(islice(flow, 2))[1]
        test = ((one_layer_output(last.network, data.X_test) - data.Y_test[:, 0]) ** 2).mean()
        close(
            [n["train-fresh"]["paraboloid-1h"][name][2], n["test-fresh"]["paraboloid-1h"][name][2]],
            [last.record.loss, test],
            rtol=1e-6,
        )
    ratio = {
        row: np.divide(n["test-fresh"][row]["sheaf"], n["test-fresh"][row]["gradient descent"])
        for row in n["test-fresh"]
    }
    assert min(ratio["paraboloid-1h"]) < 19.9 < max(ratio["paraboloid-1h"]) and min(
        ratio["circular-1h"]
    ) < 22.0 < max(ratio["circular-1h"])
