"""Training where the answer is known: steps worked out by hand, losses of known outputs, the
numbers of the paper's runs.
"""

from itertools import islice

import numpy as np
import pytest
import scipy.sparse as sparse
from training_cases import nth, theta

from sheaflib import Affine, Network, NeuralSheaf, hard, soft
from sheaflib.companion import tasks
from sheaflib.companion.experiments import TABLE_E1, initial, stalks, train
from sheaflib.training.descent import DescentStepper
from sheaflib.training.drivers import gradient_descent, joint_flow, loss
from sheaflib.training.joint import JointStepper, edge_energies

LINE = Network.mlp([[[2.0]], [[-1.0]]], [[0.5], [1.0]])
RECORDED = 5.1e-7  # half a unit of the last printed digit


def one_step(z1=1.0, output="identity", y=5.0, stepper=None, edge_weights=1.0, pins=(), n=1):
    """Stalks and weights after one step of dt = ½, β = ¼ from (z¹, a¹, z²) = (z1, 2, 3) over x = 1,
    for n equal samples.
    """
    sheaf = NeuralSheaf(Network(1, LINE.nodes, output), edge_weights)
    states = joint_flow(
        sheaf,
        [[1.0]] * n,
        [[y]] * n,
        start=[[z1, 2.0, 3.0]] * n,
        beta=0.25,
        dt=0.5,
        every=1,
        pins=pins,
        stepper=stepper,
    )
    state = nth(states, 1)
    return state.stalks[-1].tolist(), theta(state.network).tolist()


@pytest.mark.parametrize("stepper", [None, JointStepper])
class TestOneStepOfTheJointFlow:
    """r¹ = 2.5 − z¹, e = ReLU(z¹) − a¹, r² = −a¹ + 1 − z² = −4, z² − y = −2 by hand; every number
    is exact in binary.
    """

    def test_active(self, stepper):
        """r¹ = 1.5, e = −1: ż¹ = 1.5 + 1, ȧ¹ = −1 − 4, ż² = −4 + 2; W¹ and b¹ lose ⅛·1.5, W²
        ⅛·(−8), b² ⅛·(−4).
        """
        assert one_step(stepper=stepper) == ([2.25, -0.5, 2.0], [1.8125, 0.3125, 0.0, 1.5])

    def test_zero_is_active(self, stepper):
        """r¹ = 2.5, e = −2: ż¹ = 2.5 + 2, ȧ¹ = −2 − 4."""
        assert one_step(z1=0.0, stepper=stepper) == ([2.25, -1.0, 2.0], [1.6875, 0.1875, 0.0, 1.5])

    def test_inactive(self, stepper):
        """r¹ = 3.5, e = −2, and e does not reach z¹: ż¹ = 3.5."""
        assert one_step(z1=-1.0, stepper=stepper) == ([0.75, -1.0, 2.0], [1.5625, 0.0625, 0.0, 1.5])

    def test_sums_over_the_batch(self, stepper):
        """Three equal samples: the same stalks, three times the motion of the weights."""
        assert one_step(stepper=stepper, n=3) == ([2.25, -0.5, 2.0], [1.4375, -0.0625, 2.0, 2.5])

    def test_edge_weights(self, stepper):
        """Weights 2, 4, ½: ż¹ = 2·1.5 + 4, ȧ¹ = −4 − ½·4, ż² = −½·4 + 2."""
        weights = {"affine_1": 2, "activation_1": 4, "affine_2": 0.5}
        assert one_step(stepper=stepper, edge_weights=weights) == (
            [4.5, -1.0, 3.0],
            [1.625, 0.125, -0.5, 1.25],
        )

    def test_pins(self, stepper):
        """A hard pin holds z¹ at 1; a spring of stiffness 2 from a¹ = 2 towards 3 adds 2·(3 −
        2).
        """
        pins = [hard("z1", 1.0), soft("a1", 3.0, 2.0)]
        assert one_step(stepper=stepper, pins=pins) == ([1.0, 0.5, 2.0], [1.8125, 0.3125, 0.0, 1.5])

    def test_sigmoid(self, stepper):
        """φ(3) − 1 = −1/(1 + e³) in place of z² − y: ż² = −4 + 1/(1 + e³)."""
        found, weights = one_step(output="sigmoid", y=1.0, stepper=stepper)
        assert found[:2] == [2.25, -0.5] and weights == [1.8125, 0.3125, 0.0, 1.5]
        assert found[2] == pytest.approx(1 + 0.5 / (1 + np.exp(3)), rel=1e-15)

    def test_weight_of_the_output_edge(self, stepper):
        """A weight of 4 on it pulls four times as hard; the other edges keep 1."""
        found, weights = one_step(
            output="sigmoid", y=1.0, stepper=stepper, edge_weights={"output": 4.0}
        )
        assert found[2] == pytest.approx(1 + 2 / (1 + np.exp(3)), rel=1e-15) and weights == [
            1.8125,
            0.3125,
            0.0,
            1.5,
        ]


