"""How far sheaflib's operations are from PyTorch's, as `make readers` found and committed it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Mapping

from sheaflib.companion import repository
from sheaflib.companion.ladder import table

FILE = "figures/01/operations.json"


@dataclass(frozen=True)
class Compared:
    """PyTorch's version; of each layer how often it was called with random arguments, and the
    largest relative difference of a value, an adjoint or a gradient; of how many random networks
    all gradients were compared, and their largest relative difference.
    """

    pytorch: str
    calls: Mapping[str, int]
    differences: Mapping[str, float]
    networks: int
    gradients: float

    @property
    def largest(self) -> float:
        """The largest difference of any operation."""
        return max(self.differences.values())

    def __repr__(self):
        rows = {
            layer: [f"{self.calls[layer]}", f"{difference:.1e}" if difference else "none"]
            for layer, difference in self.differences.items()
        }
        return table(f"against PyTorch {self.pytorch}", ["calls", "largest difference"], rows)


def compared() -> Compared:
    """The committed comparison; FileNotFoundError where there is no repository."""
    said = json.loads(repository.needed(FILE).read_text(encoding="utf-8"))
    layers, gradients = said["layers"], said["gradients"]
    return Compared(
        said["pytorch"],
        {layer: row["calls"] for layer, row in layers.items()},
        {layer: row["difference"] for layer, row in layers.items()},
        gradients["networks"],
        gradients["difference"],
    )
