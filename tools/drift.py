"""How far the numbers of `make verify` are from the committed ones."""

import json
import math
import reprlib

NOT_RUN = ("bench.json", "operations.json", "readers.json")  # no run of a notebook makes these
UNEXPECTED = 1e-3, 1e-12  # relative and absolute drift of what has four digits and no expectation


def between(made, committed):
    """Yield each drift between two folders of figures: at most four lines for one thing."""
    new, old = values(made), values(committed)
    for name in sorted({*new, *old}):
        if name not in new:
            yield f"{name} is committed and no longer made"
        elif name not in old:
            yield f"{name} is made and not committed"
        else:
            found = list(differences(new[name], old[name]))
            yield from (f"{name} {line}" for line in found[:3])
            if len(found) > 3:
                yield f"{name}: {len(found) - 3} more"


def values(folder):
    """Return the figures of a folder and the records of its ledger by name."""
    files = [path for path in folder.rglob("*.json") if path.name not in NOT_RUN]
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
    rows = found.pop("ledger", [])
    return {**found, **{f"claim {row['id']}": row for row in rows}}


def differences(new, old):
    """Yield a line for each value of a figure or a record that is gone, new, or too far off."""
    for key in ("numbers",) if "numbers" in old else ("verdict", "measured"):
        yield from apart(new[key], old[key], old, (key,))


def apart(new, old, row, path):
    """Yield a line for each value below a path of a row that is gone, new, or too far off."""
    if type(new) is type(old) and isinstance(new, (dict, list)):
        ours, theirs = (v if isinstance(v, dict) else dict(enumerate(v)) for v in (new, old))
        for key in {**theirs, **ours}:
            values = ours.get(key, "missing"), theirs.get(key, "missing")
            yield from apart(*values, row, (*path, key))
    elif not alike(new, old, *tolerances(row, path)):
        place = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path)
        yield f"{place[1:]}: {reprlib.repr(new)}, committed {reprlib.repr(old)}"


def tolerances(row, path):
    """Return the (relative, absolute) drift allowed to one number of a figure or a record.

    A value under a bound may move anywhere on its side.
    """
    if "numbers" in row:
        return row["rtol"], row["atol"]
    expected, tolerance = row["expected"], row["tolerance"]
    if isinstance(expected, dict) and set(expected) in ({"below"}, {"above"}):
        return 0.0, math.inf
    named = isinstance(expected, dict) and set(expected) & set(path)
    if not named and (isinstance(expected, dict) or expected is None and tolerance is None):
        return UNEXPECTED
    return (tolerance["relative"], 0.0) if isinstance(tolerance, dict) else (0.0, tolerance or 0.0)


def alike(new, old, rtol, atol):
    """Return whether two values agree: numbers within the tolerances, everything else exactly."""
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (new, old)):
        return math.isclose(new, old, rel_tol=rtol, abs_tol=atol)
    return type(new) is type(old) and new == old
