"""Gradients by the parameters of every operation, on random networks: against PyTorch's autograd,
and, where there is none, against difference quotients that have no error but rounding.

With the pattern frozen the output is affine in each single parameter, and the energy of stalks and
parameters is a parabola in it. So central quotients are exact, whatever the step: here it is 1.
"""

import pickle
from functools import cache
from itertools import islice

import effort
import numpy as np
import pytest
import torch_networks
from random_dags import KINDS, kinds_of, random_dag
from torch_networks import answers, ask, gradient_differences, posed, problem
from training_cases import labels, nth, theta

from sheaflib import (
    Affine,
    Network,
    NeuralSheaf,
    PReLU,
    ReLU,
    backpropagate,
    gradient_descent,
    harmonic_extension,
    joint_flow,
)
from sheaflib.circuits.currents import currents, edge_update
from sheaflib.circuits.minibatch import MiniBatches
from sheaflib.circuits.relaxation import gauss_seidel, red_black
from sheaflib.companion.difference_quotients import flat, shifted
from sheaflib.layers import convolution, max_pool
from sheaflib.networks.selection import Clamp
from sheaflib.training import chains
from sheaflib.training.descent import DescentStepper
from sheaflib.training.drivers import gradient, loss, weight_gradient
from sheaflib.training.joint import JointStepper, edge_energies, output_weight
from sheaflib.training.objective import output_energy

SEEDS = range(500 if effort.TIMES > 1 else 50)
with_pytorch = pytest.mark.skipif(
    not torch_networks.PYTHON.exists(), reason=torch_networks.NO_PYTORCH
)


def some_places(network, rng, most):
    """Up to so many (node, place), which count as `shifted` counts."""
    places = [
        (name, place) for name, own in network.parameters.items() for place in range(flat(own).size)
    ]
    return [places[i] for i in rng.permutation(len(places))[:most]]


def test_fifty_random_networks_have_every_operation():
    """And most of their parameters feel the loss."""
    drawn = [random_dag(np.random.default_rng(seed)) for seed in range(50)]
    for kind in KINDS:
        assert sum(kind in kinds_of(network) for network in drawn) >= 3, kind
    alive = []
    for seed in range(50):
        sheaf, x, y, _ = posed(seed)
        alive += [abs(flat(own)).max() > 0 for own in gradient(sheaf.network, x, y).values()]
    assert np.mean(alive) > 0.7


@with_pytorch
def test_random_networks_have_pytorchs_gradients():
    """Of the loss, and of the energy at any stalks."""
    assert max(gradient_differences(SEEDS).values()) < 1e-11


@with_pytorch
def test_pytorchs_loss_and_energy_are_ours():
    for seed, found in answers(SEEDS).items():
        sheaf, x, y, w = posed(seed)
        assert loss(sheaf.network, x, y) == pytest.approx(found["loss"], rel=1e-12)
        energy = sum(edge_energies(sheaf, x, y, w).values())
        assert energy == pytest.approx(found["energy"], rel=1e-12)


@with_pytorch
@pytest.mark.parametrize("kind, part", [(PReLU, "slope"), (Affine, "bias")])
def test_a_wrong_gradient_is_seen(monkeypatch, kind, part):
    right = kind.gradient

    def wrong(self, a, e, s):
        found = right(self, a, e, s)
        return {**found, part: found[part] * (1 + 1e-9)}

    monkeypatch.setattr(kind, "gradient", wrong)
    assert max(gradient_differences(SEEDS).values()) > 1e-10


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_are_difference_quotients(seed):
    """Of ⟨g, output⟩ with the pattern frozen, and of the energy at any stalks."""
    rng = np.random.default_rng([seed, 1])
    sheaf, x, y, w = posed(seed)
    network, last = sheaf.network, sheaf.layout[sheaf.network.output_name]
    g, pattern = rng.standard_normal((len(x), network.n_out)), sheaf.forward_pattern(x)
    backward, energies = backpropagate(sheaf, x, g), weight_gradient(sheaf, x, w)
    for name, place in some_places(network, rng, 6):
        moved = [NeuralSheaf(shifted(network, name, place, h), sheaf.edge_weights) for h in (1, -1)]
        z = [harmonic_extension(m, x, pattern=pattern).cochain[:, last] for m in moved]
        quotient = (g * (z[0] - z[1])).sum() / 2
        size = (abs(g) * (abs(z[0]) + abs(z[1]))).sum()
        assert flat(backward[name])[place] == pytest.approx(quotient, abs=1e-13 * size)
        up, down = (sum(edge_energies(m, x, y, w).values()) for m in moved)
        assert flat(energies[name])[place] == pytest.approx(
            (up - down) / 2, abs=1e-14 * (up + down)
        )


