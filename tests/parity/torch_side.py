"""What PyTorch computes, for test_torch.py: `python torch_side.py given.npz found.npz`, where there
are PyTorch and NumPy and nothing of this project.

Every array of `given.npz` and `found.npz` has a name "problem/…"; numbers are float64.
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional

LOSSES = {
    "identity": nn.MSELoss(),
    "sigmoid": nn.BCEWithLogitsLoss(),  # of one output: the mean over entries is that over samples
    "softmax": nn.CrossEntropyLoss(),
}


def tensor(array):
    """A tensor of its own with the numbers of an array."""
    return torch.tensor(array, dtype=torch.float64)


def perceptron(widths):
    """Linear layers with ReLUs between them, as PyTorch draws them."""
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def state_of(model):
    """The state dict as arrays."""
    return {f"state/{name}": value.numpy().copy() for name, value in model.state_dict().items()}


def gradients_of(model):
    """The gradients of the parameters as arrays."""
    return {f"gradient/{name}": p.grad.numpy() for name, p in model.named_parameters()}


def chosen(y, output):
    """The labels in the form that the loss of PyTorch takes."""
    return tensor(y).argmax(dim=1) if output == "softmax" else tensor(y)


def network(given, output):
    """A network: its weights, its output, its loss and the gradients."""
    model = perceptron(given["widths"].tolist())
    found = state_of(model)
    z = model(tensor(given["x"]))
    loss = LOSSES[output](z, chosen(given["y"], output))
    loss.backward()
    found |= {"logits": z.detach().numpy(), "loss": loss.detach().numpy()}
    return found | gradients_of(model)


def descent(given, output):
    """The weights after steps of SGD on all samples."""
    model = perceptron(given["widths"].tolist())
    found = state_of(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=float(given["lr"]))
    x, y = tensor(given["x"]), chosen(given["y"], output)
    for _ in range(int(given["steps"])):
        optimiser.zero_grad()
        LOSSES[output](model(x), y).backward()
        optimiser.step()
    return found | {f"end/{name}": p.detach().numpy() for name, p in model.named_parameters()}


def batches(given, output):
    """The weights after a schedule of mini-batches by Adam with decoupled weight decay."""
    model = perceptron(given["widths"].tolist())
    found = state_of(model)
    optimiser = torch.optim.AdamW(
        model.parameters(), betas=given["betas"].tolist(), weight_decay=float(given["decay"])
    )
    x, y = tensor(given["x"]), chosen(given["y"], output)
    for rows, lr in zip(given["order"], given["lr"]):
        for group in optimiser.param_groups:
            group["lr"] = float(lr)
        optimiser.zero_grad()
        loss = LOSSES[output](model(x[rows]), y[rows])
        if output == "identity":
            loss = loss * y.shape[1] / 2  # half the sum over outputs, the mean over samples
        loss.backward()
        optimiser.step()
    return found | {f"end/{name}": p.detach().numpy() for name, p in model.named_parameters()}


class Residual(nn.Module):
    """Convolutions, batch normalisation, both kinds of pooling and a skip connection."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.third = nn.Conv2d(6, 8, 3, stride=2)
        self.last = nn.Linear(8 * 3 * 3, 10)

    def forward(self, x):
        """Every vector that a node of the sheaf's network holds, by its name."""
        at = {"z1": self.first(x)}
        at["n1"] = self.norm(at["z1"])
        at["a1"] = functional.relu(at["n1"])
        at["m1"] = functional.max_pool2d(at["a1"], 2)
        at["z2"] = self.second(at["m1"])
        at["s"] = at["z2"] + at["m1"]
        at["a2"] = functional.relu(at["s"])
        at["z3"] = self.third(at["a2"])
        at["a3"] = functional.relu(at["z3"])
        at["m3"] = functional.avg_pool2d(at["a3"], 2)
        at["z4"] = self.last(at["m3"].flatten(1))
        return at


def images(given, output):
    """A convolutional network on images: all it computes, and the loss's gradient there."""
    model = Residual().double()
    with torch.no_grad():
        for name, value in model.named_buffers():
            if name == "norm.running_mean":
                value.normal_()
            if name == "norm.running_var":
                value.uniform_(0.5, 2.0)
        model.norm.weight.uniform_(-1.0, 2.0)
        model.norm.bias.normal_()
    model.eval()
    at = model(tensor(given["x"]))
    for value in at.values():
        value.retain_grad()
    LOSSES[output](at["z4"], chosen(given["y"], output)).backward()
    found = state_of(model)
    for name, value in at.items():
        found[f"value/{name}"] = value.detach().flatten(1).numpy()
        found[f"felt/{name}"] = value.grad.flatten(1).numpy()
    return found


