"""Every argument of everything that sheaflib offers meets every kind of bad value, one at a time:
it is refused by an error that names the argument, or it has a meaning and the call goes on.

No other error may come out, since a person who reads it could not tell what to mend; no argument
may be changed, and no call may take long. `make fuzz` makes every call, in about a minute; by
default every fiftieth is made, always the same ones, which are one or two an argument, and take the
kinds of bad values in turn.
"""

import functools
import inspect
import linecache
import re
import signal
import time
import warnings
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

import effort
import numpy as np
import pytest
from bad_values import BAD, spoilt
from fuzz_cases import CASES, INSIDE, Case, inside, offered

import sheaflib
from sheaflib.training.drivers import TrainingDiverged

STRIDE = 1 if effort.TIMES > 1 else 50
SECONDS = 10  # that a call may take
FOLDER = str(Path(sheaflib.__file__).parent)
NAMED = (ValueError, TypeError, ArithmeticError)
GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "kappa": "κ"}
ALSO = {  # what a message may call an argument besides its own name
    ("networks.output.Output", "name"): "output",
    ("networks.graph.Network.mlp", "biases"): "bias",
    ("networks.graph.Node", "inputs"): "reads",
    ("sheaves.layout.Layout.__getitem__", "name"): "stalk",
    ("flow.heat.relax", "stepper"): "dt",  # Euler's is limited
}
# What a call may be asked for in earnest, and would take as long as it was asked for
ENDLESS = {("equilibria.newton.Equilibrium.others", "starts")}
HUGE = ("10**18", "10**400", "10**5000")
LARGE = ("10**18", "1e308")
# A function of the caller's is called, and fails with the caller's own error
FUNCTIONS = {
    ("networks.affine.Affine.from_maps", "apply"),
    ("networks.affine.Affine.from_maps", "adjoint"),
    ("circuits.relaxation.reach", "scheme"),
}
CALLABLE = ("class", "class of arrays", "callable", "Module", "its class")
# scikit-learn checks these, in its own words, which its checks of estimators ask for
ITS_OWN = ("X", "y", "classes", "sample_weight")


# Which bad values have a meaning
# --------------------------------------------------------------------------------------------------

