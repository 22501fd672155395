"""A row of a table is a test that runs once for each side, one after the other in one session."""

import pickle
import subprocess

import pytest

from tools.project import REPOSITORY


@pytest.fixture(params=["ours", "theirs"])
def row(benchmark, request):
    """A function that times one side of a row: its name, both sides and what a reader should know.
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
    """A function that runs a loop in the process of `torch_side`, where PyTorch is, and returns the
    arrays as the loop has left them. That costs a few tenths of a millisecond.
    """
    places = ("build/torch/bin/python", "build/torch/Scripts/python.exe")
    pythons = [REPOSITORY / place for place in places if (REPOSITORY / place).exists()]
    if not pythons:
        pytest.skip("no PyTorch in build/torch")
    command, pipe = [pythons[0], "-m", "benchmarks.torch_side"], subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe) as process:

        def run(loop, lists, *options):
            pickle.dump((loop, lists, options), process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout)

        yield run
