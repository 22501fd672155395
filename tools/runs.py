"""The commands that run notebooks: figures, quick, batch and verify.

What is stale is judged by content: build/state.json holds hashes of all that a notebook's results
follow from. doit would compare files too, but neither parts of files (a notebook without its
outputs, the claims of one notebook) nor what is installed.
"""

import json
import os
import re
import shutil
import sys
from importlib.metadata import version

from tools import drift, environment, ledgers, notebooks, runner
from tools.project import Project, Refusal, digest, file_digest, write_whole
from tools.surroundings import target, variables

NOT_FIGURES = {"ledger.json", "LEDGER.md", "scoreboard.svg", *drift.NOT_RUN, "bench.md"}
ENDINGS = (".json", ".pdf", ".png")


def figures(project, options):
    """Run the stale ones of the asked notebooks, then merge the ledger; returns the exit status."""
    every = notebooks.load(project)
    asked = notebooks.choose(every, options.notebook)
    if options.parameters.strip():
        return one(project, asked, notebooks.parse_parameters(options.parameters))
    prints, forced, jobs = dict[runner.Job, dict](), options.force or options.notebook, []
    stage = project.build / "stage"  # by process: the kernels of a killed one may still write
    shutil.rmtree(stage, ignore_errors=True)
    for notebook in asked:
        now = fingerprint(project, notebook, every)
        reason = stale(project, notebook, now) or forced and "asked for"
        if reason:
            print(f"{notebook.name}: to run ({reason})", flush=True)
            jobs.append(to_run(project, notebook, stage / str(os.getpid()) / notebook.number))
    if not jobs:
        print(
            f"nothing to run: the results of {len(every)} notebooks are up to date "
            "(make -B figures runs them all)"
        )
    problems = runner.run(
        project,
        jobs,
        lambda job: promote(project, job, prints[job]),
        lambda job: prints.update({job: fingerprint(project, job.notebook, every)}),
    )
    return runner.summary(problems) or conclude(project, every)


def to_run(project, notebook, folder, profile="full", given=None):
    """Return the job that runs a notebook into a folder; Refusal when it lacks a parameter."""
    notebooks.check_parameters(notebook, given)
    name = f"{notebook.name} ({folder.name})" if profile == "custom" else notebook.name
    return runner.Job(name, notebook, folder, variables(project, profile, folder), given or {})


def promote(project, job, print_):
    """Move a finished notebook's results where they belong; returns a problem or ""."""
    listed = {
        f"figures/{job.notebook.number}/{name}{end}"
        for name in job.notebook.figures
        for end in ENDINGS
    }
    made = {
        path.relative_to(job.folder).as_posix() for path in (job.folder / "figures").rglob("*.*")
    }
    if made != listed:
        return (
            f"the figures it makes: index.toml lists {sorted(listed - made) or 'no file'} that "
            f"it does not make, and it makes {sorted(made - listed) or 'no file'} not listed"
        )
    if notebooks.source_digest(job.notebook.path) != print_["notebook"]:
        return "the notebook was edited while it ran, and is left alone; run again"
    part = f"ledger/{job.notebook.number}.json"
    recorded = job.folder / part
    files = {
        project.root / name: (job.folder / name).read_bytes()
        for name in [*sorted(made), f"notebooks/{job.notebook.file}"]
    }
    files[project.build / part] = recorded.read_bytes() if recorded.is_file() else b"[]\n"
    for path, content in files.items():
        write_whole(path, content)
    left = {path.relative_to(project.root).as_posix(): file_digest(path) for path in files}
    now = {**remembered(project), job.notebook.number: {"fingerprint": print_, "outputs": left}}
    write_whole(project.build / "state.json", json.dumps(now, indent=1, sort_keys=True) + "\n")
    return ""


def conclude(project, every):
    """Renew the ledger, and the files that quote it, when all results stand.

    Returns 1 when a claim is not measured.
    """
    waiting = [n.name for n in every if stale(project, n, fingerprint(project, n, every))]
    if waiting:
        print(f"figures/ledger.json waits for {', '.join(waiting)}: `make figures` runs them")
        return 0
    rows = ledgers.merge(project.build / "ledger", every)
    ledgers.write(rows, project.figures, every, "../notebooks/")
    print(ledgers.counts(rows))
    for name in ledgers.GENERATED:
        write_whole(project.root / name, ledgers.filled(name, project))
    claims = ledgers.claims(project)
    forgotten = sorted(claims.keys() - {row["id"] for row in rows})
    for name in forgotten:
        print(f"no notebook measures {name} (notebook {claims[name]['notebook']})", file=sys.stderr)
    return 1 if forgotten else 0


def quick(project, options):
    """Run notebooks with the index's quick parameters into build/quick; returns the status."""
    asked = notebooks.choose(notebooks.load(project), options.notebook)
    folder = project.build / "quick"
    return trials(project, [to_run(project, n, folder, "quick", n.quick) for n in asked])


