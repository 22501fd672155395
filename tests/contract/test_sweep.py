"""The sweep: results in order, kept whatever happens, computed again only when something they
follow from changed.
"""

import os
import shutil
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import sweep_cases

import sheaflib.companion.sweep as module
from sheaflib.companion.sweep import library_digest, sweep
from sheaflib.support.progress import watched

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of the calls' marks; the cache is empty, one case runs at a time, and
    nobody watches.
    """
    monkeypatch.setenv("SHEAFLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SHEAFLIB_JOBS", "1")
    (tmp_path / "calls").mkdir()
    return str(tmp_path / "calls")


def spectra(folder, seeds, **more):
    """Return the cases of some seeds."""
    return [{"folder": folder, "seed": seed, **more} for seed in seeds]


def entries(tmp_path):
    """Return the files of the cache."""
    return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())


def alike(results, others):
    """Return whether two tables of spectra are the same numbers."""
    return len(results) == len(others) and all(
        r["seed"] == o["seed"] and np.array_equal(r["eigenvalues"], o["eigenvalues"])
        for r, o in zip(results, others)
    )


def directly(folder, seeds):
    """Return the table that a plain loop computes."""
    return [sweep_cases.spectrum(folder, seed) for seed in seeds]


# results and cache
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_results_come_in_the_order_of_the_cases(folder, tmp_path, monkeypatch, jobs):
    monkeypatch.setenv("SHEAFLIB_JOBS", jobs)
    seeds = [5, 2, 9, 2, 0]
    results = sweep(sweep_cases.spectrum, spectra(folder, seeds))
    assert sweep_cases.calls(folder) == {"seed0": 1, "seed2": 1, "seed5": 1, "seed9": 1}, (
        "a case that stands twice is computed once"
    )
    assert (os.getpid() in sweep_cases.processes(folder)) == (jobs == "1")
    (tmp_path / "other").mkdir()
    assert alike(results, directly(tmp_path / "other", seeds))


def test_a_sweep_takes_more_workers_as_soon_as_it_may(folder, tmp_path, monkeypatch):
    share = tmp_path / "jobs"
    share.write_text("1")
    monkeypatch.setenv("SHEAFLIB_JOBS", str(share))
    cases = [{"folder": folder, "file": str(share), "k": k} for k in range(6)]
    assert sweep(sweep_cases.shared, cases) == list(range(6)), "in the order of the cases"
    own, others = (
        sweep_cases.calls(folder, of)
        for of in ({os.getpid()}, sweep_cases.processes(folder) - {os.getpid()})
    )
    assert own == {"k0": 1, "k1": 1} and others == {f"k{k}": 1 for k in range(2, 6)}, (
        "case 1 writes 2 into the file"
    )


def test_no_cases_no_results(folder):
    assert sweep(sweep_cases.spectrum, []) == [] and sweep(sweep_cases.spectrum, iter(())) == []


def test_what_is_kept_is_not_computed_again(folder):
    first = sweep(sweep_cases.spectrum, spectra(folder, range(3)))
    again = sweep(sweep_cases.spectrum, spectra(folder, [3, 2, 1, 0]))
    assert sweep_cases.calls(folder) == {f"seed{k}": 1 for k in range(4)}
    assert alike(again[:0:-1], first)


def test_the_order_of_the_parameters_does_not_matter_and_their_types_do(folder, tmp_path):
    cases = [
        {"a": 1, "b": None},
        {"b": None, "a": 1},
        {"a": 1.0, "b": None},
        {"a": True, "b": None},
        {"a": "1", "b": [1, [2.5, "x"]]},
    ]
    assert sweep(sweep_cases.given, cases) == cases and len(entries(tmp_path)) == 4
    (got,) = sweep(sweep_cases.given, [{"x": np.float64(0.1)}])
    assert got == {"x": 0.1}


def test_a_computed_case_says_as_little_as_a_kept_one(folder, capsys):
    with warnings.catch_warnings(action="error"):
        assert sweep(sweep_cases.noisy, [{"k": 1}]) == sweep(sweep_cases.noisy, [{"k": 1}]) == [1]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("change", ["library", "function"])
def test_a_changed_source_is_computed_again_and_the_former_kept(folder, monkeypatch, change):
    first = sweep(sweep_cases.spectrum, spectra(folder, [1]))
    with monkeypatch.context() as changed:
        if change == "library":
            changed.setattr(module, "LIBRARY", "another")
        else:
            changed.setattr(sweep_cases, "__file__", __file__)
        assert alike(sweep(sweep_cases.spectrum, spectra(folder, [1])), first)
        assert sweep_cases.calls(folder) == {"seed1": 2}
    assert alike(sweep(sweep_cases.spectrum, spectra(folder, [1])), first) and sweep_cases.calls(
        folder
    ) == {"seed1": 2}


def test_the_library_is_its_source_its_data_and_what_it_computes_with(tmp_path, monkeypatch):
    copy = shutil.copytree(
        module.FOLDER, tmp_path / "sheaflib", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(module, "FOLDER", copy)
    before = library_digest()
    (copy / "companion" / "data" / "README.md").write_text("not read")
    (copy / "compiled.nbi").write_text("not read")
    assert library_digest() == before
    for file in (copy / "plots" / "spectra.py", copy / "companion" / "data" / "paper_inputs.npz"):
        file.write_bytes(file.read_bytes() + b"\n")
        assert library_digest() != before
        before = library_digest()
    monkeypatch.setattr(module, "version", lambda name: "0")
    assert library_digest() != before and module.installed("numpy") == "0"


def test_a_worker_that_runs_another_source_is_told(folder):
    with pytest.raises(RuntimeError, match="another source of sweep_cases.given or of sheaflib"):
        module.compute(sweep_cases.given, "sweep_cases.given", "another", "{}", Path(folder) / "x")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],
        lambda data: b"{}" * 50,
    ],
)
def test_a_damaged_entry_is_computed_again(folder, tmp_path, damage):
    first = sweep(sweep_cases.spectrum, spectra(folder, [1, 2]))
    whole = {file: file.read_bytes() for file in entries(tmp_path)}
    broken = next(iter(whole))
    broken.write_bytes(damage(whole[broken]))
    assert alike(sweep(sweep_cases.spectrum, spectra(folder, [1, 2])), first)
    assert sorted(sweep_cases.calls(folder).values()) == [1, 2]
    assert {file: file.read_bytes() for file in entries(tmp_path)} == whole


# interruptions
# --------------------------------------------------------------------------------------------------

KILLED = (
    "import sys, sweep_cases; from sheaflib.companion.sweep import sweep; sweep(sweep_cases.slow,"
    " [{'folder': sys.argv[1], 'k': k} for k in range(8)])"
)


def test_a_killed_sweep_ends_its_workers_and_goes_on_where_it_was(folder, tmp_path):
    (tmp_path / "hold").touch()  # both workers come to wait at an odd k
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, folder],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths, "SHEAFLIB_JOBS": "2"},
    )
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "cache").rglob("*.pickle"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=120)  # the pipe ends with the last of the processes
    kept = {file: file.stat().st_mtime_ns for file in entries(tmp_path)}
    assert len(kept) == 2 and sweep_cases.calls(folder) == {"k0": 1, "k2": 1}
    (tmp_path / "hold").unlink()
    assert sweep(sweep_cases.slow, [{"folder": folder, "k": k} for k in range(8)]) == [
        k**2 for k in range(8)
    ]
    assert sweep_cases.calls(folder) == {f"k{k}": 1 for k in range(8)}
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


def test_an_interrupt_leaves_no_part_of_an_entry(folder, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(sweep_cases.spectrum, spectra(folder, [1]))
    assert entries(tmp_path) == []


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_failure_names_its_case_and_loses_no_finished_one(folder, monkeypatch, jobs):
    cases = [{"folder": folder, "x": x} for x in (4, 2, 1, 0, 5)]
    sweep(sweep_cases.inverse, cases[:3])
    monkeypatch.setenv("SHEAFLIB_JOBS", jobs)
    with pytest.raises(
        RuntimeError,
        match=(
            r"sweep_cases.inverse\(folder='.*', x=0\) failed with ZeroDivisionError: division by"
            r" zero"
        ),
    ):
        sweep(sweep_cases.inverse, cases)
    assert sweep(sweep_cases.inverse, cases[:3]) == [0.25, 0.5, 1.0]
    assert {name: number for name, number in sweep_cases.calls(folder).items() if name != "x5"} == {
        "x0": 1,
        "x1": 1,
        "x2": 1,
        "x4": 1,
    }


def test_a_failure_keeps_what_the_same_sweep_finished(folder):
    with pytest.raises(RuntimeError, match="x=0"):
        sweep(sweep_cases.inverse, [{"folder": folder, "x": x} for x in (2, 1, 0)])
    assert sweep(sweep_cases.inverse, [{"folder": folder, "x": x} for x in (1, 2)]) == [1.0, 0.5]
    assert sweep_cases.calls(folder) == {"x0": 1, "x1": 1, "x2": 1}


def test_a_result_that_no_file_holds_is_an_error_of_its_case(folder, tmp_path):
    with pytest.raises(
        RuntimeError, match=r"unwritable\(k=3\) failed with .*unwritable.<locals>.<lambda>"
    ):
        sweep(sweep_cases.unwritable, [{"k": 3}])
    assert entries(tmp_path) == []


# what is refused
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function, named",
    [
        (lambda k: k, "<lambda> of test_sweep"),
        (partial(sweep_cases.given, k=1), "functools.partial"),
        ("given", "'given'"),
        (type("Local", (), {"__qualname__": "nowhere.Local"}), "nowhere.Local of test_sweep"),
    ],
)
def test_a_function_that_workers_cannot_import_is_named(function, named):
    with pytest.raises(
        TypeError,
        match=(
            f"function must be one that a worker imports by its name from a module, got .*{named}"
        ),
    ):
        sweep(function, [])


def test_a_function_of_the_running_script_is_refused(monkeypatch):
    monkeypatch.setattr(sweep_cases.given, "__module__", "__main__")
    with pytest.raises(TypeError, match="got given of __main__; put it into a .py file"):
        sweep(sweep_cases.given, [{"k": 1}])


@pytest.mark.parametrize(
    "value",
    [
        np.int64(1),
        np.ones(2),
        (1, 2),
        {"a": 1},
        float("nan"),
        float("inf"),
        1j,
        [1, {2}],
        Path("a"),
    ],
)
def test_a_value_that_json_cannot_hold_is_named_with_its_case(folder, value):
    with pytest.raises(
        TypeError,
        match=(
            rf"width of cases\[1\] must be a finite number, .* got {type(value).__name__} in"
            r" .*'width'"
        ),
    ):
        sweep(sweep_cases.given, [{"width": 1}, {"depth": 2, "width": value}])


def test_a_case_is_a_dict_of_names(folder):
    with pytest.raises(TypeError, match=r"cases\[1\] must be a dict of parameters, got int"):
        sweep(sweep_cases.given, [{"k": 1}, 2])
    with pytest.raises(TypeError, match=r"keys of cases\[0\] must be names of parameters, got 1"):
        sweep(sweep_cases.given, [{1: 2}])


# workers
# --------------------------------------------------------------------------------------------------


def jobs_of(most):
    """Return joblib's number of jobs for `most` cases, -1 for all that the backend has."""
    with module.configuration(most):
        return joblib.Parallel().n_jobs


