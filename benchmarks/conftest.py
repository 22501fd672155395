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
        result = benchmark.pedantic(
            side.call, setup=side.setup, rounds=side.rounds, warmup_rounds=min(1, side.rounds - 1)
        )
        side.check(result)

    return timed


@pytest.fixture(scope="session")
def torch():
    """A function that runs the loop of `torch_side` in a process where PyTorch is, and returns the
    arrays as the loop has left them. That costs a few tenths of a millisecond.
    """
    python = interpreter(REPOSITORY / "build" / "torch")
    if not python.exists():
        pytest.skip("no PyTorch in build/torch")
    command, pipe = [python, "-m", "benchmarks.torch_side"], subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe) as process:

        def run(lists, *options):
            pickle.dump((lists, options), process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout)

        yield run
