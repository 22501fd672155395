"""What pins on a_out add to V: the cross-entropy κ(ψ(z) − yᵀz) of the logits z (derived).

The output edge of weight w pulls z by w(a_out − φ(z)), the cross-entropy form ("identity" in
`relax`). Where a_out is clamped at y that is the gradient of −w(ψ(z) − yᵀz), with ∇ψ = φ. Behind a
spring γ towards y, a_out rests at (wφ(z) + γy)/(w + γ), and the pull is κ(y − φ(z)) with κ = γw/(γ
+ w), the stiffness of edge and spring in series. Where a_out is free the edge carries nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sheaflib.networks.output import Output
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pins, Rows


@dataclass(frozen=True, eq=False)
class PinnedOutput:
    """κ(ψ(z) − yᵀz) of an output with labels y (B, n_out) and stiffnesses κ (n_out,), of a softmax
    one number for all; hard (n_out,): which a_out are clamped, and gamma (n_out,) the springs.
    """

    output: Output
    weight: float
    kappa: np.ndarray | float
    label: np.ndarray
    hard: np.ndarray
    gamma: np.ndarray

    @classmethod
    def of(cls, sheaf: NeuralSheaf, pins: Pins) -> PinnedOutput | None:
        """That of pins on cochains with a_out; None where these have none.

        Raises ValueError for pins on a softmax that hold its a_out in part or by unequal springs,
        which have no energy, and for a clamped label that is none.
        """
        N, n = sheaf.N, sheaf.network.n_out
        if pins.width == N:
            return None
        output, weight = sheaf.network.output, sheaf.edge_weights["output"]
        hard, gamma, label = np.zeros(n, dtype=bool), np.zeros(n), np.zeros((len(pins.offset), n))
        clamped, pulled = pins.hard_index >= N, pins.soft_index >= N
        hard[pins.hard_index[clamped] - N] = True
        gamma[pins.soft_index[pulled] - N] = pins.gamma[pulled]
        label[:, pins.hard_index[clamped] - N] = pins.hard_value[:, clamped]
        label[:, pins.soft_index[pulled] - N] = pins.soft_value[:, pulled]
        even = hard.all() or not hard.any() and gamma.min() == gamma.max()
        if output.name == "softmax" and not even:
            raise ValueError(
                "pins on a_out hold a softmax in part, or by unequal springs: pin all of it alike,"
                " only then does the flow with the cross-entropy form descend an energy; or use"
                " relax"
            )
        _check_label(output.name, label[:, hard], bool(hard.all()))
        if hard.all():
            return cls(output, weight, weight, label, hard, gamma)
        series = np.where(hard, weight, weight * (gamma / (gamma + weight)))
        kappa = float(series[0]) if output.name == "softmax" else series
        return cls(output, weight, kappa, label, hard, gamma)

    def rows(self, keep: Rows) -> PinnedOutput:
        """The same for some of the samples."""
        return replace(self, label=self.label[keep])

    def energy(self, z: np.ndarray) -> np.ndarray:
        """κ(ψ(z) − yᵀz): (B, n_out) -> (B,)."""
        if isinstance(self.kappa, float):
            return self.kappa * (self.output.potential(z) - (self.label * z).sum(axis=1))
        return (self.kappa * (np.logaddexp(0, z) - self.label * z)).sum(axis=1)

    def gradient(self, z: np.ndarray) -> np.ndarray:
        """κ(φ(z) − y): (B, n_out) -> (B, n_out)."""
        return self.kappa * (self.output.value(z) - self.label)

    def terms(self, z: np.ndarray) -> np.ndarray:
        """The sizes of the terms that `gradient` is a difference of: (B, n_out)."""
        return self.kappa * (self.output.value(z) + np.abs(self.label))

    def hessian(self, z: np.ndarray, v: np.ndarray) -> np.ndarray:
        """κ J_φ(z) v: (B, n_out), (B, n_out) -> (B, n_out)."""
        return self.kappa * self.output.jacobian_product(z, v)

    def a_out(self, z: np.ndarray) -> np.ndarray:
        """Where a_out rests: (B, n_out) -> (B, n_out)."""
        if self.hard.all():
            return self.label
        between = (self.weight * self.output.value(z) + self.gamma * self.label) / (
            self.weight + self.gamma
        )
        return np.where(self.hard, self.label, between)


def _check_label(output: str, label: np.ndarray, whole: bool) -> None:
    """Raise ValueError for clamped values (B, m) of a_out that φ cannot take, or its closure."""
    off = whole and output == "softmax" and (abs(label.sum(axis=1) - 1) > 1e-9).any()
    if (label < 0).any() or (label > 1).any() or off:
        kind = "probabilities that add up to 1" if output == "softmax" else "numbers in [0, 1]"
        raise ValueError(
            f"the pin on a_out is a label of the {output}: expected {kind}, got {label[0].tolist()}"
            " in the first sample"
        )