def test_the_environment_says_how_many_run_side_by_side(monkeypatch, tmp_path):
    monkeypatch.setenv("SHEAFLIB_JOBS", "3")
    assert jobs_of(10) == 3 and jobs_of(2) == 2
    share = tmp_path / "jobs"
    monkeypatch.setenv("SHEAFLIB_JOBS", str(share))
    for number in (2, 4):
        share.write_text(f"{number}\n")
        assert jobs_of(10) == number
    monkeypatch.delenv("SHEAFLIB_JOBS")
    assert jobs_of(1000) == min(1000, joblib.cpu_count()) and jobs_of(1) == 1


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_a_number_of_jobs_that_is_none_is_named(folder, monkeypatch, text):
    monkeypatch.setenv("SHEAFLIB_JOBS", text)
    with pytest.raises(
        ValueError, match=f"SHEAFLIB_JOBS is '{text}', expected a whole number from 1 on"
    ):
        sweep(sweep_cases.given, [{"k": 1}])


def test_a_callers_configuration_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("SHEAFLIB_JOBS", "3")
    with joblib.parallel_config(n_jobs=2):
        assert jobs_of(10) == 2
    with joblib.parallel_config(backend="threading"):
        assert jobs_of(10) == -1, "all the workers of a backend that is named"
    with joblib.parallel_config(backend="threading", n_jobs=4):
        assert jobs_of(10) == 4
    assert jobs_of(10) == 3, "and leaves nothing behind"