def joint(given, output):
    """Stalks and weights after Euler steps along the gradient of the energy, by autograd."""
    model = perceptron(given["widths"].tolist())
    found = state_of(model)
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    x, y = tensor(given["x"]), tensor(given["y"])
    stalks = [tensor(v) for v in np.split(given["start"], np.cumsum(given["sizes"])[:-1], axis=1)]
    for v in stalks:
        v.requires_grad_()
    dt, beta = float(given["dt"]), float(given["beta"])
    for _ in range(int(given["steps"])):
        z, a = stalks[::2], [x, *stalks[1::2]]
        energy = LOSSES[output](z[-1], chosen(given["y"], output)) * len(x)
        if output == "identity":
            energy = energy * y.shape[1] / 2
        for layer, below, above in zip(linear, a, z):
            energy = energy + ((layer(below) - above) ** 2).sum() / 2
        for above, below in zip(a[1:], z):
            energy = energy + ((torch.relu(below) - above) ** 2).sum() / 2
        model.zero_grad()
        slopes = torch.autograd.grad(energy, [*stalks, *model.parameters()])
        with torch.no_grad():
            for value, slope in zip(stalks, slopes):
                value -= dt * slope
            for value, slope in zip(model.parameters(), slopes[len(stalks) :]):
                value -= dt * beta * slope
    found["stalks"] = torch.cat(stalks, dim=1).detach().numpy()
    return found | {f"end/{name}": p.detach().numpy() for name, p in model.named_parameters()}


def of_axes(name, x):
    """The function of signals or of images of this name: name1d or name2d."""
    return getattr(functional, f"{name}{x.dim() - 2}d")


def around(x, options):
    """The image with zeros around it, and the options that are left."""
    more = dict(options)
    return functional.pad(x, more.pop("around", [])), more


def convolve(x, arrays, options):
    x, more = around(x, options)
    return of_axes("conv", x)(x, arrays["kernel"], arrays["bias"], **more)


def pool(name):
    """A pooling; PyTorch calls the size of its windows kernel_size."""

    def pooled(x, arrays, options):
        more = dict(options)
        return of_axes(name, x)(x, more.pop("size"), **more)

    return pooled


def normalise(x, arrays, options):
    fixed = [tensor(options[name]) for name in ("mean", "variance")]
    return functional.batch_norm(x, *fixed, arrays["scale"], arrays["shift"], eps=options["eps"])


def padded(x, arrays, options):
    """By indices: PyTorch's own refuses reflections on an axis that gets none."""
    mode, ends = options["mode"], options["around"]
    if mode == "constant":
        return functional.pad(x, ends)
    modes = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    for axis in range(x.dim() - 2):
        before, after = ends[2 * axis : 2 * axis + 2]
        index = np.pad(np.arange(x.shape[-1 - axis]), (before, after), mode=modes[mode])
        x = x.index_select(x.dim() - 1 - axis, torch.tensor(index))
    return x


LAYERS = {
    "convolution": convolve,
    "transposed": lambda x, a, o: of_axes("conv_transpose", x)(x, a["kernel"], a["bias"], **o),
    "average_pool": pool("avg_pool"),
    "max_pool": pool("max_pool"),
    "adaptive_average_pool": lambda x, a, o: of_axes("adaptive_avg_pool", x)(x, **o),
    "adaptive_max_pool": lambda x, a, o: of_axes("adaptive_max_pool", x)(x, **o),
    "global_average_pool": lambda x, a, o: x.flatten(2).mean(dim=2),
    "global_max_pool": lambda x, a, o: x.flatten(2).max(dim=2).values,
    "batch_norm": normalise,
    "pad": padded,
    "upsample": lambda x, a, o: functional.interpolate(
        x, scale_factor=tuple(float(k) for k in o["scale_factor"]), mode="nearest"
    ),
    "permutation": lambda x, a, o: x[:, o["order"]],
    "add": lambda x, a, o: x.reshape(len(x), o["parts"], -1).sum(dim=1),
    "relu": lambda x, a, o: functional.leaky_relu(x, o["slope"]),
    "prelu": lambda x, a, o: functional.prelu(x, a["slope"]),
    "clamp": lambda x, a, o: torch.clamp(x, o["low"], o["high"]),
}


def layer(given, output):
    """One layer: its value, and the gradient of ⟨e, value⟩ by what it reads and its arrays."""
    x, arrays, options = tensor(given["x"]).requires_grad_(), {}, {}
    for key, value in given.items():
        group, _, name = key.partition("/")
        if group == "array":
            arrays[name] = tensor(value).requires_grad_()
        if group == "option":
            options[name] = value.tolist()
    y = LAYERS[str(given["layer"])](x, arrays, options)
    (y.flatten() * tensor(given["e"]).flatten()).sum().backward()
    found = {"value": y.detach().numpy(), "felt": x.grad.numpy()}
    return found | {f"gradient/{name}": array.grad.numpy() for name, array in arrays.items()}


KINDS = {f.__name__: f for f in (network, descent, batches, images, joint, layer)}


def main(source, target):
    """Answer every problem of the file: their names are "kind-output"."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given, problems, found = np.load(source), {}, {}
    for name in given.files:
        problem, _, key = name.partition("/")
        problems.setdefault(problem, {})[key] = given[name]
    for problem, arrays in problems.items():
        kind, output = problem.split("-")
        answer = KINDS[kind](arrays, output)
        found |= {f"{problem}/{key}": value for key, value in answer.items()}
    np.savez(target, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
