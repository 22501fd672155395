"""What the oracles of the committed figures share: the register, a figure's numbers, how close they
must be.
"""

import json
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "figures"
DIGITS = {"rtol": 1e-8, "atol": 1e-9}  # the files keep ten digits
ORACLES = {}


def oracle(name):
    """Register the check of one figure: it gets the figure's numbers."""

    def register(function):
        ORACLES[name] = function
        return function

    return register


def numbers(name):
    return json.loads((FIGURES / name[:2] / f"{name}.json").read_text(encoding="utf-8"))["numbers"]


def close(found, expected, **tolerance):
    np.testing.assert_allclose(np.asarray(found, float), expected, **{**DIGITS, **tolerance})
