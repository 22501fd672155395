"""Notebooks side by side, each into a folder: in dependency order, the longest first, on all cores.

Every command that runs notebooks hands its jobs to `run`. What a notebook computes with happens in
its kernel, a process of its own; here threads wait for the kernels. papermill runs each, with an
engine that gives the kernel its own folder and environment: papermill's takes those of this
process, which all notebooks share. doit, joblib and Dask know no order by length and no number of
cores that changes while notebooks run.
"""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

import papermill
from nbclient import NotebookClient
from papermill.engines import Engine, papermill_engines
from tqdm import tqdm

from tools import notebooks
from tools.project import write_whole
from tools.surroundings import at_home, cores, process_environment

# Guards against a cell and a kernel that hang, the same for every notebook, in runs and in tests.
# They expect nothing of how long a cell takes, which is many times longer on a busy machine.
CELL_SECONDS = 3600
KERNEL_SECONDS = 600
LINES = 8  # of what a failed cell said are shown, the last ones
BAR = "{l_bar}{bar:30}| {n_fmt} of {total_fmt} notebooks after {elapsed}{postfix}"


@dataclass(frozen=True, eq=False)
class Job:
    """A notebook to run into a folder, with the variables of its kernel; `name` is for messages.

    The folder then looks like the repository: figures/, ledger/, and in notebooks/ the executed
    notebook. The notebooks that it needs run before, where they run at all.
    """

    name: str
    notebook: notebooks.Notebook
    folder: Path
    variables: dict
    parameters: dict = field(default_factory=dict)


def run(project, jobs, finished=lambda job: "", starts=lambda job: None):
    """Run the jobs; returns a dict from each to its problem, "" where every cell ran.

    `starts` is called with each job as it starts, and `finished` with each that succeeded, as it
    ends; it may return a problem. A job that needs a failed one does not run. Whatever stops the
    run stops its kernels.
    """
    needed = {
        job: [other for other in jobs if other.notebook.number in job.notebook.needs]
        for job in jobs
    }
    order = TopologicalSorter(needed)
    order.prepare()
    ready, running, clients, problems = (
        list[Job](),
        dict[Future, Job](),
        list[NotebookClient](),
        dict[Job, str](),
    )
    share, hidden = project.build / "jobs", not sys.stderr.isatty()
    with (
        ThreadPoolExecutor(cores()) as pool,
        tqdm(total=len(jobs), bar_format=BAR, disable=hidden, leave=False) as bar,
    ):
        try:
            prepare(project)
            while order.is_active():
                ready = sorted([*ready, *order.get_ready()], key=lambda job: -job.notebook.seconds)
                while ready and len(running) < cores():
                    job = ready.pop(0)
                    starts(job)
                    lost = [other.name for other in needed[job] if problems[other]]
                    running[pool.submit(execute, job, share, clients, lost)] = job
                tell(running, share, bar)
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda future: running[future].name):
                    job, (problem, seconds) = running.pop(future), future.result()
                    problems[job] = problem or finished(job)
                    order.done(job)
                    first = problems[job].partition("\n")[0]
                    said = f"FAILED at {first}" if first else f"ran in {seconds:.1f} s"
                    bar.write(f"{job.name}: {said}", file=sys.stderr)
                    bar.update()
        finally:
            stop(running, clients)
    return problems


def prepare(project):
    """Point Jupyter in this process below build/, and let matplotlib list the fonts there.

    Else the first notebook that waits long for the list would keep a line that says so.
    """
    os.environ.update(at_home(project))
    warnings.filterwarnings("ignore", module="(papermill|zmq|nbclient|jupyter_client).*")
    logging.getLogger("papermill").setLevel(logging.ERROR)
    if not list(Path(os.environ["MPLCONFIGDIR"]).glob("fontlist-*.json")):
        listing = [sys.executable, "-c", "import matplotlib.font_manager"]
        subprocess.run(listing, capture_output=True, check=False)


def execute(job, share, clients, lost):
    """Run one job, unless jobs that it needs are lost; returns (problem, seconds).

    Its client goes into `clients`. Whatever stops the notebook becomes the problem.
    """
    if lost:
        return f"not run: it needs {lost[0]}, which failed", 0.0
    start, begun, said = time.monotonic(), [], []
    client = NotebookClient(
        notebooks.read(job.notebook.path),
        kernel_name="python3",
        resources={"metadata": {"path": job.notebook.path.parent}},
        timeout=CELL_SECONDS,
        startup_timeout=KERNEL_SECONDS,
        raise_on_iopub_timeout=True,
        record_timing=False,
        on_cell_execute=lambda cell, cell_index: begun.append(cell),
    )
    clients.append(client)
    environment = process_environment({**job.variables, "SHEAFLIB_JOBS": str(share)})
    job.folder.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(job.notebook.path),
            None,
            job.parameters,
            engine_name="own-kernel",
            kernel_name="python3",
            language="python",
            progress_bar=False,
            client=client,
            environment=environment,
        )
    except Exception as error:  # is reported with its cell, and the other notebooks go on
        said = notebooks.ANSI.sub("", f"{type(error).__name__}: {error}").strip().splitlines()
    write_whole(job.folder / "notebooks" / job.notebook.file, notebooks.clean(client.nb))
    place = [f"cell `{cell.id}`: {cell.source.strip().splitlines()[0]}" for cell in begun[-1:]]
    problem = "\n    ".join([*place, *said[-LINES:]]) if said else ""
    return problem, time.monotonic() - start


class OwnKernel(Engine):
    """How papermill runs a notebook here: by a client whose kernel has its own environment."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, client, environment, **options):
        """Run the notebook that papermill has prepared."""
        client.nb = nb_man.nb
        client.execute(env=environment)


papermill_engines.register("own-kernel", OwnKernel)


def stop(running, clients):
    """Kill the kernels of what still runs, with the processes they started: its threads end.

    A second signal to stop must not come between.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in signals]
    while not all(future.done() for future in running):
        for manager in [client.km for client in clients]:
            if manager and manager.provisioner:
                asyncio.run(manager.provisioner.kill())
        wait(running, timeout=0.2)
    for number, handler in zip(signals, before):
        signal.signal(number, handler)


def tell(running, share, bar):
    """Show which notebooks run, and tell them how many processes each may start."""
    write_whole(share, str(max(1, cores() // max(1, len(running)))))
    bar.set_postfix_str("running " + " and ".join(j.notebook.number for j in running.values()))


def summary(problems):
    """Print what failed, notebook and cell and last lines; returns the exit status."""
    failed = {job.name: problem for job, problem in problems.items() if problem}
    for name, problem in failed.items():
        print(f"\n{name} failed in {problem}", file=sys.stderr)
    if failed:
        print(
            f"\n{len(failed)} of {len(problems)} notebooks failed: {', '.join(failed)}",
            file=sys.stderr,
        )
    return 1 if failed else 0
