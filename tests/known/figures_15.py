"""The oracles of notebook 15: the rounded parabolas by hand, V of a chain written out in NumPy, and
the record counted again.
"""

import json
from math import sqrt

import numpy as np
from figure_oracles import ROOT, close, oracle
from scipy.special import logsumexp

from sheaflib import Network, NeuralSheaf, equilibrium, hard
from sheaflib.companion.pinned_problems import problem

RECORD = ROOT / "notebooks" / "15-compared.json"
NEWTON, HOMOTOPY = "Newton, track", "homotopy"


def record():
    return json.loads(RECORD.read_text(encoding="utf-8"))


def chain_energy(network, x, w, label):
    """½ Σ (w − F(w))² of a chain and the cross-entropy of its logits, node by node."""
    total, value, at = 0.0, x, 0
    for node in network.nodes:
        n = node.operation.n_out
        here = w[at : at + n]
        if hasattr(node.operation, "weight"):
            image = node.operation.weight @ value + node.operation.bias
        else:
            image = np.maximum(value, 0)
        total += ((here - image) ** 2).sum() / 2
        value, at = here, at + n
    return total + logsumexp(value) - label @ value


@oracle("15-rounded")
def _(n):
    z, u, y = np.array(n["z"]), -0.5, 3.0
    for width, V in zip(n["widths"], n["energy"]):
        r = np.array([(t + sqrt(t * t + width * width)) / 2 for t in z])
        close(V, (z - u) ** 2 / 2 + (y - r) ** 2 / 4)
    for width, place, V in n["path"]:
        # V' = (z − u) − ½ (y − r) r', with r' = r/√(z² + μ²), the ReLU's step without a width
        root = sqrt(place**2 + width**2)
        r = (place + root) / 2
        assert abs((place - u) - (y - r) * r / root / 2) < 1e-5
        close(V, (place - u) ** 2 / 2 + (y - r) ** 2 / 4)
    # the bottoms of both parabolas: u, and (2u + y)/3, which is the lower one at this label
    close(n["newton"], u, atol=1e-6)
    close(n["path"][-1][1], (2 * u + y) / 3, atol=1e-6)
    assert n["path"][-1][2] < (y**2) / 4


@oracle("15-race")
def _(n):
    said = record()
    runs = {**said["race"], "random ResNet-20": said["resnet"]}
    for name, methods in n.items():
        lowest = methods.pop("V*")
        close(lowest, min(run["energy"][-1] for run in runs[name].values()))
        assert set(methods) == set(runs[name])
        for method, (passes, energy) in methods.items():
            close(passes, runs[name][method]["passes"])
            close(energy, runs[name][method]["energy"])
            assert (np.diff(passes) > 0).all() and (np.diff(energy) <= 1e-9).all()
    # V of the chain at the ends of two modes, and at the forward pass, where only the label is felt
    of = problem("chain 10 × 50", 0)
    network, label = of.sheaf.network, of.pins.value[0]
    for mode, method in (("track", NEWTON), ("homotopy", HOMOTOPY)):
        found = equilibrium(of.sheaf, of.x, pins=of.pins, mode=mode, progress=False)
        V = chain_energy(network, of.x[0], found.cochain[0, : of.sheaf.N], label)
        close(n["chain 10 × 50"][method][1][-1], V, rtol=1e-6)
    forward = -np.log(network(of.x)[0].min())
    for method in ("Gauss–Newton", "L-BFGS", "predictive coding"):
        close(n["chain 10 × 50"][method][1][0], forward)


@oracle("15-minima")
def _(n):
    said = record()
    for widths, shares in n["shares"].items():
        nets = [net for net in said["lists"][widths] if net["minima"] > 1]
        assert len(nets) > 50
        for way, share in shares.items():
            close(share, np.mean([net[way][0] == 0 for net in nets]))
    for family, counts in n["counts"].items():
        a, b = np.array([[r[NEWTON][0], r[HOMOTOPY][0]] for r in said["starts"][family]]).T
        lower, higher = (b < a * (1 - 1e-9)).sum(), (b > a * (1 + 1e-9)).sum()
        assert counts == {"lower": lower, "equal": len(a) - lower - higher, "higher": higher}
    # some of the networks again: their lowest minimum by all sides of the six neurons
    for number in range(5):
        rng = np.random.default_rng([number, 5])
        network = Network.he([2, 6, 1], rng)
        x = rng.standard_normal((1, 2))
        y = network(x) + rng.uniform(-10, 10)
        energy = lowest_by_sides(network, x[0], y[0, 0])
        pins = hard("z2", y)
        for mode, way in (("track", NEWTON), ("homotopy", HOMOTOPY)):
            found = equilibrium(NeuralSheaf(network), x, pins=pins, mode=mode, progress=False)
            rank = said["lists"]["2x6x1"][number][way][0]
            assert (rank == 0) == (found.energy[0] <= energy * (1 + 1e-6) + 1e-9)


def lowest_by_sides(network, x, y):
    """The lowest V of [2,6,1] with its output at y, over all faces: each neuron is off, on or at
    its corner, and on every face V is a quadratic of z and a, whose minimum counts where it lies in
    the face.
    """
    first, _, last = (node.operation for node in network.nodes)
    u, w, b, m = first.weight @ x + first.bias, last.weight[0], last.bias[0], len(first.weight)
    lowest = np.inf
    for face in np.ndindex(*(3,) * m):
        off, on, corner = (np.array(face) == k for k in range(3))
        # the error e = y − w a − b pulls each a by e w; z − u and a − ReLU(z) share it where on
        gain = np.where(on, 2.0, 1.0)
        base = np.where(on, u, 0.0)
        e = (y - b - w @ base) / (1 + (w**2 * gain).sum())
        a = base + gain * e * w
        z = np.where(off, u, np.where(on, u + e * w, 0.0))
        if (z[off] > 1e-12).any() or (z[on] < -1e-12).any():
            continue
        V = ((z - u) ** 2).sum() / 2 + ((a - np.maximum(z, 0)) ** 2).sum() / 2 + e**2 / 2
        lowest = min(lowest, V)
    return lowest