NUMBERS = {"zero", "half", "True", "False of NumPy", "below zero", "10**18", "1e308"}
MEANT = {  # by the first of these that a good value is; a bool or an array of no axes is a number
    bool: {"True", "False of NumPy"},
    int: {"zero", *HUGE},
    float: NUMBERS | {"number in an array", "plus a half", "negative"},
    np.ndarray: {
        "negative",
        "negative array",  # of the same width
        "one row more",
        "one row less",
        "with one more axis",  # one pattern, or one row of logits, as a batch
        "range",  # the three logits of three classes
    },
    list: {
        "as a generator",
        "twice",
        "without its last entry",
        "empty list",
        "empty tuple",
        "empty array",
        "its first entry alone",
    },
    dict: {"empty dict"},
}
MEANT[tuple] = MEANT[list]
NEGATIVE = {f"below zero at {place}" for place in ("0", "1", "0, 0", "0, 1", "1, 0", "1, 1")}
NAMES = {"text", "empty text", "in capitals", "with a space"}
COLUMNS = {"one column more", "one column less", "transposed"}
ANY_NUMBER = MEANT[float] | {"its first entry alone"}
NONE_EACH = {"list of None", "None at 0", "None at 1"}
ANYTHING = None
MEANT_HERE = {  # (path, argument, * for any path): more of them
    ("*", "pins"): {"empty list", "empty tuple", "in a list"},
    ("*", "slope"): {"negative"},
    ("layers.convolution", "kernel"): COLUMNS,
    ("layers.convolution", "bias"): NEGATIVE,
    ("layers.transposed", "kernel"): COLUMNS,
    ("layers.transposed", "bias"): NEGATIVE,
    ("layers.batch_norm", "mean"): NEGATIVE,
    ("layers.batch_norm", "shift"): NEGATIVE,
    ("networks.affine.Affine", "weight"): {*COLUMNS, "sparse matrix", "negative", "negative array"},
    ("networks.affine.Affine", "bias"): NEGATIVE,
    ("networks.affine.Affine.from_maps", "bias"): NEGATIVE,
    ("networks.graph.Network", "nodes"): {"text at 1, 0"},  # a name as good as any
    ("networks.graph.Network.mlp", "biases"): NEGATIVE | NONE_EACH,  # None: zeros
    ("networks.graph.Network.save", "file"): NAMES,
    ("networks.graph.Node", "name"): NAMES,
    ("networks.selection.MaxPool", "windows"): COLUMNS,
    ("networks.selection.PReLU", "slope"): ANY_NUMBER | NEGATIVE,  # one for all
    ("networks.selection.Clamp", "low"): {"minus infinity"},  # no bound
    ("networks.selection.Clamp", "high"): {"infinity"},
    ("plots.explore.explore", "x"): {"flat"},  # one row
    ("plots.explore.explore", "start"): {"flat"},
    ("plots.explore.Explorer.html", "picture"): NAMES,  # an address
    ("sheaves.cellular.CellularSheaf", "vertices"): {  # a name may be anything that has a hash
        "with a number for a key",
        "with None for a key",
        "with an unknown key",
    },
    ("sheaves.cellular.CellularSheaf", "edges"): {"below zero at 0, 2", "below zero at 0, 3"},
    ("sheaves.cellular.SheafEdge", "name"): NAMES,
    ("sheaves.layout.Layout.__contains__", "name"): ANYTHING,  # it says no
    ("sheaves.layout.Layout.join", "parts"): {  # other names are not read
        "with a number for a key",
        "with None for a key",
        "with an unknown key",
    },
    ("sheaves.neural.NeuralSheaf.cochain", "name"): ANYTHING,  # for the message
    ("sheaves.neural.NeuralSheaf", "edge_weights"): ANY_NUMBER,  # one for all
    ("sheaves.pins.hard", "value"): {"in a list"},
    ("sheaves.pins.hard", "at"): {  # one place or several, from the end where below zero
        *("below zero", "negative", "generator", "range", "in a list", "twice in an array"),
        *("empty list", "empty tuple", "empty array"),
    },
    ("sheaves.pins.soft", "value"): ANY_NUMBER,
    ("sheaves.pins.soft", "at"): NEGATIVE,
    ("linear.rational.rational", "matrix"): {
        *COLUMNS,
        "tuple without a hash",  # one row of no columns
        *("empty array", "array without columns", "sparse matrix", "nothing of it"),
    },
    ("linear.rational.gram", "delta"): {
        *NEGATIVE,
        *("array without columns", "tuple without a hash"),
    },
    ("linear.rational.pivots", "matrix"): NEGATIVE,
    ("linear.rational.determinant", "matrix"): NEGATIVE,
    ("linear.rational.solve", "matrix"): NEGATIVE,
    ("linear.rational.solve", "right"): NEGATIVE,
    ("linear.resistance.Resistance.injections", "spring"): {"infinity"},  # a clamp
    ("linear.resistance.Resistance.discord", "spring"): {"infinity"},
    ("linear.spectrum.extremes", "pattern"): {"flat"},  # the same one twice
    ("flow.exact_flow.ExactFlow.at", "times"): {
        *ANY_NUMBER,
        *("infinity", "with infinity at its end"),  # the limit
        *("empty list", "empty tuple", "nothing of it"),
    },
    ("circuits.currents.edge_update", "forward"): {  # other stalks may hold anything
        *("with NaN at its end", "with infinity at its end", "with its end masked")
    },
    ("circuits.currents.edge_update", "relaxed"): {
        *("with NaN at its end", "with infinity at its end", "with its end masked")
    },
    ("circuits.relaxation.chebyshev", "low"): {"in a list"},
    ("circuits.relaxation.chebyshev", "high"): ANY_NUMBER,
    ("circuits.minibatch.MiniBatches.advance", "order"): COLUMNS,
    ("circuits.estimators.SheafRegressor", "batch_size"): set(HUGE),
    ("circuits.estimators.SheafRegressor", "kappa"): ANY_NUMBER,
    ("circuits.estimators.*", "verbose"): {  # a number, as other estimators have it
        *("zero", "below zero", "as a number", "-10**400", *HUGE)
    },
    ("circuits.estimators.*", "X"): {*COLUMNS, "as text", "as objects"},  # of numbers
    ("circuits.estimators.*", "y"): {"one column more", "as text", "as objects", "flat"},
    ("circuits.estimators.*", "sample_weight"): {"as text", "as objects"},
}


