"""`make mutants`: plant one-line defects in copies of sheaflib, one each, and see the unit tests catch every one."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tools.project import REPOSITORY
from tools.surroundings import cores

LIMIT = 120                     # seconds for one pytest call; a defect that makes it run longer counts as caught
PYTEST = ["-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "no:nbval", "-p", "no:xdist"]
PROFILE = """from hypothesis import Phase, settings
settings.register_profile("mutants", derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate])
"""


class Mutant(NamedTuple):
    """One defect: in `file` the text `old`, which occurs exactly once, becomes `new`; `tests` should notice."""

    file: str
    old: str
    new: str
    reason: str
    tests: str


SUBSTITUTION, ENERGY, EIGENVALUES = (f"tests/theorems/test_{name}.py" for name in ("substitution", "energy", "eigenvalues"))
BLOCKS, AFFINE, LAYERS, PINS, SPECTRUM, FROZEN, LANCZOS = (
    f"tests/dense/test_{name}.py" for name in ("blocks", "affine", "layers", "pins", "spectrum", "frozen", "lanczos"))
CIRCUIT, MINIBATCH = "tests/theorems/test_currents.py", "tests/parity/test_minibatch.py"
RELAXED, RACE = "tests/theorems/test_relaxation.py", "tests/contract/test_race.py"
RESISTANCE = "tests/theorems/test_resistance.py"
REPORT = "tests/known/test_report_known.py tests/contract/test_report.py"
NEURON, GRAPHS, ORDER = "tests/known/test_one_neuron.py", "tests/known/test_graphs.py", "tests/order/test_euler_order.py"
PAPER, GRADIENTS = "tests/known/test_paper_runs.py", "tests/parity/test_gradients.py"
REFUSAL = "tests/contract/test_bad_input.py::test_a_step_beyond_2_over_lambda_max_is_refused_with_both_numbers"
SAVED = "tests/contract/test_immutability.py::test_save_and_load_every_operation"
STEP_LIMIT, REST = "tests/order/test_step_limit.py", "tests/theorems/test_rest.py"
GENERATOR = "tests/parity/test_engines.py::test_generator_recorded_every_1_and_every_7_and_relax"
HAND, EQUATIONS, RUNAWAY = "tests/known/test_training_known.py", "tests/parity/test_training_equations.py", "tests/contract/test_runaway_training.py"
AUTOGRAD, BLOCKS_OF_SAMPLES = "tests/parity/test_training_gradients.py", "tests/parity/test_training_engines.py::test_blocks_and_empty_lanes"
FLOW, JOINT_ORDER = "tests/theorems/test_joint_flow.py", "tests/order/test_joint_order.py"
HELD, PLANTED = f"{FLOW}::test_hard_pins_hold_exactly", f"{RUNAWAY}::test_a_planted_nan_is_caught_at_the_next_step"
COLD = f"{FLOW}::test_cold_states_are_forward_passes_at_multiples_and_at_no_other_step"
RESUMED = f"{FLOW}::test_resumed_from_any_yield_and_recorded_at_any_interval_to_the_same_bits"

SCALES = "tests/theorems/test_equilibrium_scales.py"
HIDDEN = "tests/theorems/test_equilibrium_hidden.py"
MINIMA, FACES = "tests/theorems/test_equilibrium.py", "tests/theorems/test_faces.py"
SMALL, STRESS = f"{MINIMA}::test_small_nets_against_enumeration", f"{MINIMA}::test_stress"
DENSE, BOUNDS = f"{MINIMA}::test_gradient_and_hessian_against_dense_matrices", f"{MINIMA}::test_bounds_of_a_disturbed_cochain_hold"
INVERSES = f"{MINIMA}::test_held_substitutions_against_dense_inverses"

MUTANTS = [
    # operations, layers and network
    Mutant("affine.py", "(self.weight.T @ e.T).T", "(self.weight @ e.T).T", "adjoint of a sparse map without its transpose", AFFINE),
    Mutant("selection.py", "return a >= 0", "return a > 0", "z = 0 counted as inactive", NEURON),
    Mutant("affine.py", "return e.T @ a, e.sum(axis=0)", "return e.T @ a, e.mean(axis=0)", "mean for sum in the bias gradient", GRADIENTS),
    Mutant("selection.py", "np.add.at(out, (np.arange(len(e))[:, None], self._chosen(s)), e)",
           "out[np.arange(len(e))[:, None], self._chosen(s)] = e", "adjoint of overlapping max-pool overwrites instead of adding", LAYERS),
    Mutant("output.py", "return p * expit(-z) * v", "return p * v", "Jacobian of the sigmoid without 1 − p", ENERGY),
    Mutant("layers.py", "np.repeat(bias, height * width)", "np.repeat(0 * bias, height * width)", "convolution forgets its bias", LAYERS),
    Mutant("network.py", '"slope": operation.slope', '"slope": 0.0', "a saved leaky ReLU comes back plain", SAVED),
    # the sheaf
    Mutant("sheaf.py", "return 0.5 * (self.row_weights", "return (self.row_weights", "V without its ½", ENERGY),
    Mutant("sheaf.py", "delta.T @ sparse.diags_array(self.row_weights[:self.N]) @ delta", "delta.T @ delta", "L forgets the edge weights", BLOCKS),
    Mutant("sheaf.py", "sparse.diags_array(node.operation.bias)", "sparse.diags_array(0 * node.operation.bias)", "extended stalks forget diag(b)", BLOCKS),
    Mutant("sheaf.py", "start += width", "start += 0", "the second part of a stack pulls with the first part's force", SUBSTITUTION),
    Mutant("cellular.py", "(edge.tail, -1, edge.from_tail)", "(edge.tail, 1, edge.from_tail)", "coboundary is a sum, not a difference", GRAPHS),
    # harmonic extension and substitution
    Mutant("substitution.py", 'nothing checked."""\n    for node in reversed(sheaf.network.nodes)', 'nothing checked."""\n    for node in sheaf.network.nodes',
           "backward substitution runs forward", SUBSTITUTION),
    Mutant("substitution.py", "np.diag(1 / np.sqrt(pins.gamma))", "np.diag(0 * pins.gamma)",
           "direct solve takes soft pins for hard ones", PINS),
    Mutant("harmonic.py", "backward_substitution(sheaf, seed, sheaf.pattern(w, x))",
           "backward_substitution(sheaf, seed, 0 * sheaf.pattern(w, x))",
           "backpropagation with every unit off", GRADIENTS),
    # pins
    Mutant("pins.py", "-= self.gamma * self.stretch(w)", "+= self.gamma * self.stretch(w)", "a soft pin pushes away", ENERGY),
    Mutant("pins.py", "w[:, self.hard_index] = self.hard_value", "w[:, self.hard_index] += 0", "hard pins are never imposed", NEURON),
    Mutant("pins.py", "s.start + i % width", "s.start + (i + 1) % width", "a pin on part of a stalk takes the neighbour", PINS),
    # the heat equation
    Mutant("forces.py", "f[:, last] += back", "f[:, :back.shape[1]] += back", "the output edge pulls the first stalk", ENERGY),
    Mutant("forces.py", "sheaf.row_weights[:w.shape[1]] * sheaf.discrepancy", "sheaf.discrepancy", "the force forgets the edge weights", ENERGY),
    Mutant("euler.py", "np.stack([self.steps[sample], sample, unit]", "np.stack([self.steps[sample] - 1, sample, unit]",
           "a switch is dated one step early", PAPER),
    Mutant("compiled.py", "w[indices[start]] >= 0", "w[indices[start]] > 1e-3", "the engine's kink is off zero", PAPER),
    Mutant("compiled.py", "if t > 0 and new != pattern[i]:", "if t > 1 and new != pattern[i]:", "the engine misses a switch in its first step", GENERATOR),
    Mutant("compiled.py", "self.dt * self.alpha", "self.dt", "the engine forgets α", ORDER),
    Mutant("heat.py", "limit = stable_step(2.0, alpha, largest)", "limit = stable_step(4.0, alpha, largest)",
           "twice too large a step is let through", REFUSAL),
    Mutant("heat.py", "state = w if pins else sheaf.forward(x, augmented=augmented)", "state = w",
           "the step is judged at the start, pins or not", STEP_LIMIT),
    Mutant("compiled.py", "memory[CEILING] += steep * change", "memory[CEILING] *= 1 - 1e-3",
           "the engine takes terms that grow for smaller ones", REST),
    Mutant("compiled.py", "            if not moved:", "            if False:",
           "the engine goes on where no step moves anything", REST),
    Mutant("rest.py", "np.where(zero, np.maximum(*sides), off)", "off",
           "a corner is judged by its active side alone", REST),
    Mutant("rest.py", "SLACK * factor * self.most", "SLACK * self.most",
           "terms that have grown since are taken for those that were", REST),
    Mutant("euler.py", "NOISE**2 * scale", "NOISE**2",
           "the energy limit has an absolute floor", REST),
    Mutant("compiled.py", "weight[n] * potential", "potential", "the engine's energy forgets the weight of the output edge", STEP_LIMIT),
    Mutant("solution.py", "sheaf.energy(self.cochain, self.x) + self.pins.energy(self.cochain)", "sheaf.energy(self.cochain, self.x)",
           "a solution's energy without its springs", PINS),
    # spectrum and discord
    Mutant("spectrum.py", "norms[name] = math.hypot(norms[name], node.operation.norm)", "norms[name] = node.operation.norm",
           "the bound forgets fan-out", EIGENVALUES),
    Mutant("frozen.py", "return self.forward(r / root), r", "return self.forward(r), r", "L⁻¹ forgets the edge weights", SPECTRUM),
    Mutant("frozen.py", "own[:, self.last] += self._output", "own[:, self.last] -= self._output", "the output edge is sent back with the wrong sign", FROZEN),
    Mutant("frozen.py", "r -= (self._balanced", "r += (self._balanced", "pins push where they hold", FROZEN),
    Mutant("lanczos.py", "if (beta < SHORT * np.abs(alpha)).any():", "if False:", "rounding grows into copies", SPECTRUM),
    Mutant("lanczos.py", "= theta[:, -KEPT:]", "= theta[:, :KEPT]", "a restart keeps the wrong values", LANCZOS),
    Mutant("lanczos.py", "(cluster <= allowed[:, None] * distance)", "(cluster <= 0.1 * distance)", "Lanczos stops where it likes", SPECTRUM),
    Mutant("spectrum.py", "k = min(self.fewest, BASIS)", "k = self.fewest", "the lower bound of the gap counts steps that were not taken", SPECTRUM),
    Mutant("resistance.py", "give = np.broadcast_to(np.eye(m) / np.sqrt(spring),", "give = np.broadcast_to(np.zeros((m, m)),", "a spring in front of the resistance is left out", RESISTANCE),
    Mutant("resistance.py", "return stress / np.sqrt(self.sheaf.row_weights[:self.sheaf.N])", "return stress", "currents for drops", RESISTANCE),
    Mutant("discord.py", "squares.sum(axis=1)", "squares.mean(axis=1)", "discord of an edge as a mean", ENERGY),
    Mutant("diagnosis.py", "shuffled = np.concatenate([rng.permutation(subset)", "shuffled = np.concatenate([subset", "the null permutes nothing", REPORT),
    Mutant("diagnosis.py", "(0.05, 0.5, 0.95)", "(0.25, 0.5, 0.75)", "a narrower band than it says", REPORT),
    Mutant("report.py", "np.argsort(-discord, kind", "np.argsort(discord, kind", "the best samples for the worst", REPORT),
    # the circuit of training
    Mutant("currents.py", "np.eye(y.shape[1]) / weight", "0 * np.eye(y.shape[1])", "the label's own edge has no resistance", CIRCUIT),
    Mutant("currents.py", "self.forward + kappa * (self.relaxed - self.forward)", "self.forward", "no activity is relaxed, whatever κ", CIRCUIT),
    Mutant("currents.py", "current = weight * (relaxed", "current = (relaxed", "an edge's own update forgets its weight", CIRCUIT),
    Mutant("circuit.py", "power[s] /= stiff", "power[s] /= 1.0", "the compiled circuit forgets the stiffness", MINIBATCH),
    Mutant("circuit.py", "if delta <= FAR else 0.5 * (low[s] + high[s]) - t[s]", "if True else 0.0", "Ohm's law along the error has no far field", MINIBATCH),
    Mutant("circuit.py", "delta[s] = halved(output, u, v, y, move, d, decrement[s], m, s)", "delta[s] = 1.0", "Newton for several outputs takes whole steps from afar", MINIBATCH),
    Mutant("circuit.py", "room[s] += a[l - 1, i, s] ** 2", "room[s] += 0.0", "implicit steps forget the activity", MINIBATCH),
    Mutant("circuit.py", "share = lr[step] / size", "share = lr[step]",
           "compliances of implicit steps as if a batch were one sample", MINIBATCH),
    Mutant("circuit.py", "a[l, i, s] + kappa * b[l, i, s]", "a[l, i, s] - kappa * b[l, i, s]", "κ with the wrong sign", MINIBATCH),
    Mutant("circuit.py", "mean[s] += p[k, s] * rho[k, j, s]", "mean[s] += 0.0", "a softmax without its coupling", MINIBATCH),
    Mutant("circuit.py", "second[l, i, j] / grow2", "second[l, i, j]", "local least squares with moments that begin at 0", MINIBATCH),
    Mutant("vertices.py", "f -= output_weight(sheaf) * error", "f -= error", "a vertex forgets the label's weight", RELAXED),
    Mutant("vertices.py", "diagonal = diagonal + (output_weight(sheaf) if last else 0)", "diagonal = diagonal + 0", "the output's own block without the label", RELAXED),
    Mutant("relaxation.py", "next(c for c in count() if c not in taken)", "0", "one colour for all vertices", RELAXED),
    Mutant("relaxation.py", "2 * mean / half - rho", "2 * mean / half", "Chebyshev's momentum forgets its past", RELAXED),
    Mutant("messages.py", "own + _through(link, _through(link, P).swapaxes(1, 2))", "own", "messages carry no resistance but their own edge's", RELAXED),
    Mutant("messages.py", "own / link.weight for", "own for", "vector messages forget the weights", RELAXED),
    Mutant("race.py", "np.log(np.maximum(next(found), floor)).mean()", "np.maximum(next(found), floor).mean()", "tuning by the mean loss", RACE),
    Mutant("race.py", "min(ours.low, over_null.low) > 1", "ours.low > 1", "a verdict without its null", RACE),
    Mutant("race.py", "n_out + 1 if case[\"rule\"] == \"circuit\" and n_out > 1 else 1", "1", "several outputs cost one sweep", RACE),
    Mutant("race.py", "[seed + 10 * null for seed in again[\"digits_seeds\" if row == \"digits\" else \"seeds\"]]", "again[\"seeds\"]", "a null with the same tuning seeds", RACE),
    # training: the NumPy step
    Mutant("joint.py", "self.dt * self.beta)", "self.beta)", "a step of the weights without dt", JOINT_ORDER),
    Mutant("joint.py", "f[:, last] -= output_weight", "f[:, last] += output_weight", "the label pushes the output away", HAND),
    Mutant("joint.py", "gather(values, node), -stress", "gather(values, node), stress", "the weights climb the energy", AUTOGRAD),
    Mutant("joint.py", "self.sheaf, self.w = sheaf, self.pins.impose(w)", "self.sheaf, self.w = sheaf, w.copy()", "hard pins are never imposed", HELD),
    Mutant("joint.py", "if not energy <= self.limit:", "if not energy < self.limit:", "a start without any energy counts as divergence", RUNAWAY),
    Mutant("objective.py", "2 / (n_batch * n_out) if", "1 / (n_batch * n_out) if", "gradient of the squares without its 2", AUTOGRAD),
    Mutant("objective.py", "((p - y)**2).mean()", "((p - y)**2).sum()", "sum for mean in the squared error", HAND),
    Mutant("training.py", "flow.step % cold == 0", "flow.step % cold == 1", "the resets come one step late", COLD),
    Mutant("training.py", "(step // cold + 1) * cold if", "(step // cold + 1) * cold + 1 if", "a reset between two records is passed over", RESUMED),
    Mutant("training.py", "beta = 1 / len(x) if", "beta = 1.0 if", "the default β is no mean over the batch", FLOW),
    # training: the fused step
    Mutant("fused.py", "on = zl >= 0", "on = zl > 0", "the fused step takes z = 0 for inactive", HAND),
    Mutant("fused.py", "ra += r[0, l] * al", "ra += r[0, l] * (al + change)", "a weight sees the new a", EQUATIONS),
    Mutant("fused.py", '"sigmoid": 0.5', '"sigmoid": 0.0', "empty lanes have a label that pulls", BLOCKS_OF_SAMPLES),
    Mutant("fused.py", "and energies.sum() <= limit", "", "the fused step looks at no energy", RUNAWAY),
    Mutant("fused.py", 'FAST = {"reassoc", "contract", "nsz", "arcp"}', "FAST = True", "the compiler deletes the tests for NaN", PLANTED),
    Mutant("fused.py", "s[hard[k]] = held[block, k]", "s[hard[k]] += 0 * held[block, k]", "the fused step lets hard pins go", HELD),
    Mutant("fused.py", "self.lr * scale, self.limit", "self.lr, self.limit", "fused descent on the sum, not the mean", AUTOGRAD),
    # equilibria
    Mutant("kinks.py", "minus = self.weight * u + spring", "minus = self.weight * u", "a soft pin does not pull a kink", SMALL),
    Mutant("kinks.py", "np.where(side, ~((plus <= 0) & (minus < 0)),", "np.where(side, True,", "a wrong corner is never left", SMALL),
    Mutant("substitution.py", "np.where(held[:, here], 0.0, f[:, here] + image[:, here])", "f[:, here] + image[:, here]",
           "held coordinates move", INVERSES),
    Mutant("substitution.py", "np.where(held[:, here], g[:, here], p[:, here])", "p[:, here]", "sensitivities run through held edges", INVERSES),
    Mutant("pieces.py", "g = np.where(at.held, self.weights * image, self.gamma * v)", "g = np.where(at.held, self.weights * image, 0 * v)",
           "the Hessian forgets the springs", DENSE),
    Mutant("pieces.py", "g = np.where(at.held, -stress,", "g = np.where(at.held, stress,", "held edges push the wrong way", DENSE),
    Mutant("equilibrium.py", "left = trial.energy > at.energy + ARMIJO * slope + slack", "left = trial.energy > np.inf", "every full step is taken, whatever V does", STRESS),
    Mutant("certificate.py", "0.5 * (injected**2 / problem.weights)", "0.05 * (injected**2 / problem.weights)", "the bound of V − V* is too small", BOUNDS),
    Mutant("certificate.py", "& ~broken.any(axis=1)", "", "concave corners are certified", MINIMA),
    Mutant("certificate.py", "stationary &= near | ~known", "stationary &= True",
           "a stiff direction hides a soft one", HIDDEN),
    Mutant("newton_steps.py", "near[far] = (np.abs(step.change) <= allowed[far]).all(axis=1)",
           "near[far] = True", "a minimum is near wherever the gradient is not", HIDDEN),
    Mutant("pieces.py", "rest[open_] = (g[open_] <= tol * terms).all(axis=1)",
           "rest[open_] = (g[open_] <= tol * terms.max()).all(axis=1)",
           "a coordinate is judged by the terms of others", SCALES),
    Mutant("kinks.py", "np.maximum(plus, 0) / np.sqrt(self.stiffness_plus)",
           "np.maximum(plus, 0)**2 / self.stiffness_plus", "squares of small forces vanish", HIDDEN),
    Mutant("faces.py", "(minus > doubt[0]) & (plus > doubt[1]) |", "(minus > doubt[0]) |",
           "convex corners are ruled out", FACES),
    Mutant("faces.py", "concave += not side and minus < 0", "concave += 0",
           "concave kinks count as minima", FACES),
    Mutant("euler.py", "return np.where(own != 0, own, other)", "return own", "a kink is never crossed", "tests/parity/test_prox_engines.py"),
]


def main(argv=None):
    """Try every mutant, or those whose file is named in argv; 1 when one survives, is no defect of today's text, or the tests fail without."""
    chosen = [m for m in MUTANTS if not argv or m.file in argv]
    targets = sorted({m.tests for m in chosen})
    groups = [targets[k::cores()] for k in range(min(cores(), len(targets)))]
    untouched = [Mutant("", "", "", "nothing changed", " ".join(group)) for group in groups]
    with ThreadPoolExecutor(cores()) as pool:
        verdicts = list(pool.map(report, [*untouched, *chosen]))
    good = verdicts.count(True)
    print(f"{good - verdicts[:len(untouched)].count(True)} of {len(chosen)} mutants caught")
    return 0 if good == len(verdicts) else 1


