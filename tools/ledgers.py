"""The notebooks' records merged into ledger.json and into LEDGER.md, the table for readers: refuted first."""

import json

from tools.project import write_whole

FIELDS = ("id", "notebook", "statement", "source", "expected", "measured", "tolerance", "verdict")
ORDER = {"fails": 0, "refuted": 1, "holds": 2, "measured": 3}
MARKS = {"holds": "✓ holds", "refuted": "≠ refuted", "measured": "○ measured", "fails": "✗ fails"}
SOURCES = {"paper": ("The paper says", "from the abstract, the authors' public code or recorded outputs"),
           "reported": ("As reported", "told by readers of the paper"),
           "derived": ("Derived", "ours, not known to be in the paper")}


def merge(folder, numbers):
    """Return the records in a folder of the notebooks with these numbers in the order of their verdicts, each by notebook and id."""
    parts = [folder / f"{number}.json" for number in numbers]
    rows = [row for part in parts if part.is_file() for row in json.loads(part.read_text(encoding="utf-8"))]
    return sorted(rows, key=lambda row: (ORDER[row["verdict"]], row["notebook"], row["id"]))


def unmeasured(claims, rows):
    """Return the claims, as "id (notebook NN)", that no record measures."""
    known = {row["id"] for row in rows}
    return [f"{name} (notebook {entry.get('notebook')})" for name, entry in claims.items() if name not in known]


def write(rows, folder, files):
    """Write ledger.json and LEDGER.md into a folder; `files` maps a notebook's number to the link of its file."""
    kept = [{field: row[field] for field in FIELDS} for row in rows]
    write_whole(folder / "ledger.json", json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    write_whole(folder / "LEDGER.md", table(rows, files))


def table(rows, files):
    """Return the text of LEDGER.md."""
    first = [row for row in rows if row["verdict"] in ("fails", "refuted")]
    sections = [section("What does not hold", "with the evidence", first, files)]
    for source, (title, origin) in SOURCES.items():
        sections.append(section(title, origin, [row for row in rows if row["source"] == source and row not in first], files))
    return "\n".join(["# Ledger", "", counts(rows), *sections]) + "\n"


def section(title, origin, rows, files):
    """Return one titled table, "" without rows."""
    if not rows:
        return ""
    head = f"| {'claim' if title == 'What does not hold' else title.lower()} | expected | we get | tolerance | verdict | where |\n|---|---|---|---|---|---|"
    return "\n".join(["", f"## {title}", "", f"*{origin}*", "", head, *(line(row, files) for row in rows)])


def counts(rows):
    """Return one sentence that counts the verdicts."""
    number = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ORDER}
    failed = f", {number['fails']} **fail**" if number["fails"] else ""
    free = f", {number['measured']} without an expectation" if number["measured"] else ""
    return f"{len(rows)} claims measured: {number['holds']} hold, {number['refuted']} refuted{free}{failed}."


def line(row, files):
    """Return one row of the table."""
    said = f"{row['statement']} *({row['where']})* `{row['id']}`"
    got = row["text"] + (f" — {row['evidence']}" if row["verdict"] == "refuted" else "")
    cells = [said, short(row["expected"]), got, short(row["tolerance"]), MARKS[row["verdict"]],
             f"[{row['notebook']}]({files[row['notebook']]})"]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def short(value, longest=60):
    """Return an expected value or a tolerance as a reader writes it."""
    if value is None:
        return "—"
    if value is True:
        return "yes"
    if isinstance(value, dict) and set(value) <= {"below", "above", "relative"}:
        return " ".join(f"{ {'below': '<', 'above': '>', 'relative': 'relative'}[k] } {short(v)}" for k, v in value.items())
    if isinstance(value, list):
        text = ", ".join(short(v) for v in value)
    elif isinstance(value, dict):
        text = ", ".join(f"{k}: {short(v)}" for k, v in value.items())
    else:
        text = str(value)
    return text if len(text) <= longest else text[: longest - 2].rstrip() + " …"