def test_the_callers_threads_do_the_work(folder):
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert sweep(sweep_cases.together, [{"k": k} for k in range(4)]) == [0, 1, 2, 3]
        results = sweep(sweep_cases.spectrum, spectra(folder, range(3)))
    assert sweep_cases.processes(folder) == {os.getpid()} and [r["seed"] for r in results] == [
        0,
        1,
        2,
    ]


def test_a_backend_that_cannot_stream_gives_the_same(folder, tmp_path):
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):
        results = sweep(sweep_cases.spectrum, spectra(folder, range(3)))
    (tmp_path / "other").mkdir()
    assert os.getpid() not in sweep_cases.processes(folder) and alike(
        results, directly(tmp_path / "other", range(3))
    )


def test_workers_have_one_thread_each(folder, monkeypatch):
    monkeypatch.setenv("SHEAFLIB_JOBS", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert sweep(sweep_cases.threads, [{"k": k} for k in range(2)]) == [["1"] * 4] * 2


def test_dask_gives_the_numbers_of_a_plain_loop(folder, tmp_path):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=str(tmp_path),
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        results = sweep(sweep_cases.spectrum, spectra(folder, range(6), seconds=0.2))
        assert alike(sweep(sweep_cases.spectrum, spectra(folder, range(6), seconds=0.2)), results)
    assert sweep_cases.calls(folder) == {f"seed{k}": 1 for k in range(6)}
    assert len(sweep_cases.processes(folder)) == 2 and os.getpid() not in sweep_cases.processes(
        folder
    )
    (tmp_path / "other").mkdir()
    assert alike(results, directly(tmp_path / "other", range(6)))


# the bar
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "profile, terminal, seen",
    [("", True, True), ("", False, False), ("full", True, False), ("quick", True, False)],
)
def test_a_bar_is_for_a_person_only(folder, monkeypatch, capsys, profile, terminal, seen):
    monkeypatch.setenv("SHEAFLIB_PROFILE", profile)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    sweep(sweep_cases.given, [{"k": 1}], label="widths")
    said = capsys.readouterr()
    assert ("widths" in said.err) == bool(said.err) == seen and said.out == ""


def test_a_bar_is_seen_in_a_live_notebook(monkeypatch):
    monkeypatch.setitem(
        sys.modules,
        "IPython",
        SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object())),
    )
    monkeypatch.setenv("SHEAFLIB_PROFILE", "")
    assert watched()
    monkeypatch.setenv("SHEAFLIB_PROFILE", "custom")
    assert not watched()


@pytest.mark.parametrize("name", module.INSTRUCTIONS)
def test_results_belong_to_the_instructions_that_computed_them(name, monkeypatch):
    """A run under another instruction set finds nothing of this one's: last digits may differ."""
    here = library_digest()
    monkeypatch.setenv(name, "another")
    assert library_digest() != here
