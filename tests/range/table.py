"""The range of every verb as a table: python tests/range/table.py [verb …] runs the whole grid and
prints it.

A row holds how many cases were run, in how many the verb said that it has no answer, and the
largest backward error elsewhere.
"""

import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path[:0] = [
    str(Path(__file__).parent),
    str(Path(__file__).parents[1]),
    str(Path(__file__).parents[2]),
]

from range_cases import GRID, WIDTHS, Case  # noqa: E402
from verbs import VERBS  # noqa: E402

SMALL = WIDTHS[:2]


def rows(names=VERBS):
    """Verb, cases, declined, worst backward error, stated one, and the cases that miss it, one verb
    at a time."""
    for name in names:
        verb, errors, declined, missed = VERBS[name], [], Counter(), []
        for widths in SMALL if verb.small else WIDTHS:
            for case in (Case(widths, kind) for kind in GRID):
                for pins in verb.pins:
                    with warnings.catch_warnings(), np.errstate(all="ignore"):
                        warnings.simplefilter("ignore")
                        outcome = verb.run(case, pins)
                    declined[outcome.declined] += 1
                    if not outcome.declined:
                        errors.append(outcome.error)
                        if not outcome.error <= verb.stated:
                            missed.append((outcome.error, f"{case!r} {pins or ''}"))
        yield name, declined.total(), declined[True], max(errors, default=0.0), verb.stated, missed


def main(arguments):
    """Print the table, and below each row the cases that miss what is stated."""
    print(f"{'verb':30} {'cases':>6} {'declined':>9} {'worst':>9} {'stated':>9} {'missed':>7}")
    for name, cases, declined, worst, stated, missed in rows(arguments or VERBS):
        print(
            f"{name:30} {cases:6} {declined:9} {worst:9.1e} {stated:9.0e} {len(missed):7}",
            flush=True,
        )
        for error, case in sorted(missed, reverse=True)[:5]:
            print(f"    {error:.1e} {case}")


if __name__ == "__main__":
    main(sys.argv[1:])