def test_softmax_step_of_one_layer():
    """z = (0, ln 3): φ = (¼, ¾), y = (1, 0); W = 0, b = 0, so r = −z: ż = −z − φ + y, Ẇ = βz for x
    = 1.
    """
    z = np.array([0.0, np.log(3)])
    for stepper in (None, JointStepper):
        state = nth(
            joint_flow(
                NeuralSheaf(Network.mlp([[[0.0], [0.0]]], output="softmax")),
                [[1.0]],
                [[1.0, 0.0]],
                start=z[None],
                beta=1,
                dt=0.1,
                every=1,
                stepper=stepper,
            ),
            1,
        )
        np.testing.assert_allclose(state.stalks[0], z + 0.1 * (-z + [0.75, -0.75]), rtol=1e-15)
        np.testing.assert_allclose(theta(state.network), 0.1 * np.concatenate([z, z]), rtol=1e-14)


def test_energy_edge_by_edge():
    """½·1.5², ½·1², ½·4², ½·2² at the start of those steps; the record's discord is the mean
    square.
    """
    sheaf = NeuralSheaf(LINE)
    assert edge_energies(sheaf, [[1.0]], np.array([[5.0]]), np.array([[1.0, 2.0, 3.0]])) == {
        "affine_1": 1.125,
        "activation_1": 0.5,
        "affine_2": 8.0,
        "output": 2.0,
    }
    record = next(
        joint_flow(sheaf, [[1.0]] * 2, [[5.0]] * 2, start=[[1.0, 2.0, 3.0], [1.0, 0.0, 3.0]])
    ).record
    assert (
        record.energies == {"affine_1": 2.25, "activation_1": 1.0, "affine_2": 10.0, "output": 4.0}
        and record.energy == 17.25
    )
    assert record.discord == {"affine_1": 2.25, "activation_1": 1.0, "affine_2": 10.0}


@pytest.mark.parametrize("stepper", [None, DescentStepper])
@pytest.mark.parametrize("n", [1, 3])
def test_one_step_of_gradient_descent(stepper, n):
    """x = 1: z¹ = 2.5, ŷ = −1.5, y = ½: ∂loss/∂ŷ = 2·(−2), W² gains ⅛·4·2.5, b² ⅛·4; ∂loss/∂z¹ = 4.
    A mean: n equal samples are one.
    """
    state = nth(
        gradient_descent(
            NeuralSheaf(LINE), [[1.0]] * n, [[0.5]] * n, lr=0.125, every=1, stepper=stepper
        ),
        1,
    )
    np.testing.assert_allclose(theta(state.network), [1.5, 0.0, 0.25, 1.5], rtol=1e-15, atol=1e-15)


def test_losses_of_known_outputs():
    """MSE: mean over all entries. Cross-entropy: mean over the batch of a sum over outputs, a
    probability being at least 1e-12.
    """
    zero = [[0.0], [0.0]]
    assert loss(Network.mlp([zero]), [[1.0], [1.0]], [[1.0, 3.0], [0.0, 2.0]]) == 3.5
    assert loss(Network.mlp([zero], output="softmax"), [[1.0], [1.0]], np.eye(2)) == pytest.approx(
        np.log(2), rel=1e-15
    )
    assert loss(
        Network.mlp([zero], output="sigmoid"), [[1.0], [1.0]], [[1.0, 0.0], [1.0, 1.0]]
    ) == pytest.approx(2 * np.log(2), rel=1e-15)
    for output, y in (("sigmoid", [[0.0, 0.0]]), ("softmax", [[0.0, 1.0]])):
        assert loss(
            Network.mlp([[[1000.0], [-1000.0]]], output=output), [[1.0]], y
        ) == pytest.approx(-np.log(1e-12), rel=1e-12)


