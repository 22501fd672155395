"""A report as HTML: what a notebook shows, two tables and a figure."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Iterable, Sequence

import numpy as np

from sheaflib.diagnosis import text
from sheaflib.diagnosis.text import number

if TYPE_CHECKING:
    from sheaflib.diagnosis.report import Report


def html(report: Report) -> str:
    """What a notebook shows: the layers with what is to be said of them, the worst samples, and
    one figure, or what the figure needs.
    """
    head = text.head(report)
    rows = map(text.cells, (*report.edges, report.total))
    wide = f'<td colspan="{len(head) - 1}" style="text-align: left">'
    foot = "".join(
        row(name, [f"{wide}{escape('; '.join(items))}</td>"]) for name, items in text.facts(report)
    )
    samples = (text.sample(report, int(i)) for i in report.worst[: text.LISTED])
    return (
        table(text.title(report), head, rows, f"<tbody>{foot}</tbody>\n")
        + table("The samples of most discord.", text.SAMPLES, samples)
        + picture(report)
    )


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], foot: str = "") -> str:
    """A table with a caption, the names of its columns, its rows of text, and what stands below."""
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(row(name, [f"<td>{escape(cell)}</td>" for cell in rest]) for name, *rest in rows)
    return (
        f'<table>\n<caption style="text-align: left">{escape(caption)}</caption>\n'
        f"<thead><tr>{names}</tr></thead>\n<tbody>{body}</tbody>\n{foot}</table>\n"
    )


def row(name: str, parts: Sequence[str]) -> str:
    """A row of a table: its name, and what stands in its cells."""
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(parts)}</tr>'


def picture(report: Report) -> str:
    """The report's figure as an <img> that holds its PNG; without matplotlib, what to install."""
    try:
        from sheaflib.diagnosis.picture import look
        from sheaflib.plots.files import shown
    except ModuleNotFoundError as missing:
        return f"<p>No picture: {escape(str(missing))}</p>"
    with look():
        data = base64.b64encode(shown(report.figure())).decode()
    return (
        f'<img style="max-width: 100%" alt="{escape(described(report))}" '
        f'src="data:image/png;base64,{data}">'
    )


def described(report: Report) -> str:
    """The picture in words, for those who do not see it."""
    most = max(report.edges, key=lambda row: row.discord)
    ratio = report.total.ratio
    against = (
        ""
        if np.isnan(ratio)
        else f", in total {number(ratio)} times the median with permuted labels"
    )
    images = "" if report.images is None else " At the bottom: the images of the worst samples."
    many = len(report.edges) > text.MANY
    middle, right = ("Right, above", "Right, below") if many else ("Middle", "Right")
    return (
        f"Left: mean discord by edge, most on {most.layer}{against}. {middle}: worst neurons, first"
        f" {report.neurons[0].name}. {right}: discord against loss, the {len(report.worst)} samples"
        " of most discord marked. Below: the network's graph, every edge as bright and wide as its"
        f" share of the discord.{images}"
    )
