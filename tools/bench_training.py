"""The training rows of `make bench`: a step of the joint flow and of gradient descent against plain NumPy and PyTorch loops.

The loops here are as lean as NumPy allows and update in place from the output to the input, like the engine: the comparison is
of engines, not of algorithms. `tools.bench_torch` imports this module where only NumPy and PyTorch are installed.
"""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

INPUTS = Path(__file__).resolve().parents[1] / "sheaflib" / "data" / "paper_inputs.npz"
DT = 0.005
SETUPS = {                                                # name -> widths, weights' seed, task, output
    "2x30x1": ("2x30x1", 0, "paraboloid", "identity"),
    "2x10x8x1": ("2x10x8x1", 42, "paraboloid", "identity"),
    "2x12x8x6x1": ("2x12x8x6x1", 0, "paraboloid", "identity"),
    "2x25x1 sigmoid": ("2x25x1", 42, "circular", "sigmoid"),
    "2x25x4 softmax": ("2x25x4", 42, "blobs", "softmax"),
}


class Problem(NamedTuple):
    """Weights, biases, stalks z and a (from the forward pass), inputs, labels, output: what a loop starts from."""

    W: list
    b: list
    z: list
    a: list
    x: np.ndarray
    y: np.ndarray
    output: str

    def copy(self):
        """Fresh arrays to run on."""
        return self._replace(**{name: [v.copy() for v in getattr(self, name)] for name in "Wbza"})


def recorded(*names):
    """Arrays of the packaged inputs by name (NumPy alone)."""
    with zipfile.ZipFile(INPUTS) as file:
        return [np.load(BytesIO(file.read(f"{name}.npy"))) for name in names]


def problem(name):
    """The set-up of a row."""
    widths, seed, task, output = SETUPS[name]
    W = recorded(*(f"weights/{widths}/seed{seed}/W{layer}" for layer in range(1, widths.count("x") + 1)))
    x, y = recorded(f"{task}/X_train", f"{task}/Y_train")
    z, a = [], []
    for weight in W:
        z.append((a[-1] if a else x) @ weight.T)
        a.append(np.maximum(z[-1], 0))
    rng = np.random.default_rng(0)
    z, a = ([v + rng.standard_normal(v.shape) for v in part] for part in (z, a[:-1]))
    return Problem(W, [np.zeros(len(weight)) for weight in W], z, a, x, y, output)


def probabilities(z, output):
    """φ(z)."""
    if output == "identity":
        return z
    if output == "sigmoid":
        return 1 / (1 + np.exp(-z))
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def joint_loop(p, n):
    """n Euler steps of the joint flow with β = 1/B, in place on a Problem."""
    W, b, z, a, x, y, output = p
    h, k = DT, len(W) - 1
    hb = h / len(x)
    for _ in range(n):
        for i in range(k, -1, -1):
            below = a[i - 1] if i else x
            r = below @ W[i].T
            r += b[i]
            r -= z[i]
            if i == k:
                z[i] += h * (r + y - probabilities(z[i], output))
            else:
                mask = z[i] >= 0
                e = z[i] * mask
                e -= a[i]
                a[i] += h * (e - back)
                e *= mask
                z[i] += h * (r - e)
            back = r @ W[i]
            W[i] -= hb * (r.T @ below)
            b[i] -= hb * r.sum(axis=0)
    return p


def descent_loop(p, n, lr=0.005):
    """n steps of gradient descent on the mean squared error or cross-entropy, in place on a Problem (its stalks are not used)."""
    W, b, _, _, x, y, output = p
    scale = 2 / y.size if output == "identity" else 1 / len(y)
    for _ in range(n):
        a, masks = [x], []
        for weight, bias in zip(W[:-1], b):
            v = a[-1] @ weight.T
            v += bias
            masks.append(v >= 0)
            v *= masks[-1]
            a.append(v)
        g = (probabilities(a[-1] @ W[-1].T + b[-1], output) - y) * scale
        for i in range(len(W) - 1, -1, -1):
            back = (g @ W[i]) * masks[i - 1] if i else None
            W[i] -= lr * (g.T @ a[i])
            b[i] -= lr * g.sum(axis=0)
            g = back
    return p


