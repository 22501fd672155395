"""The equilibrium rows of `make bench`: Newton against the flow and its faster relatives, all to 1e-8 of where each of them ends.

How many steps a sample needs is found first and not timed; then exactly those steps are taken, without a look at the state on the way.
A row's name reads "equilibrium SIZE: OURS / THEIRS". Plain Euler is left out: on many samples it never gets there.
"""

import numpy as np

METHODS = {                                               # name -> method of `ladder.climb`, its dt (0: the best stable step)
    "prox-euler, paper's dt": ("prox-euler", 0.01),
    "prox-euler, best step": ("prox-euler", 0.0),
    "chebyshev": ("chebyshev", 0.0),
    "implicit-euler": ("implicit-euler", 10.0),
}
DEEP_METHOD, DEEP_OURS, DEEP_THEIRS = "prox-euler, best step", 32, 2     # samples of each side on the deep net
TIME = 10.0                                               # seconds that the repeats of one row may take; there is at least one


def rows(row):
    """Every equilibrium row: the paper's sizes, then the deep net."""
    from sheaflib import ladder

    return [*(against(row, widths, seed, method) for widths, seed in ladder.SIZES.items() for method in METHODS), deep(row)]


def against(row, widths, seed, method, samples=300):
    """A batch with labels pinned, recorded random stalks: `equilibrium` against one method."""
    from sheaflib import ladder

    solve, found = ours(ladder.problem(widths, seed, samples=samples))
    theirs = Flow(widths, method, seed=seed, samples=samples)
    times = paired(solve, theirs.seconds)
    return row(f"equilibrium {widths}: newton / {method}", *times,
               f"labels pinned, one batch of {samples} samples; {passes(found.passes, theirs.passes)}; {theirs.timed}")


def deep(row):
    """Ten hidden layers of 50, from the forward pass, per sample: the flow on few samples, so long does it take."""
    from sheaflib import ladder

    setup = {"seed": 1, "start": "forward", "fresh": True}
    solve, found = ours(ladder.problem(ladder.DEEP, samples=DEEP_OURS, **setup))
    theirs = Flow(ladder.DEEP, DEEP_METHOD, samples=DEEP_THEIRS, **setup)
    newton, flow = paired(solve, theirs.seconds)
    return row(f"equilibrium {ladder.DEEP}: newton / {DEEP_METHOD}", newton / DEEP_OURS, flow / DEEP_THEIRS,
               f"labels pinned, from the forward pass, times per sample: newton a batch of {DEEP_OURS} samples, the flow {DEEP_THEIRS} of them; "
               f"{passes(found.passes, theirs.passes)}; {theirs.timed}")


def passes(ours, theirs):
    """The passes of both sides, for a note."""
    return f"{ours.mean():.4g} passes a sample against {theirs.mean():.4g}"


def ours(problem):
    """A call that solves the whole batch, and its answer."""
    from sheaflib.equilibrium import equilibrium

    sheaf, x, pin, w, _ = problem
    found = equilibrium(sheaf, x, pin, w)
    assert found.converged.all()
    return lambda: equilibrium(sheaf, x, pin, w), found


def paired(solve, flow):
    """Median seconds of ours, called seven times each time, and of theirs, which tells its own; one to seven repeats."""
    from tools.bench import seconds

    times = []
    while len(times) < 7 and (not times or times[0][1] * (len(times) + 1) < TIME):
        times.append((np.median([seconds(solve) for _ in range(7)]), flow()))
    return np.median(times, axis=0)


class Flow:
    """A method with the steps that each sample needs: `seconds` takes them from the start, `passes` (B,) is what they touch."""

    def __init__(self, widths, method, **setup):
        from sheaflib import ladder

        kind, dt = METHODS[method]
        climb = ladder.climb(widths, kind, dt=dt, **setup)
        assert climb.reached.all(), f"{widths}: {method} reaches {climb.reached.sum()} of {len(climb.reached)} ends"
        self.problem, self.kind, self.passes, self.end = ladder.problem(widths, **setup), kind, climb.passes, climb.end
        self.dt = dt or ladder.best_step(self.problem[0], self.problem[-1].pins)
        self.one_by_one = kind == "prox-euler"
        self.timed = ("exactly these steps, sample by sample in the compiled loop, less what calling it costs" if self.one_by_one
                      else "exactly these steps, as one batch that samples leave when done") + "; the flow's set-up is not timed"
        self.steps = self.counted()

    def flow(self):
        """The stepper at its start; it rests only where it is told to."""
        from sheaflib.heat import choose_stepper
        from sheaflib.steppers import ChebyshevStepper, ImplicitEulerStepper

        sheaf, x, _, w, pinned = self.problem
        others = {"chebyshev": ChebyshevStepper, "implicit-euler": ImplicitEulerStepper}
        stepper = others.get(self.kind) or choose_stepper(self.kind, sheaf, pinned.pins)
        return stepper(sheaf, x, w, self.dt, 1.0, pinned.pins, "jacobian", 0.0)

    def counted(self):
        """Steps (B,) from passes: two a step, but for implicit Euler, whose steps are counted on the way."""
        if self.kind != "implicit-euler":
            return (self.passes / 2).astype(int)
        flow = self.flow()
        flow.active = flow.passes < self.passes
        while flow.active.any():
            flow.advance(1)
            flow.active &= flow.passes < self.passes
        return flow.steps

    def seconds(self):
        """Seconds of the steps."""
        from tools.bench import seconds

        flow = self.flow()
        if not self.one_by_one:
            return seconds(lambda: self.together(flow))
        once = self.flow()
        return seconds(lambda: self.grouped(flow, self.steps.max())) - seconds(lambda: self.grouped(once, 1))

    def grouped(self, flow, most):
        """Samples with one number of steps in one call each; no more than `most` steps."""
        for count in np.unique(self.steps):
            flow.active = self.steps == count
            flow.advance(min(count, most))

    def together(self, flow):
        """All samples at once, until the first of them are done, and so on."""
        taken = 0
        for count in np.unique(self.steps):
            flow.active = self.steps > taken
            flow.advance(count - taken)
            taken = count
