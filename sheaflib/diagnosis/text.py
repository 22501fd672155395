"""A report as text: one line, and tables for a terminal."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Sequence

import numpy as np

from sheaflib.diagnosis.frozen import PERMUTED
from sheaflib.diagnosis.measures import DENSE, DIGITS
from sheaflib.diagnosis.names import short
from sheaflib.equilibria.certificate import UNDECIDED

if TYPE_CHECKING:
    from sheaflib.diagnosis.measures import EdgeRow
    from sheaflib.diagnosis.report import Report

COLUMNS = 100  # of a terminal
MARGIN = 15  # where the facts below the table begin
LISTED = 10  # samples that are printed
INDICES = 20  # of samples that did not converge, that are printed
MANY = 24  # more layers than that are drawn in smaller letters, beside two panels
NARROW = 16  # characters of a layer's name that are always there
TIE = 1e-6  # a permutation that leaves every label as it was costs the same but for rounding
NOISE = 1e-24  # a discord below this is rounding
HEAD = ("layer", "size", "discord", "share", "of ρ")
SAMPLES = ("sample", "label", "output", "loss", "discord", "converged")


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
    rows = [head(report), *map(cells, (*report.edges, report.total))]
    below = [line for name, items in facts(report) for line in packed(name, items)]
    worst = [SAMPLES, *(sample(report, int(i)) for i in report.worst[:LISTED])]
    parts = (wrap(title(report), COLUMNS), aligned(rows), below, aligned(worst))
    more = ["…"] if len(report.worst) > LISTED else []
    return "\n\n".join("\n".join(part) for part in parts) + "".join(f"\n{text}" for text in more)


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of a table, their first column to the left and cut where there is no room for it."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    room = COLUMNS - sum(width + 2 for width in widths[1:])
    first = min(widths[0], max(room, NARROW))
    lines = []
    for name, *rest in rows:
        cut = name if len(name) <= first else short(name, first - 1)
        texts = [text.rjust(width) for text, width in zip(rest, widths[1:])]
        lines.append("  ".join([cut.ljust(first), *texts]))
    return lines


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


def head(report: Report) -> tuple[str, ...]:
    """The names of the columns: which null is shown is said there."""
    which = "re-solved" if report.permutations else "frozen"
    return (*HEAD, f"{which} null (5–95 %)", "ratio")


def cells(row: EdgeRow) -> tuple[str, ...]:
    """A row of the table as text."""
    null = row.null
    band = (
        "–"
        if np.isnan(null.median)
        else f"{number(null.median)} ({number(null.low)}–{number(null.high)})"
    )
    return (
        row.layer,
        str(row.size),
        number(row.discord),
        percent(row.share),
        percent(row.resistance),
        band,
        number(row.ratio),
    )


def facts(report: Report) -> list[tuple[str, list[str]]]:
    """What stands below the table: a name and what is to be said of it."""
    lost = np.flatnonzero(~report.converged)
    indices = ", ".join(map(str, lost[:INDICES])) + (", …" if len(lost) > INDICES else "")
    unsettled = [
        f"samples {indices}",
        "their discord is that of the point reached",
        "the energy there is above that of the minimum below it",
    ]
    digits = [f"to a relative {DIGITS:g}"] * (sum(row.size for row in report.inner) > DENSE)
    return [
        *([("not converged", unsettled)] if len(lost) else []),
        (
            "λ₁",
            [
                spread(report.smallest),
                f"forward-pass patterns of {len(report.spectral)} samples: median and range",
                *digits,
            ],
        ),
        ("λ_max", [spread(report.largest), *digits]),
        (
            "resistance",
            [
                spread(report.resistance),
                f"λ_max(ρ) of the last stalk, {len(report.subset)} samples",
                "of ρ: shares of tr ρ",
            ],
        ),
        ("frozen null", frozen_null(report)),
        ("re-solved null", solved_null(report)),
        ("passes", passes(report)),
        (
            "worst neurons",
            [
                f"{short(neuron.name, 50)}: {number(neuron.discord)}"
                f" ({neuron.layer.split(' · ')[-1]})"
                for neuron in report.neurons
            ],
        ),
        ("worst samples", [f"{len(report.worst)} by discord"]),
    ]


def frozen_null(report: Report) -> list[str]:
    """What the null at the frozen pattern is, and what it says."""
    if not report.frozen:
        return ["none"]
    doubt = [
        "own labels cost more than half of what permuted ones do",
        "is x scaled as in training?",
        "are the classes in its order?",
    ]
    null = report.total.frozen
    return [
        f"labels of {len(report.subset)} samples permuted {PERMUTED} times",
        "at the frozen pattern of the forward pass nothing is solved",
        "ρ alone says what a label costs there",
        f"own labels there {number(null.same)}, permuted {number(null.median)}",
        f"ratio {number(null.ratio)}",
        *doubt * (null.ratio > 0.5),
    ]


def solved_null(report: Report) -> list[str]:
    """The same for the null of equilibria that were solved again, or why there is none."""
    n, null = report.permutations, report.total.solved
    if not report.frozen:
        return ["none"]
    if not n:
        spent = report.passes["null"]
        why = f"budget={report.budget} passes is too little" if report.budget else "none"
        cut = [f"{spent} passes did not end one permutation"] if spent else []
        own = report.passes["equilibria"] / len(report.discord)
        return [
            why,
            *cut,
            f"one permutation takes about {2 * own * len(report.subset):.0f} passes",
            f"budget={report.needed} passes are surely enough for one",
        ]
    own, totals = null.same, np.sum(list(report.null.values()), axis=0)
    p = (1 + int((totals <= own * (1 + TIE)).sum())) / (n + 1)
    return [
        f"labels permuted {n} times and equilibria solved again",
        f"p = {number(p)}, resolution 1/(n + 1) = {number(1 / (n + 1))}",
        f"own labels {number(own)}, permuted {number(null.median)}",
        f"ratio {number(null.ratio)}: own discord over the median",
    ]


def passes(report: Report) -> list[str]:
    """How many passes over the weights a sample took on average, in all and by part."""
    count = len(report.discord)
    parts = [
        f"{part} {number(total / count)}"
        + (f" (of {len(report.spectral)} samples)" if part == "spectra" else "")
        for part, total in report.passes.items()
        if total
    ]
    mean = sum(report.passes.values()) / count
    return [
        f"{mean:.0f} over the weights a sample (estimated: at most {report.estimate.passes:.0f})",
        *parts,
    ]


def sample(report: Report, i: int) -> tuple[str, ...]:
    """A row of the table of samples: index, label, output, loss, discord, whether it converged."""
    return (
        str(i),
        told(report, report.labels[i]),
        told(report, report.output[i]),
        number(report.loss[i]),
        number(report.discord[i]),
        "yes" if report.converged[i] else "no",
    )


def told(report: Report, values: np.ndarray) -> str:
    """A label or an output as text: the class of a softmax, else up to three numbers."""
    if report.network.output.name == "softmax":
        return str(int(np.argmax(values)))
    text = ", ".join(map(number, values[:3])) + (", …" if len(values) > 3 else "")
    return text if len(values) == 1 else f"[{text}]"


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
