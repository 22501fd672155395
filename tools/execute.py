"""One notebook through papermill, in a worker process."""

import logging
import os
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from tools import notebooks

# Guards against a cell and a kernel that hang, the same for every notebook, in runs and in tests.
# They expect nothing of how long a cell takes, which is many times longer on a busy machine.
CELL_SECONDS = 3600
KERNEL_SECONDS = 600


@dataclass(frozen=True)
class Job:
    """A notebook to run: `output` is the executed file, `seconds` about how long it takes."""

    name: str
    number: str
    source: Path
    output: Path
    variables: dict
    parameters: dict = field(default_factory=dict)
    needs: tuple = ()
    seconds: float = 20
    timeout: float = CELL_SECONDS


@dataclass(frozen=True)
class Outcome:
    """What became of a job: `problem` is "" when every cell ran; `seconds` is wall time."""

    job: Job
    problem: str
    seconds: float


def execute(job):
    """Run one job and return its Outcome; the exceptions of the notebook become the problem's text."""
    start = time.monotonic()
    prepare(job)
    try:
        problem = run(job)
    except Exception as error:  # whatever stops a notebook is reported with its cell, and the others go on
        problem = explain(job, error)
    return Outcome(job, problem, time.monotonic() - start)


def prepare(job):
    """Set this process's environment, which the kernel inherits, and silence the loggers of the tools."""
    os.environ.update(job.variables)
    os.environ.pop("MPLBACKEND", None)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="(papermill|zmq|nbclient|jupyter_client).*")
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.unlink(missing_ok=True)


def run(job):
    """Execute the notebook; returns the problem of a run that stopped early without an error, "" when there is none."""
    import papermill

    papermill.execute_notebook(
        str(job.source), str(job.output), parameters=job.parameters,
        kernel_name="python3", language="python", cwd=str(job.source.parent),
        progress_bar=False, log_output=False, autosave_cell_every=0, execution_timeout=job.timeout,
        start_timeout=KERNEL_SECONDS)
    cell = notebooks.unfinished(notebooks.read(job.output))
    return f"{notebooks.describe(cell)}\n    the run stopped here without an error (sys.exit?)" if cell else ""


def explain(job, error, lines=8):
    """Return the cell at which a run stopped and the last lines of what it said."""
    said = notebooks.ANSI.sub("", "\n".join(getattr(error, "traceback", None) or [f"{type(error).__name__}: {error}"]))
    tail = "\n".join("    " + line for line in said.strip().splitlines()[-lines:])
    where = job.source.name
    if job.output.is_file():
        where = notebooks.describe(notebooks.reached(notebooks.read(job.output)))
    return f"{where}\n{tail}"