# currents
# --------------------------------------------------------------------------------------------------


def equilibrium_energy(sheaf, x, y):
    """E at the equilibrium of the forward pass's pattern, summed, and this pattern."""
    found = currents(sheaf, x, y)
    z = found.relaxed[:, sheaf.layout[sheaf.network.output_name]]
    label = output_weight(sheaf) * output_energy(sheaf.network.output, z, y).sum()
    return sheaf.energy(found.relaxed, x, found.pattern).sum() + label, found.pattern


@pytest.mark.parametrize("seed", effort.seeds(12))
def test_the_gradient_of_currents_is_that_of_the_energy_at_equilibrium(seed):
    """By differences of fourth order, on networks with kernels, slopes and batch normalisation."""
    rng = np.random.default_rng([seed, 2])
    sheaf, x, y, _ = posed(seed)
    found, compared = currents(sheaf, x, y).gradient(), 0
    scale = max(abs(flat(own)).max() for own in found.values())
    pattern = sheaf.forward_pattern(x)
    for name, place in some_places(sheaf.network, rng, 8):
        steps = (1e-3, -1e-3, 2e-3, -2e-3)
        ends = [
            equilibrium_energy(
                NeuralSheaf(shifted(sheaf.network, name, place, h), sheaf.edge_weights), x, y
            )
            for h in steps
        ]
        if any((s != pattern).any() for _, s in ends):
            continue
        f1, b1, f2, b2 = (energy for energy, _ in ends)
        compared += 1
        assert flat(found[name])[place] == pytest.approx(
            (8 * (f1 - b1) - (f2 - b2)) / 12e-3, rel=1e-7, abs=1e-8 * max(scale, f1)
        )
    assert compared


