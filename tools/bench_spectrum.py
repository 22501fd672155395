"""The rows of `make bench` on spectra: both ends of the spectrum without a matrix, against dense solvers and against forward passes."""

import json
import subprocess
import sys

import numpy as np

from tools.project import REPOSITORY

SAMPLES = 50           # of [2,300,300,1], treated as one batch
SIDE, CHANNELS = 256, 4
SIZES = (100, 200, 400, 800, 1600)   # widths of ten square layers: 10⁵ to 2.6·10⁷ weights


def rows(row):
    """Every row on spectra."""
    return [against_dense(row), deep(row), convolutional(row), linear(row)]


def against_dense(row):
    """[2,300,300,1], N = 1201: λ₁, λ_max and their vectors for a batch of patterns, per sample, against building L and `eigh`."""
    from sheaflib import Network, NeuralSheaf, spectrum
    from tools.bench import paired

    rng = np.random.default_rng(0)
    sheaf, x = NeuralSheaf(Network.he([2, 300, 300, 1], rng)), rng.standard_normal((SAMPLES, 2))
    patterns = sheaf.pattern(sheaf.forward(x), x)

    def dense():
        return np.linalg.eigh(sheaf.laplacian(patterns[0]).toarray())

    found, (values, _) = spectrum.extremes(sheaf, patterns, dense=0), dense()
    off = max(abs(found.smallest[0] / values[0] - 1), abs(found.largest[0] / values[-1] - 1))
    assert off < 1e-8
    ours, theirs = paired(lambda: spectrum.extremes(sheaf, patterns, dense=0), dense, 7)
    return row("extreme eigenvalues 2x300x300x1", ours / SAMPLES, theirs,
               f"N = 1201, per sample of a batch of {SAMPLES}, {found.steps[0]} + {found.steps[1]} Lanczos steps, against building L and a dense eigh; "
               "goal: 100×; values agree to 1e-8")


def deep(row):
    """41 affine layers of width 500, N = 40 010, 10⁷ weights: λ₁ of one sample, against single-sample forward passes."""
    from sheaflib import Network, NeuralSheaf, spectrum
    from tools.bench import paired

    rng = np.random.default_rng(0)
    network = Network.he([500] * 41 + [10], rng)
    sheaf, x = NeuralSheaf(network), rng.standard_normal((1, 500))
    pattern = sheaf.pattern(sheaf.forward(x), x)
    ours, theirs = paired(lambda: spectrum.smallest(sheaf, pattern), lambda: network(x), 7)
    return row(f"λ₁ of 41 layers of width 500, N = {sheaf.N}", ours, theirs,
               f"against one single-sample forward pass: {ours / theirs:.0f} passes (goal: at most 60)")


def convolutional(row):
    """A convolutional network with N > 10⁶: both ends in a process of its own, whose memory is read; nothing to compare with."""
    answer = json.loads(subprocess.run([sys.executable, "-m", "tools.bench_spectrum"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout)
    return row(f"extreme eigenvalues of a convolutional network, N = {answer['N']}", answer["seconds"], None,
               f"{answer['weights']:,} weights, {answer['steps'][0]} + {answer['steps'][1]} Lanczos steps, relative accuracy 1e-6; λ₁ = {answer['low']:.4g}, "
               f"λ_max = {answer['high']:.4g}; whole process {answer['gib']:.2f} GiB (goal: 2), {answer['vectors']:.0f} vectors of length N beyond the network "
               "(goal: 40); goal: a minute")


def network_of_a_million():
    """Two 3 × 3 convolutions on 256 × 256 images, ReLUs, average pooling, one dense layer."""
    from sheaflib import Affine, Network, ReLU, average_pool, convolution

    rng = np.random.default_rng(0)
    first, shape = convolution(rng.standard_normal((CHANNELS, 1, 3, 3)) * np.sqrt(2 / 9), (1, SIDE, SIDE), padding=1)
    second, shape = convolution(rng.standard_normal((CHANNELS, CHANNELS, 3, 3)) * np.sqrt(2 / 9 / CHANNELS), shape, padding=1)
    pool, _ = average_pool(shape, 4)
    dense = Affine(rng.standard_normal((10, pool.n_out)) * np.sqrt(2 / pool.n_out))
    return Network(SIDE**2, [("z1", first), ("a1", ReLU(first.n_out)), ("z2", second), ("a2", ReLU(second.n_out)), ("p", pool), ("z3", dense)])


def million():
    """What `convolutional` reports, as a dict: time first, memory in a second run, since counting it takes time."""
    import resource
    import tracemalloc

    from sheaflib import NeuralSheaf, spectrum
    from tools.bench import seconds

    sheaf = NeuralSheaf(network_of_a_million())
    x = np.random.default_rng(1).standard_normal((1, SIDE**2))
    pattern, kept = sheaf.pattern(sheaf.forward(x), x), []
    taken = seconds(lambda: kept.append(spectrum.extremes(sheaf, pattern, tol=1e-6)))
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tracemalloc.start()
    spectrum.extremes(sheaf, pattern, tol=1e-2)
    peak = tracemalloc.get_traced_memory()[1]
    found = kept[0]
    weights = sum(node.operation.weight.size for node in sheaf.network.nodes if node.operation.kind == "affine")
    return {"N": sheaf.N, "seconds": taken, "gib": gib, "vectors": peak / (8 * sheaf.N), "weights": int(weights), "steps": found.steps,
            "low": found.smallest[0], "high": found.largest[0]}


def linear(row):
    """Time of one Lanczos step (L⁻¹ once) against the number of weights: ten square layers, four doublings of the width."""
    from sheaflib import Network, NeuralSheaf
    from sheaflib.frozen import Frozen
    from tools.bench import seconds

    rng, weights, times = np.random.default_rng(0), [], []
    for width in SIZES:
        sheaf = NeuralSheaf(Network.he([width] * 11, rng))
        frozen, v = Frozen(sheaf, rng.random((1, sheaf.M)) < 0.5), rng.standard_normal((1, sheaf.N))
        repeats = max(3, 2_000_000 // width**2)
        frozen.inverse(v)
        times.append(float(np.median([seconds(lambda: frozen.inverse(v)) for _ in range(repeats)])))
        weights.append(10 * width**2)
    slope = np.polyfit(np.log(weights[1:]), np.log(times[1:]), 1)[0]
    return row("one Lanczos step, 2.6·10⁷ weights", times[-1], times[1] * weights[-1] / weights[1],
               f"against the step with {weights[1]:,} weights times their number's ratio: 1 is linear; log-log slope from there on {slope:.2f}; "
               "µs at " + ", ".join(f"{w:,}: {t * 1e6:.0f}" for w, t in zip(weights, times)))


if __name__ == "__main__":
    print(json.dumps(million()))
