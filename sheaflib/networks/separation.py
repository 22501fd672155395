"""Networks whose kinks lie apart: every kinked stalk has a part of V to itself (derived).

V has a kink in a coordinate where a selection that reads it changes its side. The solvers of
`equilibria` put each kink at its minimum by a closed form, which needs that no two kinked stalks
meet on one edge, that no affine map reads a kinked stalk, and that each coordinate before a
max-pool belongs to one window. Where a network is not so, a vertex in between makes it so: an
identity copy of a stalk, or a *window vertex*, which holds one copy of each entry for each window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Collection, Iterator

import numpy as np

from sheaflib.networks.affine import Affine
from sheaflib.networks.gather import Gather
from sheaflib.networks.operations import Operation
from sheaflib.networks.selection import MaxPool, Selection

if TYPE_CHECKING:
    from sheaflib.networks.graph import Network, Node

INPUT = "x"


def kinked_stalks(network: Network) -> set[str]:
    """The names of the stalks that a selection reads; in the input nothing moves, so it has no
    kinks.
    """
    selections = [node for node in network.nodes if isinstance(node.operation, Selection)]
    return {name for node in selections for name in node.inputs} - {INPUT}


def reasons(network: Network) -> Iterator[tuple[Node, str]]:
    """Every node, and why the kinks that it makes do not lie apart, as the end of a sentence about
    it; "" where they do.
    """
    kinked = kinked_stalks(network)
    readers: dict[str, list[Node]] = {}
    nodes = {node.name: node for node in network.nodes}
    for node in network.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for node in network.nodes:
        if not isinstance(node.operation, Selection) or node.inputs == (INPUT,):
            yield node, ""
        else:
            (name,) = node.inputs
            yield node, _why_not(node, nodes[name], readers[name], kinked)


def _why_not(node: Node, source: Node, readers: list[Node], kinked: Collection[str]) -> str:
    """What `reasons` says of a selection; source: what it reads, readers: all that read it."""
    name = source.name
    for other in readers:
        if other is node:
            continue
        if isinstance(other.operation, Affine):
            return f"reads the stalk {name!r}, which the affine node {other.name!r} reads too"
        if isinstance(node.operation, MaxPool) or isinstance(other.operation, MaxPool):
            return f"reads the stalk {name!r}, which {other.name!r} reads too"
    reads = [read for read in source.inputs if read in kinked]
    if reads and not isinstance(source.operation, Affine):
        return f"reads the stalk {name!r}, which itself reads the kinked stalk {reads[0]!r}"
    if isinstance(node.operation, MaxPool) and not _disjoint(node.operation):
        return f"reads windows of the stalk {name!r} that overlap or leave entries out"
    return ""


def check_separate(network: Network) -> None:
    """Raise ValueError unless all kinks of a network lie apart, and name what makes them so."""
    for node, why in reasons(network):
        if why:
            raise ValueError(
                f"node {node.name!r} {why}, so that its kinks do not lie apart: take the sheaf of"
                " network.separated(), or use relax"
            )


def separated(network: Network) -> list[tuple[str, Operation, tuple[str, ...]]]:
    """The nodes of `Network.separated`: with a vertex of its own before each selection that lacks
    one.
    """
    nodes: list[tuple[str, Operation, tuple[str, ...]]] = []
    taken = {node.name for node in network.nodes}
    for node, why in reasons(network):
        operation, reads = node.operation, node.inputs
        if why:
            kind = "window" if isinstance(operation, MaxPool) else "copy"
            name = _free_name(f"{node.name}.{kind}", taken)
            if isinstance(operation, MaxPool):
                gather, operation = _window_vertex(operation)
            else:
                gather = Gather(np.arange(operation.n_in), operation.n_in)
            nodes.append((name, gather, reads))
            reads = (name,)
        nodes.append((node.name, operation, reads))
    return nodes


def distinct(windows: np.ndarray) -> np.ndarray:
    """Which entries of the windows (n, k) stand in theirs for the first time: (n, k) of bool.

    A window at the rim of an image repeats an entry in place of one beyond the rim.
    """
    order = np.argsort(windows, axis=1, kind="stable")
    ranked = np.take_along_axis(windows, order, axis=1)
    first = np.ones(windows.shape, dtype=bool)
    first[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    found = np.empty_like(first)
    np.put_along_axis(found, order, first, axis=1)
    return found


def _disjoint(pool: MaxPool) -> bool:
    """Whether each coordinate that a max-pool reads belongs to exactly one window."""
    uses = np.bincount(pool.windows[distinct(pool.windows)], minlength=pool.n_in)
    return bool((uses == 1).all())


def _window_vertex(pool: MaxPool) -> tuple[Gather, MaxPool]:
    """The map that copies each entry once for each window that has it, and the pool on the
    copies.
    """
    first = distinct(pool.windows)
    index = pool.windows[first]
    place = np.zeros(pool.windows.shape, dtype=np.int64)
    place[first] = np.arange(len(index))
    # sorted, entries alike stand side by side, and have the place of the first of them
    order = np.argsort(pool.windows, axis=1, kind="stable")
    leads = np.take_along_axis(first, order, axis=1)
    leader = np.maximum.accumulate(np.where(leads, np.arange(leads.shape[1]), 0), axis=1)
    ranked = np.take_along_axis(np.take_along_axis(place, order, axis=1), leader, axis=1)
    windows = np.empty_like(place)
    np.put_along_axis(windows, order, ranked, axis=1)
    return Gather(index, pool.n_in), MaxPool(windows, len(index))


def _free_name(name: str, taken: set[str]) -> str:
    """A name that no node has yet, which is then taken."""
    while name in taken:
        name += "'"
    taken.add(name)
    return name
