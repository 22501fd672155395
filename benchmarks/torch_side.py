"""Training and images with PyTorch tensors, for a process of the environment in build/torch.

Nothing here uses autograd. The training loop is as lean as PyTorch allows, and updates in place
from the output to the input, as ours does: the comparison is of engines, not of algorithms.
"""

import pickle
import sys
from contextlib import suppress

import torch

OUTPUTS = {
    "identity": torch.clone,
    "sigmoid": torch.sigmoid,
    "softmax": lambda z: torch.softmax(z, 1),
}


def joint(W, b, z, a, data, steps, dt, output):
    """Euler steps of the joint flow with β = 1/B."""
    x, y = data
    k, ones, zero = len(W) - 1, torch.ones(len(x)).to(x), torch.zeros(()).to(x)
    dt_beta, above = dt / len(x), None
    for _ in range(steps):
        for i in range(k, -1, -1):
            r = torch.addmm(b[i], a[i - 1] if i else x, W[i].T).sub_(z[i])
            if i == k:
                z[i].sub_(OUTPUTS[output](z[i]).sub_(y), alpha=dt).add_(r, alpha=dt)
            else:
                e, back = torch.relu(z[i]).sub_(a[i]), torch.mm(above, W[i + 1])
                W[i + 1].addmm_(above.T, a[i], alpha=-dt_beta)
                b[i + 1].addmv_(above.T, ones, alpha=-dt_beta)
                a[i].add_(e, alpha=dt).sub_(back, alpha=dt)
                z[i].sub_(torch.where(z[i] >= 0, e, zero), alpha=dt).add_(r, alpha=dt)
            above = r
        W[0].addmm_(above.T, x, alpha=-dt_beta)
        b[0].addmv_(above.T, ones, alpha=-dt_beta)


def images(kernels, biases, last, data, strides):
    """The forward pass of 3 × 3 convolutions with ReLUs and of a last affine map, from the images
    data[0] to data[1].
    """
    a, (weight, bias) = data[0], last
    for kernel, shift, stride in zip(kernels, biases, strides):
        a = torch.relu_(torch.conv2d(a, kernel, shift, stride, padding=1))
    torch.addmm(bias, a.flatten(1), weight.T, out=data[1])


def main():
    """Run a function as often as asked, on tensors that share the arrays, and send these back."""
    torch.set_num_threads(1)
    with torch.no_grad(), suppress(EOFError):
        while True:
            function, lists, options = pickle.load(sys.stdin.buffer)
            {"joint": joint, "images": images}[function](
                *([torch.from_numpy(array) for array in part] for part in lists), *options
            )
            pickle.dump(lists, sys.stdout.buffer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
