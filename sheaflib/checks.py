"""Argument checks shared by every public function: name the argument, what came, what was expected."""

from __future__ import annotations

import numpy as np


def real_array(name: str, value, shape: tuple | None = None) -> np.ndarray:
    """Return `value` as a finite float64 array; `shape` may hold None for "any size".

    Raises TypeError for complex, object and string arrays, ValueError for NaN, infinity, ragged nesting
    and a shape that does not fit.
    """
    try:
        array = np.asarray(value)
    except ValueError as ragged:
        raise ValueError(f"{name} is ragged: {ragged}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}, expected real numbers (bool, int or float)")
    array = array.astype(np.float64, copy=False)
    if shape is not None and not _fits(array.shape, shape):
        raise ValueError(f"{name} has shape {array.shape}, expected {_show(shape)}")
    if not np.isfinite(array).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, got {array[bad]} at index {bad}")
    return array


def batch(name: str, value, width: int) -> np.ndarray:
    """Return `value` as a finite float64 batch of shape (B, width), B ≥ 1."""
    array = real_array(name, value)
    if array.ndim == 1 and array.shape[0] == width:
        raise ValueError(f"{name} has the wrong shape: got ({width},), expected (B, {width}): use {name}[None]")
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"{name} has the wrong shape: got {array.shape}, expected (B, {width})")
    if array.shape[0] == 0:
        raise ValueError(f"{name} is an empty batch: got (0, {width}), expected (B, {width}) with B ≥ 1")
    return array


def positive(name: str, value, zero: bool = False) -> float:
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


def whole(name: str, value, least: int = 1) -> int:
    """Return `value` as an int ≥ `least`; TypeError when it is not a whole number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}={value!r} must be a whole number")
    if value < least:
        raise ValueError(f"{name}={value} must be ≥ {least}")
    return int(value)


def read_only(value):
    """A copy that its owner can keep: a read-only array, or a copied sparse matrix; a LinearOperator is returned as it is."""
    if hasattr(value, "copy"):
        value = value.copy()
    for array in (value,) if isinstance(value, np.ndarray) else (getattr(value, part, None) for part in ("data", "indices", "indptr")):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return value


def _fits(shape: tuple, expected: tuple) -> bool:
    return len(shape) == len(expected) and all(e is None or s == e for s, e in zip(shape, expected))


def _show(shape: tuple) -> str:
    sizes = ["any" if s is None else str(s) for s in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
