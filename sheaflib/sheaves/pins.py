"""Pinned neurons: some coordinates of a cochain clamped (hard) or tied by a spring of stiffness γ
(soft) (§5.1 of the paper).

A soft pin is a penalty edge √γ to a vertex that holds the wanted value; γ → ∞ is the hard pin,
which makes the boundary grow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.networks.graph import A_OUT, INPUT
from sheaflib.sheaves.layout import Layout
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.support.checks import brief, flag, items, positive, read_only, real_array, room, whole
from sheaflib.support.sums import sums

Rows = slice | list[int] | np.ndarray  # some samples of a batch
FAR = 2**31  # no coordinate of a stalk is named by a larger number


def keeps_all(keep: Rows, n: int) -> bool:
    """Whether `keep` names all n samples, in their order, so that nothing need be copied."""
    if isinstance(keep, slice):
        return False
    keep = np.asarray(keep)
    if len(keep) != n:
        return False
    return bool(keep.all() if keep.dtype == bool else (keep == np.arange(n)).all())


@dataclass(frozen=True, eq=False)
class Pin:
    """A wish for one stalk: `value` for the coordinates `at` (all by default), stiffness γ
    (infinite: hard).
    """

    stalk: str
    value: np.ndarray
    at: tuple[int, ...] | None
    gamma: float

    def __repr__(self) -> str:
        place = "" if self.at is None else str(list(self.at))
        hold = "hard" if np.isinf(self.gamma) else f"soft γ={self.gamma:g}"
        return f"Pin({self.stalk}{place}, {hold})"


def hard(stalk: str, value: ArrayLike, at: int | Sequence[int] | None = None) -> Pin:
    """Make a hard pin, which clamps coordinates of a stalk.

    A clamped coordinate keeps its value whatever its neighbours say, so it belongs to the boundary.

    Parameters
    ----------
    stalk : str
        The name of the stalk, such as ``"z1"`` or ``"a_out"``.
    value : array_like, scalar or shape (n,) or (B, n)
        The value: one number, one number for each of the n coordinates, or one row for each sample.
    at : int or sequence of int, optional
        Which coordinates of the stalk are pinned; all of them by default. Negative numbers count
        from the end, as in a list.

    Returns
    -------
    Pin
        The pin, for the argument `pins` of a solver or a flow.

    Raises
    ------
    TypeError
        If `stalk` is no text, or `value` or `at` holds no numbers.
    ValueError
        If a number of `value` is not finite.

    Notes
    -----
    In the paper: section 5.1.

    Examples
    --------
    >>> from sheaflib import hard
    >>> hard("z1", 0.5, at=0)
    Pin(z1[0], hard)
    """
    return _pin(stalk, value, at, np.inf)


def soft(stalk: str, value: ArrayLike, gamma: float, at: int | Sequence[int] | None = None) -> Pin:
    """Make a soft pin, a spring that pulls coordinates of a stalk towards a value.

    The force on a coordinate v with the wanted value v* is ``−γ(v − v*)``. A soft pin is a penalty
    edge √γ to a vertex that holds the value; for γ → ∞ it becomes the hard pin.

    Parameters
    ----------
    stalk : str
        The name of the stalk, such as ``"z1"`` or ``"a_out"``.
    value : array_like, scalar or shape (n,) or (B, n)
        The wanted value: one number, one number for each of the n coordinates, or one row for each
        sample.
    gamma : float
        The stiffness γ of the spring, a positive number.
    at : int or sequence of int, optional
        Which coordinates of the stalk are pinned; all of them by default. Negative numbers count
        from the end, as in a list.

    Returns
    -------
    Pin
        The pin, for the argument `pins` of a solver or a flow.

    Raises
    ------
    TypeError
        If `stalk` is no text, or another argument holds no numbers.
    ValueError
        If `gamma` is not positive, or a number of `value` is not finite.

    Notes
    -----
    In the paper: section 5.1; the penalty edge √γ as reported.

    Examples
    --------
    >>> from sheaflib import soft
    >>> soft("z1", 0, gamma=10)
    Pin(z1, soft γ=10)
    """
    return _pin(stalk, value, at, positive("gamma", gamma))


def _pin(stalk: str, value: ArrayLike, at: int | Sequence[int] | None, gamma: float) -> Pin:
    if not isinstance(stalk, str):
        raise TypeError(f"stalk={brief(stalk)}, expected the name of a stalk")
    if at is not None:
        at = _places(at)
    return Pin(stalk, read_only(real_array("value", value)), at, gamma)


def _places(at: int | Sequence[int]) -> tuple[int, ...]:
    """The coordinates of a stalk that are named, which may be below 0 as in a list."""
    if isinstance(at, np.ndarray) and at.dtype.kind == "i" and at.ndim == 1:
        at = at.tolist()
    places = items("at", at) if hasattr(at, "__iter__") else [at]
    if set(map(type, places)) == {int} and -FAR <= min(places) and max(places) <= FAR:
        return tuple(places)
    return tuple(whole("at", i, least=-FAR, most=FAR) for i in places)


@dataclass(frozen=True, eq=False)
class Pins:
    """Pins as flat indices into a cochain, for a batch of B samples.

    hard_index (h,), hard_value (B, h); soft_index (s,), soft_value (B, s), gamma (s,). Disjoint:
    hard wins over soft. Springs that share a coordinate are one spring and a constant energy,
    `offset` (B,).
    """

    width: int
    hard_index: np.ndarray
    hard_value: np.ndarray
    soft_index: np.ndarray
    soft_value: np.ndarray
    gamma: np.ndarray
    offset: np.ndarray

    def __bool__(self) -> bool:
        return bool(len(self.hard_index) or len(self.soft_index))

    def rows(self, keep: Rows) -> Pins:
        """The pins of some samples; keep: a slice, indices or (B,) of bool."""
        return replace(
            self,
            hard_value=self.hard_value[keep],
            soft_value=self.soft_value[keep],
            offset=self.offset[keep],
        )

    def holding(self, index: np.ndarray, at: np.ndarray | float = 0.0) -> Pins:
        """These pins of one sample with the coordinates `index` clamped too, `at` one number each
        or 0; a clamped one has no spring.
        """
        new, where = index[~np.isin(index, self.hard_index)], np.broadcast_to(at, index.shape)
        value = where[~np.isin(index, self.hard_index)]
        soft = ~np.isin(self.soft_index, new)
        return Pins(
            self.width,
            np.concatenate([self.hard_index, new]),
            np.hstack([self.hard_value, value[None]]),
            self.soft_index[soft],
            self.soft_value[:, soft],
            self.gamma[soft],
            self.offset,
        )

    @property
    def free(self) -> np.ndarray:
        """Which coordinates are not clamped: (width,) of bool."""
        free = np.ones(self.width, dtype=bool)
        free[self.hard_index] = False
        return free

    def impose(self, w: np.ndarray) -> np.ndarray:
        """A copy of w (B, width) with the hard pins set."""
        w = w.copy()
        w[:, self.hard_index] = self.hard_value
        return w

    def stretch(self, w: np.ndarray) -> np.ndarray:
        """w − v* on the soft pins: (B, s)."""
        return w[:, self.soft_index] - self.soft_value

    def energy(self, w: np.ndarray) -> np.ndarray:
        """½ Σ γ (w − v*)² of the penalty edges: (B,)."""
        return 0.5 * (self.gamma * self.stretch(w) ** 2).sum(axis=1) + self.offset

    def apply(self, w: np.ndarray, f: np.ndarray) -> np.ndarray:
        """The force f (B, width) at w with −γ(w − v*) added on soft pins and 0 on clamped
        coordinates (in place).
        """
        f[:, self.soft_index] -= self.gamma * self.stretch(w)
        f[:, self.hard_index] = 0
        return f


def resolve(
    sheaf: NeuralSheaf, pins: Pin | Sequence[Pin] | Pins, n_batch: int, augmented: bool = False
) -> Pins:
    """Turn pins into flat indices; a_out can be pinned when `augmented` and the output is sigmoid
    or softmax.

    Soft pins on one coordinate act like parallel springs. Pins that are turned already come back as
    they are. Raises ValueError for an unknown stalk, a coordinate outside it, a value of the wrong
    shape, two hard pins that contradict, and pins turned for cochains of another width or for
    another number of samples.
    """
    check_sheaf(sheaf)
    layout = sheaf.augmented_layout if flag("augmented", augmented) else sheaf.layout
    n_batch = whole("n_batch", n_batch)
    room("n_batch", n_batch, n_batch)
    if isinstance(pins, Pins):
        if pins.width != layout.size:
            raise ValueError(
                f"pins are for cochains of width {pins.width}, expected {layout.size}:"
                f" {'with' if augmented else 'without'} a_out"
            )
        if len(pins.offset) != n_batch:
            raise ValueError(
                f"pins are for {len(pins.offset)} samples, expected {n_batch}: one a row of x"
            )
        return pins
    if not isinstance(pins, (Pin, list, tuple)):
        raise TypeError(
            f"pins is {brief(pins)}, expected a pin or a sequence of pins made by hard(…) or"
            " soft(…)"
        )
    pins = [pins] if isinstance(pins, Pin) else pins
    found = [_coordinates(pin, sheaf, layout, n_batch) for pin in pins]
    is_hard = [isinstance(pin, Pin) and np.isinf(pin.gamma) for pin in pins]
    hard_index, hard_value, _ = _together([f for f, own in zip(found, is_hard) if own], n_batch)
    hard_index, hard_value = _once(hard_index, hard_value, layout)
    loose = _together([f for f, own in zip(found, is_hard) if not own], n_batch)
    return Pins(
        layout.size, hard_index, hard_value, *_parallel(*_beyond(hard_index, *loose), n_batch)
    )


def resolve_places(
    sheaf: NeuralSheaf, pins: Pin | Sequence[Pin] | Pins, n_batch: int, augmented: bool = False
) -> Pins:
    """As `resolve`, for whoever reads where the pins are and how stiff, but not their values: pins
    that are turned already may be for any number of samples.
    """
    n_batch = len(pins.offset) if isinstance(pins, Pins) else n_batch
    return resolve(sheaf, pins, n_batch, augmented)


Placed = tuple[np.ndarray, np.ndarray, np.ndarray]  # places (K,), values (B, K), stiffness (K,)


def _coordinates(pin: Pin, sheaf: NeuralSheaf, layout: Layout, n_batch: int) -> Placed:
    """The flat indices that one pin names, the values of every sample there, and its stiffness."""
    if not isinstance(pin, Pin):
        raise TypeError(f"pins holds {brief(pin)}, expected pins made by hard(…) or soft(…)")
    if pin.stalk == A_OUT and A_OUT in sheaf.augmented_layout and A_OUT not in layout:
        raise ValueError(
            f"stalk {A_OUT!r} is unknown, expected one of {', '.join(layout.names)}: pins on it"
            " need a start that holds it, or logits z"
        )
    if pin.stalk == INPUT:
        raise ValueError(
            f"stalk {INPUT!r} is boundary already, expected one of {', '.join(layout.names)}: give"
            " another input instead"
        )
    s = layout[pin.stalk]
    width = s.stop - s.start
    at = np.arange(width) if pin.at is None else np.array(pin.at, dtype=np.int64)
    outside = np.flatnonzero((at < -width) | (at >= width))
    if len(outside):
        raise ValueError(
            f"pin at={at[outside[0]]} is out of range: {pin.stalk!r} has coordinates 0 …"
            f" {width - 1}"
        )
    if pin.value.shape not in ((), (len(at),), (n_batch, len(at))):
        classes = pin.value.shape in ((n_batch,), (n_batch, 1)) and (pin.value % 1 == 0).all()
        hint = f": classes are pinned as one-hot rows, np.eye({len(at)})[y] for integers y"
        raise ValueError(
            f"pin value on {pin.stalk!r} has shape {pin.value.shape}, "
            f"expected a number, ({len(at)},) or ({n_batch}, {len(at)}){hint if classes else ''}"
        )
    value = np.broadcast_to(pin.value, (n_batch, len(at)))
    return s.start + at % width, value, np.broadcast_to(pin.gamma, len(at))


def _together(parts: list[Placed], n_batch: int) -> Placed:
    """What several pins name, one after the other."""
    if not parts:
        return np.zeros(0, dtype=int), np.zeros((n_batch, 0)), np.zeros(0)
    places, values, gammas = zip(*parts)
    return np.concatenate(places), np.concatenate(values, axis=1), np.concatenate(gammas)


def _once(places: np.ndarray, values: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Hard pins with every place once, in rising order; ValueError where two contradict."""
    order = np.argsort(places, kind="stable")
    again = np.flatnonzero(places[order][1:] == places[order][:-1])
    first, second = order[again], order[again + 1]
    differ = values[:, first] != values[:, second]
    wrong = np.flatnonzero(differ.any(axis=0))
    if len(wrong):
        k = wrong[np.argmin(second[wrong])]  # the first pin that contradicts one before it
        i = int(np.argmax(differ[:, k]))
        raise ValueError(
            f"two hard pins contradict on {layout.label(int(places[first[k]]))}:"
            f" {values[i, first[k]]:g} and {values[i, second[k]]:g} in sample {i}"
        )
    order = np.delete(order, again)
    return places[order], np.take(values, order, axis=1)


def _beyond(
    clamped: np.ndarray, places: np.ndarray, values: np.ndarray, gammas: np.ndarray
) -> Placed:
    """The springs on places that are not clamped."""
    free = np.flatnonzero(~np.isin(places, clamped))
    return places[free], np.take(values, free, axis=1), gammas[free]


def _parallel(
    places: np.ndarray, values: np.ndarray, gammas: np.ndarray, n_batch: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Springs as one a place, in rising order: the places (s,), where each rests (B, s), its
    stiffness (s,), and the energy that is left there in all, (B,).
    """
    index, own = np.unique(places, return_inverse=True)
    stiffness = sums(own, gammas[None], len(index))[0]
    rest = sums(own, gammas * values, len(index)) / stiffness
    left = 0.5 * sums(own, gammas * (values - rest[:, own]) ** 2, len(index))
    offset = sums(np.zeros(len(index), dtype=int), left, 1)[:, 0]
    return index, rest, stiffness, offset
