"""The edges of the sheaf of a network, one for each computational step, and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from sheaflib.networks.graph import A_OUT, INPUT, Network
from sheaflib.sheaves.layout import Layout
from sheaflib.support.checks import brief, positive


@dataclass(frozen=True)
class Edge:
    """One edge tail → head; `rows` are its coordinates in C¹, which are those of its head in Ω."""

    name: str
    kind: str
    tail: str
    head: str
    rows: slice

    @property
    def dim(self) -> int:
        return self.rows.stop - self.rows.start


def edges_of(network: Network, layout: Layout) -> tuple[Edge, ...]:
    """The edges in the order of C¹; each kind is numbered as in the paper."""
    edges: list[Edge] = []
    count: dict[str, int] = {}

    def add(kind: str, tail: str, head: str, rows: slice) -> None:
        count[kind] = count.get(kind, 0) + 1
        edges.append(
            Edge(kind if kind == "output" else f"{kind}_{count[kind]}", kind, tail, head, rows)
        )

    widths = {INPUT: network.n_in, **dict(zip(layout.names, layout.dims))}
    for node in network.nodes:
        start = layout[node.name].start
        for tail in node.inputs:
            stop = start + (
                widths[tail] if node.operation.kind == "projection" else widths[node.name]
            )
            add(node.operation.kind, tail, node.name, slice(start, stop))
            start = stop
    if A_OUT in layout:
        add("output", network.output_name, A_OUT, layout[A_OUT])
    return tuple(edges)


def edge_weights_of(
    given: float | Mapping[str, float], edges: tuple[Edge, ...]
) -> dict[str, float]:
    """The weight of every edge by its name, of one number for all or of a mapping that may leave
    some at 1; ValueError for an unknown edge or a weight that is not positive.
    """
    names = [e.name for e in edges]
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, positive("edge_weights", given))
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"edge_weights names {brief(unknown[0])}, expected one of {', '.join(names)}"
        )
    return {name: positive(f"edge_weights[{name!r}]", given.get(name, 1.0)) for name in names}
