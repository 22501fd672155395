"""`make verify`: everything again from empty caches, compared with what is committed.

What was computed at length is then as good as any of the same source, and goes where other runs
look for it.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from tools import drift, figures, index, ledgers, notebooks, runner
from tools.execute import Job
from tools.figures import NOT_FIGURES
from tools.project import Project, write_whole
from tools.surroundings import variables


def main(arguments):
    """Run the command; returns 1 when a notebook fails or a number drifted."""
    parser = argparse.ArgumentParser(prog="python -m tools verify")
    parser.add_argument("--root", type=Path, default=Project().root, help=argparse.SUPPRESS)
    project = Project(parser.parse_args(arguments[1:]).root.resolve())
    out = project.build / "verify"
    shutil.rmtree(out, ignore_errors=True)
    every = index.load(project)
    outcomes = runner.run([job(project, n, out) for n in every], lambda o: keep(o, out))
    hand_on(project, out)
    status = runner.summary(outcomes)
    write_ledger(project, every, out)
    problems = [*figure_problems(project, every, out), *ledger_problems(project, out)]
    for problem in problems:
        print(f"drift: {problem}", file=sys.stderr)
    report_bytes(project, every, out)
    print(f"verify: {len(every)} notebooks run again, {len(problems)} drifts, {sum(bool(o.problem) for o in outcomes)} failures")
    return 1 if status or problems else 0


def job(project, notebook, out):
    """Return the job that runs a notebook into build/verify, where no result and no compiled code is kept."""
    folder = out / "runs"
    surroundings = variables(project, "full", out, sweeps=out / "sweeps", numba=out / "numba")
    return Job(notebook.name, notebook.number, notebook.path, folder / notebook.file, surroundings,
               needs=notebook.needs, seconds=notebook.seconds)


def keep(outcome, out):
    """Write the cleaned text of a notebook that ran."""
    write_whole(out / "notebooks" / outcome.job.source.name, notebooks.clean(notebooks.read(outcome.job.output)))


def hand_on(project, out):
    """Move the results of sweeps to the folder of all runs, and compiled code where there is none.

    A result moves whole and takes the place of one of the same key; what a killed worker left
    unfinished stays behind. A run that is stopped before its notebooks end hands nothing on.
    """
    for file in sorted((out / "sweeps").rglob("*.pickle")):
        kept = project.sweeps / file.relative_to(out / "sweeps")
        kept.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, kept)
    if (out / "numba").is_dir() and not project.compiled.exists():
        os.replace(out / "numba", project.compiled)


def write_ledger(project, every, out):
    """Write the ledger of the new records where it can be compared with the committed one."""
    rows = ledgers.merge(out / "ledger", [n.number for n in every])
    ledgers.write(rows, out / "figures", {n.number: f"../notebooks/{n.file}" for n in every})


def figure_problems(project, every, out):
    """Yield each drift of a figure's numbers and each figure that is made and not committed, or the reverse."""
    listed = {name for n in every for name in n.figures}
    committed, made = ({p.stem for p in folder.glob("*.json") if p.name not in NOT_FIGURES} for folder in (project.figures, out / "figures"))
    yield from (f"{name} is committed and no longer made" for name in sorted(committed - made))
    yield from (f"{name} is made and not committed" for name in sorted((made | listed) - committed))
    for name in sorted(committed & made):
        found = drift.figure(out / "figures" / f"{name}.json", project.figures / f"{name}.json")
        yield from (f"{name} {line}" for line in found[:3])
        if len(found) > 3:
            yield f"{name}: {len(found) - 3} more"


def ledger_problems(project, out):
    """Yield each claim whose measured value or verdict drifted, that is gone, or that is not committed."""
    old, new = ({row["id"]: row for row in read_rows(folder / "ledger.json")} for folder in (project.figures, out / "figures"))
    yield from (f"claim {name} is committed and no longer measured" for name in sorted(set(old) - set(new)))
    yield from (f"claim {name} is measured and not committed" for name in sorted(set(new) - set(old)))
    for name in sorted(set(old) & set(new)):
        yield from (f"claim {name} {line}" for line in drift.record(new[name], old[name]))


def read_rows(path):
    """Return the records of a ledger, none when there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def report_bytes(project, every, out):
    """Print how many committed files are byte-identical to the new ones, and the names of the others."""
    names = [f"figures/{n}{e}" for nb in every for n in nb.figures for e in figures.ENDINGS]
    names += [f"notebooks/{n.file}" for n in every] + ["figures/ledger.json", "figures/LEDGER.md"]
    other = [name for name in names if content(project.root / name) != content(out / name)]
    print(f"{len(names) - len(other)} of {len(names)} committed files are byte-identical"
          + (f"; not: {', '.join(other)}" if other else ""))


def content(path):
    """Return a file's bytes, None when there is no file."""
    return path.read_bytes() if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv))
