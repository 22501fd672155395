"""Notebook files: what counts as their source, what a run left unfinished, and the cleaned form that is committed."""

import re
import sys

sys.modules.setdefault("rfc3987_syntax", None)  # jsonschema's optional grammar of URLs: 2 s to load, and no notebook needs it

import nbformat  # noqa: E402

from tools.project import digest  # noqa: E402

WIDGET = "application/vnd.jupyter.widget-view+json"
MADE_BY_RUNS = ("papermill", "execution", "widgets", "jupyter", "collapsed", "scrolled", "ExecuteTime")
RUN_TAGS = ("injected-parameters", "papermill-error-cell-tag")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def read(path):
    """Return the notebook in a file, in format 4."""
    return nbformat.read(path, as_version=4)


def source_digest(path):
    """Return a hash of what a person wrote in a notebook: ids, kinds, texts and tags of the cells, not the outputs."""
    cells = read(path).cells
    return digest([[c.get("id"), c.cell_type, c.source, c.metadata.get("tags", [])] for c in cells])


def clean(notebook):
    """Return the text of the committed form: no metadata of runs, joined streams; cleaning it again changes nothing."""
    notebook.metadata = {"kernelspec": kernel(notebook), "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = kept_metadata(cell.metadata)
        if cell.cell_type == "code":
            cell.outputs = [clean_output(output) for output in joined(cell.outputs)]
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return nbformat.writes(nbformat.from_dict(notebook), version=nbformat.NO_CONVERT, indent=1).rstrip("\n") + "\n"


def kernel(notebook):
    """Return the one kernel name that every machine has."""
    return {"display_name": "Python 3", "language": "python", "name": "python3"}


def kept_metadata(metadata):
    """Return a cell's metadata without what runs and editors add."""
    kept = {key: value for key, value in metadata.items() if key not in MADE_BY_RUNS}
    tags = [tag for tag in kept.pop("tags", []) if tag not in RUN_TAGS]
    return {**kept, **({"tags": tags} if tags else {})}


def joined(outputs):
    """Return the outputs with consecutive pieces of one stream joined, since where a stream is cut is chance."""
    result = []
    for output in outputs:
        last = result[-1] if result else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last["text"] += output.text
        else:
            result.append(output)
    return result


def clean_output(output):
    """Return one output without metadata, widget views and colours of the terminal."""
    if output.output_type in ("display_data", "execute_result"):
        output.metadata = {}
        output.data = {kind: value for kind, value in output.data.items() if kind != WIDGET}
    if output.output_type == "stream":
        output.text = ANSI.sub("", output.text)
    return output


def code_cells(notebook):
    """Return the code cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def status(cell):
    """Return what papermill noted of a cell: "pending", "running", "completed", "failed" or ""."""
    return cell.metadata.get("papermill", {}).get("status") or ""


def reached(notebook):
    """Return the cell at which a run stopped: the failed one, else the last that was begun."""
    begun = [cell for cell in code_cells(notebook) if status(cell) != "pending"]
    failed = [cell for cell in begun if status(cell) == "failed" or has_error(cell)]
    return (failed or begun or code_cells(notebook))[0 if failed else -1]


def has_error(cell):
    """Return whether a cell's outputs hold an error."""
    return any(output.output_type == "error" for output in cell.get("outputs", ()))


def unfinished(notebook):
    """Return the first code cell that a run did not finish, None when all have run: `sys.exit(0)` passes for success."""
    for cell in code_cells(notebook):
        if cell.execution_count is None or has_error(cell):
            return cell
    return None


def describe(cell):
    """Return a cell's name for messages: its id and its first line."""
    return f"cell `{cell.get('id', '?')}`: {cell.source.strip().splitlines()[0]}"
