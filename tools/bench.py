"""`make bench`: speed and memory as ratios measured in one run, one thread each side, medians of many repeats.

Both sides use the instructions of all runs (tools/surroundings.py); PyTorch chooses its own.

Written to figures/bench.json and figures/bench.md. `ratio` is how many times faster ours is than the other side.
"""

import importlib.util
import json
import subprocess
import sys
import time

import numpy as np

from tools import bench_equilibrium, bench_race, bench_spectrum, bench_training
from tools.project import REPOSITORY, Project, write_whole
from tools.surroundings import process_environment, variables


def main(arguments=()):
    """Measure everything in a fresh process with one thread and write the two files; returns 0."""
    project = Project()
    if "--measure" not in sys.argv:
        environment = process_environment(variables(project, "full", project.build / "bench"))
        return subprocess.call([sys.executable, "-m", "tools.bench", "--measure"], cwd=project.root, env=environment)
    rows = [measure() for measure in (harmonic_extension, coboundary, heat_numpy, heat_torch)]
    rows += bench_training.rows(row, torch_answer("training"))
    rows += bench_spectrum.rows(row)
    rows += bench_equilibrium.rows(row)
    rows += bench_race.rows(row)
    write_whole(project.figures / "bench.json", json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    write_whole(project.figures / "bench.md", table(rows))
    print(table(rows))
    return 0


def row(name, ours, theirs, note):
    """One entry; seconds in, microseconds out. theirs=None: not measured, as the note says."""
    ratio = None if theirs is None else float(f"{theirs / ours:.3g}")
    return {"name": name, "ratio": ratio, "ours_us": float(f"{ours * 1e6:.4g}"),
            "theirs_us": None if theirs is None else float(f"{theirs * 1e6:.4g}"), "note": note}


def table(rows):
    """The rows as Markdown."""
    lines = ["# Speed, as measured by `make bench`", "", "Ratios of one run, one thread each side, medians; machines differ, ratios less so.", "",
             "| what | ratio | ours | theirs | note |", "|---|---|---|---|---|"]
    lines += [f"| {r['name']} | {'–' if r['ratio'] is None else r['ratio']} | {r['ours_us']:g} µs | "
              f"{'–' if r['theirs_us'] is None else format(r['theirs_us'], 'g') + ' µs'} | {r['note']} |" for r in rows]
    return "\n".join(lines) + "\n"


def paired(ours, theirs, repeats):
    """Median seconds of two calls made in turn, after one warm-up each."""
    ours(), theirs()
    times = np.array([(seconds(ours), seconds(theirs)) for _ in range(repeats)])
    return np.median(times, axis=0)


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def harmonic_extension():
    """A batch of 1000 through [784,1000,1000,1000,10]: the harmonic extension against the plain forward pass."""
    from sheaflib import Network, NeuralSheaf
    from sheaflib import harmonic_extension as solve

    rng = np.random.default_rng(0)
    network = Network.he([784, 1000, 1000, 1000, 10], rng)
    sheaf, x = NeuralSheaf(network), rng.standard_normal((1000, 784))
    weights = [node.operation.weight for node in network.nodes if node.operation.kind == "affine"]

    def plain():
        a = x
        for weight in weights[:-1]:
            a = np.maximum(a @ weight.T, 0)
        return a @ weights[-1].T

    assert np.abs(solve(sheaf, x).output - plain()).max() < 1e-9
    ours, theirs = paired(lambda: solve(sheaf, x), plain, 9)
    return row("harmonic extension 784x1000x1000x1000x10", ours, theirs, "against a bare NumPy forward pass, batch 1000; goal: within 2× (ratio ≥ 0.5)")


def coboundary():
    """δ_Ω of 41 affine layers of width 500 (N = 40 500 − 490, 10⁷ weights) against single-sample forward passes."""
    import resource

    from sheaflib import Network, NeuralSheaf

    rng = np.random.default_rng(0)
    network = Network.he([500] * 41 + [10], rng)
    sheaf, x = NeuralSheaf(network), rng.standard_normal((1, 500))
    pattern = sheaf.pattern(sheaf.forward(x), x)[0]
    ours, theirs = paired(lambda: sheaf.coboundary(pattern), lambda: network(x), 7)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    weights = sum(node.operation.weight.size for node in network.nodes if node.operation.kind == "affine")
    return row(f"sparse coboundary, N = {sheaf.N}", ours, theirs,
               f"against one single-sample forward pass: {ours / theirs:.0f} passes (goal: at most 300); {weights:,} weights, peak memory {peak:.2f} GiB (goal: 2)")


def recorded_run():
    """The 67 557-step run: (steps, seconds a step)."""
    from sheaflib import relax, tasks

    sheaf, x, start = tasks.heat_run("2x6x4x4x1")
    run = lambda: relax(sheaf, x, start, dt=0.01, tol=1e-12, every=100_000, rest="step")
    steps = int(run().history.steps[0])
    return steps, float(np.median([seconds(run) for _ in range(5)])) / steps


def heat_numpy():
    """One Euler step of [2,6,4,4,1]: compiled against the plain NumPy loop below."""
    from sheaflib import tasks

    sheaf, x, start = tasks.heat_run("2x6x4x4x1")
    steps, ours = recorded_run()
    weights = [node.operation.weight for node in sheaf.network.nodes if node.operation.kind == "affine"]
    parts = sheaf.layout.split(start)
    n = 5000
    theirs = np.median([seconds(lambda: numpy_loop(weights, x, parts, n)) for _ in range(5)]) / n
    return row("heat step 2x6x4x4x1", ours, theirs, f"against a plain NumPy loop; the whole {steps}-step run takes {steps * ours:.2f} s")


def numpy_loop(weights, x, parts, n, dt=0.01):
    """n Euler steps with lists of NumPy arrays, biases zero."""
    k = len(weights) - 1
    z, a = [parts[f"z{i + 1}"].copy() for i in range(k + 1)], [parts[f"a{i + 1}"].copy() for i in range(k)]
    for _ in range(n):
        r = [(a[i - 1] if i else x) @ weights[i].T - z[i] for i in range(k + 1)]
        mask = [(z[i] >= 0).astype(float) for i in range(k)]
        dz = [r[i] - mask[i] * (mask[i] * z[i] - a[i]) for i in range(k)] + [r[k]]
        da = [mask[i] * z[i] - a[i] - r[i + 1] @ weights[i + 1] for i in range(k)]
        for state, force in zip(z + a, dz + da):
            state += dt * force
    return z[k]


def heat_torch():
    """One Euler step of [2,6,4,4,1] against the same loop with PyTorch tensors, where PyTorch is installed."""
    name = "heat step 2x6x4x4x1, PyTorch"
    _, ours = recorded_run()
    answer = torch_answer("heat")
    if answer is None:
        return row(name, ours, None, bench_training.NOT_MEASURED)
    return row(name, ours, answer["seconds_a_step"],
               f"against the same loop with PyTorch {answer['version']} tensors (no autograd), {answer['steps']} steps timed; goal: 10×; outputs differ by {answer['difference']:.0e}")


def torch_answer(what):
    """What `tools.bench_torch` measures, in this environment or in build/torch; None where PyTorch is in neither."""
    python = REPOSITORY / "build" / "torch" / "bin" / "python"
    python = sys.executable if importlib.util.find_spec("torch") else str(python) if python.exists() else None
    if python is None:
        return None
    return json.loads(subprocess.run([python, "-m", "tools.bench_torch", what], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    sys.exit(main())
