"""The arithmetic of convolutions: a kernel that slides over an image, its adjoint, its gradient,
its matrix, and a bound of its norm; all of it in chunks of samples, so that memory stays small.

A chunk's windows are written out as the columns of one matrix, tap by tap ("im2col"), which the
kernel then multiplies at once. The kernel is an array (groups, c_out / groups, c_in / groups,
height, width).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterator

import numpy as np
import scipy as sp

from sheaflib.networks.windows import Windows

CHUNK = 2**19  # numbers in the matrix of a chunk's windows: it should stay in the cache
# (frequencies of the height, of the width) at which `symbol_bound` looks: the first of them that
# takes no more than COST products for each that a pass takes; 0 stands for no frequency, but for
# all taps at once
GRIDS = ((32, 32), (16, 16), (8, 8), (0, 8), (0, 0))
COST = 4
SQUARINGS = 3  # of KᴴK, until its Frobenius norm says the largest singular value


@dataclass(frozen=True)
class Stencil:
    """How a kernel with so many groups reads images of c_in channels and writes c_out channels at
    the places of its windows.
    """

    c_in: int
    c_out: int
    groups: int
    windows: Windows

    @property
    def n_in(self) -> int:
        return self.c_in * math.prod(self.windows.sides)

    @property
    def n_out(self) -> int:
        return self.c_out * math.prod(self.windows.count)

    @property
    def entries(self) -> int:
        """How many taps there are in all: the entries of the matrix, those in the padding too."""
        return self.n_out * self.c_in // self.groups * math.prod(self.windows.size)

    def _chunks(self, n_batch: int) -> Iterator[slice]:
        """Slices of a batch whose windows have about CHUNK taps."""
        one = self.c_in * math.prod(self.windows.size) * math.prod(self.windows.count)
        step = min(n_batch, max(1, CHUNK // one))
        return (slice(i, min(i + step, n_batch)) for i in range(0, n_batch, step))

    def _columns(self, a: np.ndarray) -> np.ndarray:
        """The windows of a chunk (b, n_in) of images, (groups, taps, b · windows)."""
        windows, b = self.windows, len(a)
        images = a.reshape(b, self.c_in, *windows.sides)
        read, place = windows.inner
        padded = np.zeros((b, self.c_in, *windows.extent))
        padded[:, :, place[0], place[1]] = images[:, :, read[0], read[1]]
        columns = np.empty((self.c_in, *windows.size, b, *windows.count))
        for i, j, part in self._shifts(padded):
            columns[:, i, j] = part.transpose(1, 0, 2, 3)
        return columns.reshape(self.groups, -1, b * math.prod(windows.count))

    def _shifts(self, padded: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """For each tap (i, j) the pixels that it reads, (b, c_in, *count), a view."""
        (s, t), (d, e), (m, n) = self.windows.stride, self.windows.dilation, self.windows.count
        for i, j in np.ndindex(*self.windows.size):
            rows = slice(i * d, i * d + (m - 1) * s + 1, s)
            yield i, j, padded[:, :, rows, slice(j * e, j * e + (n - 1) * t + 1, t)]

    def _written(self, e: np.ndarray) -> np.ndarray:
        """A chunk (b, n_out) of what is written as (groups, c_out / groups, b · windows)."""
        channels = e.reshape(len(e), self.c_out, -1).transpose(1, 0, 2)
        return channels.reshape(self.groups, self.c_out // self.groups, -1)

    def apply(self, kernel: np.ndarray, a: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        """The convolution of images a (B, n_in), plus one number a channel: (B, n_out)."""
        flat = kernel.reshape(*kernel.shape[:2], -1)
        out = np.empty((len(a), self.c_out, math.prod(self.windows.count)))
        for chunk in self._chunks(len(a)):
            found = np.matmul(flat, self._columns(a[chunk]))
            found = found.reshape(self.c_out, -1, out.shape[2]).transpose(1, 0, 2)
            np.add(found, 0.0 if bias is None else bias[:, None], out=out[chunk])
        return out.reshape(len(a), -1)

    def adjoint(self, kernel: np.ndarray, e: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        """The transposed convolution of e (B, n_out), plus one number a channel: (B, n_in)."""
        windows = self.windows
        flat = kernel.reshape(*kernel.shape[:2], -1).transpose(0, 2, 1)
        start = np.zeros(self.c_in) if bias is None else bias
        out = np.empty((len(e), self.c_in, *windows.sides))
        out[:] = start[:, None, None]
        read, place = windows.inner
        for chunk in self._chunks(len(e)):
            columns = np.matmul(flat, self._written(e[chunk]))
            columns = columns.reshape(self.c_in, *windows.size, -1, *windows.count)
            padded = np.zeros((columns.shape[3], self.c_in, *windows.extent))
            for i, j, part in self._shifts(padded):
                part += columns[:, i, j].transpose(1, 0, 2, 3)
            out[chunk, :, read[0], read[1]] += padded[:, :, place[0], place[1]]
        return out.reshape(len(e), -1)

    def gradient(self, a: np.ndarray, e: np.ndarray) -> np.ndarray:
        """The gradient of Σ_i ⟨e_i, K a_i⟩ by the kernel, of the kernel's size."""
        taps = self.c_in // self.groups * math.prod(self.windows.size)
        found = np.zeros((self.groups, self.c_out // self.groups, taps))
        for chunk in self._chunks(len(a)):
            found += np.matmul(self._written(e[chunk]), self._columns(a[chunk]).transpose(0, 2, 1))
        return found

    def matrix(self, kernel: np.ndarray) -> sp.sparse.csr_array:
        """The matrix (n_out, n_in), an entry for every tap that is not in the padding."""
        reads, writes = self.c_in // self.groups, self.c_out // self.groups
        n_pixels, n_windows = math.prod(self.windows.sides), math.prod(self.windows.count)
        pixels = self.windows.pixels()
        window, tap = np.nonzero(pixels >= 0)
        out = np.arange(self.c_out)[:, None, None]
        channel = out // writes * reads + np.arange(reads)[:, None]
        entries = kernel.reshape(self.c_out, reads, -1)[:, :, tap]
        rows = np.broadcast_to(out * n_windows + window, entries.shape)
        columns = np.broadcast_to(channel * n_pixels + pixels[window, tap], entries.shape)
        places = (rows.ravel(), columns.ravel())
        return sp.sparse.csr_array((entries.ravel(), places), shape=(self.n_out, self.n_in))

    def norm_bound(self, kernel: np.ndarray) -> float:
        """An upper bound of ‖W‖₂: of the symbol, or √(‖W‖₁ ‖W‖_∞) where that is smaller."""
        size = np.abs(kernel)
        rows = self.apply(size, np.ones((1, self.n_in)), None).max()
        columns = self.adjoint(size, np.ones((1, self.n_out)), None).max()
        return min(symbol_bound(kernel, self.windows), float(np.sqrt(rows * columns)))


def symbol_bound(kernel: np.ndarray, windows: Windows) -> float:
    """An upper bound of the norm of a convolution by its kernel alone, however large the image is.

    With stride 1 the matrix is a compression of the convolution of infinite images, whose norm is
    the supremum over frequencies ω of ‖K̂(ω)‖₂, where K̂(ω) = Σ_t K_t exp(i t·ω) is a matrix c_out ×
    c_in, the *symbol*. With stride s a convolution is one with stride 1 of the s images that hold
    every s-th pixel, so the taps are dealt out to s times as many channels. A dilation permutes the
    frequencies and changes nothing else.

    The symbol is looked at on a grid of M frequencies an axis. For unit vectors u and v and a
    phase, the real part of uᴴ K̂(ω) v, its frequencies centred, is a trigonometric polynomial of
    degree (k − 1)/2 in ω. Where such a polynomial of degree n has its largest absolute value m,
    it is at least m cos(n τ) at a distance τ ≤ π/(2n) from there (a theorem of M. Riesz, 1914; of
    half a whole n too, as it is then a polynomial in ω/2 of degree 2n), and a point of the grid
    lies no further away than π/M. So the supremum is at most the largest value on the grid over
    cos(π (k − 1)/(2M)), once an axis (derived).

    Where singular values at all frequencies would cost too much, an axis is not transformed:
    ‖Σ_t K_t exp(i t ω)‖ ≤ √k times the norm of the K_t side by side, or one above the other. The
    norm of a matrix K is taken from above, as ‖(KᴴK)^{2^m}‖_F to the power 2^{−m−1}.
    """
    for axis, (stride, dilation) in enumerate(zip(windows.stride, windows.dilation), start=3):
        kernel = _dealt(kernel, axis, stride // math.gcd(stride, dilation))
    groups, writes, reads, h, w = kernel.shape
    small, large = sorted((writes, reads))
    most = COST * kernel.size * math.prod(windows.count)
    for grid in GRIDS:
        points = [M if k > 1 else 1 for M, k in zip(grid, (h, w)) if M]
        taps = math.prod(k for M, k in zip(grid, (h, w)) if M == 0)
        cost = groups * math.prod(points) / 2 * small**2 * (large * taps + SQUARINGS * small)
        if cost <= most and all(M == 0 or M >= 2 * k for M, k in zip(grid, (h, w))):
            break
    spectrum, factor = np.moveaxis(kernel, (3, 4), (0, 1)), 1.0
    scale = float(np.abs(kernel).max())
    if scale == 0:
        return 0.0
    spectrum = (spectrum / scale).astype(np.complex64)
    for axis, M, k in ((1, grid[1], w), (0, grid[0], h)):
        if M == 0:
            factor *= math.sqrt(k)
        elif k > 1:  # of a real kernel half of the frequencies are conjugates of the others
            count = M // 2 + 1 if axis == 1 or w == 1 else M
            waves = np.exp(2j * math.pi / M * np.outer(np.arange(count), np.arange(k)))
            spectrum = np.tensordot(waves.astype(np.complex64), spectrum, (1, axis))
            spectrum = np.moveaxis(spectrum, 0, axis)
            factor /= math.cos(math.pi * (k - 1) / (2 * M))
    axes = [axis for axis in (0, 1) if grid[axis] == 0]
    sides = (-1, -2) if axes else (-1,)
    return scale * factor * min(_largest(_joined(spectrum, axes, side)) for side in sides)


def _dealt(kernel: np.ndarray, axis: int, stride: int) -> np.ndarray:
    """A kernel whose taps t along an axis are dealt out: tap t // stride of the channel t % stride
    of stride channels for each one.
    """
    more = [(0, 0)] * 5
    more[axis] = (0, -kernel.shape[axis] % stride)
    kernel = np.moveaxis(np.pad(kernel, more), axis, -1)
    kernel = kernel.reshape(*kernel.shape[:-1], -1, stride)  # (G, O, C, other, t, phase)
    kernel = np.moveaxis(kernel, -1, 3)
    kernel = kernel.reshape(*kernel.shape[:2], -1, *kernel.shape[4:])
    return np.moveaxis(kernel, -1, axis)


def _joined(spectrum: np.ndarray, axes: list[int], side: int) -> np.ndarray:
    """A spectrum (height, width, groups, rows, columns) whose taps along these axes stand side by
    side in one matrix (side −1), or one above the other (−2).
    """
    for axis in axes:
        joined = np.concatenate(np.moveaxis(spectrum, axis, 0), axis=side)
        spectrum = np.expand_dims(joined, axis)
    return spectrum


def _largest(matrices: np.ndarray) -> float:
    """The largest singular value of matrices (…, n, m), or a little more; in single precision, with
    more than its rounding added.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        matrices = matrices.swapaxes(-2, -1)
    power = np.matmul(matrices, matrices.conj().swapaxes(-2, -1))
    log = np.zeros(power.shape[:-2])
    for m in range(SQUARINGS + 1):
        size = np.linalg.norm(power, axis=(-2, -1), keepdims=True)
        size = np.maximum(size, size.max() * 1e-30)
        log += np.log(size[..., 0, 0]) / 2**m
        power = power / size
        power = np.matmul(power, power) if m < SQUARINGS else power
    return float(np.exp(log.max() / 2)) * (1 + 1e-6 * max(matrices.shape[-2:]) ** 1.5)
