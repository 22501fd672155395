"""The book: pages, notebooks and figures as one web page, in an environment of its own.

Sphinx reads copies in build/pages, where the files of docs/ stand at the top: so the landing page
is build/book/index.html, and links between files lead where they do in the repository.
"""

import json
import re
import shutil

import nbformat

from tools import ledgers, notebooks
from tools.commands import own_environment, run
from tools.environment import interpreter
from tools.project import Refusal, write_whole
from tools.surroundings import cores

PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "docs/*.md",
    "notebooks/*.[!i]*",  # those of the index come besides
    "figures/bench.md",
    "figures/*/*.*",
    "sheaflib/README.md",
    "sheaflib/companion/data/README.md",
)
GLOSSARY = "notebooks/glossary.md"


def book(project, options):
    """Build the book into build/book; returns the exit status."""
    python, status = own_environment(project, "sphinx", "book.lock")
    if status:
        return status
    stage(project)
    out = project.build / "book"
    shutil.rmtree(out, ignore_errors=True)
    words = ["-m", "sphinx", "--fail-on-warning", "--quiet", "--jobs", str(cores())]
    words += ["-d", project.build / "doctrees", "-c", "docs", project.build / "pages", out]
    status = run(project, words, project.build / "sphinx-results", python=python)
    if not status:
        print(f"open {out / 'index.html'}")
    return status


def browser(project, options):
    """Build the book and try it in a browser without a screen; returns the exit status."""
    words = ["-m", "pytest", "-q", "-n", str(cores()), "tests/book", *options.arguments]
    python = interpreter(project.build / "sphinx")
    return book(project, options) or run(project, words, project.build / "test", python=python)


def stage(project):
    """Copy what the book is made of into build/pages, with what only the book has."""
    folder, every, texts = project.build / "pages", notebooks.load(project), {}
    shutil.rmtree(folder, ignore_errors=True)
    found = [path for pattern in PAGES for path in project.root.glob(pattern) if path.is_file()]
    for path in [*found, *(notebook.path for notebook in every)]:
        name = path.relative_to(project.root).as_posix()
        if path.suffix in (".md", ".ipynb"):
            texts[moved(name)] = at_top(name, path.read_text(encoding="utf-8"))
        else:
            write_whole(folder / name, path.read_bytes())
    texts["index.md"] = texts["index.md"].replace("\nnotebooks\n", listed(every))
    texts["figures/LEDGER.md"] = ledger(project, every)
    texts[GLOSSARY] = with_back_links(texts, every)
    for notebook in every:
        name = f"notebooks/{notebook.file}"
        texts[name] = described(notebook, texts[name])
    for name, text in texts.items():
        write_whole(folder / name, text)


def moved(name):
    """Return where a file of the repository stands in build/pages."""
    return name.removeprefix("docs/")


def at_top(name, text):
    """Return the text of a page or a notebook with links that fit where it stands there."""
    text = text.replace("](docs/", "](") if "/" not in name else text.replace("](../docs/", "](../")
    return text.replace("](../", "](") if name.startswith("docs/") else text


def listed(every):
    """Return the notebooks as lines of a table of contents, with their numbers and short titles."""
    return "".join(f"\n{n.number} {n.title} <notebooks/{n.name}>" for n in every) + "\n"


def ledger(project, every):
    """Return the ledger as one table, which a script sorts and filters."""
    rows = json.loads((project.figures / "ledger.json").read_text(encoding="utf-8"))
    claims = ledgers.claims(project)
    rows = [{"written": "", "evidence": "", **claims[row["id"]], **row} for row in rows]
    return ledgers.fill(
        "book-ledger.md",
        rows=rows,
        counts=ledgers.counts(rows),
        sources=ledgers.SOURCES,
        links={n.number: f"../notebooks/{n.file}" for n in every},
    )


def with_back_links(texts, every):
    """Return the glossary with a line in every entry that names the pages which link to it."""
    titles = {f"notebooks/{n.file}": f"{n.number} {n.title}" for n in every}
    pages: dict[str, list] = {}
    for name, text in sorted(texts.items()):
        title = titles.get(name) or text.partition("\n")[0].removeprefix("# ")
        for anchor in set(re.findall(r"glossary\.md#([\w-]+)", text)):
            link = name.removeprefix("notebooks/")
            link = link if link != name else f"../{name}"
            pages.setdefault(anchor, []).append(f"[{title}](<{link}>)")
    head, *entries = re.split(r"(?m)^(?=## )", texts[GLOSSARY])
    for i, entry in enumerate(entries):
        anchor = entry[3:].partition("\n")[0].lower().replace(" ", "-").replace("'", "")
        if links := pages.pop(anchor, None):
            entries[i] = f"{entry.rstrip()}\n\n*Used in* {', '.join(links)}.\n\n"
    if pages:
        raise Refusal(f"{GLOSSARY} has no entry for what pages link to: {', '.join(pages)}")
    return head + "".join(entries)


def described(notebook, text):
    """Return a notebook with its number and title as its heading, as lists of contents have them,
    and with the alternative text of the figure that each of its cells saves.
    """
    alt = {name: said.get("alt", said["caption"]) for name, said in notebook.figures.items()}
    made = nbformat.reads(text, as_version=4)
    title = f"# {notebook.number} {notebook.title}"
    made.cells[0].source = re.sub(r"^# .*", title.replace("\\", r"\\"), made.cells[0].source)
    for cell in made.cells:
        for name in re.findall(r'"(\d\d-[\w-]+)"', cell.source if "outputs" in cell else ""):
            if name in alt:
                cell.metadata["mystnb"] = {"image": {"alt": alt[name]}}
    return nbformat.writes(made)
