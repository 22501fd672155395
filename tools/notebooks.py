"""The notebooks: their index, notebooks/index.toml, their parameters, and the form committed.

nbconvert's preprocessors would clean them too, for the price of importing all of nbconvert, which
takes longer than many a notebook.
"""

import functools
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

# jsonschema's optional grammar of URLs takes 2 s to load, and no notebook needs it
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None: not to be found

import nbformat  # noqa: E402

from tools.project import Refusal, digest, read_toml  # noqa: E402

KEPT = ("tags", "mystnb")  # of a cell's metadata: runs and editors add the rest
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Notebook:
    """One entry of the index; `seconds` is about how long it takes on one core.

    `reads` holds paths from the repository's root.
    """

    path: Path
    file: str
    number: str
    title: str
    needs: list = field(default_factory=list)
    parameters: dict = field(default_factory=dict)
    figures: dict = field(default_factory=dict)
    reads: list = field(default_factory=list)
    seconds: float = 20
    quick: dict = field(default_factory=dict)
    batch: list = field(default_factory=list)

    @property
    def name(self):
        """The file's name without its ending."""
        return self.path.stem


def load(project):
    """Return the notebooks of the index; Refusal names an entry that is malformed."""
    every: dict[str, Notebook] = {}
    for entry in read_toml(project.notebooks / "index.toml").get("notebook", []):
        try:
            new = Notebook(project.notebooks / entry.get("file", ""), **entry)
        except TypeError as error:  # names a key that is missing or not known
            raise Refusal(f"index.toml: an entry has the keys {sorted(entry)}: {error}") from None
        faults = {
            "has a number that another has": {new.number} & set(every),
            "needs what is not listed before it": set(new.needs) - set(every),
            "has in batch what is no name and parameters": {
                str(given) for given in new.batch if set(given) != {"name", "parameters"}
            },
            "reads what is not in the repository": {
                file
                for file in [f"notebooks/{new.file}", *new.reads]
                if not (project.root / file).is_file()
            },
        }
        for fault, found in faults.items():
            if found:
                raise Refusal(f"index.toml: {new.file} {fault}: {', '.join(sorted(found))}")
        every[new.number] = new
    return list(every.values())


def choose(every, asked):
    """Return the notebook with a number ("04", "4") or name, or all when none is asked for."""
    chosen = [
        n
        for n in every
        if not asked or asked in (n.name, n.file) or asked.zfill(len(n.number)) == n.number
    ]
    if asked and not chosen:
        known = ", ".join(n.name for n in every) or "none"
        raise Refusal(f"there is no notebook {asked!r}; there are: {known}")
    return chosen


def parse_parameters(text):
    """Return {name: value} of text like `dt=0.02 dims=[2,4,1] on=true`: TOML, but in one line.

    Numbers like .02 and Python's True and False are taken too.
    """
    lines = re.sub(r"[\s,;]+(?=[A-Za-z_]\w*\s*=)", "\n", text.strip())
    try:
        return tomllib.loads(
            re.sub(  # what stands in quotes is left as it is
                r"""("[^"]*"|'[^']*')|\b(True|False)\b|(?<![\w.])\.(?=\d)""",
                lambda found: found[1] or (found[2] or "0.").lower(),
                lines,
            )
        )
    except tomllib.TOMLDecodeError as error:
        raise Refusal(
            "parameters are written name=value, each name once, a value as a number, "
            f"list, true, false or quoted text; {text!r} is not ({error})"
        ) from None


def check_parameters(notebook, given):
    """Raise Refusal, listing the notebook's parameters, when a given one is not among them."""
    if not given:
        return  # papermill takes longer to import than to look
    from papermill import inspect_notebook

    known = inspect_notebook(notebook.path)
    unknown = sorted(set(given) - set(known))
    if unknown:
        listed = ", ".join(f"{name}={p['default']}" for name, p in known.items()) or "none"
        raise Refusal(f"{notebook.file} has no parameter {', '.join(unknown)}; it has: {listed}")


def read(path):
    """Return the notebook in a file, in format 4."""
    return nbformat.read(path, as_version=4)


def source_digest(path):
    """Return a hash of what a person wrote: ids, kinds, texts and tags of the cells."""
    cells = read(path).cells
    return digest([[c.get("id"), c.cell_type, c.source, c.metadata.get("tags", [])] for c in cells])


def clean(notebook):
    """Return the text of the committed form; cleaning it again changes nothing.

    It holds no metadata of runs and editors, no colours of a terminal, and one piece of each
    stream, since where a stream is cut is chance.
    """
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {k: value for k, value in cell.metadata.items() if k in KEPT and value}
        if cell.cell_type == "code":
            cell.outputs = functools.reduce(with_output, cell.outputs, [])
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    text = nbformat.writes(nbformat.from_dict(notebook), version=nbformat.NO_CONVERT, indent=1)
    return text.rstrip("\n") + "\n"


def with_output(outputs, output):
    """Return the cleaned outputs with one more, joined to the last when it continues a stream."""
    if "metadata" in output:
        output.metadata = {}
    if output.output_type == "stream":
        output.text = ANSI.sub("", output.text)
        if outputs and outputs[-1].get("name") == output.name:
            outputs[-1].text += output.text
            return outputs
    return [*outputs, output]
