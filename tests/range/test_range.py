"""The range of the library: every verb at weights, biases, inputs and edge weights from 1e-8 to
1e8, alone and mixed.

What a verb gives out is right to the backward error that is stated for it in `verbs.VERBS`, or it
says that it has no answer.
"""

import warnings
from functools import cache

import pytest
from effort import TIMES
from range_cases import GRID, WIDTHS, Case
from verbs import VERBS

SMALL = WIDTHS[:2]
EVEN = "all"  # the kind of the grid at which all numbers are of size one
made = cache(Case)


def cases(group, small):
    """The cases of a group: each kind on one of the networks, in turn, where there are many."""
    widths = SMALL if small else WIDTHS
    for turn, kind in enumerate(GRID):
        if kind.split()[0] == group:
            here = turn % len(widths)
            yield from (
                made(w, kind)
                for w in (widths if group == EVEN or TIMES > 1 else widths[here : here + 1])
            )


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("group", [EVEN, "weights", "biases", "inputs", "edges", "layers", "units"])
def test_a_verb_is_right_or_declines(name, group):
    """On the whole grid; tests/range/table.py runs it on every network and prints the errors."""
    verb, wrong = VERBS[name], []
    for case in cases(group, verb.small):
        for pins in verb.pins:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                outcome = verb.run(case, pins)
            if not (outcome.declined or outcome.error <= verb.stated):
                wrong.append(f"{case} {pins or ''}: {outcome.error:.1e}")
            if group == EVEN and pins in (None, "output") and name != "relax":
                assert not outcome.declined, f"{case} {pins}: nothing is uneven here"
    assert not wrong, "\n".join([f"stated {verb.stated:.0e}", *wrong])
