"""Runs that never touch figures/ or notebooks/: one notebook with parameters, the quick profile, the batch."""

import argparse
import re
import shutil
import sys
from pathlib import Path

from tools import index, ledgers, parameters, runner
from tools.execute import Job
from tools.project import Project, digest
from tools.surroundings import variables


def main(arguments):
    """Run `quick` or `batch`; returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m tools {arguments[0]}")
    parser.add_argument("--notebook", default="", help="one notebook, by number")
    parser.add_argument("--root", type=Path, default=Project().root, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments[1:])
    project = Project(chosen.root.resolve())
    try:
        every = index.load(project)
        asked = [index.find(every, chosen.notebook)] if chosen.notebook else every
        return {"quick": quick, "batch": batch}[arguments[0]](project, asked)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2


def one(project, notebook, given):
    """Run one notebook with parameters into build/runs; ValueError when it does not have them."""
    folder = emptied(project.build / "runs" / f"{notebook.number}-{slug(given)}")
    return run(project, [job(project, notebook, given, folder, "custom")], folder, [notebook])


def quick(project, asked):
    """Run notebooks with the index's quick parameters into build/quick."""
    folder = emptied(project.build / "quick")
    return run(project, [job(project, n, n.quick, folder, "quick") for n in asked], folder, asked)


def batch(project, asked):
    """Run every parameter set of the index, each into its own folder of build/batch."""
    sets = [(n, name, given) for n in asked for name, given in n.batch]
    folders = [emptied(project.build / "batch" / f"{n.number}-{name}") for n, name, _ in sets]
    jobs = [job(project, n, given, folder, "custom", name) for (n, name, given), folder in zip(sets, folders)]
    outcomes = runner.run(jobs)
    for (n, _, _), folder in zip(sets, folders):
        merge(folder, [n])
    print(f"{len(jobs)} parameter sets; the results are in {shown(project, project.build / 'batch')}")
    return runner.summary(outcomes)


def job(project, notebook, given, folder, profile, name=""):
    """Return the job of a notebook with parameters; ValueError when it does not have them."""
    parameters.check(notebook, given)
    label = f"{notebook.name} ({name})" if name else notebook.name
    needs = notebook.needs if profile == "quick" else ()
    return Job(label, notebook.number, notebook.path, folder / notebook.file, variables(project, profile, folder),
               dict(given), needs, notebook.seconds)


def run(project, jobs, folder, asked):
    """Run the jobs, merge their ledger in the same folder and say where the results are; returns the exit status."""
    outcomes = runner.run(jobs)
    rows = merge(folder, asked)
    print(f"{ledgers.counts(rows)} The results are in {shown(project, folder)}")
    return runner.summary(outcomes)


def merge(folder, asked):
    """Write the ledger of a run's parts beside them and return its records."""
    rows = ledgers.merge(folder / "ledger", [n.number for n in asked])
    ledgers.write(rows, folder, {n.number: n.file for n in asked})
    return rows


def emptied(folder):
    """Return a folder after removing what an earlier run left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def slug(given):
    """Return a folder name that says the parameters, shortened by a hash when it grows long."""
    name = re.sub(r"[^A-Za-z0-9=.+-]+", "_", "-".join(f"{k}={v}" for k, v in given.items())).strip("_")
    return name if len(name) <= 80 else f"{name[:60]}-{digest(given)[:8]}"


def shown(project, folder):
    """Return a folder relative to the repository, for messages."""
    return f"{folder.relative_to(project.root).as_posix()}/"
