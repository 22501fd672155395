"""A report as tables of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sheaflib.support.extras import needs

with needs("the table of a report", "plots"):
    import pandas

if TYPE_CHECKING:
    from sheaflib.diagnosis.report import Report


def edges(report: Report) -> pandas.DataFrame:
    """One row an edge, by its name; the columns of both nulls begin with their names."""
    records = []
    for row in report.edges:
        record = {
            "layer": row.layer,
            "kind": row.kind,
            "size": row.size,
            "discord": row.discord,
            "share": row.share,
            "resistance": row.resistance,
        }
        for name, null in (("frozen", row.frozen), ("solved", row.solved)):
            record |= {f"{name}_{part}": value for part, value in null._asdict().items()}
            record[f"{name}_ratio"] = null.ratio
        records.append(record)
    names = pandas.Index([row.name for row in report.edges], name="edge")
    return pandas.DataFrame.from_records(records, index=names)


def samples(report: Report) -> pandas.DataFrame:
    """One row a sample; labels and outputs are classes where the output is a softmax, else one
    column a coordinate.
    """
    columns: dict[str, np.ndarray] = {}
    for name, values in (("label", report.labels), ("output", report.output)):
        if report.network.output.name == "softmax":
            columns[name] = values.argmax(axis=1)
        elif values.shape[1] == 1:
            columns[name] = values[:, 0]
        else:
            columns |= {f"{name}_{i}": column for i, column in enumerate(values.T)}
    columns |= {
        "loss": report.loss,
        "discord": report.discord,
        "converged": report.converged,
        "verdict": report.verdict,
    }
    return pandas.DataFrame(columns, index=pandas.RangeIndex(len(report.loss), name="sample"))