def report(mutant):
    """Try one mutant, print its line, return whether all is well."""
    well, text = attempt(mutant)
    place = f"{mutant.file}: {mutant.reason}" if mutant.file else f"unchanged: {mutant.tests}"
    print(f"{'✓' if well else '✗'} {place}: {text}", flush=True)
    return well


def attempt(mutant):
    """Return (all is well, what happened) for one mutant in a copy of its own."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        duplicate(copy)
        if mutant.file and not plant(copy / "sheaflib" / mutant.file, mutant):
            return False, f"the old text does not occur exactly once: {mutant.old}"
        tests = mutant.tests.split()
        limit = LIMIT if mutant.file else LIMIT * len(tests)       # all the tests of a group, without a defect
        try:
            run = subprocess.run([sys.executable, *PYTEST, *tests], cwd=copy, env=surroundings(copy), timeout=limit,
                                 capture_output=True, text=True, encoding="utf-8")
        except subprocess.TimeoutExpired:
            return bool(mutant.file), f"no end within {limit} s"
    return judge(mutant, run)


def duplicate(copy):
    """Copy what the unit tests need; caches come along, so that only a mutated module is compiled again."""
    for name in ("sheaflib", "tests", "tools"):
        shutil.copytree(REPOSITORY / name, copy / name)
    shutil.copy(REPOSITORY / "pyproject.toml", copy)
    (copy / "notebooks").mkdir()
    shutil.copy(REPOSITORY / "notebooks" / "11-protocol.toml", copy / "notebooks")
    (copy / "conftest.py").write_text(PROFILE, encoding="utf-8")


def plant(path, mutant):
    """Replace the old text by the new; False when it does not occur exactly once."""
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        return False
    path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        stale.unlink()
    return True


def surroundings(copy):
    """Return the environment of a pytest call inside the copy: one thread each, no shrinking of counterexamples."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHEAFLIB_", "PYTEST_"))}
    return {**inherited, **single, "HYPOTHESIS_PROFILE": "mutants", "PYTHONPATH": str(copy), "PYTHONIOENCODING": "utf-8"}


def judge(mutant, run):
    """Return (all is well, what happened) from a finished pytest call."""
    if not mutant.file:
        return run.returncode == 0, "passes" if run.returncode == 0 else f"FAILS without any change\n{run.stdout}{run.stderr}"
    if run.returncode == 0:
        return False, f"SURVIVED {mutant.tests}"
    failed = re.search(r"^FAILED (.+?)(?: - .*)?$", run.stdout, re.MULTILINE)
    if run.returncode == 1 and failed:
        return True, f"caught by {failed[1]}"
    return False, f"pytest exited with {run.returncode} and no failed test\n{run.stdout}{run.stderr}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
