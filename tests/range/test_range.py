"""The range of the library: every verb at weights, biases, inputs and edge weights from 1e-8 to
1e8, alone and mixed.

What a verb gives out is right to the backward error that is stated for it in `verbs.VERBS`, or it
says that it has no answer.
"""

import warnings

import pytest

from range_cases import GRID, WIDTHS, Case
from verbs import VERBS

SMALL = WIDTHS[:2]


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize(
    "group", ["even", "weights", "biases", "inputs", "edges", "layers", "units"]
)
def test_a_verb_is_right_or_declines(name, group):
    """Everywhere on the grid."""
    verb, wrong = VERBS[name], []
    for kind in GRID:
        if kind.split()[0] != ("all" if group == "even" else group):
            continue
        for widths in SMALL if verb.small else WIDTHS:
            for pins in verb.pins:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)
                    outcome = verb.run(Case(widths, kind), pins)
                if not (outcome.declined or outcome.error <= verb.stated):
                    wrong.append(f"{widths} {kind} {pins or ''}: {outcome.error:.1e}")
                if group == "even" and pins in (None, "output") and name != "relax":
                    assert not outcome.declined, f"{widths} {kind} {pins}: nothing is uneven here"
    assert not wrong, "\n".join([f"stated {verb.stated:.0e}", *wrong])
