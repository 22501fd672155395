"""Names ↔ slices of a flat array: where each stalk lies in a cochain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Mapping

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.support.checks import brief, instance, real_array, whole


@dataclass(frozen=True)
class Layout:
    """Consecutive named blocks of a flat array, in order; `shapes` may say of each that it holds an
    image (channels, height, width) or a signal (channels, length), None of a vector.

    >>> layout = Layout(("z1", "a1", "z2"), (4, 4, 1))
    >>> layout["a1"], layout.size, layout.label(5)
    (slice(4, 8, None), 9, 'a1[1]')
    >>> Layout(("z1",), (12,), ((2, 2, 3),)).label(11)
    'z1[channel 1, row 1, column 2]'
    """

    names: tuple[str, ...]
    dims: tuple[int, ...]
    shapes: tuple[tuple[int, ...] | None, ...] = ()

    @cached_property
    def slices(self) -> dict[str, slice]:
        ends = np.cumsum(self.dims, dtype=int).tolist()
        return {name: slice(end - n, end) for name, n, end in zip(self.names, self.dims, ends)}

    @property
    def size(self) -> int:
        return sum(self.dims)

    def __getitem__(self, name: str) -> slice:
        try:
            return self.slices[name]
        except (KeyError, TypeError):  # unknown, or without a hash
            names = ", ".join(map(str, self.names))
            raise ValueError(f"stalk {brief(name)} is unknown, expected one of {names}") from None

    def __contains__(self, name: object) -> bool:
        try:
            return name in self.slices
        except TypeError:  # it has no hash
            return False

    def split(self, w: np.ndarray) -> dict[str, np.ndarray]:
        """Views of w (…, size or more) by name, nothing checked."""
        return {name: w[..., s] for name, s in self.slices.items()}

    def join(self, parts: Mapping[str, ArrayLike]) -> np.ndarray:
        """The flat array (B, size) of a mapping name -> (B, n), of whose other names nothing is
        read; ValueError when a name is missing or a shape is off.
        """
        instance("parts", parts, Mapping, "a mapping name -> (B, n)")
        missing = [name for name in self.names if name not in parts]
        if missing:
            raise ValueError(f"parts lacks {', '.join(missing)}; expected {', '.join(self.names)}")
        return np.concatenate(
            [
                real_array(f"parts[{name!r}]", parts[name], (None, n))
                for name, n in zip(self.names, self.dims)
            ],
            axis=1,
        )

    def locate(self, index: int) -> tuple[str, int]:
        """The block and the place in it of one flat index."""
        index = whole("index", index, least=0, most=self.size - 1)
        return next((name, index - s.start) for name, s in self.slices.items() if index < s.stop)

    def label(self, index: int) -> str:
        """The block and place of one flat index as text, "a1[1]", or of a pixel "a1[channel 0, row
        1, column 2]".
        """
        name, place = self.locate(index)
        shape = self.shapes[self.names.index(name)] if self.shapes else None
        if shape is None:
            return f"{name}[{place}]"
        axes = ("channel", "row", "column") if len(shape) == 3 else ("channel", "place")
        where = zip(axes, np.unravel_index(place, shape))
        return f"{name}[{', '.join(f'{axis} {at}' for axis, at in where)}]"
