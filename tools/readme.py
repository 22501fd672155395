"""The generated parts of README.md, between `<!-- begin: NAME -->` and `<!-- end: NAME -->`: figures, gallery, ledger."""

import json
import re

from tools import index, ledgers
from tools.project import write_whole


def renew(project):
    """Write README.md again with its generated parts as the figures and the ledger are; ValueError when a marker is missing."""
    path = project.root / "README.md"
    if not path.is_file():
        raise ValueError("there is no README.md to write the table of figures, the gallery and the ledger's summary into")
    write_whole(path, filled(path.read_text(encoding="utf-8"), project))


def filled(text, project):
    """Return a README's text with the generated parts in place."""
    every = index.load(project)
    rows = json.loads((project.figures / "ledger.json").read_text(encoding="utf-8"))
    parts = {"figures": figure_table(every, rows), "gallery": gallery(project, every), "ledger": ledger_summary(rows, project.claims())}
    for name, content in parts.items():
        text = replace(text, name, content)
    return text


def replace(text, name, content):
    """Return the text with what stands between the markers of a part replaced; ValueError without exactly one pair."""
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"README.md needs exactly one pair {begin} ... {end}")
    return re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)


def figure_table(every, rows):
    """Return the table figure - notebook - claims."""
    lines = ["| notebook | figures | claims |", "|---|---|---|"]
    for notebook in every:
        drawn = ", ".join(f"[{name}](figures/{name}.pdf)" for name in notebook.figures) or "—"
        claims = ", ".join(f"`{row['id']}`" for row in sorted(rows, key=lambda r: r["id"]) if row["notebook"] == notebook.number) or "—"
        lines.append(f"| [{notebook.number} {notebook.title}](notebooks/{notebook.file}) | {drawn} | {claims} |")
    return folded("Every figure, its notebook and its claims", "\n".join(lines))


def gallery(project, every):
    """Return the pictures with their captions, which are their alternative texts too."""
    blocks = []
    for name in (name for notebook in every for name in notebook.figures):
        caption = json.loads((project.figures / f"{name}.json").read_text(encoding="utf-8"))["caption"]
        plain = caption.replace("[", "(").replace("]", ")").replace("\n", " ")
        blocks.append(f"![{plain}](figures/{name}.png)\n\n*{plain}*")
    return folded(f"{len(blocks)} pictures", "\n\n".join(blocks)) if blocks else "No figures yet."


def folded(summary, text):
    """Return Markdown that opens when the reader clicks on the summary."""
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


def ledger_summary(rows, claims):
    """Return the counts of the verdicts and the refuted claims with the evidence, first."""
    refuted = [f"- ≠ refuted: “{row['statement']}” ({claims[row['id']]['where']}). In fact {claims[row['id']]['evidence']} (notebook {row['notebook']})."
               for row in rows if row["verdict"] == "refuted"]
    return "\n".join([f"{ledgers.counts(rows)} [The whole ledger](figures/LEDGER.md).", *([""] + refuted if refuted else [])])
