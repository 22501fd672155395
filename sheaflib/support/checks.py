"""Argument checks shared by every public function: name the argument, what came, what was
expected.
"""

from __future__ import annotations

import reprlib
from itertools import chain
from typing import Collection, Iterable, Sequence, TypeVar

import numpy as np
import scipy as sp

T = TypeVar("T")
DEEPEST = 64  # lists within lists: as many dimensions as an array can have
MOST = 2**31 - 1  # numbers in an array that an argument asks for


def brief(value: object) -> str:
    """`value` as a short text for a message, also where it cannot be printed."""
    try:
        return reprlib.repr(value)
    except Exception:
        if isinstance(value, int):  # Python prints no number of more than 4300 digits
            return f"about {'-' if value < 0 else ''}2**{value.bit_length() - 1}"
        return f"<{type(value).__name__}>"


def real_array(name: str, value: object, shape: tuple | None = None) -> np.ndarray:
    """Return `value` as a finite float64 array; `shape` may hold None for "any size".

    Numbers of other types become the nearest float64, so that whole numbers beyond 2⁵³ are rounded
    as float(n) rounds them. A masked array of which no entry is masked counts as its data.

    Raises TypeError for complex, object, structured and string arrays and for a tensor that wants
    gradients, ValueError for masked entries, NaN, infinity, numbers beyond float64, ragged nesting
    and a shape that does not fit.
    """
    unmasked(name, value)
    array = even(name, value)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} has dtype {array.dtype}, expected real numbers (bool, int or float)"
        )
    with np.errstate(over="ignore"):  # of a long double: told apart below
        numbers = array.astype(np.float64, copy=False)
    if shape is not None and not _fits(numbers.shape, shape):
        raise ValueError(f"{name} has shape {numbers.shape}, expected {_show(shape)}")
    if not np.isfinite(numbers).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
        if np.isfinite(array[bad]):
            raise ValueError(
                f"{name} holds {array[bad]!s} at index {bad}, which is finite but too "
                "large for float64, expected at most 1.8e308 in size"
            )
        raise ValueError(f"{name} must be finite, got {numbers[bad]} at index {bad}")
    return numbers


def unmasked(name: str, value: object) -> None:
    """Raise ValueError when `value` is a masked array, or holds one, with an entry that is masked.

    What lies under a mask is no datum, but every function of NumPy that drops the mask would
    compute with it.
    """
    index = _first_masked(value)
    if index is not None:
        raise ValueError(
            f"{name} is masked at index {index}, expected no masked entries: fill them "
            "with numbers by its method filled(…), or leave these entries out"
        )


def _first_masked(value: object, above: tuple[int, ...] = ()) -> tuple[int, ...] | None:
    """The index of the first masked entry of an array, or of arrays in lists and tuples.

    above: the lists around it. One that holds itself, or more of them than NumPy has dimensions,
    make no array at all, which `even` says.
    """
    if isinstance(value, np.ma.MaskedArray):
        if value.dtype.names or not np.ma.is_masked(value):
            return None
        return tuple(int(i) for i in np.argwhere(np.ma.getmaskarray(value))[0])
    if isinstance(value, (list, tuple)) and id(value) not in above and len(above) < DEEPEST:
        for i, part in enumerate(value):
            if isinstance(part, (list, tuple, np.ma.MaskedArray)):
                inner = _first_masked(part, (*above, id(value)))
                if inner is not None:
                    return (i, *inner)
    return None


def indices(name: str, value: object, size: int) -> np.ndarray:
    """Return `value` as int64 numbers in 0 … size − 1, of any shape: what may index memory.

    Raises TypeError for numbers that are not whole, ValueError for one outside and masked entries.
    """
    unmasked(name, value)
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}, expected whole numbers")
    outside = (array < 0) | (array >= size)
    if outside.any():
        bad = tuple(int(i) for i in np.argwhere(outside)[0])
        raise ValueError(f"{name} holds {array[bad]} at index {bad}, expected 0 … {size - 1}")
    return array.astype(np.int64)


