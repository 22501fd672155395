"""The sheaf at frozen patterns as linear maps on the free coordinates, a batch of samples at once (Lemma 3.2).

δ, δᵀ, L = δᵀ diag(w) δ + Γ and L⁻¹, each by passes over the weights: forward substitution is a forward pass with injections, backward
substitution is back-propagation. With a_out the output edge is linearised, a_out − J_φ z^{k+1}, one more pair of passes' last step.
"""

from __future__ import annotations

import numpy as np

from sheaflib.checks import real_array
from sheaflib.forces import check_output_force
from sheaflib.pins import ResolvedPins, resolve
from sheaflib.sheaf import NeuralSheaf, check_sheaf
from sheaflib.substitution import inject, send_back

AT_ONCE = 2**24        # entries of a dense array that are made in one go
ROUNDING = 1e-14       # eigenvalues of J_φ this small, relative to its largest, are 0


class Frozen:
    """δ at `pattern` (B, M) or (M,), over the coordinates that `pins` leave free; with the logits z (B, n_out), a_out too.

    n is the number of free coordinates; vectors are (B, n). ValueError for a pattern or z of the wrong shape, and for pins on a softmax's
    a_out that the "identity" force does not allow.
    """

    def __init__(self, sheaf: NeuralSheaf, pattern, pins: ResolvedPins | None = None, z=None, output_force: str = "jacobian"):
        self.sheaf, self.pattern = check_sheaf(sheaf), sheaf.check_pattern(pattern)
        check_output_force(output_force)
        if not len(self.pattern):
            raise ValueError(f"pattern is an empty batch: got (0, {sheaf.M}), expected (B, {sheaf.M}) with B ≥ 1")
        pins = resolved(sheaf, pins, len(self.pattern), z is not None)
        self.J = None if z is None else output_maps(sheaf, z, len(self.pattern), output_force)
        if z is not None:
            check_output_pins(sheaf, pins, output_force)
        self.last = sheaf.layout[sheaf.network.nodes[-1].name]
        self.width = sheaf.N if z is None else sheaf.augmented_layout.size
        self.weights = sheaf.row_weights[:self.width]
        self.free = pins.free if pins else np.ones(self.width, dtype=bool)
        self.springs = np.zeros(self.width)
        if pins:
            self.springs[pins.soft_index] = pins.gamma
        self.held = np.flatnonzero(~self.free | (self.springs > 0))
        self.n = int(self.free.sum())

    def __len__(self) -> int:
        return len(self.pattern)

    def __repr__(self):
        return f"Frozen({len(self)} patterns, {self.n} free coordinates of {self.width})"

    def samples(self, rows: slice) -> Frozen:
        """The same for some of the samples."""
        part = object.__new__(Frozen)
        part.__dict__ = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        part.pattern, part.J = self.pattern[rows], None if self.J is None else self.J[rows]
        return part

    # δ, δᵀ and their inverses on all coordinates, those that are held included: (B, width) -> (B, width) -------------------------

    def push(self, v: np.ndarray) -> np.ndarray:
        """δ v."""
        out = self.sheaf.delta(v[:, :self.sheaf.N], self.pattern)
        return out if self.J is None else np.hstack([out, v[:, self.sheaf.N:] - self._output(v[:, self.last])])

    def pull(self, e: np.ndarray) -> np.ndarray:
        """δᵀ e."""
        out = self.sheaf.delta_transposed(e[:, :self.sheaf.N], self.pattern)
        if self.J is None:
            return out
        out[:, self.last] -= self._output(e[:, self.sheaf.N:])
        return np.hstack([out, e[:, self.sheaf.N:]])

    def forward(self, f: np.ndarray) -> np.ndarray:
        """δ⁻¹ f."""
        v = inject(self.sheaf, f[:, :self.sheaf.N].copy(), self.pattern)
        return v if self.J is None else np.hstack([v, f[:, self.sheaf.N:] + self._output(v[:, self.last])])

    def backward(self, g: np.ndarray) -> np.ndarray:
        """δ⁻ᵀ g."""
        if self.J is None:
            return send_back(self.sheaf, g.copy(), self.pattern)
        own = g[:, :self.sheaf.N].copy()
        own[:, self.last] += self._output(g[:, self.sheaf.N:])
        return np.hstack([send_back(self.sheaf, own, self.pattern), g[:, self.sheaf.N:]])

    def _output(self, v: np.ndarray) -> np.ndarray:
        return (self.J @ v[:, :, None])[:, :, 0]                              # J is symmetric

    # L and L⁻¹ on the free coordinates: (B, n) -> (B, n) ----------------------------------------------------------------------

    def laplacian(self, v: np.ndarray) -> np.ndarray:
        """L v: one pass each way."""
        full = self.embed(v)
        e = self.push(full)
        e *= self.weights
        out = self.pull(e)
        if len(self.held):
            out += self.springs * full
        return out if self.n == self.width else out[:, self.free]

    def inverse(self, v: np.ndarray) -> np.ndarray:
        """L⁻¹ v: one pass each way. With h pinned coordinates three, a correction of rank h, and h vectors kept a sample."""
        if not len(self.held):
            return self.forward(self.backward(v) / self.weights)
        found = self._pinned_inverse(v)
        return found + self._pinned_inverse(v - self.laplacian(found))        # once more, for what cancelled

    def _pinned_inverse(self, v: np.ndarray) -> np.ndarray:
        eta = self.backward(self.embed(v)) / np.sqrt(self.weights)
        eta -= (self._pinned @ (eta[:, None] @ self._pinned).swapaxes(1, 2))[:, :, 0]
        out = self.forward(eta / np.sqrt(self.weights))
        return out if self.n == self.width else out[:, self.free]

    @property
    def _pinned(self) -> np.ndarray:
        """What pins take from an injection: the upper rows of Q, (B, width, h), where [G w^-½ | Γ^-½]ᵀ = QR.

        G are the rows of δ⁻¹ at the pins; Γ⁻¹ = 0 where clamped.
        """
        if "_kept" not in self.__dict__:
            springs = self.springs[self.held]
            give = np.sqrt(np.divide(1.0, springs, out=np.zeros(len(springs)), where=springs > 0))
            give = np.broadcast_to(np.diag(give), (len(self), len(give), len(give)))
            rows = np.concatenate([self.rows(self.held) / np.sqrt(self.weights), give], axis=2)
            self._kept = np.linalg.qr(rows.swapaxes(1, 2)).Q[:, :self.width]
        return self._kept

    def embed(self, v: np.ndarray) -> np.ndarray:
        """v (B, n) among all coordinates, 0 where clamped: (B, width)."""
        if self.n == self.width:
            return v
        full = np.zeros((len(v), self.width))
        full[:, self.free] = v
        return full

    # matrices --------------------------------------------------------------------------------------------------------------

    def rows(self, index) -> np.ndarray:
        """The rows of δ⁻¹ at some coordinates, by backward substitution: (B, len(index), width)."""
        unit = np.zeros((len(index), self.width))
        unit[np.arange(len(index)), index] = 1
        return self._each(Frozen.backward, unit)

    def matrix(self) -> np.ndarray:
        """L as dense matrices: (B, n, n)."""
        return self._each(Frozen.laplacian, np.eye(self.n))

    def inverse_matrix(self) -> np.ndarray:
        """L⁻¹ as dense matrices, by substitution: (B, n, n)."""
        return self._each(Frozen.inverse, np.eye(self.n))

    def root(self) -> np.ndarray:
        """A with L = AᵀA, the rows √w δ and √γ, the columns of the free coordinates: (B, rows, n)."""
        columns = self._each(Frozen.push, self.embed(np.eye(self.n))) * np.sqrt(self.weights)
        springs = np.broadcast_to(np.diag(np.sqrt(self.springs))[self.free], (len(self), self.n, self.width))
        return np.concatenate([columns, springs[:, :, self.springs > 0]], axis=2).swapaxes(1, 2)

    def _each(self, apply, vectors: np.ndarray) -> np.ndarray:
        """A map of every sample on all of `vectors` (m, k): (B, m, k), some samples at a time."""
        m, k = vectors.shape
        out = np.empty((len(self), m, k))
        step = max(1, AT_ONCE // max(1, m * self.width))
        for start in range(0, len(self), step):
            part = self.samples(slice(start, start + step))
            count = len(part)
            part.pattern = np.repeat(part.pattern, m, axis=0)
            part.J = None if part.J is None else np.repeat(part.J, m, axis=0)
            out[start:start + step] = apply(part, np.tile(vectors, (count, 1))).reshape(count, m, k)
        return out


def resolved(sheaf: NeuralSheaf, pins, n_batch: int, augmented: bool) -> ResolvedPins | None:
    """Pins of either kind as indices into the (augmented) cochain; ValueError when they were resolved for the other width."""
    if pins is None:
        return None
    if not isinstance(pins, ResolvedPins):
        return resolve(sheaf, pins, n_batch, augmented)
    width = sheaf.augmented_layout.size if augmented else sheaf.N
    if pins.width != width:
        raise ValueError(f"pins are for cochains of width {pins.width}, expected {width}: {'with' if augmented else 'without'} a_out")
    return pins


def output_maps(sheaf: NeuralSheaf, z, n_batch: int, output_force: str) -> np.ndarray:
    """J_φ at logits z (B, n_out) or (n_out,), or J_φ^½ for the "identity" force: (B, n_out, n_out), symmetric."""
    output, n = sheaf.network.output, sheaf.network.n_out
    if output.is_identity:
        raise ValueError("z is given, but the output is the identity: it has no a_out")
    z = real_array("z", z)
    if z.shape not in ((n,), (n_batch, n)):
        raise ValueError(f"z has shape {z.shape}, expected ({n_batch}, {n}): the logits of every sample")
    z = np.broadcast_to(z, (n_batch, n))
    J = output.jacobian_product(np.repeat(z, n, axis=0), np.tile(np.eye(n), (n_batch, 1))).reshape(n_batch, n, n)
    if check_output_force(output_force) == "jacobian":
        return J
    values, vectors = np.linalg.eigh(J)
    values = np.where(values > ROUNDING * values[:, -1:], values, 0)          # the root of rounding would not be rounding
    return (vectors * np.sqrt(values)[:, None, :]) @ vectors.swapaxes(1, 2)


def check_output_pins(sheaf: NeuralSheaf, pins: ResolvedPins | None, output_force: str) -> None:
    """The "identity" force of a softmax is similar to a symmetric one only if a_out is free, clamped whole, or held by equal springs."""
    if not pins or check_output_force(output_force) == "jacobian" or sheaf.network.output.name != "softmax":
        return
    n, hard = sheaf.network.n_out, int((pins.hard_index >= sheaf.N).sum())
    gamma = pins.gamma[pins.soft_index >= sheaf.N]
    if not (hard == n or hard == 0 and (len(gamma) == 0 or len(gamma) == n and np.ptp(gamma) == 0)):
        raise ValueError(f'pins hold {hard + len(gamma)} of {n} coordinates of a_out unevenly: with output_force="identity" and a softmax '
                         "pin all of them alike, or none")
