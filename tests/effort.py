"""How long the tests look: briefly by default, and at length with HYPOTHESIS_PROFILE=explore.

By default a property is tried on a few examples and a sweep on a few seeds, always the same ones:
as many as tell the defects of `tools.mutants` from sound code. `HYPOTHESIS_PROFILE=explore make
test ARGS=tests` tries both forty times as often, and draws other examples every time.
"""

import os

from hypothesis import Phase, settings

EXAMPLES = 25
TIMES = 40 if os.environ.get("HYPOTHESIS_PROFILE") == "explore" else 1

settings.register_profile(
    "ci", max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, print_blob=False
)
# of the defects in tools.mutants: as by default, and without a search for the simplest example
settings.register_profile(
    "mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate]
)
settings.register_profile("explore", max_examples=EXAMPLES * TIMES, deadline=None)


def examples(n):
    """A decorator: as many examples for a property that needs other than EXAMPLES."""
    return settings(max_examples=n * TIMES)


def seeds(n):
    """The seeds of a sweep that needs n of them."""
    return range(n * TIMES)
