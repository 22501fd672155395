"""Networks, their gradients, layers and training against PyTorch, which runs in an environment of
its own: `python -m tools torch` makes it, and .ci/run calls that.
"""

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import layer_cases
import numpy as np
import pytest
import readers
from torch_networks import gradient_difference
from training_cases import OUTPUTS, labels, nth, theta

from sheaflib import (
    Affine,
    Network,
    NeuralSheaf,
    ReLU,
    Stack,
    backward_substitution,
    gradient_descent,
    joint_flow,
)
from sheaflib.circuits.minibatch import MiniBatches
from sheaflib.layers import add, average_pool, batch_norm, convolution, max_pool
from sheaflib.networks import structured
from sheaflib.training.drivers import gradient
from sheaflib.training.objective import loss, loss_gradient

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "torch"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="no PyTorch in build/torch: python -m tools torch installs it"
)

WIDTHS = {"identity": (8, 64, 32, 3), "sigmoid": (30, 64, 32, 1), "softmax": (64, 100, 50, 10)}
STEPS, DT = 200, 0.05


def pose(widths, output, n_batch, seed):
    """Random inputs and labels."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_batch, widths[0]))
    return {"widths": np.array(widths), "x": x, "y": labels(output, rng, n_batch, widths[-1])}


def problems():
    """What PyTorch is asked: "kind-output" -> arrays by name."""
    rng, asked = np.random.default_rng(0), {}
    for output, widths in WIDTHS.items():
        asked[f"network-{output}"] = pose((widths[0], widths[1], widths[-1]), output, 300, 1)
        asked[f"descent-{output}"] = pose(widths, output, 150, 2) | {"lr": 0.1, "steps": STEPS}
        order = np.array([rng.permutation(150)[:20] for _ in range(STEPS)])
        # fmt: skip
        asked[f"batches-{output}"] = pose(widths, output, 150, 3) | {
            "order": order,
            "lr": np.linspace(0.01, 0.001, STEPS),
            "betas": (0.9, 0.99),
            "decay": 0.02,
        }
        sizes = [n for n in widths[1:-1] for _ in range(2)] + [widths[-1]]
        # fmt: skip
        asked[f"joint-{output}"] = pose(widths, output, 40, 4) | {
            "start": rng.standard_normal((40, sum(sizes))),
            "sizes": sizes,
            "dt": DT,
            "beta": 1 / 40,
            "steps": STEPS,
        }
    images = pose((784, 10), "softmax", 6, 5)
    asked["images-softmax"] = images | {"x": images["x"].reshape(6, 1, 28, 28)}
    return asked


@cache
def answers(folder):
    """Every problem and what PyTorch found, by one call of the other side."""
    asked, found = problems(), {}
    given, taken = folder / "given.npz", folder / "found.npz"
    np.savez(given, **{f"{p}/{key}": v for p, arrays in asked.items() for key, v in arrays.items()})
    script = Path(__file__).with_name("torch_side.py")
    subprocess.run([PYTHON, "-I", script, given, taken], check=True)
    with np.load(taken) as arrays:
        for name in arrays:
            problem, _, key = name.partition("/")
            found.setdefault(problem, {})[key] = arrays[name]
    return asked, found


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """A function of a problem's name: its arrays, and PyTorch's answer."""
    folder = tmp_path_factory.mktemp("torch")

    def answer(problem):
        asked, found = answers(folder)
        return asked[problem], found[problem]

    return answer


def below(found, start):
    """The entries whose names begin so, without that beginning."""
    return {name[len(start) :]: value for name, value in found.items() if name.startswith(start)}


def pairs(state, widths):
    """(weight, bias) of every linear layer of a state dict, in order."""
    layers = range(0, 2 * len(widths) - 3, 2)
    return [(state[f"{i}.weight"], state[f"{i}.bias"]) for i in layers]


def flat(state, widths):
    """A state dict as `theta` lays out a network."""
    return np.concatenate([part.ravel() for pair in pairs(state, widths) for part in pair])


def network_of(state, widths, output):
    """The network with the weights of a state dict."""
    return Network.mlp(*zip(*pairs(state, widths)), output=output)


def close(found, expected, within):
    """To `within` of the largest entry."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=within * np.abs(expected).max())


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_network_with_the_weights_of_a_module(ask, output):
    """Output, loss and gradients, of a sum of 64 terms or of 300 samples at most."""
    given, found = ask(f"network-{output}")
    network = network_of(below(found, "state/"), given["widths"], output)
    z = network.output.value(found["logits"])
    close(network(given["x"]), z, 1e-14)
    assert loss(network, given["x"], given["y"]) == pytest.approx(found["loss"], rel=1e-13)
    expected = below(found, "gradient/")
    for layer, own in enumerate(gradient(network, given["x"], given["y"]).values()):
        for name, part in own.items():
            close(part, expected[f"{2 * layer}.{name}"], 1e-13)


