"""The ledger: what a notebook measured beside what the paper says, one line a claim, verdicts
`holds`, `refuted`, `measured`, `fails`.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sheaflib.companion import repository
from sheaflib.companion.record import index
from sheaflib.companion.record.claims import Claim, read_claims
from sheaflib.support.files import replacing

MARKS = {"holds": "✓", "refuted": "≠", "measured": "○", "fails": "✗", "left out": "·"}


@dataclass(frozen=True)
class Record:
    """What a notebook found for one claim; prints in one line and stays silent as the last value of
    a cell.
    """

    claim: Claim
    measured: object
    verdict: str
    text: str

    def __repr__(self):
        expected = self.claim.told()
        reason = f"; expected {expected}" if expected else ""
        if self.verdict == "refuted":
            reason += f" (refuted: {self.claim.evidence})"
        if self.verdict == "left out":
            reason += " at the default parameters"
        return f"{MARKS[self.verdict]} {self.claim.id}: {self.text}{reason}"

    def _ipython_display_(self):
        """Show nothing: `Ledger.check` has printed the line."""

    def written(self):
        """Return the record as a dict for the ledger's file."""
        claim = self.claim
        return {
            "id": claim.id,
            "notebook": claim.notebook,
            "statement": claim.statement,
            "source": claim.source,
            "expected": claim.written_expected(),
            "measured": self.measured,
            "tolerance": claim.written_tolerance(),
            "verdict": self.verdict,
            "where": claim.where,
            "text": self.text,
            "evidence": claim.evidence,
            "written": claim.written,
        }


class Ledger:
    """The checks of one notebook; `profile` is "full", "quick", "custom" (strict) or ""
    (interactive: prints, never raises).
    """

    def __init__(self, notebook, profile=None, claims=None, folder=None):
        """Read claims.toml; FileNotFoundError or ValueError when it is not there or malformed."""
        path = Path(claims) if claims else repository.claims()
        self.notebook = str(notebook)
        self.profile = os.environ.get("SHEAFLIB_PROFILE", "") if profile is None else profile
        if self.profile not in ("", "full", "quick", "custom"):
            raise ValueError(
                f"SHEAFLIB_PROFILE is {self.profile!r}, expected full, quick, custom or nothing"
            )
        self.claims = read_claims(path)
        self.folder = Path(folder) if folder else repository.results() / "ledger"
        self.records = {}

    def __repr__(self):
        return f"Ledger({self.notebook!r}, {len(self.records)} checked)"

    def check(self, name, measured=None):
        """Compare a measured value with claim `name`, print a line and return the Record.

        A dict {name: value} in place of a name checks several claims, and returns None. At other
        than default parameters a claim of the full size is not compared, and in an open notebook
        one that differs is not called wrong. ValueError: a claim that is unknown or another
        notebook's. AssertionError: a mismatch in a strict profile.
        """
        if isinstance(name, dict):
            for one, value in name.items():
                self.check(one, value)
            return None
        claim = self._claim(name)
        value = plain(measured)
        elsewhere = self.profile in ("quick", "custom")
        if not self.profile:
            elsewhere = index.changed(self.notebook)
        left_out = claim.full and elsewhere
        verdict = "left out" if left_out else claim.judge(value)
        if verdict == "fails" and elsewhere and not self.profile:
            verdict, left_out = "left out", True
        record = Record(
            claim, None if left_out else claim.rounded(value), verdict, claim.said(value)
        )
        print(record)
        if not left_out:
            self.records[name] = record
            self._write()
        if verdict == "fails" and self.profile:
            raise AssertionError(complaint(claim, value))
        return record

    def _claim(self, name):
        """Return the claim of this notebook with an id; ValueError otherwise."""
        if name not in self.claims:
            raise ValueError(f"claims.toml has no claim {name!r}")
        if self.claims[name].notebook != self.notebook:
            raise ValueError(
                f"claim {name!r} belongs to notebook {self.claims[name].notebook}, not"
                f" {self.notebook}"
            )
        return self.claims[name]

    def _write(self):
        """Write this notebook's records, sorted by id, to its file in the ledger's folder."""
        rows = [self.records[name].written() for name in sorted(self.records)]
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f"{self.notebook}.json") as stream:
            stream.write((json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())


def complaint(claim, measured):
    """Return the message of a failed check: id, expected, measured, tolerance."""
    bound = f"{claim.kind} " if claim.kind in ("below", "above") else ""
    within = (
        f" within {claim.written_tolerance()}"
        if claim.kind == "equal" and claim.written_tolerance() is not None
        else ""
    )
    entries = f"finite entries {', '.join(claim.also)}" if claim.also else ""
    wanted = " and ".join(
        filter(
            None,
            ["" if claim.kind == "measured" else f"{bound}{claim.expected!r}{within}", entries],
        )
    )
    if claim.verdict == "refuted" and claim.agrees(measured):
        return (
            f"{claim.id}: measured {measured!r} agrees with {wanted}, yet the claim is listed as"
            " refuted"
        )
    if claim.verdict == "refuted":
        return f"{claim.id}: refuted by {claim.found!r}, measured {measured!r}"
    return f"{claim.id}: expected {wanted}, measured {measured!r}"


def plain(value):
    """Return a value with NumPy scalars, arrays and tuples as Python numbers and lists; TypeError
    for anything else.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"a measured value is numbers, text, lists or dicts, got {type(value).__name__}"
    )
