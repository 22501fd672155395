"""Bad values for any argument: those that are bad by themselves, and good ones that are spoilt.

Every value comes as a function that makes it, so that each call meets a fresh one: a generator can
be read once only, and a call must not be able to spoil the next one's value.
"""

import decimal
import fractions
import math

import numpy as np
import scipy.sparse as sparse


class Parameter:
    """Like a tensor of PyTorch that wants gradients: NumPy may not read it before `detach`."""

    dtype = "torch.float32"

    def __init__(self, *shape):
        self.shape, self.ndim = shape, len(shape)

    def detach(self):
        """Give what NumPy may read."""
        raise AssertionError("a function may not detach by itself: its owner decides")

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def __len__(self):
        return len(list(iter(self)))

    def __iter__(self):
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter([Parameter(*self.shape[1:])] * self.shape[0])


class Layer:
    """Like a layer of PyTorch: it can be called, and has parameters."""

    def forward(self, x):
        """Give the output."""
        return x

    __call__ = forward

    def parameters(self):
        """Give the weights."""
        return iter([Parameter(2, 2)])


class Module(Layer):
    """Like a `Sequential` of PyTorch: a layer that holds some."""

    def __iter__(self):
        return iter([Layer()])

    def __len__(self):
        return 1


class Pipeline:
    """Like a pipeline of scikit-learn: steps, the last of which predicts."""

    def __init__(self):
        self.steps = [("scaler", object()), ("mlp", object())]

    def predict(self, X):
        """Give the predictions."""
        return X

    def fit(self, X, y):
        """Fit all steps."""
        return self

    def __len__(self):
        return len(self.steps)

    def __getitem__(self, place):
        return self.steps[place]