def has_a_meaning(case, argument, kind):
    """Whether a bad value of this kind may be taken for this argument."""
    places = [(path, name) for path, name in MEANT_HERE if name == argument]
    here = [MEANT_HERE[place] for place in places if fnmatchcase(case.path, place[0])]
    if ANYTHING in here:
        return True
    if kind == "None":
        return defaults(case.path).get(argument, 0) is None
    sort = next((sort for sort in MEANT if isinstance(case.given[argument], sort)), None)
    return any(kind in meant for meant in (*here, MEANT.get(sort, ())))


def defaults(path):
    """The default values of what a path names."""
    parts, thing = path.split("."), sheaflib
    for part in parts:
        thing = getattr(thing, part)
    return {
        name: value.default
        for name, value in inspect.signature(thing).parameters.items()
        if value.default is not value.empty
    }


# Which errors name an argument
# --------------------------------------------------------------------------------------------------


def raised_at(error):
    """The file that an error comes from, and whether a `raise` there has made it."""
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    return file, linecache.getline(file, trace.tb_lineno).strip().startswith("raise")


def is_named(case, argument, kind, error):
    """Whether an error is one that tells a person which argument to mend."""
    file, said = raised_at(error)
    path, message = case.path, str(error)
    if (path, argument) in FUNCTIONS and kind in CALLABLE:
        return True
    of_files = path.startswith(("networks.graph.Network.", "networks.readers."))
    if of_files and isinstance(error, OSError):
        return str(error.filename) in message
    if path.startswith("circuits.estimators.") and argument in ITS_OWN:
        if isinstance(error, (ValueError, TypeError)) and not file.startswith(FOLDER):
            return True
    if not isinstance(error, NAMED) or not said or not file.startswith(FOLDER):
        return False
    if kind in LARGE and isinstance(error, (OverflowError, TrainingDiverged)):
        return True  # what comes of a number that is large in earnest
    names = {argument, argument.removesuffix("s"), GREEK.get(argument, argument)}
    names |= set(ALSO.get((path, argument), "").split())
    if re.search(rf"\b({'|'.join(map(re.escape, names))})s?\b", message):
        return True
    # Of two arguments that do not fit together the other one may be named.
    others = "|".join(re.escape(name.removesuffix("s")) for name in case.given)
    return bool(re.search(rf"\b({others})s?\b.* has (the wrong shape|shape|\d+ rows)", message))


# The calls
# --------------------------------------------------------------------------------------------------


class TooLong(BaseException):
    """Not to be caught by what is called."""


@contextmanager
def seconds(limit):
    """Raise TooLong when the block takes longer, where the system has alarms."""

    def ring(*_):
        raise TooLong

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def calls():
    """Every call of the fuzz, in order: (case, argument, kind, what makes the value)."""
    for case in CASES:
        for argument, good in case.given.items():
            for kind, make in {**BAD, **spoilt(good)}.items():
                if (case.path, argument) not in ENDLESS or kind not in HUGE:
                    yield case, argument, kind, make