@pytest.mark.parametrize("kappa", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_every_node_with_parameters_finds_its_gradient_at_its_own_ends(seed, kappa):
    """All stalks but what it reads and its own are not numbers."""
    sheaf, x, y, _ = posed(seed)
    found = currents(sheaf, x, y)
    whole = found.gradient(kappa)
    scale = max(abs(flat(own)).max() for own in whole.values())
    for node in sheaf.network.nodes:
        if node.name not in whole:
            continue
        ends = []
        for state in (found.forward, found.relaxed):
            own = np.full_like(state, np.nan)
            for name in {node.name, *node.inputs} - {"x"}:
                own[:, sheaf.layout[name]] = state[:, sheaf.layout[name]]
            ends.append(own)
        alone = edge_update(sheaf, node.name, x, *ends, kappa)
        assert set(alone) == set(whole[node.name])
        np.testing.assert_allclose(flat(alone), flat(whole[node.name]), rtol=0, atol=1e-11 * scale)


@pytest.mark.parametrize("seed", range(20))
def test_local_schemes_rest_where_the_currents_do(seed):
    """Whatever the operations: their constants and slopes are in what an edge predicts."""
    sheaf, x, y, _ = posed(seed)
    rest = currents(sheaf, x, y).relaxed
    scale = abs(rest).max()
    for scheme in (gauss_seidel, red_black):
        first, then = islice(scheme(sheaf, x, y, rest), 2)
        np.testing.assert_allclose(then, first, rtol=0, atol=1e-10 * scale)
        start, *_, end = islice(scheme(sheaf, x, y), 40)
        moved = abs(start - rest).max()
        assert abs(end - rest).max() < moved or moved < 1e-10 * scale


# training
# --------------------------------------------------------------------------------------------------


def small_cnn(rng, output):
    """Two convolutions with slopes that are trained, a max-pool and a clamp."""
    first, shape = convolution(
        rng.standard_normal((3, 1, 3, 3)) / 3, (1, 6, 6), rng.standard_normal(3), padding=1
    )
    top, pooled = max_pool(shape, 2)
    second, last = convolution(rng.standard_normal((4, 3, 2, 2)) / 3, pooled)
    n_out = {"identity": 2, "softmax": 3}[output]
    nodes = [
        ("conv1", first),
        ("prelu1", PReLU(first.n_out, rng.uniform(0, 0.5, 3))),
        ("pool", top),
        ("conv2", second),
        ("prelu2", PReLU(second.n_out, 0.25)),
        ("clamp", Clamp(second.n_out, -1.0, 1.5)),
        ("head", Affine(rng.standard_normal((n_out, second.n_out)) / 4)),
    ]
    return Network(36, nodes, output)


def trained(output):
    """A small CNN as a sheaf, inputs, labels and stalks."""
    rng = np.random.default_rng(8)
    sheaf = NeuralSheaf(small_cnn(rng, output), {"affine_2": 2.0, "activation_1": 0.5})
    x = rng.standard_normal((10, 36))
    y = labels(output, rng, 10, sheaf.network.n_out)
    return sheaf, x, y, sheaf.forward(x) + 0.3 * rng.standard_normal((10, sheaf.N))


STEPS = 30
DESCENT = {"lr": 0.1}
JOINT = {"dt": 0.02, "beta": 0.01}


@cache
def ends():
    """PyTorch's runs of the small CNN: "kind-output" -> arrays by name."""
    asked = {
        f"{kind}-{output}": problem(kind, *trained(output), steps=STEPS, **numbers)
        for kind, numbers in (("descent", DESCENT), ("joint", JOINT))
        for output in ("identity", "softmax")
    }
    return ask(asked)


def assert_ends_alike(network, start, found):
    """Every parameter to 1e-11 of its largest entry, and moved."""
    for node, own in network.parameters.items():
        for name, part in own.items():
            before = start.parameters[node][name]
            expected = torch_networks.written_out(found[f"end/{node}.{name}"], before)
            ours = torch_networks.written_out(part, before)
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-11 * abs(expected).max())
            assert abs(ours - torch_networks.written_out(before, before)).max() > 1e-4


@with_pytorch
@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_a_small_cnn_descends_as_by_pytorchs_sgd(output):
    sheaf, x, y, _ = trained(output)
    end = nth(gradient_descent(sheaf, x, y, every=STEPS, **DESCENT), 1).network
    assert_ends_alike(end, sheaf.network, ends()[f"descent-{output}"])


@with_pytorch
@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_a_small_cnn_flows_jointly_as_by_pytorchs_sgd_on_the_energy(output):
    sheaf, x, y, w = trained(output)
    state = nth(joint_flow(sheaf, x, y, start=w, every=STEPS, **JOINT), 1)
    found = ends()[f"joint-{output}"]
    np.testing.assert_allclose(state.stalks, found["stalks"], rtol=0, atol=1e-11)
    assert_ends_alike(state.network, sheaf.network, found)


@pytest.mark.parametrize("kind", [PReLU, Clamp])
def test_compiled_chains_are_of_relus_alone(kind):
    """A PReLU and a clamp are trained by the NumPy engine, which a stepper named by hand is not."""
    between = {PReLU: PReLU(4, 0.2), Clamp: Clamp(4, -1.0, 1.0)}[kind]
    rng = np.random.default_rng(3)
    first, last = Affine(rng.standard_normal((4, 2))), Affine(rng.standard_normal((1, 4)))
    network = Network(2, [("z1", first), ("a1", between), ("z2", last)])
    assert not chains.can_fuse(network) and not chains.is_chain(network)
    x, y = rng.standard_normal((5, 2)), rng.standard_normal((5, 1))
    sheaf, one = NeuralSheaf(network), {"every": 3}
    for run, stepper, more in (
        (joint_flow, JointStepper, {}),
        (gradient_descent, DescentStepper, {"lr": 0.1}),
    ):
        named = nth(run(sheaf, x, y, stepper=stepper, **more, **one), 1)
        chosen = nth(run(sheaf, x, y, **more, **one), 1)
        np.testing.assert_array_equal(named.stalks, chosen.stalks)
    why = rf"but node 'a1' is {kind.__name__}\(.*\), not a ReLU"
    with pytest.raises(ValueError, match=f"expected a chain of dense affine maps with.*{why}"):
        chains.Chain(network)
    with pytest.raises(ValueError, match=f"expected a chain of dense affine maps and.*{why}"):
        MiniBatches(network, x, y)


