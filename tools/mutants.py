"""`make mutants`: plant one-line defects in copies of the repository, one each, and see that a test
catches every one.

The defects stand in tools/mutants.toml, each chosen by hand, with its reason and the test that
should notice. mutmut and cosmic-ray make thousands of them by rule and run all tests on each; these
tell in minutes whether the tests hold what the paper and the documents say.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from subprocess import PIPE, STDOUT
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tools.project import REPOSITORY, Project
from tools.surroundings import cores, process_environment, variables

LIMIT = 120  # seconds for a test; a defect that makes it run longer counts as caught
# fmt: skip
PYTEST = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "--no-header",
    "--tb=short",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:nbval",
    "-p",
    "no:benchmark",
    "-p",
    "no:hypothesispytest",
    "-o",
    f"faulthandler_timeout={LIMIT}",
    "-o",
    "faulthandler_exit_on_timeout=true",
]


class Mutant(NamedTuple):
    """One defect: in `file` the text `old`, which occurs exactly once, becomes `new`."""

    file: str
    reason: str
    old: str
    new: str
    tests: str


def load():
    """Return the mutants of tools/mutants.toml."""
    table = tomllib.loads((REPOSITORY / "tools" / "mutants.toml").read_text(encoding="utf-8"))
    return [Mutant(file, **entry) for file, entries in table.items() for entry in entries]


def misplaced(mutants):
    """Return a line for every mutant whose text does not occur exactly once."""
    texts = {m.file: (REPOSITORY / m.file).read_text(encoding="utf-8") for m in mutants}
    counts = ((m, texts[m.file].count(m.old)) for m in mutants)
    return [f"{m.file}: {m.reason}: {n} times: {m.old}" for m, n in counts if n != 1]


def mutants(project, options):
    """Try every mutant, or those chosen by words; returns 1 when one survives, when the text of one
    is not there exactly once (then none is tried), or when the tests fail without any.
    """
    chosen = [m for m in load() if any(word in " ".join(m) for word in options.words or [""])]
    out = misplaced(chosen)
    print(*out, f"{len(chosen)} mutants chosen, {len(out)} out of place", sep="\n", flush=True)
    if out or options.dry or not chosen:
        return int(bool(out) or not chosen)
    with TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(cores()) as pool:
        # what the unit tests compile in here comes along to every mutant
        base = shutil.copytree(
            REPOSITORY,
            Path(folder) / "unchanged",
            ignore=lambda at, names: [
                name
                for name in names
                if name[0] == "." or Path(at) == REPOSITORY and name in ("build", "figures")
            ],
        )
        every = sorted({test for mutant in chosen for test in mutant.tests.split()})
        done = run(base, *every, "-n", str(cores()))
        if done.returncode:
            print(f"the tests do not pass without any change\n{done.stdout}")
            return 1
        well = list(pool.map(partial(caught, base), chosen))
    print(f"{sum(well)} of {len(chosen)} mutants caught")
    return int(not all(well))


def caught(base, mutant):
    """Try one mutant in a copy of its own, say what happened; returns whether a test caught it."""
    # numba does not see that a function which compiled code elsewhere calls has changed
    leave = shutil.ignore_patterns("*.nb?" if mutant.file.endswith("/compiled.py") else "")
    with TemporaryDirectory(dir=base.parent) as folder:
        copy = Path(shutil.copytree(base, Path(folder) / "copy", ignore=leave))
        text = (copy / mutant.file).read_text(encoding="utf-8")
        (copy / mutant.file).write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        done = run(copy, *mutant.tests.split(), "-x", "-p", "no:xdist")
    failed = re.search(r"^(?:FAILED|Timeout) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    well = done.returncode == 1 and failed is not None
    told = (
        f"caught by {failed[1]}" if failed and well else f"SURVIVED {mutant.tests}\n{done.stdout}"
    )
    print(f"{'✓' if well else '✗'} {mutant.file}: {mutant.reason}: {told}", flush=True)
    return well


def run(copy, *arguments):
    """Run pytest in a copy and return what subprocess.run does."""
    changes = variables(Project(copy), "full", copy / "build" / "test")
    environment = process_environment({**changes, "HYPOTHESIS_PROFILE": "mutants"})
    del environment["NUMBA_CACHE_DIR"]  # compiled code lies beside its source, to be copied with it
    # fmt: skip
    return subprocess.run(
        [*PYTEST, *arguments],
        cwd=copy,
        env=environment,
        encoding="utf-8",
        check=False,
        stdout=PIPE,
        stderr=STDOUT,
    )