def sparse_matrix(name: str, value: sp.sparse.sparray) -> sp.sparse.csr_array:
    """Return a SciPy sparse array or matrix of any format as new, finite float64 CSR arrays.

    Indices are sorted and duplicates summed. SciPy looks at the indices of a matrix when it is
    made, if at all, and its compiled loops trust them; so everything is looked at here, before
    any such loop runs. Raises ValueError for a part that does not fit the shape, naming it, and
    as `real_array` for the entries.
    """
    rows: Sequence[int] | np.ndarray
    columns: Sequence[int] | np.ndarray
    data: Sequence[float] | np.ndarray
    if value.ndim != 2:
        raise ValueError(f"{name} has shape {value.shape}, expected two dimensions")
    if value.format in ("csr", "csc", "bsr"):
        return compressed(name, value.format, value.data, value.indices, value.indptr, value.shape)
    if value.format == "lil":
        lengths = [[len(part) for part in parts] for parts in (value.rows, value.data)]
        if len(lengths[0]) != value.shape[0] or lengths[0] != lengths[1]:
            raise ValueError(
                f"{name}.rows and {name}.data hold lists of other lengths, expected "
                f"{value.shape[0]} lists of each, as long as each other"
            )
        rows = np.repeat(np.arange(len(lengths[0])), lengths[0])
        columns, data = (list(chain.from_iterable(parts)) for parts in (value.rows, value.data))
    elif value.format == "dok":
        rows, columns = zip(*value.keys()) if value.keys() else ((), ())
        data = list(value.values())
    elif value.format == "dia":
        offsets = np.asarray(value.offsets)
        if (
            np.ndim(value.data) != 2
            or offsets.shape != np.shape(value.data)[:1]
            or offsets.dtype.kind not in "iu"
        ):
            raise ValueError(
                f"{name}.offsets has shape {offsets.shape} and dtype {offsets.dtype}, expected "
                f"whole numbers, one a row of {name}.data, whose shape is {np.shape(value.data)}"
            )
        unmasked(f"{name}.data", value.data)
        value = value.tocoo()  # NumPy alone; it leaves out what lies outside
        rows, columns, data = value.coords[0], value.coords[1], value.data
    elif value.format == "coo":
        rows, columns, data = value.coords[0], value.coords[1], value.data
    else:
        raise TypeError(
            f"{name} has the sparse format {value.format!r}, expected csr, csc, bsr, coo, dia, "
            "lil or dok"
        )
    data = real_array(f"{name}.data", data, (None,))
    places = [
        indices(f"{name}.{part}", place if len(place) else np.zeros(0, int), size)
        for part, place, size in zip(("row", "col"), (rows, columns), value.shape)
    ]
    if any(place.shape != np.shape(data) for place in places):
        raise ValueError(
            f"{name} has {len(places[0])} row and {len(places[1])} column indices, expected "
            f"one of each for every of its {len(data)} entries"
        )
    return _summed(name, sp.sparse.coo_array((data, tuple(places)), shape=value.shape))


def compressed(
    name: str, form: str, data: object, columns: object, indptr: object, shape: Sequence[int]
) -> sp.sparse.csr_array:
    """As `sparse_matrix`, from the parts of a "csr", "csc" or "bsr" matrix of this shape."""
    blocks = (1, 1)
    data = real_array(f"{name}.data", data)
    if data.ndim != (3 if form == "bsr" else 1):
        raise ValueError(
            f"{name}.data has shape {data.shape}, expected {3 if form == 'bsr' else 1} dimensions"
        )
    if form == "bsr":
        blocks = data.shape[1:]
        if 0 in blocks or shape[0] % blocks[0] or shape[1] % blocks[1]:
            raise ValueError(
                f"{name}.data holds blocks of shape {blocks}, which do not divide the shape {shape}"
            )
    major, minor = shape[0] // blocks[0], shape[1] // blocks[1]
    if form == "csc":
        major, minor = minor, major
    columns = indices(f"{name}.indices", columns, minor)
    indptr = indices(f"{name}.indptr", indptr, len(data) + 1)
    if columns.shape != data.shape[:1]:
        raise ValueError(
            f"{name}.indices has shape {columns.shape}, expected ({len(data)},): one for every"
            f" entry of {name}.data"
        )
    if indptr.shape != (major + 1,) or indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(
            f"{name}.indptr has shape {indptr.shape}, expected ({major + 1},) numbers that begin at"
            " 0 and never fall"
        )
    used = int(indptr[-1])
    kinds = {"csr": sp.sparse.csr_array, "csc": sp.sparse.csc_array, "bsr": sp.sparse.bsr_array}
    matrix = kinds[form]((data[:used], columns[:used], indptr), shape=tuple(shape))
    return _summed(name, matrix)


def _summed(name: str, matrix: sp.sparse.sparray) -> sp.sparse.csr_array:
    """A checked matrix as CSR, duplicates summed; ValueError when a sum leaves float64."""
    matrix = sp.sparse.csr_array(matrix, copy=True)  # sum_duplicates works in place
    matrix.sum_duplicates()
    if not np.isfinite(matrix.data).all():
        raise ValueError(f"{name} holds entries at one place whose sum is too large for float64")
    return matrix


def batch(name: str, value: object, width: int) -> np.ndarray:
    """Return `value` as a finite float64 batch of shape (B, width), B ≥ 1."""
    array = real_array(name, value)
    if array.ndim == 1 and array.shape[0] == width:
        raise ValueError(
            f"{name} has the wrong shape: got ({width},), expected (B, {width}): use {name}[None]"
        )
    if array.ndim != 2 or array.shape[1] != width:
        hint = f": flatten to (n_samples, n_features), {name}.reshape(len({name}), -1)"
        raise ValueError(
            f"{name} has the wrong shape: got {array.shape}, expected (B, {width})"
            f"{hint if array.ndim > 2 else ''}"
        )
    if array.shape[0] == 0:
        raise ValueError(
            f"{name} is an empty batch: got (0, {width}), expected (B, {width}) with B ≥ 1"
        )
    return array