def test_recorded_losses_of_sheaf_training():
    """Paraboloid, [2,30,1], weights seed 0, stalks seed 42, β = 1/300, dt = 0.005: 12.099576 at the
    start, 0.529305 after 10 000 steps.
    """
    run = train("paraboloid", "2x30x1", seed=0, stalk_seed=42, steps=10_000)
    assert run.step.tolist() == [0, 10_000] and run.diverged == ""
    np.testing.assert_allclose(run.train, [12.099576, 0.529305], rtol=0, atol=RECORDED)


def test_recorded_loss_of_gradient_descent():
    """The same network, learning rate 0.005: 0.029372 after 10 000 epochs."""
    run = train("paraboloid", "2x30x1", method="gd", seed=0, steps=10_000)
    np.testing.assert_allclose(run.train, [12.099576, 0.029372], rtol=0, atol=RECORDED)


@pytest.mark.parametrize(
    "name", [name for name, row in TABLE_E1.items() if row["task"] in ("circular", "blobs")]
)
def test_classification_starts_from_the_forward_pass_and_returns_to_it(name):
    """There only the label pulls: after one step z^{k+1} alone has moved, by dt(y − φ). After 1000
    the stalks are the forward pass again.
    """
    row, data = TABLE_E1[name], tasks.task(TABLE_E1[name]["task"])
    sheaf = NeuralSheaf(initial(row["task"], row["widths"], 42, False))
    after = train(row["task"], row["widths"], dt=row["dt"], steps=1)
    expected = sheaf.forward(data.X_train)
    expected[:, -sheaf.network.n_out :] += row["dt"] * (data.Y_train - sheaf.network(data.X_train))
    np.testing.assert_allclose(after.stalks, expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(theta(after.network), theta(sheaf.network), rtol=1e-13, atol=1e-15)
    epoch = train(row["task"], row["widths"], dt=row["dt"], steps=1000)
    np.testing.assert_array_equal(epoch.stalks, NeuralSheaf(epoch.network).forward(data.X_train))


@pytest.mark.parametrize(
    "name", [name for name, row in TABLE_E1.items() if row["task"] in ("paraboloid", "saddle")]
)
def test_regression_starts_from_the_recorded_stalks_and_keeps_its_own(name):
    row, data = TABLE_E1[name], tasks.task(TABLE_E1[name]["task"])
    sheaf = NeuralSheaf(initial(row["task"], row["widths"], 42, False))
    start = stalks(sheaf, row["widths"], 42, False, 300)
    prefix = f"stalks/{row['widths']}/seed42/"
    np.testing.assert_array_equal(
        start, np.hstack([tasks.paper_inputs()[prefix + stalk] for stalk in sheaf.layout.names])
    )
    run = train(row["task"], row["widths"], dt=row["dt"], steps=1001)
    state = nth(
        joint_flow(
            sheaf, data.X_train, data.Y_train, start=start, beta=1 / 300, dt=row["dt"], every=1001
        ),
        1,
    )
    np.testing.assert_array_equal(run.stalks, state.stalks)


def test_a_stored_zero_of_a_sparse_weight_is_trained():
    """One step on an input that does not reach it, then many on one that does: as the dense weight,
    W = (1, w₂) and b with W x + b = 3 on the last input."""
    sparse_weight = sparse.csr_array(([0.0, 1.0], ([0, 0], [0, 1])), shape=(1, 2))
    ends = []
    for weight in (sparse_weight, sparse_weight.toarray()):
        network = Network(2, [("y", Affine(weight, [0.0]))])
        for x, steps in (([[0.0, 1.0]], 1), ([[1.0, 0.0]], 200)):
            run = gradient_descent(NeuralSheaf(network), x, [[3.0]], lr=0.1, every=steps)
            *_, last = islice(run, 2)
            network = last.network
        weight = network.nodes[0].operation.weight
        ends.append(weight.toarray() if sparse.issparse(weight) else weight)
    np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=1e-14)
    assert ends[0][0, 0] > 0.5