def batch(project, options):
    """Run the parameter sets of the index into folders of build/batch; returns the status."""
    folder, jobs = project.build / "batch", []
    for n in notebooks.choose(notebooks.load(project), options.notebook):
        jobs += [
            to_run(project, n, folder / f"{n.number}-{s['name']}", "custom", s["parameters"])
            for s in n.batch
        ]
    return trials(project, jobs)


def one(project, asked, given):
    """Run one notebook with parameters into a folder of build/runs; returns the status."""
    if len(asked) != 1:
        raise Refusal("parameters are for one notebook: name it, as in NB=00 P='dt=0.02'")
    said = "-".join(f"{name}={value}" for name, value in given.items())
    name = re.sub(r"[^A-Za-z0-9=.+-]+", "_", said).strip("_")
    if len(name) > 80:
        name = f"{name[:60]}-{digest(given)[:8]}"
    folder = project.build / "runs" / f"{asked[0].number}-{name}"
    return trials(project, [to_run(project, asked[0], folder, "custom", given)])


def trials(project, jobs):
    """Run jobs in folders that are emptied before, and write the ledger of each folder.

    Nothing that is committed changes.
    """
    folders = {job.folder: [j.notebook for j in jobs if j.folder == job.folder] for job in jobs}
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    problems = runner.run(project, jobs)
    for folder, here in folders.items():
        rows = ledgers.merge(folder / "ledger", here)
        ledgers.write(rows, folder, here, "notebooks/")
        print(f"{folder.relative_to(project.root).as_posix()}/: {ledgers.counts(rows)}")
    return runner.summary(problems)


def verify(project, options):
    """Run everything again from empty caches and compare; returns 1 when anything differs.

    What is computed at length on the way is kept for other runs.
    """
    every, made = notebooks.load(project), Project(project.build / "verify")
    for folder in (made.root, project.sweeps, project.compiled):
        shutil.rmtree(folder, ignore_errors=True)
    problems = runner.run(project, [to_run(project, n, made.root) for n in every])
    status = runner.summary(problems)
    ledgers.write(ledgers.merge(made.root / "ledger", every), made.figures, every, "../notebooks/")
    names = [
        f"figures/{n.number}/{name}{end}" for n in every for name in n.figures for end in ENDINGS
    ]
    names += [
        *(f"notebooks/{n.file}" for n in every),
        *(f"figures/{name}" for name in ("ledger.json", "LEDGER.md", "scoreboard.svg")),
    ]
    found = [f"{name} is not made" for name in names if not (made.root / name).is_file()]
    found += drift.between(made.figures, project.figures)
    for line in found:
        print(f"drift: {line}", file=sys.stderr)
    other = [
        name for name in names if file_digest(project.root / name) != file_digest(made.root / name)
    ]
    print(
        f"{len(names) - len(other)} of {len(names)} committed files are byte-identical"
        + (f"; not: {', '.join(other)}" if other else "")
    )
    print(
        f"verify: {len(every)} notebooks run again, {len(found)} drifts, "
        f"{sum(map(bool, problems.values()))} failures"
    )
    return 1 if status or found else 0


def fingerprint(project, notebook, every):
    """Return the hashes of what a notebook's results follow from, by kind."""
    claims = {k: v for k, v in ledgers.claims(project).items() if v["notebook"] == notebook.number}
    needed = [fingerprint(project, n, every) for n in every if n.number in notebook.needs]
    return {
        "notebook": notebooks.source_digest(notebook.path),
        "library": library_digest(project),
        "claims": digest(claims),
        "figures": digest([notebook.figures]),
        "environment": environment_digest(project),
        "files it reads": digest([[f, file_digest(project.root / f)] for f in notebook.reads]),
        "notebooks it needs": digest(needed),
    }


def library_digest(project):
    """Return a hash of sheaflib: sources, data and style."""
    files = sorted(
        p
        for p in (project.root / "sheaflib").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts and p.suffix not in (".nbi", ".nbc", ".tmp")
    )
    return digest([[p.relative_to(project.root).as_posix(), file_digest(p)] for p in files])


def environment_digest(project):
    """Return a hash of Python's version, the lock, what is installed, and the instructions used."""
    required = environment.requirements(project.root, environment.NOTEBOOKS)
    return digest(
        [
            sys.version_info[:2],
            file_digest(project.root / "requirements.lock"),
            [[r.name, version(r.name)] for r in required],
            target(),
        ]
    )


def remembered(project):
    """Return the state of the last runs here, {} in a fresh clone or when it cannot be read."""
    try:
        return json.loads((project.build / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def stale(project, notebook, now):
    """Return why a notebook with this fingerprint must run, "" when its results stand."""
    last = remembered(project).get(notebook.number)
    if not last:
        return "not yet run here"
    changed = [kind for kind in now if last["fingerprint"].get(kind) != now[kind]]
    if changed:
        return f"changed: {', '.join(changed)}"
    for file, known in last["outputs"].items():
        if file_digest(project.root / file) != known:
            return f"{file} is not as it was left"
    return ""