def test_a_convolution_is_no_link_of_a_compiled_chain():
    """Its matrix would be trained entry by entry in place of its kernel."""
    conv, _ = convolution(np.ones((1, 1, 2, 2)), (1, 2, 2))
    assert not chains.can_fuse(Network(4, [("z1", conv)]))
    assert chains.why_no_chain(Network(4, [("z1", conv)])).endswith("not a dense Affine")
    assert chains.why_no_chain(Network(2, [("z1", Affine(np.eye(2))), ("a1", ReLU(2))])) == (
        "node 'a1' is the last one, and not affine"
    )
    other = Network(2, [("z1", Affine(np.eye(2))), ("a1", ReLU(2), "x"), ("z2", Affine(np.eye(2)))])
    assert chains.why_no_chain(other) == "node 'a1' reads x, not z1 alone"


def test_a_state_is_taken_up_only_by_the_network_that_it_belongs_to():
    """Slopes are parameters and may differ; bounds, widths and shapes of kernels may not."""
    sheaf, x, y, _ = trained("identity")
    state = nth(gradient_descent(sheaf, x, y, lr=0.1, every=2), 1)
    again = nth(gradient_descent(sheaf, x, y, lr=0.1, every=2, start=state), 0)
    assert again.record.step == 2
    np.testing.assert_array_equal(
        again.network.parameters["prelu1"]["slope"], state.network.parameters["prelu1"]["slope"]
    )
    n = sheaf.network.nodes[4].operation.n
    for name, other in (("clamp", Clamp(n, -1.0, 2.0)), ("prelu2", PReLU(n, [0.25, 0.25]))):
        nodes = [
            (node.name, other if node.name == name else node.operation, node.inputs)
            for node in sheaf.network.nodes
        ]
        changed = NeuralSheaf(Network(36, nodes))
        with pytest.raises(ValueError, match="start is a state of"):
            gradient_descent(changed, x, y, lr=0.1, start=state)


def test_a_matrix_free_map_is_refused_by_name():
    free = Affine.from_maps(lambda a: 2 * a, lambda e: 2 * e, (2, 2))
    network = Network(2, [("twice", free), ("a", PReLU(2, 0.1)), ("z", Affine(np.eye(2)))])
    sheaf, x = NeuralSheaf(network), np.ones((1, 2))
    w = sheaf.forward(x)
    law = currents(sheaf, x, x)
    for call in (
        lambda: network.parameters,
        lambda: network.with_parameters({"twice": {"bias": np.ones(2)}}),
        lambda: backpropagate(sheaf, x, x),
        lambda: gradient(network, x, x),
        lambda: weight_gradient(sheaf, x, w),
        lambda: nth(joint_flow(sheaf, x, x, every=1), 1),
        lambda: nth(gradient_descent(sheaf, x, x, lr=0.1, every=1), 1),
        lambda: law.gradient(),
        lambda: edge_update(sheaf, "twice", x, w, w),
    ):
        with pytest.raises(TypeError, match="node 'twice': weight is matrix-free"):
            call()
    assert set(edge_update(sheaf, "a", x, w, w)) == {"slope"}


def test_a_state_of_training_goes_to_other_processes():
    sheaf, x, y, _ = trained("identity")
    state = nth(gradient_descent(sheaf, x, y, every=2, **DESCENT), 1)
    assert state.network.shapes["conv1"] == (3, 6, 6)
    again = pickle.loads(pickle.dumps(state))
    np.testing.assert_array_equal(again.stalks, state.stalks)
    np.testing.assert_array_equal(theta(again.network), theta(state.network))
    assert again.network.shapes == state.network.shapes
