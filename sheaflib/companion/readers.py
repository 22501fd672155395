"""How far networks are from the models of other libraries that they were read from, as `make
readers` found and committed it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Mapping

from sheaflib.companion import repository
from sheaflib.companion.ladder import table

FILE = "figures/14/readers.json"
LIBRARIES = {  # what the file calls them -> what a reader does, and the package that says a version
    "torch": ("PyTorch", "torch"),
    "sklearn": ("scikit-learn", "scikit-learn"),
    "keras": ("Keras", "keras"),
    "files": ("files of ONNX, onnxruntime", "onnxruntime"),
}


@dataclass(frozen=True)
class Compared:
    """Of each library the largest relative differences of models that were read, what was said of
    those that were refused, and its version; and of ONNX's own tests of operators how many passed,
    were refused by name, or came out wrong.
    """

    differences: Mapping[str, Mapping[str, float]]
    refused: Mapping[str, Mapping[str, str]]
    versions: Mapping[str, str]
    node_tests: Mapping[str, int]

    @property
    def largest(self) -> dict[str, float]:
        """The largest difference of any model of a library."""
        return {library: max(found.values()) for library, found in self.differences.items()}

    def __repr__(self):
        rows = {
            f"{said} {self.versions[package]}": [
                f"{len(self.differences[library])}",
                f"{len(self.refused[library])}",
                f"{self.largest[library]:.1e}",
            ]
            for library, (said, package) in LIBRARIES.items()
        }
        return table("models of", ["read", "refused", "largest difference"], rows)


def compared() -> Compared:
    """The committed comparison; FileNotFoundError where there is no repository."""
    said = json.loads(repository.needed(FILE).read_text(encoding="utf-8"))
    return Compared(
        {library: said[library]["read"] for library in LIBRARIES},
        {library: said[library]["refused"] for library in LIBRARIES},
        said["versions"],
        {key: said["node-tests"][key] for key in ("passed", "refused", "wrong")},
    )
