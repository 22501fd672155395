"""Networks whose kinks lie apart: every kinked stalk has a part of V to itself (derived).

V has a kink in a coordinate where a selection that reads it changes its side. The solvers of
`equilibria` put each kink at its minimum by a closed form, which needs that no two kinked stalks
meet on one edge, that no affine map reads a kinked stalk, and that each coordinate before a
max-pool belongs to one window. Where a network is not so, a vertex in between makes it so: an
identity copy of a stalk, or a *window vertex*, which holds one copy of each entry for each window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Collection

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


def why_not_separate(network: Network, node: Node, kinked: Collection[str]) -> str:
    """Why the kinks that a node makes do not lie apart, as the end of a sentence about it; "" where
    they do.
    """
    if not isinstance(node.operation, Selection) or node.inputs == (INPUT,):
        return ""
    (name,) = node.inputs
    source = next(other for other in network.nodes if other.name == name)
    others = [other for other in network.nodes if name in other.inputs and other is not node]
    for other in others:
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
    kinked = kinked_stalks(network)
    for node in network.nodes:
        if why := why_not_separate(network, node, kinked):
            raise ValueError(
                f"node {node.name!r} {why}, so that its kinks do not lie apart: take the sheaf of"
                " network.separated(), or use relax"
            )


def separated(network: Network) -> list[tuple[str, Operation, tuple[str, ...]]]:
    """The nodes of `Network.separated`: with a vertex of its own before each selection that lacks
    one.
    """
    kinked = kinked_stalks(network)
    nodes: list[tuple[str, Operation, tuple[str, ...]]] = []
    taken = {node.name for node in network.nodes}
    for node in network.nodes:
        operation, reads = node.operation, node.inputs
        if why_not_separate(network, node, kinked):
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
    same = pool.windows[:, :, None] == pool.windows[:, None, :]
    first_same = np.argmax(same, axis=2)  # of the entries alike in a window the first
    return Gather(index, pool.n_in), MaxPool(
        np.take_along_axis(place, first_same, axis=1), len(index)
    )


def _free_name(name: str, taken: set[str]) -> str:
    """A name that no node has yet, which is then taken."""
    while name in taken:
        name += "'"
    taken.add(name)
    return name
