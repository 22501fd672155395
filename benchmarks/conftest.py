"""A row of a table is a test that runs once for each side, one after the other in one session."""

import pickle
import subprocess

import pytest

from tools.environment import interpreter
from tools.project import REPOSITORY


@pytest.fixture(params=["ours", "theirs"])
def row(benchmark, request):
    """A function that times one side of a row: its name, both sides and what a reader should
    know.
    """

    def timed(name, ours, theirs, note):
        side = {"ours": ours, "theirs": theirs}[request.param]
        benchmark.group = name
        benchmark.extra_info.update(side=request.param, per=side.per, note=note)
        side.check(
            benchmark.pedantic(
                side.call,
                setup=side.setup,
                rounds=side.rounds,
                warmup_rounds=min(1, side.rounds - 1),
            )
        )

    return timed


@pytest.fixture(scope="session")
def torch():
    """A function that runs one of `torch_side` in a process where PyTorch is, and returns the
    arrays as that has left them. It costs a few tenths of a millisecond, and some a megabyte.
    """
    python = interpreter(REPOSITORY / "build" / "torch")
    if not python.exists():
        pytest.skip("no PyTorch in build/torch")
    with subprocess.Popen(
        [python, "-m", "benchmarks.torch_side"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:

        def run(function, lists, *options):
            pickle.dump((function, lists, options), process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout)

        yield run
