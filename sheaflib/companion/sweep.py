"""One function over many cases, side by side, each result kept on disk: whatever stops a sweep,
what was finished stays.
"""

import hashlib
import json
import math
import os
import pickle
import sys
import threading
import time
import warnings
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path

from sheaflib.companion.repository import sweeps
from sheaflib.support.extras import needs
from sheaflib.support.files import replacing
from sheaflib.support.progress import bar

with needs("sheaflib.companion.sweep", "notebooks"):
    import joblib
    from joblib.parallel import default_parallel_config, get_active_backend

FOLDER = Path(__file__).resolve().parents[1]  # sheaflib
COMPUTED_WITH = ("numpy", "scipy", "numba")
INSTRUCTIONS = (
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "NUMBA_DISABLE_INTEL_SVML",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "NPY_ENABLE_CPU_FEATURES",
)
ABSENT = object()


def sweep(function, cases, *, label=""):
    """Run a function over many cases side by side, and keep each result on disk.

    A result is kept as soon as it is there, and holds for the same function, parameters and source
    of sheaflib: whatever stops a sweep, what was finished stays. The folder is SHEAFLIB_CACHE, else
    build/sweeps of the repository, else sheaflib-results/sweeps here.

    Parameters
    ----------
    function : callable
        A function that has a name in a module and depends on its parameters alone. What it prints
        and warns of is not heard.
    cases : iterable of dict
        The parameters of each case by name: numbers, texts, truth values, None, and lists of them.
    label : str, default: ""
        What stands at the bar that a person sees.

    Returns
    -------
    list
        What the function returns for each case, in order.

    Raises
    ------
    TypeError
        For a function or a value that is none of these.
    RuntimeError
        When a case failed, which the message names.

    Notes
    -----
    In the paper: not there; it runs the experiments.

    The workers are those of the caller's ``joblib.parallel_config``, of whatever backend; without
    one, SHEAFLIB_JOBS processes, else one for each core, of one thread each.

    Examples
    --------
    >>> import os, statistics, tempfile
    >>> from unittest import mock
    >>> import joblib
    >>> from sheaflib.companion.sweep import sweep
    >>> cases = [{"data": [1, 2, 3]}, {"data": [4, 8]}]
    >>> with tempfile.TemporaryDirectory() as here, joblib.parallel_config("sequential"):
    ...     with mock.patch.dict(os.environ, SHEAFLIB_CACHE=here):  # so that nothing is left behind
    ...         sweep(statistics.mean, cases)
    [2, 6]
    """
    name, cases = qualified(function), list(cases)
    texts = [canonical(case, place) for place, case in enumerate(cases)]
    source = source_digest(function)
    folder = sweeps() / source[:16] / name
    files = [folder / f"{digest(text.encode())[:32]}.pickle" for text in texts]
    results = {file: read(file) for file in dict.fromkeys(files)}
    waiting = {file: text for file, text in zip(files, texts) if results[file] is ABSENT}
    kept = len(results) - len(waiting)
    with bar(len(results), label, initial=kept, leave=False) as shown:
        with closing(computed(function, name, source, waiting)) as stream:
            for file, value in stream:
                results[file] = value
                shown.update()
    return [results[file] for file in files]


def computed(function, name, source, waiting):
    """Yield (file, result) of the waiting cases {file: parameters}, as they come where the backend
    can.

    While there is one worker, cases go to it one by one, so that a sweep takes more workers as soon
    as it may.
    """
    left = list(waiting.items())
    while left:
        with configuration(len(left)):
            streams = getattr(get_active_backend()[0], "supports_return_generator", False)
            parallel = joblib.Parallel(return_as="generator_unordered" if streams else "list")
        now, left = (left[:1], left[1:]) if parallel.n_jobs == 1 else (left, [])
        for file, value in parallel(
            joblib.delayed(compute)(function, name, source, text, file) for file, text in now
        ):
            if not file.is_file():  # a worker with a disk of its own
                write(file, value)
            yield file, value


def compute(function, name, source, text, file):
    """Compute one case in a worker, which keeps the result itself; RuntimeError names the case that
    failed.
    """
    if source_digest(function) != source:
        raise RuntimeError(
            f"sweep: a worker has another source of {name} or of sheaflib, or other versions of"
            f" Python, {', '.join(COMPUTED_WITH)} than its caller; start both again"
        )
    case = json.loads(text)
    try:
        with silence():
            value = function(**case)
        write(file, value)
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in case.items())
        raise RuntimeError(
            f"sweep: {name}({given}) failed with {type(error).__name__}: {error}"
        ) from error
    return file, value


