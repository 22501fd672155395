"""Equilibria: Newton against the flow and its faster relatives, to 1e-8 of where each of them ends.

How many steps a sample needs is found first and not timed; then exactly these steps are taken,
without a look at the state on the way, and afterwards they must have led to that end. Plain Euler
is left out: on many samples it never gets there. A name reads "equilibrium SIZE: OURS / THEIRS".
"""

from functools import cache, partial

import numpy as np
import pytest

from benchmarks import Side
from sheaflib.companion import ladder
from sheaflib.equilibria.newton import equilibrium
from sheaflib.flow.heat import choose_stepper

METHODS = {  # name -> the method of `ladder.climb`, its dt (0: the best stable step), rounds
    "prox-euler, paper's dt": ("prox-euler", 0.01, 1),
    "prox-euler, best step": ("prox-euler", 0.0, 3),
    "chebyshev": ("chebyshev", 0.0, 3),
    "implicit-euler": ("implicit-euler", 10.0, 3),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("widths", ladder.SIZES)
def test_equilibrium(row, widths, method):
    """A batch from recorded random stalks."""
    row(
        f"equilibrium {widths}: newton / {method}",
        *sides(widths, method, ladder.SIZES[widths], 300, 300),
    )


def test_deep_equilibrium(row):
    """Ten hidden layers of 50, from the forward pass, times per sample: the flow takes long."""
    ours, theirs, note = sides(
        ladder.DEEP, "prox-euler, best step", 1, 32, 2, start="forward", fresh=True
    )
    # fmt: skip
    row(
        f"equilibrium {ladder.DEEP}: newton / prox-euler, best step",
        ours._replace(per=32),
        theirs._replace(per=2, rounds=1),
        f"times per sample; {note}",
    )


@cache
def sides(widths, method, seed, ours, theirs, **start):
    """Newton on a batch of `ours` samples, a method on `theirs` of them, and a note."""
    sheaf, x, pin, w, _ = ladder.problem(widths, seed, samples=ours, **start)
    solve = partial(equilibrium, sheaf, x, pins=pin, start=w)
    solved = solve()
    kind, dt, rounds = METHODS[method]
    climb = ladder.climb(widths, kind, seed, samples=theirs, dt=dt, **start)
    assert solved.converged.all() and climb.reached.all()
    sheaf, x, _, w, pinned = ladder.problem(widths, seed, samples=theirs, **start)
    one_by_one, dt = kind == "prox-euler", dt or ladder.best_step(sheaf, pinned.pins)
    stepper = choose_stepper(kind, sheaf, pinned.pins)
    begin = partial(stepper, sheaf, x, w, dt, 1.0, pinned.pins, "jacobian", 0.0)  # and never rest
    steps = climb.passes // 2 if one_by_one else counted(begin(), climb.passes)

    def take(stepper):
        taken = 0
        for count in np.unique(steps):
            stepper.active = steps == count if one_by_one else steps > taken
            stepper.advance(int(count if one_by_one else count - taken))
            taken = count
        return stepper

    def check(stepper):
        assert (stepper.steps == steps).all() and (stepper.passes >= climb.passes).all()
        assert np.abs(stepper.w - climb.end).max() < 1.1e-8

    return (
        Side(solve),
        Side(take, 1, rounds, lambda: ((begin(),), {}), check),
        f"labels pinned, a batch of {ours} samples against one of {theirs}, "
        f"{solved.passes.mean():.4g} passes a sample against {climb.passes.mean():.4g}; exactly "
        f"these steps, {'one by one' if one_by_one else 'a batch that samples leave when done'}; "
        "the flow's set-up is not timed",
    )


def counted(stepper, passes):
    """The steps (B,) until each sample has touched the weights so often."""
    while (active := stepper.passes < passes).any():
        stepper.active = active
        stepper.advance(1)
    return stepper.steps
