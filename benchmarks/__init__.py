"""What `make bench` measures: one file a table, one test a row, each side of it timed by
pytest-benchmark. `python -m tools bench -k heat` takes some rows only.
"""

from typing import Callable, NamedTuple


class Side(NamedTuple):
    """One side of a row: a call, how many steps, samples or updates `per` one of it takes, and how
    often it is timed; the median counts. `setup` returns the arguments and keyword arguments of
    each call and is not timed; `check` looks at what the last call returned.
    """

    call: Callable
    per: float = 1
    rounds: int = 9
    setup: Callable | None = None
    check: Callable = lambda result: None
