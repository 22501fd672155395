"""Many notebooks side by side: a spawned process pool, dependency order, the longest first, one bar, and a summary that names what failed."""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from tools.execute import Outcome, execute
from tools.project import write_whole
from tools.surroundings import cores

BAR = "{l_bar}{bar:30}| {n_fmt} of {total_fmt} notebooks after {elapsed}{postfix}"


def run(jobs, finished=lambda outcome: ""):
    """Run the jobs, calling `finished` (which may return a problem) on each success as it comes; returns the outcomes."""
    if not jobs:
        return []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    context, places = multiprocessing.get_context("spawn"), min(len(jobs), cores())
    pool = ProcessPoolExecutor(places, mp_context=context, initializer=settle)
    try:
        with (tempfile.TemporaryDirectory() as folder,
              tqdm(total=len(jobs), bar_format=BAR, disable=not sys.stderr.isatty(), leave=False) as bar):
            share = Path(folder) / "jobs"
            told = [replace(job, variables={**job.variables, "SHEAFLIB_JOBS": str(share)}) for job in jobs]
            return schedule(pool, places, sorted(told, key=lambda job: -job.seconds), finished, bar, share)
    except KeyboardInterrupt:
        stop_workers()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def settle():
    """Make a worker leave the interrupt to its parent and end when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent():
    """Wait for the parent's end, then end at once."""
    multiprocessing.parent_process().join()
    os._exit(1)


def stop_workers(seconds=3):
    """End the worker processes: politely first, so that they take their kernels with them."""
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(seconds)
        worker.kill()


def schedule(pool, places, waiting, finished, bar, share):
    """Submit the first job that waits and whose needs are done, whenever one of the places is free; jobs that need a failed one do not run.

    The file `share` says at all times how many processes each may start: the cores over the notebooks that run.
    """
    running, outcomes = {}, []
    while waiting or running:
        for job in [job for job in waiting if not open_needs(job, waiting, running)]:
            broken = [o.job.name for o in outcomes if o.problem and o.job.number in job.needs]
            if broken:
                waiting.remove(job)
                outcomes.append(report(Outcome(job, f"not run: it needs {broken[0]}, which failed", 0.0), bar))
            elif len(running) < places:
                waiting.remove(job)
                running[submit(pool, job)] = job
        write_whole(share, str(max(1, cores() // max(1, len(running)))))
        bar.set_postfix_str("running " + " and ".join(job.number for job in running.values()), refresh=False)
        done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
        bar.refresh()
        for future in sorted(done, key=lambda future: running[future].number):
            outcomes.append(report(conclude(future, running.pop(future), finished), bar))
    return outcomes


def submit(pool, job):
    """Return the future of a job, a failed one when a worker process was killed and took the pool with it."""
    try:
        return pool.submit(execute, job)
    except BrokenProcessPool as error:
        future = Future()
        future.set_exception(error)
        return future


def open_needs(job, waiting, running):
    """Return whether a job needs one that has not ended."""
    return any(other.number in job.needs for other in [*waiting, *running.values()])


def conclude(future, job, finished):
    """Return a job's outcome after `finished` has seen it."""
    error = future.exception()
    if error:
        return Outcome(job, f"{job.source.name}\n    its process ended: {error}", 0.0)
    outcome = future.result()
    problem = outcome.problem or finished(outcome)
    return Outcome(job, problem or "", outcome.seconds)


def report(outcome, bar):
    """Print one quiet line for an ended job and move the bar."""
    state = f"FAILED at {outcome.problem.splitlines()[0]}" if outcome.problem else f"ran in {outcome.seconds:.1f} s"
    bar.write(f"{outcome.job.name}: {state}", file=sys.stderr)
    bar.update()
    return outcome


def summary(outcomes):
    """Print what failed, notebook and cell and last lines; returns the exit status."""
    failed = [outcome for outcome in outcomes if outcome.problem]
    for outcome in failed:
        print(f"\n{outcome.job.name} failed in {outcome.problem}", file=sys.stderr)
    if failed:
        print(f"\n{len(failed)} of {len(outcomes)} notebooks failed: {', '.join(o.job.name for o in failed)}", file=sys.stderr)
    return 1 if failed else 0
