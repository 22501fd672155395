"""Gradients and training steps of any network by PyTorch's autograd: `python torch_dags.py
given.npz found.npz`, where there are PyTorch and NumPy and nothing of this project.

A network comes as steps and arrays, which `random_dags.described` makes of it, under names
"problem/…"; its parameters are leaves of autograd, and nothing here says how to differentiate. The
energy of stalks and parameters is written from its definition, Σ_e ½ w_e |stalk − F_e|² over the
coordinates of stalks, and w_out times the loss of the output.
"""

import json
import math
import sys

import numpy as np
import torch
from torch.nn import functional


def tensor(array):
    """A tensor of its own with the numbers of an array."""
    return torch.tensor(array, dtype=torch.float64)


class Model:
    """The operations of a network, and its parameters "node.name" as leaves."""

    def __init__(self, steps, given):
        self.steps, self.arrays, self.parameters = steps, [], {}
        for k, step in enumerate(steps):
            own = {
                name.partition(".")[2]: value
                for name, value in given.items()
                if name.startswith(f"{k}.")
            }
            self.arrays.append(
                {
                    name: torch.tensor(value) if value.dtype.kind == "i" else tensor(value)
                    for name, value in own.items()
                }
            )
            for name in step["parameters"]:
                leaf = self.arrays[k][name].requires_grad_()
                self.parameters[f"{step['name']}.{name}"] = leaf

    def operate(self, k, a):
        """What node k makes of what it reads, (B, n_in) -> (B, n_out)."""
        return OPERATIONS[self.steps[k]["kind"]](self.steps[k], self.arrays[k], a)

    def read(self, k, values):
        """What node k reads."""
        return torch.cat([values[name] for name in self.steps[k]["inputs"]], dim=1)

    def forward(self, x):
        """The last stalk of the forward pass."""
        values = {"x": x}
        for k, step in enumerate(self.steps):
            values[step["name"]] = self.operate(k, self.read(k, values))
        return values[self.steps[-1]["name"]]

    def energy(self, x, stalks, weights, label, output, weight):
        """E of stalks (B, N), whose coordinates have the edge weights `weights` (N,)."""
        values, start, total = {"x": x}, 0, 0.0
        for k, step in enumerate(self.steps):
            prediction = self.operate(k, self.read(k, values))
            rows = slice(start, start + prediction.shape[1])
            values[step["name"]] = stalks[:, rows]
            total = total + (weights[rows] * (stalks[:, rows] - prediction) ** 2).sum() / 2
            start = rows.stop
        return total + weight * summed_loss(values[self.steps[-1]["name"]], label, output)


def relu(step, own, a):
    return torch.where(a >= 0, a, step["slope"] * a)


def prelu(step, own, a):
    # not functional.prelu, whose derivative at 0 is the slope: here a zero counts as active
    image, slope = a.reshape(len(a), len(own["slope"]), -1), own["slope"][:, None]
    return torch.where(image >= 0, image, slope * image).flatten(1)


def clamp(step, own, a):
    low, high = (bound if math.isfinite(bound) else None for bound in (step["low"], step["high"]))
    return torch.clamp(a, low, high)


def pool(step, own, a):
    return a[:, own["windows"]].max(dim=2).values


def stack(step, own, a):
    return a


def affine(step, own, a):
    return functional.linear(a, own["weight"] * own.get("stored", 1), own["bias"])


def norm(step, own, a):
    running = own["mean"], own["variance"]
    image = a.reshape(len(a), len(own["scale"]), -1)
    return functional.batch_norm(
        image, *running, own["scale"], own["shift"], eps=step["eps"]
    ).flatten(1)


def convolution(step, own, a):
    image, axes = a.reshape(len(a), *step["shape"]), len(step["shape"]) - 1
    ends = [n for side in reversed(step["padding"]) for n in side]  # the last axis comes first
    made = {1: functional.conv1d, 2: functional.conv2d}[axes](
        functional.pad(image, ends),
        own["kernel"],
        own["bias"],
        stride=step["stride"],
        dilation=step["dilation"],
        groups=step["groups"],
    )
    return made.flatten(1)