def positive(name: str, value: object, zero: bool = False) -> float:
    """Return `value` as a finite float > 0 (≥ 0 when `zero`)."""
    number = float(real_array(name, value, ()))
    if number < 0 or (number == 0 and not zero):
        raise ValueError(f"{name}={number:g} must be {'≥' if zero else '>'} 0")
    return number


def finite(what: str, values: np.ndarray) -> np.ndarray:
    """Return computed `values`; OverflowError when one of them has left float64."""
    if not np.isfinite(values).all():
        raise OverflowError(
            f"{what} leaves float64 (1.8e308): weights, inputs or cochains are too large"
        )
    return values


def whole(name: str, value: object, least: int = 1, most: int | None = None) -> int:
    """Return `value` as an int in least … most; TypeError when it is not a whole number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}={brief(value)} must be a whole number")
    if value < least:
        raise ValueError(f"{name}={brief(value)} must be ≥ {least}")
    if most is not None and value > most:
        raise ValueError(f"{name}={brief(value)} must be ≤ {most}")
    return int(value)


def room(name: str, value: object, count: int) -> None:
    """Raise ValueError when an argument asks for an array of so many numbers that no index of 32
    bits reaches them all.
    """
    if count > MOST:
        raise ValueError(
            f"{name}={brief(value)} asks for {brief(count)} numbers, expected at most {MOST}"
        )


def flag(name: str, value: object) -> bool:
    """Return `value` as a bool; TypeError for anything but True and False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={brief(value)}, expected True or False")
    return bool(value)


def instance(name: str, value: object, kind: type, made_by: str) -> None:
    """Raise TypeError unless `value` is an object of one class, and say by what one is made."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} is a {type(value).__name__}, expected {made_by}")


def choice(name: str, value: object, options: Collection[str]) -> str:
    """Return `value`, one of the texts `options`; ValueError for anything else."""
    if not isinstance(value, str) or value not in options:
        expected = f"expected one of {', '.join(options)}"
        raise ValueError(f"{name}={brief(value)} is unknown, {expected}")
    return value


def items(name: str, value: Iterable[T]) -> list[T]:
    """Return the entries of a list, tuple or array; TypeError for what is none of these."""
    if isinstance(value, (str, bytes, dict, set, type)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} is a {type(value).__name__}, expected a list")
    if isinstance(value, np.ndarray) and value.ndim == 0:
        raise TypeError(f"{name} is one number, expected a list")
    try:
        return list(value)
    except Exception as error:
        raise TypeError(
            f"{name} is a {type(value).__name__} that cannot be read: {error}"
        ) from None


def subclass(name: str, value: object, base: type[T]) -> type[T]:
    """Return `value`, a class that derives from `base`; TypeError for anything else."""
    if not isinstance(value, type) or not issubclass(value, base):
        raise TypeError(f"{name}={brief(value)}, expected a class like {base.__name__}")
    return value


def even(name: str, value: object) -> np.ndarray:
    """Return `value` as an array of whatever kind.

    Raises ValueError for ragged nesting, TypeError for what NumPy cannot read: a tensor of PyTorch
    that wants gradients, or a list of them.
    """
    try:
        return np.asarray(value)
    except ValueError as ragged:
        raise ValueError(f"{name} is ragged: {ragged}") from None
    except Exception as error:
        parts = value if isinstance(value, (list, tuple)) else [value]
        tensors = [part for part in parts if hasattr(part, "detach")]
        if tensors:
            raise TypeError(
                f"{name} is or holds a {type(tensors[0]).__name__} that NumPy may not read,"
                " expected numbers: pass .detach().numpy() of it, or .detach().cpu().numpy() where"
                " it is on a GPU"
            ) from None
        raise TypeError(
            f"{name} is a {type(value).__name__} that cannot be read: {error}"
        ) from None


def read_only(value: T) -> T:
    """A copy that its owner can keep: a read-only array, or a copied sparse matrix; a
    LinearOperator is returned as it is.
    """
    if hasattr(value, "copy"):
        value = value.copy()
    for array in (
        (value,)
        if isinstance(value, np.ndarray)
        else (getattr(value, part, None) for part in ("data", "indices", "indptr"))
    ):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return value


def _fits(shape: tuple, expected: tuple) -> bool:
    return len(shape) == len(expected) and all(e is None or s == e for s, e in zip(shape, expected))


def _show(shape: tuple) -> str:
    sizes = ["any" if s is None else str(s) for s in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