@functools.cache
def drawn():
    """The calls that this run makes, by case."""
    found = {id(case): [] for case in CASES}
    for case, *call in islice(calls(), 0, None, STRIDE):
        found[id(case)].append(call)
    return found


def fate(case, argument, kind, value):
    """What becomes of a call: "named", "accepted", or words that say what is wrong."""
    try:
        with seconds(SECONDS), warnings.catch_warnings(action="ignore"):
            case.call(**{**case.given, argument: value})
    except TooLong:
        return f"more than {SECONDS} seconds"
    except Exception as error:
        if is_named(case, argument, kind, error):
            return "named"
        return f"{type(error).__name__}: {error}"
    return "accepted" if has_a_meaning(case, argument, kind) else "accepted without a meaning"


def state(value):
    """What an array, list or dict holds and what of it is masked; None for anything else."""
    if isinstance(value, np.ndarray):
        return repr(value), np.ma.getmaskarray(value).tolist()
    return repr(value) if isinstance(value, (list, tuple, dict)) else None


IDS = [" ".join(filter(None, (case.path, case.label))) for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_bad_value_is_refused_by_name_or_has_a_meaning_and_nothing_is_changed(case):
    case.call(**case.given)
    wrong, before = [], {name: state(value) for name, value in case.given.items()}
    for argument, kind, make in drawn()[id(case)]:
        value = make()
        whole = state(value)
        found = fate(case, argument, kind, value)
        if found not in ("named", "accepted"):
            wrong.append(f"{argument}, {kind}: {found}")
        if state(value) != whole:
            wrong.append(f"{argument}, {kind}: the value was changed")
    wrong += [f"{name} was changed" for name in before if state(case.given[name]) != before[name]]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "call, value, found",
    [
        (lambda n, parts: n + parts, "text", "TypeError"),  # Python's own
        (lambda n, parts: sheaflib.layers.add(2, n), -1, "ValueError: parts=-1"),  # of another
        (lambda n, parts: sheaflib.layers.add(n, parts), -1, "named"),
        (lambda n, parts: sheaflib.layers.add(1, parts), 0, "accepted"),
        (lambda n, parts: sheaflib.layers.add(1, parts), "text", "accepted without a meaning"),
        (lambda n, parts: time.sleep(n), 1.5, "more than 0.1 seconds"),
    ],
)
def test_the_fuzz_finds_what_is_wrong(call, value, found, monkeypatch):
    monkeypatch.setattr("test_fuzz.SECONDS", 0.1)
    kind = {-1: "below zero", 0: "zero"}.get(value, "text")
    case = Case("layers.add", call, {"n": 2, "parts": 2})
    assert fate(case, "n", kind, value).startswith(found)


def test_everything_that_is_offered_is_called_with_every_argument_or_is_inside():
    called = {}
    for case in CASES:
        called.setdefault(case.path, set()).update(case.given)
    found = offered()
    assert {name: set(found.get(name, ())) for name in called} == called
    assert [name for name in found if name not in called and not inside(name)] == []
    assert [name for name in called if inside(name)] == []


def test_what_is_said_to_be_inside_is_there():
    patterns = {pattern for some in INSIDE.values() for pattern in some}
    assert {pattern for name in offered() for pattern in inside(name)} == patterns


def test_the_names_in_all_are_offered():
    names = {f"{thing.__module__}.{name}" for name, thing in public().items()}
    assert {name.removeprefix("sheaflib.") for name in names} <= set(offered())


def public():
    """What sheaflib exports, but its errors."""
    things = {name: getattr(sheaflib, name) for name in sheaflib.__all__}
    return {
        name: thing
        for name, thing in things.items()
        if not (inspect.isclass(thing) and issubclass(thing, Exception))
    }


def test_every_argument_meets_a_bad_value_in_every_run():
    met = {(case.path, case.label, a) for case in CASES for a, _, _ in drawn()[id(case)]}
    assert met == {(case.path, case.label, argument) for case in CASES for argument in case.given}