class Hostile:
    """An object that fails at whatever is asked of it."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None

    def __bool__(self):
        raise RuntimeError("no truth")

    def __iter__(self):
        raise RuntimeError("no iteration")

    def __len__(self):
        raise RuntimeError("no length")

    def __float__(self):
        raise RuntimeError("no number")


def endless():
    """A list that holds itself."""
    inside = [1.0]
    inside.append(inside)
    return inside


def masked(shape=(4, 2)):
    """An array with its last entry masked."""
    array = np.ma.masked_array(np.ones(shape), mask=np.zeros(shape, dtype=bool))
    array.mask.flat[-1] = True
    return array


BAD = {  # kind: what makes one
    "None": lambda: None,
    "text": lambda: "nonsense",
    "empty text": lambda: "",
    "bytes": lambda: b"x",
    "array of one text": lambda: np.array(["z1"]),
    "list of texts": lambda: ["z1", "z2"],
    "object": object,
    "class": lambda: int,
    "class of arrays": lambda: np.ndarray,
    "callable": lambda: len,
    "module": lambda: math,
    "hostile object": Hostile,
    "Parameter": lambda: Parameter(4, 2),
    "list of Parameters": lambda: [Parameter(2), Parameter(2)],
    "Module": Module,
    "Pipeline": Pipeline,
    "NaN": lambda: np.nan,
    "infinity": lambda: np.inf,
    "minus infinity": lambda: -np.inf,
    "complex": lambda: 1 + 2j,
    "zero": lambda: 0,
    "below zero": lambda: -1,
    "half": lambda: 0.5,
    "True": lambda: True,
    "False of NumPy": lambda: np.bool_(False),
    "fraction": lambda: fractions.Fraction(1, 3),
    "decimal": lambda: decimal.Decimal("0.1"),
    "10**18": lambda: 10**18,
    "10**400": lambda: 10**400,
    "-10**400": lambda: -(10**400),
    "10**5000": lambda: 10**5000,  # which Python refuses to print
    "1e308": lambda: 1e308,
    "date": lambda: np.datetime64("2026-01-01"),
    "empty list": list,
    "empty tuple": tuple,
    "tuple without a hash": lambda: ([],),
    "empty dict": dict,
    "dict": lambda: {"a": 1},
    "set": lambda: {1, 2},
    "generator": lambda: (i for i in range(3)),
    "range": lambda: range(3),
    "list of None": lambda: [None, None],
    "list of NaN": lambda: [np.nan],
    "list that holds itself": endless,
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "deep list": lambda: [[[[[1.0]]]]],
    "number in an array": lambda: np.array(1.0),
    "array of NaN": lambda: np.full((4, 2), np.nan),
    "complex array": lambda: np.ones((4, 2)) * 1j,
    "array of text": lambda: np.array(["a", "b"]),
    "array of objects": lambda: np.array([None, object()]),
    "array of dates": lambda: np.array(["2026-01-01"], dtype="datetime64[D]"),
    "structured array": lambda: np.zeros(4, dtype=[("a", float), ("b", int)]),
    "images": lambda: np.ones((4, 1, 2, 2)),
    "other shape": lambda: np.ones((3, 5, 7)),
    "empty array": lambda: np.zeros((0, 2)),
    "array without columns": lambda: np.zeros((4, 0)),
    "masked": masked,
    "masked number": lambda: np.ma.masked,
    "sparse matrix": lambda: sparse.csr_array(np.eye(2)),
    "negative array": lambda: -np.ones((4, 2)),
}
REPLACED = ("None", "text", "bytes", "NaN", "complex", "object", "class", "Parameter", "below zero")


def with_entry(good, place, bad):
    """A list like `good` whose entry at `place` is another."""
    return [*good[:place], bad, *good[place + 1 :]]


def of_numbers(good):
    """How an array is spoilt: kind -> what makes it."""
    kinds = {
        "as text": lambda: good.astype(str),
        "as objects": lambda: good.astype(object),
        "as complex numbers": lambda: good + 0j,
        "as a generator": lambda: (row for row in good),
        "with one more axis": lambda: good[None],
        "with two more axes": lambda: good[..., None, None],
        "its first entry alone": lambda: good.ravel()[0],
        "flat": lambda: good.ravel() if good.ndim > 1 else np.array([good, good]),
        "negative": lambda: -1.0 - np.abs(good),
        "nothing of it": lambda: good[:0],
        "one row more": lambda: np.concatenate([good, good[:1]]),
        "one row less": lambda: good[:-1],
    }
    if good.ndim > 1:
        kinds["transposed"] = lambda: good.T
        kinds["one column more"] = lambda: np.concatenate([good, good[..., :1]], axis=-1)
        kinds["one column less"] = lambda: good[..., :-1]
        kinds["ragged"] = lambda: [*good.tolist()[:-1], [*good.tolist()[-1], 1.0]]
    for name, entry in (("NaN", np.nan), ("infinity", np.inf)):

        def with_last(entry=entry):
            array = good.astype(float)
            array.flat[-1] = entry
            return array

        kinds[f"with {name} at its end"] = with_last

    def with_mask():
        array = np.ma.masked_array(good.copy(), mask=np.zeros(good.shape, dtype=bool))
        array.mask.flat[-1] = True
        return array

    return {**kinds, "with its end masked": with_mask}


def of_lists(good):
    """How a list or tuple is spoilt: kind -> what makes it."""
    kinds = {
        "as a set of places": lambda: set(range(len(good))),
        "as a generator": lambda: (entry for entry in good),
        "as a dict": lambda: dict(enumerate(good)),
        "twice": lambda: [*good, *good],
        "without its last entry": lambda: list(good)[:-1],
        "inside a list": lambda: [good],
        "its first entry alone": lambda: good[0],
    }
    for place in range(min(len(good), 2)):
        for kind in REPLACED:
            kinds[f"{kind} at {place}"] = lambda place=place, kind=kind: with_entry(
                good, place, BAD[kind]()
            )
        if isinstance(good[place], (list, tuple)):
            for inner in range(len(good[place])):
                for kind in REPLACED:
                    kinds[f"{kind} at {place}, {inner}"] = (
                        lambda place=place, inner=inner, kind=kind: with_entry(
                            good, place, tuple(with_entry(good[place], inner, BAD[kind]()))
                        )
                    )
    return kinds


def of_mappings(good):
    """How a dict is spoilt: kind -> what makes it."""
    first = next(iter(good))
    kinds = {
        "as a list of pairs": lambda: list(good.items()),
        "its keys alone": lambda: list(good),
        "its values alone": lambda: list(good.values()),
        "with a number for a key": lambda: {**good, 7: good[first]},
        "with None for a key": lambda: {**good, None: good[first]},
        "with an unknown key": lambda: {**good, "nonsense": good[first]},
    }
    for kind in REPLACED:
        kinds[f"{kind} under its first key"] = lambda kind=kind: {**good, first: BAD[kind]()}
    return kinds


def of_numerals(good):
    """How one number is spoilt: kind -> what makes it."""
    return {
        "as text": lambda: str(good),
        "in a list": lambda: [good],
        "twice in an array": lambda: np.array([good, good]),
        "as a complex number": lambda: complex(good),
        "plus a half": lambda: good + 0.5,
        "negative": lambda: -1 - abs(good),
    }


def of_texts(good):
    """How a text is spoilt: kind -> what makes it."""
    return {
        "in capitals": good.upper if good != good.upper() else good.lower,
        "as bytes": lambda: good.encode(),
        "in a list": lambda: [good],
        "in an array": lambda: np.array([good]),
        "with a space": lambda: f"{good} ",
        "in a dict": lambda: {good: 1},
    }


def spoilt(good):
    """The ways in which a good value can be spoilt: kind -> what makes it."""
    if isinstance(good, (bool, np.bool_)):
        return {"as a number": lambda: int(good), "as text": lambda: str(good)}
    if isinstance(good, (int, float)):
        return of_numerals(good)
    if isinstance(good, str):
        return of_texts(good)
    if isinstance(good, np.ndarray):
        return of_numbers(good)
    if isinstance(good, (list, tuple)) and good:
        return of_lists(good)
    if isinstance(good, dict):
        return of_mappings(good)
    if good is None:
        return {}
    return {
        "its class": lambda: type(good),
        "in a list": lambda: [good],
        "under a key": lambda: {"it": good},
        "its attributes": lambda: dict(getattr(good, "__dict__", {})),
    }
