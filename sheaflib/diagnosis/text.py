"""A report as text: one line, a table for a terminal, a table and a picture for a notebook."""

from __future__ import annotations

import base64
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Sequence

import numpy as np

from sheaflib.equilibria.certificate import UNDECIDED

if TYPE_CHECKING:
    from sheaflib.diagnosis.measures import EdgeRow
    from sheaflib.diagnosis.report import Report

COLUMNS = 100  # of a terminal
MARGIN = 15  # where the facts below the table begin
LISTED = 10  # samples that are printed
NOISE = 1e-24  # a discord below this is rounding
HEAD = (
    "edge",
    "size",
    "discord",
    "its share",
    "share of ρ",
    "labels permuted (5 to 95 %)",
    "ratio",
)


def line(report: Report) -> str:
    """What `repr` prints: one line."""
    against = (
        "" if np.isnan(report.total.ratio) else f", {number(report.total.ratio)} times the null's"
    )
    low, high, rho = (
        number(np.median(values)) for values in (report.smallest, report.largest, report.resistance)
    )
    return (
        f"Report({len(report.discord)} samples, pinned discord"
        f" {number(report.total.discord)}{against}, λ₁ {low}, λ_max {high}, resistance {rho})"
    )


def terminal(report: Report) -> str:
    """What `print` prints: at most 100 columns."""
    rows = [HEAD, *map(cells, (*report.edges, report.total))]
    widths = [max(map(len, column)) for column in zip(*rows)]
    padded = [[text.rjust(width) for text, width in zip(row[1:], widths[1:])] for row in rows]
    table = ["  ".join([row[0].ljust(widths[0]), *texts]) for row, texts in zip(rows, padded)]
    below = [line for name, items in facts(report) for line in packed(name, items)]
    return "\n".join([*wrap(title(report), COLUMNS), "", *table, "", *below])


def html(report: Report) -> str:
    """What a notebook shows: one table and one figure, or what the figure needs."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in HEAD)
    rows = map(cells, (*report.edges, report.total))
    body = "".join(
        html_row(name, [f"<td>{escape(text)}</td>" for text in rest]) for name, *rest in rows
    )
    wide = f'<td colspan="{len(HEAD) - 1}" style="text-align: left">'
    foot = "".join(
        html_row(name, [f"{wide}{escape('; '.join(items))}</td>"]) for name, items in facts(report)
    )
    return (
        '<table>\n<caption style="text-align:'
        f' left">{escape(title(report))}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody>\n<tbody>{foot}</tbody>\n</table>\n"
        f"{html_picture(report)}"
    )


def html_picture(report: Report) -> str:
    """The report's figure as an <img> that holds its PNG; without matplotlib, what to install."""
    try:
        from sheaflib.diagnosis.picture import look
        from sheaflib.plots.files import shown
    except ModuleNotFoundError as missing:
        return f"<p>No picture: {escape(str(missing))}</p>"
    with look():
        picture = base64.b64encode(shown(report.figure())).decode()
    return (
        f'<img style="max-width: 100%" alt="{escape(described(report))}" '
        f'src="data:image/png;base64,{picture}">'
    )


def html_row(name: str, parts: Sequence[str]) -> str:
    """A row of the HTML table: its name, and what stands in its cells."""
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(parts)}</tr>'


def title(report: Report) -> str:
    """What was pinned, where the solver started, and how many samples it solved."""
    count, slow = len(report.discord), int((~report.converged).sum())
    doubtful = int((report.converged & (report.verdict == UNDECIDED)).sum())
    state = f" {slow} did not converge." if slow else ""
    state += f" {doubtful} are undecided by rounding." if doubtful else ""
    state += f" Of the null's, {report.unsettled} did not converge." if report.unsettled else ""
    return (
        f"Mean discord of {count} samples with their labels pinned on {report.pinned}. Start:"
        f" {report.start}. Solver: {report.solver}.{state}"
    )


def cells(row: EdgeRow) -> tuple[str, ...]:
    """A row of the table as text."""
    band = (
        "–"
        if np.isnan(row.median)
        else f"{number(row.median)} ({number(row.low)} to {number(row.high)})"
    )
    return (
        row.name,
        str(row.size),
        number(row.discord),
        percent(row.share),
        percent(row.resistance),
        band,
        number(row.ratio),
    )


def facts(report: Report) -> list[tuple[str, list[str]]]:
    """What stands below the table: a name and what is to be said of it."""
    doubt = [
        "no better than permuted labels",
        "is x scaled as in training?",
        "are the classes in its order?",
    ]
    more = ["…"] if len(report.worst) > LISTED else []
    null = [
        f"labels of {len(report.subset)} samples permuted {report.permutations} times",
        "ratio: their own discord over the median",
        *doubt * (report.total.ratio > 0.5),
    ]
    return [
        (
            "λ₁",
            [
                spread(report.smallest),
                f"forward-pass patterns of {len(report.subset)} samples: median and range",
            ],
        ),
        ("λ_max", [spread(report.largest)]),
        (
            "resistance",
            [spread(report.resistance), "λ_max(ρ) of the last stalk", "shares are those of tr ρ"],
        ),
        ("null", null if report.permutations else ["none"]),
        (
            "worst samples",
            [
                f"{len(report.worst)} by discord",
                *(sample(report, int(i)) for i in report.worst[:LISTED]),
                *more,
            ],
        ),
        (
            "worst neurons",
            [
                f"{neuron.name}: {number(neuron.discord)} ({neuron.edge})"
                for neuron in report.neurons
            ],
        ),
    ]


def sample(report: Report, i: int) -> str:
    """One sample: its index, discord, label and output."""
    return (
        f"{i}: {number(report.discord[i])} (label {told(report, report.labels[i])}, output"
        f" {told(report, report.output[i])})"
    )


def told(report: Report, values: np.ndarray) -> str:
    """A label or an output as text: the class of a softmax, else up to three numbers."""
    if report.network.output.name == "softmax":
        return str(int(np.argmax(values)))
    text = ", ".join(map(number, values[:3])) + (", …" if len(values) > 3 else "")
    return text if len(values) == 1 else f"[{text}]"


def described(report: Report) -> str:
    """The picture in words, for those who do not see it."""
    most = max(report.edges, key=lambda row: row.discord)
    ratio = report.total.ratio
    against = (
        ""
        if np.isnan(ratio)
        else f", in total {number(ratio)} times the median with permuted labels"
    )
    return (
        f"Left: mean discord by edge, most on {most.name}{against}. Middle: worst neurons, first"
        f" {report.neurons[0].name}. Right: discord against loss, the {len(report.worst)} samples"
        " of most discord marked."
    )


def spread(values: np.ndarray) -> str:
    """Median and range."""
    return f"{number(np.median(values))} ({number(values.min())} to {number(values.max())})"


def number(value: float) -> str:
    """Three digits; a dash for NaN, and never rounding noise."""
    return (
        "–" if np.isnan(value) else f"< {NOISE:.0e}" if 0 < abs(value) < NOISE else f"{value:.3g}"
    )


def percent(value: float) -> str:
    """A share in whole percent; a dash for NaN."""
    return "–" if np.isnan(value) else f"{100 * value:.0f} %"


def packed(name: str, items: Sequence[str]) -> list[str]:
    """A name and items, as many to a line as there is room for."""
    lines = [name.ljust(MARGIN)]
    for place, item in enumerate(items):
        text = item + (";" if place < len(items) - 1 else "")
        if place and len(lines[-1]) + 1 + len(text) > COLUMNS:
            lines.append(" " * MARGIN)
        lines[-1] += text if len(lines[-1]) == MARGIN else " " + text
    return lines