def transposed(step, own, a):
    image, axes = a.reshape(len(a), *step["shape"]), len(step["shape"]) - 1
    made = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d}[axes](
        image,
        own["kernel"],
        own["bias"],
        stride=step["stride"],
        padding=[before for before, _ in step["padding"]],
        output_padding=step["output_padding"],
        groups=step["groups"],
        dilation=step["dilation"],
    )
    return made.flatten(1)


OPERATIONS = {
    f.__name__: f for f in (relu, prelu, clamp, pool, stack, affine, norm, convolution, transposed)
}


def summed_loss(z, y, output):
    """Φ summed over the samples: half the squares, or the cross-entropy."""
    if output == "identity":
        return ((z - y) ** 2).sum() / 2
    if output == "sigmoid":
        return functional.binary_cross_entropy_with_logits(z, y, reduction="sum")
    return functional.cross_entropy(z, y, reduction="sum")  # y are probabilities


def mean_loss(z, y, output):
    """The loss of training: a mean of squares over entries, of cross-entropies over samples."""
    return summed_loss(z, y, output) * (2 / y.numel() if output == "identity" else 1 / len(y))


def gradients(model, given, output):
    """Of the loss at the forward pass, and of the energy at the stalks that are given."""
    x, y, leaves = tensor(given["x"]), tensor(given["y"]), model.parameters
    loss = mean_loss(model.forward(x), y, output)
    stalks, weights = tensor(given["stalks"]), tensor(given["weights"])
    energy = model.energy(x, stalks, weights, y, output, float(given["weight"]))
    found = {"loss": loss.detach(), "energy": energy.detach()}
    nothing = sum(0 * leaf.sum() for leaf in leaves.values())  # a loss may depend on no parameter
    for what, value in (("of loss", loss), ("of energy", energy)):
        slopes = torch.autograd.grad(value + nothing, list(leaves.values()), retain_graph=True)
        found |= {f"{what}/{name}": slope for name, slope in zip(leaves, slopes)}
    return found


def descent(model, given, output):
    """The parameters after steps of SGD on all samples."""
    optimiser = torch.optim.SGD(model.parameters.values(), lr=float(given["lr"]))
    x, y = tensor(given["x"]), tensor(given["y"])
    for _ in range(int(given["steps"])):
        optimiser.zero_grad()
        mean_loss(model.forward(x), y, output).backward()
        optimiser.step()
    return {f"end/{name}": leaf.detach() for name, leaf in model.parameters.items()}


def joint(model, given, output):
    """Stalks and parameters after steps of SGD on their energy, a group each."""
    stalks = tensor(given["stalks"]).requires_grad_()
    groups = [
        {"params": [stalks], "lr": float(given["dt"])},
        {"params": list(model.parameters.values()), "lr": float(given["dt"] * given["beta"])},
    ]
    optimiser = torch.optim.SGD(groups, lr=1.0)
    x, y, weights = tensor(given["x"]), tensor(given["y"]), tensor(given["weights"])
    for _ in range(int(given["steps"])):
        optimiser.zero_grad()
        model.energy(x, stalks, weights, y, output, float(given["weight"])).backward()
        optimiser.step()
    end = {f"end/{name}": leaf.detach() for name, leaf in model.parameters.items()}
    return {"stalks": stalks.detach()} | end


KINDS = {f.__name__: f for f in (gradients, descent, joint)}


def main(source, target):
    """Answer every problem of the file; its header says what is asked and the steps."""
    torch.set_num_threads(1)
    problems, found = {}, {}
    with np.load(source) as given:
        for name in given.files:
            problem, _, key = name.partition("/")
            problems.setdefault(problem, {})[key] = given[name]
    for problem, arrays in problems.items():
        header = json.loads(str(arrays.pop("header")))
        answer = KINDS[header["kind"]](Model(header["steps"], arrays), arrays, header["output"])
        found |= {f"{problem}/{key}": value.numpy() for key, value in answer.items()}
    np.savez(target, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
