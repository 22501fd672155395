"""The other side of `make bench` in PyTorch: `heat` or `training`, loops over tensors, timed; prints one JSON line (needs NumPy and PyTorch)."""

import json
import statistics
import sys
import time

import numpy as np
import torch

from tools.bench import numpy_loop
from tools.bench_training import DT, SETUPS, descent_loop, joint_loop, problem, recorded

RUN, WEIGHTS, STEPS, HEAT_DT = "heat/nb_2x6x4x4x1_seed123/", "weights/2x6x4x4x1/seed123/", 5000, 0.01


def arrays():
    """The recorded run's arrays by name."""
    names = [f"{RUN}x", *(f"{RUN}z{i}" for i in range(1, 5)), *(f"{RUN}a{i}" for i in range(1, 4)), *(f"{WEIGHTS}W{i}" for i in range(1, 5))]
    return dict(zip(names, recorded(*names)))


def relax(weights, x, z, a, steps):
    """`steps` Euler steps with lists of tensors, biases zero; returns z^{k+1}."""
    z, a, k = [t.clone() for t in z], [t.clone() for t in a], len(weights) - 1
    for _ in range(steps):
        r = [torch.mm(a[i - 1] if i else x, weights[i].T) - z[i] for i in range(k + 1)]
        mask = [(z[i] >= 0).to(z[i].dtype) for i in range(k)]
        dz = [r[i] - mask[i] * (mask[i] * z[i] - a[i]) for i in range(k)] + [r[k]]
        da = [mask[i] * z[i] - a[i] - torch.mm(r[i + 1], weights[i + 1]) for i in range(k)]
        for state, force in zip(z + a, dz + da):
            state.add_(force, alpha=HEAT_DT)
    return z[k]


def heat():
    """Time the heat loop five times: the median."""
    data = arrays()
    tensors = {name: torch.from_numpy(value) for name, value in data.items()}
    weights = [tensors[f"{WEIGHTS}W{i}"] for i in range(1, 5)]
    start = [tensors[f"{RUN}z{i}"] for i in range(1, 5)], [tensors[f"{RUN}a{i}"] for i in range(1, 4)]
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        end = relax(weights, tensors[f"{RUN}x"], *start, STEPS)
        times.append((time.perf_counter() - begin) / STEPS)
    parts = {name.removeprefix(RUN): value for name, value in data.items() if name.startswith(RUN)}
    same = numpy_loop([data[f"{WEIGHTS}W{i}"] for i in range(1, 5)], parts["x"], parts, STEPS, HEAT_DT)
    return {"seconds_a_step": statistics.median(times), "difference": float(np.abs(end.numpy() - same).max()), "steps": STEPS}


def errors(z, y, output):
    """φ(z) − y."""
    if output == "identity":
        return z - y
    return torch.sigmoid(z).sub_(y) if output == "sigmoid" else torch.softmax(z, 1).sub_(y)


def joint(p, n):
    """n Euler steps of the joint flow on tensors, in place from the output to the input."""
    W, b, z, a, x, y, output = p
    k, ones, zero = len(W) - 1, torch.ones(len(x), dtype=x.dtype), torch.zeros((), dtype=x.dtype)
    hb = DT / len(x)
    for _ in range(n):
        for i in range(k, -1, -1):
            below = a[i - 1] if i else x
            r = torch.addmm(b[i], below, W[i].T).sub_(z[i])
            if i == k and output == "identity":
                z[i].lerp_(y, DT).add_(r, alpha=DT)
            elif i == k:
                z[i].sub_(errors(z[i], y, output), alpha=DT).add_(r, alpha=DT)
            else:
                e, back = torch.relu(z[i]).sub_(a[i]), torch.mm(above, V)
                V.addmm_(above.T, a[i], alpha=-hb)
                b[i + 1].addmv_(above.T, ones, alpha=-hb)
                a[i].add_(e, alpha=DT).sub_(back, alpha=DT)
                z[i].sub_(torch.where(z[i] >= 0, e, zero), alpha=DT).add_(r, alpha=DT)
            above, V = r, W[i]
        W[0].addmm_(above.T, x, alpha=-hb)
        b[0].addmv_(above.T, ones, alpha=-hb)
    return p


def descent(p, n, lr=0.005):
    """n steps of gradient descent on tensors, gradients by hand."""
    W, b, _, _, x, y, output = p
    ones, zero = torch.ones(len(x), dtype=x.dtype), torch.zeros((), dtype=x.dtype)
    scale = 2 / y.numel() if output == "identity" else 1 / len(y)
    for _ in range(n):
        z, a = [], [x]
        for weight, bias in zip(W, b):
            z.append(torch.addmm(bias, a[-1], weight.T))
            a.append(torch.relu(z[-1]))
        g = errors(z[-1], y, output)
        for i in range(len(W) - 1, -1, -1):
            back = torch.where(z[i - 1] >= 0, torch.mm(g, W[i]), zero) if i else None
            W[i].addmm_(g.T, a[i], alpha=-lr * scale)
            b[i].addmv_(g.T, ones, alpha=-lr * scale)
            g = back
    return p


def tensors_of(p):
    """A Problem of NumPy arrays as one of tensors."""
    p = p.copy()
    lists = {name: [torch.from_numpy(v) for v in getattr(p, name)] for name in "Wbza"}
    return p._replace(**lists, x=torch.from_numpy(p.x), y=torch.from_numpy(p.y))


def training(n=1000, repeats=7):
    """Time both loops on every set-up, after comparing them with the NumPy loops."""
    answer = {}
    for name in SETUPS:
        gaps = [abs(ours.numpy() - theirs).max() for loop, plain in ((joint, joint_loop), (descent, descent_loop))
                for ours, theirs in zip(*(sum((q.W, q.b, q.z, q.a), []) for q in (loop(tensors_of(problem(name)), n), plain(problem(name).copy(), n))))]
        answer[name] = {"difference": float(max(gaps))}
        for what, loop in (("joint", joint), ("descent", descent)):
            state, times = tensors_of(problem(name)), []
            for _ in range(repeats):
                begin = time.perf_counter()
                loop(state, n)
                times.append((time.perf_counter() - begin) / n)
            answer[name][what] = statistics.median(times)
    return answer


def main(what):
    """Measure and print."""
    torch.set_num_threads(1)
    with torch.no_grad():
        answer = {"heat": heat, "training": training}[what]()
    print(json.dumps({**answer, "version": torch.__version__.split("+")[0]}))


if __name__ == "__main__":
    main(sys.argv[1])