@contextmanager
def silence():
    """Let a case say nothing, as a kept result does; in a thread among others this cannot be
    had.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with (
        warnings.catch_warnings(action="ignore"),
        redirect_stdout(StringIO()),
        redirect_stderr(StringIO()),
    ):
        yield


# workers
# --------------------------------------------------------------------------------------------------


def configuration(most):
    """Return the joblib.parallel_config for at most `most` cases at once: what the caller's leaves
    open is filled in.
    """
    with joblib.parallel_config() as given:
        left_open = {
            key for key, default in default_parallel_config.items() if given[key] is default
        }
    chosen = {"n_jobs": min(own_jobs(), most)} if "n_jobs" in left_open else {}
    if {"backend", "prefer", "require"} <= left_open:
        return joblib.parallel_config(
            backend="loky",
            inner_max_num_threads=1,
            initializer=end_with,
            initargs=(os.getpid(),),
            **chosen,
        )
    if "backend" not in left_open and chosen:
        chosen = {"n_jobs": -1}  # all the workers that it has
    return joblib.parallel_config(**chosen)


def end_with(caller):
    """Make a worker process end when the one that started it is gone, whatever ended that."""

    def wait():
        while os.getppid() == caller:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def own_jobs():
    """Return how many cases run side by side when the caller does not say: SHEAFLIB_JOBS, else the
    cores; ValueError for no number.

    SHEAFLIB_JOBS may name a file that holds the number, so that it can change between two sweeps of
    one process.
    """
    text = os.environ.get("SHEAFLIB_JOBS") or str(joblib.cpu_count())
    text = Path(text).read_text().strip() if Path(text).is_file() else text
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"SHEAFLIB_JOBS is {text!r}, expected a whole number from 1 on")
    return int(text)


# what a result follows from
# -----------------------------------------------------------------------------------------------


def qualified(function):
    """Return "module.name" of a function that workers can import; TypeError names another."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    found = sys.modules.get(module or "") if module != "__main__" else None
    for part in (name or "").split("."):
        found = getattr(found, part, None)
    if found is None or found is not function:
        where = f"{name} of {module}" if name else repr(function)
        raise TypeError(
            "sweep: function must be one that a worker imports by its name from a module, got"
            f" {where}; put it into a .py file"
        )
    return f"{module}.{name}"


def canonical(case, place):
    """Return the one JSON text of a case's parameters; TypeError names the key and the case that
    cannot be written so.
    """
    if not isinstance(case, dict):
        raise TypeError(
            f"sweep: cases[{place}] must be a dict of parameters, got {type(case).__name__}"
        )
    for key, value in case.items():
        if not isinstance(key, str):
            raise TypeError(
                f"sweep: the keys of cases[{place}] must be names of parameters, got {key!r}"
            )
        if not plain(value):
            raise TypeError(
                f"sweep: {key} of cases[{place}] must be a finite number, text, True, False, None"
                f" or a list of these, got {type(value).__name__} in {case!r}"
            )
    return json.dumps(case, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value):
    """Return whether JSON holds a parameter as it is."""
    if isinstance(value, list):
        return all(map(plain, value))
    return (
        value is None
        or isinstance(value, (bool, int, str))
        or isinstance(value, float)
        and math.isfinite(value)
    )


def source_digest(function):
    """Return the hash of what a result follows from besides its parameters: sheaflib, and the
    function's module where it is another.
    """
    file = getattr(sys.modules[function.__module__], "__file__", None)
    outside = file and not Path(file).resolve().is_relative_to(FOLDER)
    return digest(
        (LIBRARY + (digest(Path(file).read_bytes()) if file and outside else "")).encode()
    )


def library_digest():
    """Return a hash of sheaflib's source and data, of the versions of Python and of the packages it
    computes with.

    Of the environment, what says which of the processor's instructions these use is part of it:
    last digits depend on them.
    """
    files = [
        *FOLDER.rglob("*.py"),
        *(path for path in (FOLDER / "companion" / "data").glob("*") if path.suffix != ".md"),
    ]
    kept = [
        [path.relative_to(FOLDER).as_posix(), digest(path.read_bytes())]
        for path in sorted(files)
        if path.is_file()
    ]
    packages = [installed(name) for name in COMPUTED_WITH]
    instructions = [os.environ.get(name) for name in INSTRUCTIONS]
    return digest(json.dumps([kept, sys.version_info[:2], packages, instructions]).encode())


def installed(package):
    """Return a package's version, "" when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def digest(data):
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


# read when the code is: a file that is edited later is not what this process runs
LIBRARY = library_digest()


# the store: joblib.Memory knows the source of one function only, wipes all of its results when that
# changes, and warns --------


def read(file):
    """Return the result kept in a file, ABSENT when there is none or it is damaged."""
    try:
        data = file.read_bytes()
        return pickle.loads(data[64:]) if digest(data[64:]).encode() == data[:64] else ABSENT
    except Exception:  # whatever cannot be read is computed again
        return ABSENT


def write(file, value):
    """Keep a result, its hash before it, so that a reader sees all of it or none, however many
    write at once.
    """
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as stream:
        stream.write(digest(data).encode() + data)