def steppers(name):
    """Our engine on the same set-up: the joint flow's stepper and gradient descent's."""
    from sheaflib import Network, NeuralSheaf
    from sheaflib.fused import FusedDescentStepper, FusedJointStepper
    from sheaflib.pins import resolve

    p = problem(name)
    network = Network.mlp(p.W, p.b, p.output)
    sheaf = NeuralSheaf(network)
    w = sheaf.layout.join({f"{kind}{i + 1}": v for kind in "za" for i, v in enumerate(getattr(p, kind))})
    joint = FusedJointStepper(sheaf, p.x, p.y, w, 1 / len(p.x), DT, 1.0, resolve(sheaf, (), len(p.x)))
    return joint, FusedDescentStepper(network, p.x, p.y, 0.005)


def difference(name, n=1000):
    """Largest difference of weights and stalks after n steps: our engine against the NumPy loops, joint flow and descent."""
    joint, descent = steppers(name)
    joint.advance(n), descent.advance(n)
    sheaf, w = joint.state()
    p, q = joint_loop(problem(name).copy(), n), descent_loop(problem(name).copy(), n)
    loop = sheaf.layout.join({f"{kind}{i + 1}": v for kind in "za" for i, v in enumerate(getattr(p, kind))})
    weights = [[node.operation.weight for node in network.nodes[::2]] for network in (sheaf.network, descent.state())]
    return max(np.abs(w - loop).max(), *(np.abs(ours - theirs).max() for these, those in zip(weights, (p.W, q.W)) for ours, theirs in zip(these, those)))


def seconds_a_step(advance, n=2000, repeats=15):
    """Median seconds of a step over repeats of n."""
    from tools.bench import seconds

    advance(2)
    return float(np.median([seconds(lambda: advance(n)) for _ in range(repeats)])) / n


def streaming(shape, repeats=200):
    """Median seconds to read and write an array of this shape once."""
    from tools.bench import seconds

    state = np.ones(shape)
    return float(np.median([seconds(lambda: np.multiply(state, 1.0, out=state)) for _ in range(repeats)]))


def rows(row, answers):
    """Every training row; `answers` is what PyTorch measured (set-up -> joint, descent, difference), None without it."""
    found = []
    for name in SETUPS:
        joint, descent = steppers(name)
        ours = seconds_a_step(joint.advance)
        gap = difference(name)
        assert gap < 1e-12, f"{name}: the loops differ by {gap}"
        against = f"against a lean PyTorch {answers['version']} step (addmm, in place, no autograd)" if answers else NOT_MEASURED
        note = f"{against}; all three loops agree to {max(gap, answers[name]['difference'] if answers else 0):.0e} over 1000 steps"
        if name == "2x30x1":
            bound = streaming((joint.stalks.shape[1], len(joint.x)))
            note += f"; goal 8×, aim 15×; the state is {joint.stalks.nbytes / 1e3:.0f} kB, streaming it once takes {bound * 1e6:.2f} µs: {bound / ours:.0%} of the memory bound"
        found.append(row(f"joint-flow step {name}", ours, answers and answers[name]["joint"], note))
        if name == "2x30x1":
            numpy_step = seconds_a_step(lambda n, p=problem(name).copy(): joint_loop(p, n), 300)
            found.append(row(f"joint-flow step {name}, NumPy", ours, numpy_step, "against a plain NumPy step"))
            found.append(twice_the_samples(row, name))
        theirs = answers and answers[name]["descent"]
        found.append(row(f"gradient-descent step {name}", seconds_a_step(descent.advance), theirs, against))
    return found


NOT_MEASURED = "not measured: PyTorch is not installed (python -m venv build/torch; build/torch/bin/pip install torch==2.13.0 numpy)"


def twice_the_samples(row, name):
    """A step with 600 samples against one with 300."""
    from sheaflib.fused import FusedJointStepper
    from sheaflib.pins import resolve

    joint, _ = steppers(name)
    sheaf, w = joint.state()
    x, y, w = (np.tile(v, (2, 1)) for v in (joint.x, joint.y, w))
    double = FusedJointStepper(sheaf, x, y, w, 1 / len(x), DT, 1.0, resolve(sheaf, (), len(x)))
    one, two = np.median([[seconds_a_step(s.advance, 500, 1) for s in (joint, double)] for _ in range(15)], axis=0)
    return row(f"joint-flow step {name}, 600 samples", two, one, f"against 300 samples: {two / one:.2f}× the time (goal: at most 2.2×, ratio ≥ 0.45)")

