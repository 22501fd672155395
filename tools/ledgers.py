"""What readers see of the records: ledger.json, LEDGER.md, generated parts of README.md and docs/.

The texts stand in templates/, which Jinja2 fills: it comes with JupyterLab.
"""

import json
import re
from pathlib import Path

import jinja2

from tools import notebooks
from tools.project import Refusal, read_toml, write_whole

FIELDS = (
    "id",
    "notebook",
    "statement",
    "source",
    "expected",
    "measured",
    "tolerance",
    "verdict",
    "text",
)
ORDER = ("fails", "refuted", "holds", "measured")
GENERATED = {"README.md": "ledger", "docs/gallery.md": "gallery"}
SIGNS = {"below": "<", "above": ">", "relative": "relative"}
IN_A_CELL = str.maketrans({"|": "\\|", "\n": " "})  # of a table
IN_BRACKETS = str.maketrans("[]\n", "() ")  # of a picture
SOURCES = {
    "paper": ("The paper says", "from the abstract, the authors' public code or recorded outputs"),
    "reported": ("As reported", "told by readers of the paper"),
    "derived": ("Derived", "ours, not known to be in the paper"),
}


def claims(project):
    """Return the claims of notebooks/claims.toml as a dict id -> entry."""
    return read_toml(project.notebooks / "claims.toml")


def merge(folder, every):
    """Return the records in a folder of these notebooks: by verdict, then notebook, then id."""
    rows: list[dict] = []
    for part in [folder / f"{notebook.number}.json" for notebook in every]:
        rows += json.loads(part.read_text(encoding="utf-8")) if part.is_file() else []
    return sorted(rows, key=lambda r: (ORDER.index(r["verdict"]), r["notebook"], r["id"]))


def write(rows, folder, every, link):
    """Write ledger.json, LEDGER.md and a picture of all verdicts, scoreboard.svg, into a folder;
    `link` leads from there to the notebooks.
    """
    kept = [{field: row[field] for field in FIELDS} for row in rows]
    write_whole(folder / "ledger.json", json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    write_whole(
        folder / "scoreboard.svg",
        fill("scoreboard.svg", every=every, rows=rows, counts=counts(rows)) + "\n",
    )
    write_whole(folder / "LEDGER.md", table(rows, {n.number: link + n.file for n in every}))


def table(rows, links):
    """Return the text of LEDGER.md; `links` maps a notebook's number to the link of its file."""
    first = [row for row in rows if row["verdict"] in ("fails", "refuted")]
    groups = [("What does not hold", "with the evidence", "claim", first)]
    for source, (title, origin) in SOURCES.items():
        rest = [row for row in rows if row["source"] == source and row not in first]
        groups.append((title, origin, title.lower(), rest))
    return (
        fill("whole-ledger.md", groups=groups, rows=rows, links=links, counts=counts(rows)) + "\n"
    )


def counts(rows):
    """Return one sentence that counts the verdicts."""
    verdicts = [row["verdict"] for row in rows]
    fails, refuted, holds, measured = (verdicts.count(verdict) for verdict in ORDER)
    text = f"{len(rows)} claims measured: {holds} hold, {refuted} refuted"
    text += f", {measured} without an expectation" if measured else ""
    return text + (f", {fails} **fail**." if fails else ".")


def fill(template, **values):
    """Return the text of a template with these values in place, without a line end."""
    folder = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    environment = jinja2.Environment(
        loader=folder, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(
        short=short,
        cell=lambda text: text.translate(IN_A_CELL),
        alt=lambda text: text.translate(IN_BRACKETS),
    )
    return environment.get_template(template).render(values).rstrip("\n")


def short(value, longest=60):
    """Return an expected value or a tolerance as a reader writes it."""
    if isinstance(value, dict):
        text = ", ".join(f"{SIGNS.get(k, f'{k}:')} {short(v)}" for k, v in value.items())
    elif isinstance(value, list):
        text = ", ".join(map(short, value))
    else:
        text = "—" if value is None else "yes" if value is True else str(value)
    return text if len(text) <= longest else text[: longest - 2].rstrip() + " …"


def filled(name, project):
    """Return the text of a file with its generated part renewed, as figures and ledger are.

    `name` is one of GENERATED. Its part stands between `<!-- begin: PART -->` and
    `<!-- end: PART -->`, and is a template. Refusal when the file has not exactly one such pair.
    """
    every = notebooks.load(project)
    rows = json.loads((project.figures / "ledger.json").read_text(encoding="utf-8"))
    stored = {
        name: json.loads((project.figures / n.number / f"{name}.json").read_text(encoding="utf-8"))
        for n in every
        for name in n.figures
    }
    path, part = project.root / name, GENERATED[name]
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    begin, end = f"<!-- begin: {part} -->", f"<!-- end: {part} -->"
    if re.findall("<!-- (?:begin|end): .*? -->", text) != [begin, end]:
        raise Refusal(f"{name} needs exactly one pair {begin} ... {end}, and no other part")
    before, _, after = re.split(f"{begin}|{end}", text)
    new = fill(f"{part}.md", every=every, rows=rows, stored=stored, counts=counts(rows))
    return f"{before}{begin}\n\n{new}\n\n{end}{after}"
