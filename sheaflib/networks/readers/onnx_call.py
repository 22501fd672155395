"""One node of an ONNX file as an operator's function sees it: its attributes and inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sheaflib.networks.readers.tracing import Tracer
from sheaflib.networks.readers.views import View
from sheaflib.support.checks import brief

Tensor = View | np.ndarray


@dataclass(frozen=True)
class Call:
    """An operator applied to tensors.

    label: the name of the layer; node: of ONNX; attributes: by name; inputs: a View where a number
    depends on the model's input, else an array, None where one is left out; opset: the version.
    """

    label: str
    node: Any
    attributes: dict[str, Any]
    inputs: list[Tensor | None]
    opset: int
    tracer: Tracer

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, text as str."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def given(self, place: int) -> Tensor | None:
        """The input at a place, None where there is none."""
        return self.inputs[place] if place < len(self.inputs) else None

    def view(self, place: int = 0) -> View:
        """The input at a place, which depends on the model's input; ValueError if it does not."""
        value = self.given(place)
        if not isinstance(value, View):
            found = next(k for k, tensor in enumerate(self.inputs) if isinstance(tensor, View))
            raise ValueError(
                f"its input {found} is computed from the model's input, expected its input {place}"
                " to be so, and this one a constant"
            )
        return value

    def constant(self, place: int, default: Any = None) -> Any:
        """The input at a place as an array, numbers as float64; ValueError where it is computed."""
        value = self.given(place)
        if isinstance(value, View):
            raise ValueError(f"its input {place} is computed from the model's input")
        if value is None:
            return default
        return value.astype(np.float64) if value.dtype.kind == "f" else value

    def numbers(self, name: str, place: int, default: Any = None) -> Any:
        """What old versions give as an attribute and new ones as an input: a list, or one number,
        or the default.
        """
        if name in self.attributes:
            return self.attributes[name]
        value = self.constant(place)
        return default if value is None else value.tolist()

    def axes(self, place: int, rank: int, default: Any = None) -> list[int] | None:
        """The axes that an attribute or an input names, each in 0 … rank − 1."""
        found = self.numbers("axes", place, default)
        if found is None:
            return None
        found = [found] if isinstance(found, int) else found
        if any(not -rank <= axis < rank for axis in found):
            raise ValueError(f"axes={brief(found)}, expected −{rank} … {rank - 1}")
        return [axis % rank for axis in found]