@pytest.mark.parametrize("output", OUTPUTS)
def test_gradient_descent_is_pytorchs_sgd(ask, output):
    given, found = ask(f"descent-{output}")
    start = network_of(below(found, "state/"), given["widths"], output)
    run = gradient_descent(NeuralSheaf(start), given["x"], given["y"], lr=given["lr"], every=STEPS)
    end = flat(below(found, "end/"), given["widths"])
    close(theta(nth(run, 1).network), end, 1e-11)
    assert np.abs(end - theta(start)).max() > 0.01


@pytest.mark.parametrize("output", OUTPUTS)
def test_mini_batches_by_back_propagation_are_pytorchs_adamw(ask, output):
    given, found = ask(f"batches-{output}")
    start = network_of(below(found, "state/"), given["widths"], output)
    beta1, beta2 = given["betas"]
    # fmt: skip
    engine = MiniBatches(
        start,
        given["x"],
        given["y"],
        rule="backprop",
        beta1=beta1,
        beta2=beta2,
        decay=given["decay"],
    )
    engine.advance(given["order"], given["lr"])
    end = flat(below(found, "end/"), given["widths"])
    close(theta(engine.network), end, 1e-9)
    assert np.abs(end - theta(start)).max() > 0.1


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_joint_flow_follows_the_gradient_that_pytorch_takes(ask, output):
    """Of the energy of stalks and weights, written there from its definition."""
    given, found = ask(f"joint-{output}")
    start = network_of(below(found, "state/"), given["widths"], output)
    # fmt: skip
    run = joint_flow(
        NeuralSheaf(start),
        given["x"],
        given["y"],
        start=given["start"],
        beta=given["beta"],
        dt=DT,
        every=STEPS,
    )
    state = nth(run, 1)
    close(state.stalks, found["stalks"], 1e-11)
    close(theta(state.network), flat(below(found, "end/"), given["widths"]), 1e-11)
    assert np.abs(state.stalks - given["start"]).max() > 0.1


def residual(state):
    """The network of images with the weights of a state dict; a stack stands before the sum."""
    first, shape = convolution(state["first.weight"], (1, 28, 28), padding=1)
    # fmt: skip
    norm = batch_norm(
        state["norm.weight"],
        state["norm.bias"],
        state["norm.running_mean"],
        state["norm.running_var"],
        pixels=784,
    )
    pool, shape = max_pool(shape, 2)
    second, same = convolution(state["second.weight"], shape, state["second.bias"], padding=1)
    n = pool.n_out
    third, shape = convolution(state["third.weight"], same, state["third.bias"], stride=2)
    mean, shape = average_pool(shape, 2)
    nodes = [
        ("z1", first),
        ("n1", norm),
        ("a1", ReLU(norm.n_out)),
        ("m1", pool),
        ("z2", second),
        ("p", Stack(n, n), ("z2", "m1")),
        ("s", add(n)),
        ("a2", ReLU(n)),
        ("z3", third),
        ("a3", ReLU(third.n_out)),
        ("m3", mean),
        ("z4", Affine(state["last.weight"], state["last.bias"])),
    ]
    return Network(784, nodes, "softmax")


def test_layers_of_images(ask):
    """Each layer's values, and the gradient of the loss there by the transposed substitution."""
    given, found = ask("images-softmax")
    x = given["x"].reshape(6, 784)
    network = residual(below(found, "state/"))
    sheaf = NeuralSheaf(network)
    w = sheaf.forward(x)
    for name, expected in below(found, "value/").items():
        close(w[:, sheaf.layout[name]], expected, 1e-14)
    z = w[:, sheaf.layout["z4"]]
    seed = np.zeros_like(w)
    seed[:, sheaf.layout["z4"]] = loss_gradient(network.output, z, given["y"])
    felt = backward_substitution(sheaf, seed, sheaf.pattern(w, x))
    for name, expected in below(found, "felt/").items():
        close(felt[:, sheaf.layout[name]], expected, 1e-13)


@pytest.mark.parametrize("stored", [True, False])
def test_every_layer_of_images_is_pytorchs(stored, monkeypatch):
    """Values, adjoints and gradients at random arguments, whether matrices are stored or not."""
    for kind in (structured.Structured, structured.Sum):
        monkeypatch.setattr(kind, "STORED", 2**40 if stored else 0)
    found = layer_cases.largest_difference(PYTHON, 200, seed=int(stored))
    assert found.keys() == layer_cases.DRAWN.keys()
    assert max(found.values()) < 1e-12


def test_what_readers_committed_is_found_again():
    """A tenth of it, drawn alike; of each layer as many calls were made as were drawn."""
    said = json.loads(readers.FILE.read_text(encoding="utf-8"))
    layers, gradients = said["layers"], said["gradients"]
    assert list(layers) == sorted(layer_cases.DRAWN)
    assert {layer: row["calls"] for layer, row in layers.items()} == readers.calls(readers.CALLS)
    assert gradients["networks"] == readers.NETWORKS
    differences = [row["difference"] for row in (*layers.values(), gradients)]
    again = layer_cases.largest_difference(PYTHON, readers.CALLS // 10)
    assert again.keys() == layers.keys()
    again["gradients"] = gradient_difference(readers.NETWORKS // 10)
    assert max(*differences, *again.values()) <= 1e-12
