"""`make figures`: run what is stale, keep each finished notebook's results at once, then merge the ledger."""

import argparse
import shutil
import sys
from pathlib import Path

from tools import index, ledgers, notebooks, parameters, readme, runner, state, trial
from tools.execute import Job
from tools.project import Project, write_whole
from tools.surroundings import variables

NOT_FIGURES = {"ledger.json", "LEDGER.md", "bench.json", "bench.md"}      # what else lies in figures/
ENDINGS = (".json", ".pdf", ".png")


def options(arguments):
    """Return the parsed command line of `figures`."""
    parser = argparse.ArgumentParser(prog="python -m tools figures")
    parser.add_argument("--notebook", default="", help="one notebook, by number")
    parser.add_argument("--parameters", default="", help="its parameters, as 'dt=0.02 tol=1e-10'; the results go to build/")
    parser.add_argument("--force", action="store_true", help="run also what is not stale")
    parser.add_argument("--root", type=Path, default=Project().root, help=argparse.SUPPRESS)
    return parser.parse_args(arguments[1:])


def main(arguments):
    """Run the command; returns the exit status: 1 a notebook or claim failed, 2 the request makes no sense."""
    chosen = options(arguments)
    project = Project(chosen.root.resolve())
    try:
        every = index.load(project)
        given = parameters.parse(chosen.parameters)
        if given and not chosen.notebook:
            raise ValueError("parameters are for one notebook: name it, as in NB=04 P='dt=0.02'")
        asked = [index.find(every, chosen.notebook)] if chosen.notebook else every
        if given:
            return trial.one(project, asked[0], given)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return make(project, every, asked, chosen.force or bool(chosen.notebook))


def make(project, every, asked, force):
    """Run the stale ones of the asked notebooks and merge the ledger; returns the exit status."""
    prints = {n.number: state.fingerprint(project, n, every) for n in every}
    reasons = {n.number: state.stale(project, n, prints[n.number]) or ("asked for" if force else "") for n in asked}
    chosen = [n for n in asked if reasons[n.number]]
    announce(chosen, reasons, every)
    jobs = [stage(project, n) for n in chosen]
    by_number = {n.number: n for n in chosen}
    try:
        outcomes = runner.run(jobs, lambda o: promote(project, by_number[o.job.number], prints[o.job.number], o))
    except KeyboardInterrupt:
        print("\ninterrupted: what is finished is kept, and the same command goes on with the rest", file=sys.stderr)
        return 130
    return runner.summary(outcomes) or conclude(project, every)


def announce(chosen, reasons, every):
    """Print what will run and why, in one line for each notebook."""
    if not chosen:
        print(f"nothing to run: the results of {len(every)} notebooks are up to date (make -B figures runs them all)")
    for notebook in chosen:
        print(f"{notebook.name}: to run ({reasons[notebook.number]})", flush=True)


def stage(project, notebook):
    """Return the job that runs a notebook into its own empty folder below build/."""
    folder = project.build / "stage" / notebook.number
    shutil.rmtree(folder, ignore_errors=True)
    return Job(notebook.name, notebook.number, notebook.path, folder / notebook.file, variables(project, "full", folder),
               needs=notebook.needs, seconds=notebook.seconds)


def promote(project, notebook, print_, outcome):
    """Move a finished notebook's figures, cleaned text and ledger part where they belong; returns a problem or ""."""
    folder = outcome.job.output.parent
    problem = figure_problem(notebook, folder / "figures")
    if notebooks.source_digest(notebook.path) != print_["notebook"]:
        problem = "the notebook was edited while it ran, and is left alone; run again"
    if problem:
        return problem
    files = {project.figures / p.name: p.read_bytes() for p in sorted((folder / "figures").glob("*"))}
    part = folder / "ledger" / f"{notebook.number}.json"
    files[project.parts / part.name] = part.read_bytes() if part.is_file() else b"[]\n"
    files[notebook.path] = notebooks.clean(notebooks.read(outcome.job.output))
    for path, content in files.items():
        write_whole(path, content)
    state.remember(project, notebook, print_, files)
    return ""


def figure_problem(notebook, folder):
    """Return how the figures made differ from those the index lists, "" when they agree."""
    expected = {name + ending for name in notebook.figures for ending in ENDINGS}
    made = {p.name for p in folder.glob("*")}
    extra, missing = (sorted({Path(file).stem for file in files}) for files in (made - expected, expected - made))
    said = [f"makes the figures {', '.join(extra)}, which its entry in index.toml does not list"] if extra else []
    said += [f"does not make {', '.join(missing)}, which its entry in index.toml lists"] if missing else []
    return f"{notebook.file} {' and '.join(said)}" if said else ""


def conclude(project, every):
    """Merge the ledger and renew the README when every notebook's results stand; returns 1 when a claim is not measured."""
    waiting = [n.name for n in every if state.stale(project, n, state.fingerprint(project, n, every))]
    if waiting:
        print(f"figures/ledger.json waits for {', '.join(waiting)}: `make figures` runs them")
        return 0
    rows = ledgers.merge(project.parts, [n.number for n in every])
    ledgers.write(rows, project.figures, {n.number: f"../notebooks/{n.file}" for n in every})
    print(ledgers.counts(rows))
    problems = [f"no notebook measures {claim}" for claim in ledgers.unmeasured(project.claims(), rows)]
    try:
        readme.renew(project)
    except ValueError as error:
        problems.append(str(error))
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
