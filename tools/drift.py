"""How far regenerated numbers are from committed ones."""

import json
import math

UNEXPECTED = 1e-3, 1e-12                 # the relative and absolute drift of what has four digits and no expectation


def number(value):
    """Return whether a value is a number and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def differences(new, old, rtol, atol, where=""):
    """Yield one line for each place where two JSON values differ beyond the tolerances, or in shape."""
    if isinstance(old, dict) and isinstance(new, dict) and set(old) == set(new):
        for key in old:
            yield from differences(new[key], old[key], rtol, atol, f"{where}.{key}" if where else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (a, b) in enumerate(zip(new, old)):
            yield from differences(a, b, rtol, atol, f"{where}[{place}]")
    elif not alike(new, old, rtol, atol):
        yield f"{where}: {brief(new)}, committed {brief(old)}"


def alike(new, old, rtol, atol):
    """Return whether two plain values agree: numbers within the tolerances, everything else exactly."""
    if number(new) and number(old):
        return math.isclose(new, old, rel_tol=rtol, abs_tol=atol)
    return type(new) is type(old) and not isinstance(old, (dict, list)) and new == old


def brief(value):
    """Return a value for a message, containers by size only."""
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, (dict, list)) else repr(value)


def figure(new, old):
    """Return the differences of two figure files beyond the committed one's rtol and atol."""
    new, old = (json.loads(path.read_text(encoding="utf-8")) for path in (new, old))
    return list(differences(new["numbers"], old["numbers"], old["rtol"], old["atol"]))


def record(new, old):
    """Return the differences of two ledger records: verdicts exactly, measured values within the tolerance."""
    changed = [f"verdict: {new['verdict']}, committed {old['verdict']}"] if new["verdict"] != old["verdict"] else []
    also = unexpected(old)
    if not also or not isinstance(new["measured"], dict) or set(new["measured"]) != set(old["measured"]):
        return changed + list(differences(new["measured"], old["measured"], *allowed(old), "measured"))
    for name, value in old["measured"].items():
        changed += differences(new["measured"][name], value, *(UNEXPECTED if name in also else allowed(old)), f"measured.{name}")
    return changed


def unexpected(row):
    """Return the entries of a record's measured dict that stand without an expectation and without a tolerance of their own."""
    measured, expected = row["measured"], row["expected"]
    if not isinstance(measured, dict) or bounded(expected):
        return set()
    if expected is None:
        return set(measured) if row["tolerance"] is None else set()
    return set(measured) - set(expected) if isinstance(expected, dict) else set()


def bounded(expected):
    """Return whether what a record expects is a bound."""
    return isinstance(expected, dict) and set(expected) in ({"below"}, {"above"})


def allowed(row):
    """Return the (relative, absolute) drift a record allows; a value under a bound may move anywhere on its side."""
    if bounded(row["expected"]):
        return 0.0, math.inf
    if isinstance(row["tolerance"], dict):
        return row["tolerance"]["relative"], 0.0
    return 0.0, row["tolerance"] or 0.0
