"""What the paper says, as claims with an expected value or bound and a tolerance, or none, and how
a measured value is compared.
"""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEYS = {
    "notebook",
    "statement",
    "says",
    "source",
    "where",
    "expected",
    "also",
    "tolerance",
    "rtolerance",
    "below",
    "above",
    "full",
    "verdict",
    "evidence",
    "found",
    "written",
}
SOURCES = ("paper", "reported", "derived")
BOUNDS = ("expected", "below", "above")
FOUR_DIGITS = 0.01  # as a relative unit of `round_to`
LONG = 80  # letters of an expected value that a line shows


@dataclass(frozen=True)
class Claim:
    """One entry of claims.toml; `kind` says how a measured value is compared with `expected`:
    equal, below, above or measured (not at all).

    `also` names the entries of a measured dict that are reported without an expectation; they need
    only be there and finite.
    """

    id: str
    notebook: str
    statement: str
    source: str
    where: str
    kind: str
    expected: Any
    tolerance: float
    relative: bool
    full: bool
    verdict: str
    evidence: str
    found: object
    also: tuple = ()
    says: str = ""
    written: str = "before"

    @classmethod
    def parse(cls, name, entry):
        """Return the claim of one entry; ValueError says what is missing or contradictory."""
        complain(name, entry)
        kind = next((k for k in BOUNDS if k in entry), "measured")
        verdict = "measured" if kind == "measured" else entry.get("verdict", "holds")
        return cls(
            name,
            entry["notebook"],
            entry["statement"],
            entry["source"],
            entry["where"],
            {"expected": "equal"}.get(kind, kind),
            entry.get(kind),
            entry.get("rtolerance", entry.get("tolerance", 0)),
            "rtolerance" in entry,
            entry.get("full", False),
            verdict,
            entry.get("evidence", ""),
            entry.get("found"),
            tuple(entry.get("also", ())),
            entry.get("says", ""),
            entry.get("written", "before"),
        )

    def agrees(self, measured):
        """Return whether a plain measured value is as expected; NaN never is."""
        return self.complete(measured) and self.as_expected(self.compared(measured))

    def complete(self, measured):
        """Return whether a measured value has the entries it is to have, no others, and those
        without an expectation finite.
        """
        if not self.also:
            return True
        return (
            isinstance(measured, dict)
            and set(measured) == {*self.also, *(self.expected or ())}
            and all(
                not is_number(v) or math.isfinite(v)
                for name in self.also
                for v in leaves(measured[name])
            )
        )

    def compared(self, measured):
        """Return the part of a measured value that has an expectation."""
        return (
            {k: v for k, v in measured.items() if k not in self.also}
            if self.also and isinstance(measured, dict)
            else measured
        )

    def as_expected(self, measured):
        """Return whether the part of a measured value that has an expectation is as expected."""
        if self.kind == "measured":
            return True
        if self.kind == "equal":
            return same(measured, self.expected, self.tolerance, self.relative)
        compare = (
            (lambda v: abs(v) < self.expected)
            if self.kind == "below"
            else (lambda v: v > self.expected)
        )
        values = list(leaves(measured))
        return bool(values) and all(is_number(v) and compare(v) for v in values)

    def judge(self, measured):
        """Return the verdict on a measured value; a refutation must be the one that is expected,
        the value `found`.
        """
        if self.verdict in ("holds", "measured"):
            return self.verdict if self.agrees(measured) else "fails"
        as_found = self.complete(measured) and same(
            self.compared(measured), self.found, self.tolerance, self.relative
        )
        return "refuted" if as_found and not self.agrees(measured) else "fails"

    def rounded(self, value):
        """Return a plain value with numbers rounded one digit below the tolerance (or bound), lists
        and dicts throughout.

        Entries without an expectation have four digits, unless all are without one and a tolerance
        is given.
        """
        unit = self.expected if self.kind in ("below", "above") else self.tolerance, self.relative
        if (
            not self.also
            or not isinstance(value, dict)
            or self.kind == "measured"
            and self.tolerance
        ):
            return round_to(value, *unit)
        return {
            k: round_to(v, *((FOUR_DIGITS, True) if k in self.also else unit))
            for k, v in value.items()
        }

    def said(self, value):
        """Return the sentence of a plain measured value: `says` with the value in its braces, or
        the rounded value.

        The parts of a list stand in {0}, {1} or {} in turn, those of a dict in their names, and
        those of a dict or list inside in brackets: {range[low]:.2f}. Names that braces cannot hold,
        numbers and those with a dot, are replaced by their places in the dict: {0}.
        """
        if not self.says:
            return str(self.rounded(value))
        if isinstance(value, dict):
            return self.says.format(*value.values(), **value)
        return self.says.format(*value) if isinstance(value, list) else self.says.format(value)

    def told(self):
        """Return what is expected as a reader writes it, "" where nothing is."""
        if self.kind == "measured":
            return ""
        if self.kind in ("below", "above"):
            return f"{self.kind} {self.expected:g}"
        if isinstance(self.expected, dict):
            text = ", ".join(f"{name} {value}" for name, value in self.expected.items())
        elif isinstance(self.expected, (list, tuple)):
            text = ", ".join(map(str, self.expected))
        else:
            text = str(self.expected)
        text = text if len(text) <= LONG else text[: LONG - 2].rstrip() + " …"
        within = f" within {self.tolerance:g}" if self.tolerance else ""
        return text + (f"{within} of it" if within and self.relative else within)

    def written_expected(self):
        """Return the expected value as the ledger writes it: {"below": b} and {"above": a} for
        bounds, None for no expectation.
        """
        return {self.kind: self.expected} if self.kind in ("below", "above") else self.expected

    def written_tolerance(self):
        """Return the tolerance as the ledger writes it: a number, {"relative": r}, or None where
        there is none.
        """
        if self.kind == "measured" and not self.tolerance:
            return None
        if (
            self.kind in ("below", "above")
            or self.kind == "equal"
            and any(not is_number(v) for v in leaves(self.expected))
        ):
            return None
        return {"relative": self.tolerance} if self.relative else self.tolerance


