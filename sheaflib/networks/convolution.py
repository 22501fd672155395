"""Convolutions and transposed convolutions of images and signals, which own their kernels: every
pixel shares them.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.operations import NO_PATTERN, Parameter, check_parameters
from sheaflib.networks.stencil import Stencil
from sheaflib.networks.structured import Structured
from sheaflib.networks.windows import Pair, Shape, Windows, image, like, padding_of, pair
from sheaflib.support.checks import MOST, brief, read_only, real_array, room, whole


class Kernelled(Structured):
    """What both kinds of convolution share: a kernel, one bias a channel that is written, and the
    shape (channels, height, width) or (channels, length) of the image that is read.
    """

    kernel: np.ndarray
    channel_bias: np.ndarray
    shape: Shape
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int
    stencil: Stencil

    def _keep(self, kernel: np.ndarray, bias: ArrayLike | None, channels: int, **more: Any) -> None:
        """Set the attributes; `channels` is how many are written."""
        bias = np.zeros(channels) if bias is None else real_array("bias", bias, (channels,))
        arrays = {"kernel": read_only(kernel), "channel_bias": read_only(bias)}
        for name, value in (arrays | more).items():
            object.__setattr__(self, name, value)

    @property
    def written(self) -> Shape:
        """The shape of the image that it writes."""
        raise NotImplementedError

    @property
    def reads(self) -> Shape:
        return self.shape

    def out_shape(self, reads: Sequence[Shape | None]) -> Shape | None:
        return self.written

    @property
    def n_in(self) -> int:
        return math.prod(self.shape)

    @property
    def n_out(self) -> int:
        return math.prod(self.written)

    @property
    def entries(self) -> int:
        return self.stencil.entries

    @cached_property
    def bias(self) -> np.ndarray:
        return read_only(np.repeat(self.channel_bias, self.n_out // len(self.channel_bias)))

    @property
    def _grouped(self) -> np.ndarray:
        """The kernel as a stencil takes it: (groups, channels, channels, height, width)."""
        shape, size = self.kernel.shape, self.stencil.windows.size
        return self.kernel.reshape(self.groups, shape[0] // self.groups, shape[1], *size)

    def _norm_bound(self) -> float:
        return self.stencil.norm_bound(self._grouped)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """kernel, which all pixels share, and bias, one number a channel that is written."""
        return {"kernel": self.kernel, "bias": self.channel_bias}

    def with_parameters(self, **parameters: Parameter) -> Kernelled:
        return type(self)(**(self._arguments() | check_parameters(self, parameters)))

    def _arguments(self) -> dict:
        axes = self.kernel.ndim - 2
        found = {name: getattr(self, name)[-axes:] for name in ("stride", "padding", "dilation")}
        given = {"shape": self.shape, "groups": self.groups}
        return {"kernel": self.kernel, "bias": self.channel_bias, **given, **found}

    def __repr__(self) -> str:
        size = " × ".join(map(str, self.kernel.shape[2:]))
        return f"{type(self).__name__}({self.shape} -> {self.written}, {size})"


class Convolution(Kernelled):
    """A convolution (cross-correlation, as in deep learning); its arguments are those of
    `layers.convolution`.

    >>> Convolution(np.ones((1, 1, 2, 2)), (1, 3, 3)).value(np.ones((1, 9)))
    array([[4., 4., 4., 4.]])
    """

    def __init__(
        self,
        kernel: ArrayLike,
        shape: Sequence[int],
        bias: ArrayLike | None = None,
        stride: int | Pair = 1,
        padding: Any = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
    ):
        c_in = image(shape)[0]
        kernel, size, groups = _kernel(kernel, shape, groups)
        c_out, read = kernel.shape[:2]
        if read * groups != c_in or c_out % groups:
            raise ValueError(_misfit(kernel.shape, c_in, groups))
        strides, dilations, pads = _placing(shape, size, stride, padding, dilation)
        windows = Windows.fit("kernel", shape, size, strides, pads, dilations)
        room("shape", shape, c_out * math.prod(windows.count))
        self._keep(
            kernel,
            bias,
            c_out,
            shape=tuple(int(n) for n in shape),
            stride=strides,
            padding=pads,
            dilation=dilations,
            groups=groups,
            stencil=Stencil(c_in, c_out, groups, windows),
        )

    @property
    def written(self) -> Shape:
        return like(self.shape, self.stencil.c_out, self.stencil.windows.count)

    def matrix(self) -> sp.sparse.csr_array:
        return self.stencil.matrix(self._grouped)

    def value(self, a: np.ndarray, s: np.ndarray | None = None) -> np.ndarray:
        if self.stored:
            return super().value(a)
        return self.stencil.apply(self._grouped, a, self.channel_bias)

    def _apply(self, a: np.ndarray, absolute: bool = False) -> np.ndarray:
        return self.stencil.apply(np.abs(self._grouped) if absolute else self._grouped, a, None)

    def _apply_adjoint(self, e: np.ndarray, absolute: bool = False) -> np.ndarray:
        return self.stencil.adjoint(np.abs(self._grouped) if absolute else self._grouped, e, None)

    def gradient(
        self, a: np.ndarray, e: np.ndarray, s: np.ndarray = NO_PATTERN
    ) -> dict[str, Parameter]:
        """The gradient of Σ_i ⟨e_i, F(a_i)⟩ by "kernel" and "bias", of their shapes: summed over
        the batch and over the pixels that share them.
        """
        kernel = self.stencil.gradient(a, e).reshape(self.kernel.shape)
        return {"kernel": kernel, "bias": e.reshape(len(e), len(self.channel_bias), -1).sum((0, 2))}


class TransposedConvolution(Kernelled):
    """The adjoint of a convolution, plus a bias; its arguments are those of `layers.transposed`.

    >>> TransposedConvolution(np.ones((1, 1, 2, 2)), (1, 1, 2), stride=2).value([[1.0, 2.0]])
    array([[1., 1., 2., 2., 1., 1., 2., 2.]])
    """

    output_padding: Pair

    def __init__(
        self,
        kernel: ArrayLike,
        shape: Sequence[int],
        bias: ArrayLike | None = None,
        stride: int | Pair = 1,
        padding: Any = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        dilation: int | Pair = 1,
    ):
        c_in, *sides = image(shape)
        kernel, size, groups = _kernel(kernel, shape, groups)
        axes = len(shape) - 1
        if kernel.shape[0] != c_in or c_in % groups:
            raise ValueError(
                f"kernel has shape {kernel.shape}, expected ({c_in}{', any' * (axes + 1)}) with"
                f" {c_in} a multiple of groups={groups}"
            )
        if isinstance(padding, str):
            raise ValueError(f"padding={brief(padding)}, expected numbers")
        strides, dilations, pads = _placing(shape, size, stride, padding, dilation)
        more = pair("output_padding", output_padding, axes, 0, 0)
        if any(p >= max(s, d) for p, s, d in zip(more, strides, dilations)):
            raise ValueError(
                f"output_padding={brief(output_padding)} must be smaller than stride or dilation"
            )
        height, width = (
            (n - 1) * s - sum(p) + d * (k - 1) + extra + 1
            for n, k, s, p, d, extra in zip(sides, size, strides, pads, dilations, more)
        )
        c_out = kernel.shape[1] * groups
        room("shape", shape, c_out * max(height, 1) * max(width, 1))
        if min(height, width) < 1:
            raise ValueError(
                f"padding={brief(padding)} leaves nothing of an image of shape {tuple(shape)}"
            )
        before = (pads[0][0], pads[1][0])
        windows = Windows((height, width), size, strides, before, dilations, (sides[0], sides[1]))
        room("padding", padding, c_out * math.prod(windows.extent))
        self._keep(
            kernel,
            bias,
            c_out,
            shape=tuple(int(n) for n in shape),
            stride=strides,
            padding=pads,
            dilation=dilations,
            groups=groups,
            stencil=Stencil(c_out, c_in, groups, windows),
            output_padding=more,
        )

    @property
    def written(self) -> Shape:
        return like(self.shape, self.stencil.c_in, self.stencil.windows.sides)

    def matrix(self) -> sp.sparse.csr_array:
        return self.stencil.matrix(self._grouped).T.tocsr()

    def value(self, a: np.ndarray, s: np.ndarray | None = None) -> np.ndarray:
        a = np.asarray(a)
        if self.stored:
            return super().value(a)
        return self.stencil.adjoint(self._grouped, a, self.channel_bias)

    def _apply(self, a: np.ndarray, absolute: bool = False) -> np.ndarray:
        return self.stencil.adjoint(np.abs(self._grouped) if absolute else self._grouped, a, None)

    def _apply_adjoint(self, e: np.ndarray, absolute: bool = False) -> np.ndarray:
        return self.stencil.apply(np.abs(self._grouped) if absolute else self._grouped, e, None)

    def gradient(
        self, a: np.ndarray, e: np.ndarray, s: np.ndarray = NO_PATTERN
    ) -> dict[str, Parameter]:
        """The gradient of Σ_i ⟨e_i, F(a_i)⟩ by "kernel" and "bias", of their shapes."""
        kernel = self.stencil.gradient(e, a).reshape(self.kernel.shape)
        return {"kernel": kernel, "bias": e.reshape(len(e), len(self.channel_bias), -1).sum((0, 2))}

    def _arguments(self) -> dict:
        axes = self.kernel.ndim - 2
        return super()._arguments() | {"output_padding": self.output_padding[-axes:]}


def _kernel(kernel: ArrayLike, shape: Sequence[int], groups: int) -> tuple[np.ndarray, Pair, int]:
    """The kernel as an array, its size as (height, width), and the number of groups, checked."""
    kernel, groups = (
        real_array("kernel", kernel, (None,) * (len(shape) + 1)),
        whole("groups", groups, most=MOST),
    )
    if 0 in kernel.shape:
        raise ValueError(f"kernel has shape {kernel.shape}, expected all sides ≥ 1")
    size = kernel.shape[2:] if kernel.ndim == 4 else (1, kernel.shape[2])
    return kernel, (size[0], size[1]), groups


def _placing(
    shape: Sequence[int], size: Pair, stride: Any, padding: Any, dilation: Any
) -> tuple[Pair, Pair, tuple[Pair, Pair]]:
    """stride, dilation and padding as pairs."""
    axes = len(shape) - 1
    strides, dilations = pair("stride", stride, axes), pair("dilation", dilation, axes)
    return strides, dilations, padding_of(padding, axes, size, strides, dilations)


def _misfit(shape: tuple[int, ...], c_in: int, groups: int) -> str:
    """What is wrong with a kernel of this shape."""
    c_out, read, *size = shape
    sides = ", any" * len(size)
    if c_in % groups or c_out % groups:
        return f"groups={groups} must divide the {c_in} channels read and the {c_out} written"
    hint = ""
    if groups == 1 and read < c_in and c_in % read == 0 and c_out % (c_in // read) == 0:
        hint = f": pass groups={c_in // read}, or a kernel that reads all channels"
    return f"kernel has shape {shape}, expected (any, {c_in // groups}{sides}){hint}"