def read_claims(path):
    """Return {id: Claim} of a claims file; ValueError names a malformed entry."""
    entries = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    return {name: Claim.parse(name, entry) for name, entry in entries.items()}


def complain(name, entry):
    """Raise ValueError when an entry of claims.toml is incomplete or contradictory."""
    missing = {"notebook", "statement", "source", "where"} - set(entry)
    problems = [
        (missing, f"lacks {sorted(missing)}"),
        (set(entry) - KEYS, f"has unknown keys {sorted(set(entry) - KEYS)}"),
        expectation(entry),
        ({"tolerance", "rtolerance"} <= set(entry), "has both tolerance and rtolerance"),
        (
            entry.get("source") not in SOURCES,
            f"has source {entry.get('source')!r}, expected one of {SOURCES}",
        ),
        (
            entry.get("verdict", "holds") not in ("holds", "refuted"),
            "has a verdict that is neither holds nor refuted",
        ),
        (
            entry.get("written", "before") not in ("before", "after"),
            "has an expectation written neither before nor after its number",
        ),
        (
            entry.get("verdict") == "refuted" and not entry.get("evidence"),
            "is refuted and gives no evidence",
        ),
        (
            entry.get("verdict") == "refuted" and "found" not in entry,
            "is refuted and does not say what was found",
        ),
    ]
    for wrong, text in problems:
        if wrong:
            raise ValueError(f"claims.toml: {name!r} {text}")


def expectation(entry):
    """Return (wrong, text) of what an entry expects: a value, a bound, or with `also` a dict of
    entries or nothing.
    """
    given, also = [key for key in BOUNDS if key in entry], entry.get("also")
    if also is None:
        return len(given) != 1, "needs exactly one of expected, below, above"
    if (
        not isinstance(also, list)
        or not also
        or not all(isinstance(name, str) for name in also)
        or len(set(also)) < len(also)
    ):
        return True, f"has also = {also!r}, expected a list of names of entries, each once"
    if not given:
        return "verdict" in entry, "expects nothing and has a verdict"
    if given != ["expected"] or not isinstance(entry["expected"], dict):
        return True, "has also, beside which expected is a dict of other entries"
    both = sorted(set(also) & set(entry["expected"]))
    return bool(both), f"has {both} in also and expected"


def is_number(value):
    """Return whether a plain value is a number and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def leaves(value):
    """Yield the numbers and texts inside lists and dicts."""
    if isinstance(value, (dict, list)):
        for v in value.values() if isinstance(value, dict) else value:
            yield from leaves(v)
    else:
        yield value


def same(measured, expected, tolerance, relative):
    """Return whether plain values agree elementwise: numbers within the tolerance, everything else
    equal.
    """
    if isinstance(expected, dict):
        return (
            isinstance(measured, dict)
            and set(measured) == set(expected)
            and all(same(measured[k], expected[k], tolerance, relative) for k in expected)
        )
    if isinstance(expected, list):
        return (
            isinstance(measured, list)
            and len(measured) == len(expected)
            and all(same(m, e, tolerance, relative) for m, e in zip(measured, expected))
        )
    if is_number(expected):
        return is_number(measured) and abs(measured - expected) <= tolerance * (
            abs(expected) if relative else 1
        )
    return type(measured) is type(expected) and measured == expected


def round_to(value, unit, relative=False):
    """Return numbers rounded one digit below `unit` (of each number's own size when relative), ten
    digits where it is 0.
    """
    if isinstance(value, dict):
        return {k: round_to(v, unit, relative) for k, v in value.items()}
    if isinstance(value, list):
        return [round_to(v, unit, relative) for v in value]
    if not isinstance(value, float) or not math.isfinite(value):
        return value if not isinstance(value, float) else str(value)
    size = abs(value) * unit if relative else abs(unit)
    if size == 0:
        return float(f"{value:.10g}")
    return round(value, 1 - math.floor(math.log10(size))) + 0.0
