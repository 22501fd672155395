"""Training's sheaf relaxed at a frozen pattern by its vertices alone (derived; `currents` has the
equilibrium in closed form).

E(ω) = ½ Σ_e w_e ‖r_e‖² + w_out Φ(z^{k+1}, y), r = δω − c. A vertex is solved exactly, its
neighbours held: v ← v − D_v⁻¹ ∂E/∂v with D_v = w_v + Σ_e w_e F_eᵀF_e over the edges that leave it
(+ w_out at the output, square loss). It reads its own stalk, those at the other ends of its edges,
and these edges' maps, biases and weights; x or y where it meets them. A label is felt one edge
further a parallel round, so no such scheme needs fewer rounds than there are edges; sweeps take
O(κ), with Chebyshev's momentum O(√κ), κ of D⁻¹L. Where more than stalks may be sent, on a chain of
K edges 2K − 1 rounds are enough with matrices, 3K − 3 with vectors (`messages`).
"""

from __future__ import annotations

from itertools import count, cycle, islice
from typing import Callable, Iterator, Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.circuits.currents import Currents
from sheaflib.circuits.vertices import Vertex, begin, vertices
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.support.checks import MOST, batch, brief, instance, items, real_array, whole
from sheaflib.training.joint import output_weight
from sheaflib.training.objective import check_labels

FLAT = 1e-300  # half the width of a spectrum that is one point


def colours(sheaf: NeuralSheaf) -> tuple[tuple[str, ...], ...]:
    """The stalks by colour, no edge within one: greedily in the order of computation; on a chain
    all z, then all a.

    >>> from sheaflib.networks.graph import Network
    >>> colours(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]], [[1.0]]])))
    (('z1', 'z2', 'z3'), ('a1', 'a2'))
    """
    colour: dict[str, int] = {}
    for node in check_sheaf(sheaf).network.nodes:
        taken = {colour.get(name) for name in node.inputs}
        colour[node.name] = next(c for c in count() if c not in taken)
    return tuple(
        tuple(name for name, c in colour.items() if c == shade)
        for shade in range(max(colour.values()) + 1)
    )


def parallel_rounds(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    groups: Sequence[Sequence[str]],
    start: ArrayLike | None = None,
    pattern: ArrayLike | None = None,
    every: int = 1,
) -> Iterator[np.ndarray]:
    """Yield the stalks (B, N): the start, then after every `every` rounds; each solves the next
    group of vertices exactly, all at once.

    x (B, n_0), y (B, n_out), pattern (B, M); the forward pass and its pattern by default.
    ValueError for an edge within a group.

    >>> from sheaflib.networks.graph import Network
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> [w[0].tolist() for w in islice(parallel_rounds(chain, [[1.0]], [[5.0]], colours(chain)), 3)]
    [[1.0, 1.0, 1.0], [1.0, 1.0, 3.0], [1.0, 2.0, 3.0]]
    """
    x, y, w, pattern = begin(sheaf, x, y, start, pattern)
    groups = [tuple(items("a group of groups", group)) for group in items("groups", groups)]
    unknown = [name for group in groups for name in group if name not in sheaf.layout]
    if unknown:
        raise ValueError(
            f"groups: stalk {brief(unknown[0])} is unknown, expected one of"
            f" {', '.join(sheaf.layout.names)}"
        )
    if not groups or not all(groups):
        empty = "holds an empty group" if groups else "is empty"
        raise ValueError(f"groups {empty}, expected one or more groups of stalks")
    for group in groups:
        inside = [e.name for e in sheaf.edges if e.tail in group and e.head in group]
        if inside:
            raise ValueError(
                f"groups holds {', '.join(group)} together, expected no edge within a group:"
                f" {inside[0]} is"
            )
    found = vertices(sheaf, x, y, pattern)
    return _rounds([[found[name] for name in group] for group in groups], w, whole("every", every))


def _rounds(groups: list[list[Vertex]], w: np.ndarray, every: int) -> Iterator[np.ndarray]:
    """One by one in place: all at once, where no edge joins them."""
    yield w.copy()
    for done, group in enumerate(cycle(groups), start=1):
        for vertex in group:
            w[:, vertex.own] = vertex.update(w)
        if done % every == 0:
            yield w.copy()


def gauss_seidel(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    start: ArrayLike | None = None,
    pattern: ArrayLike | None = None,
    order: Sequence[str] | None = None,
) -> Iterator[np.ndarray]:
    """Yield the stalks (B, N): the start, then after each sweep over the vertices one by one, by
    default from the output to the input.

    One block Gauss–Seidel step (D + T) ω' = b − Tᵀω, T the blocks of L below D in that order.
    order: every stalk once, ValueError otherwise; sheaf.layout.names is from the input to the
    output. A sweep is as many rounds as there are vertices, one after the other.

    >>> from sheaflib.networks.graph import Network
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))

    One sweep sets z2 = (1 + 5)/2, then a1 = (1 + 3)/2, then z1 = (1 + 2)/2.

    >>> next(islice(gauss_seidel(chain, [[1.0]], [[5.0]]), 1, None))
    array([[1.5, 2. , 3. ]])
    """
    names = check_sheaf(sheaf).layout.names
    order = names[::-1] if order is None else items("order", order)
    if not all(isinstance(name, str) for name in order) or sorted(order) != sorted(names):
        raise ValueError(f"order is {brief(order)}, expected every stalk once: {', '.join(names)}")
    return parallel_rounds(
        sheaf, x, y, [(name,) for name in order], start, pattern, every=len(order)
    )


def red_black(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    start: ArrayLike | None = None,
    pattern: ArrayLike | None = None,
) -> Iterator[np.ndarray]:
    """Yield the stalks (B, N): the start, then after each sweep of one parallel round a colour; two
    colours on a chain.

    On a chain it ends like Gauss–Seidel from either end: the error falls by μ² a sweep, μ = 1 −
    λ_min(D⁻¹L) (Young 1954).

    >>> from sheaflib.networks.graph import Network
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> next(islice(red_black(chain, [[1.0]], [[5.0]]), 1, None))
    array([[1., 2., 3.]])
    """
    groups = colours(sheaf)
    return parallel_rounds(sheaf, x, y, groups, start, pattern, every=len(groups))


def jacobi_bounds(sheaf: NeuralSheaf, pattern: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """λ_min and λ_max of D⁻¹L, two (B,), for patterns (B, M) and the square loss: dense, and sharp.

    Global knowledge: they depend on every weight of the network, and no vertex can find them by
    itself. ValueError for another output.

    >>> from sheaflib.networks.graph import Network
    >>> low, high = jacobi_bounds(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]])), [True])
    >>> float(low[0].round(6)), float(high[0].round(6))  # 1 ∓ cos π/4
    (0.292893, 1.707107)
    """
    _check_square(check_sheaf(sheaf))
    distinct, place = np.unique(sheaf.check_pattern(pattern), axis=0, return_inverse=True)
    last, found = sheaf.layout[sheaf.layout.names[-1]], []
    index = np.arange(last.start, last.stop)
    for s in distinct:
        label = np.zeros((len(index), sheaf.N))
        label[np.arange(len(index)), index] = np.sqrt(output_weight(sheaf))
        edges = np.sqrt(sheaf.row_weights[: sheaf.N, None]) * sheaf.coboundary(s).toarray()
        root = np.vstack([edges, label])  # A with L = AᵀA
        for own in sheaf.layout.slices.values():  # D = RᵀR, block by block
            R = np.linalg.qr(root[:, own], mode="r")
            root[:, own] = sp.linalg.solve_triangular(R, root[:, own].T, trans="T").T
        # never the eigenvalues of L
        found.append(np.linalg.svd(root, compute_uv=False)[[-1, 0]] ** 2)
    low, high = np.array(found)[place.ravel()].T
    return low, high


def _check_square(sheaf: NeuralSheaf) -> None:
    if not sheaf.network.output.is_identity:
        raise ValueError(
            f"the output is a {sheaf.network.output.name}: Chebyshev's semi-iteration is for the"
            " square loss, identity output"
        )


def chebyshev(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    start: ArrayLike | None = None,
    pattern: ArrayLike | None = None,
) -> Iterator[np.ndarray]:
    """Yield the stalks (B, N): the start, then after each step of Chebyshev's semi-iteration on
    D⁻¹L, all vertices at once.

    ‖ω_s − ω*‖ ≤ 2 q^s ‖ω_0 − ω*‖ in the norms of L and of D, q = (√κ − 1)/(√κ + 1), κ = high/low.
    On a chain no scaling of the stalks by local blocks gives a smaller κ than D (Eisenstat, Lewis &
    Schultz 1982). low ≤ λ ≤ high for every eigenvalue λ of D⁻¹L, numbers or (B,), as from
    `jacobi_bounds`: the two things that are not local. ValueError for an output with another loss,
    or bad bounds.

    >>> from sheaflib.networks.graph import Network
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))

    The first step is Jacobi's, of length 2/(low + high).

    >>> next(islice(chebyshev(chain, [[1.0]], [[5.0]], 0.25, 1.75), 1, None))
    array([[1., 1., 3.]])
    """
    _check_square(check_sheaf(sheaf))
    x, y, w, pattern = begin(sheaf, x, y, start, pattern)
    low, high = _bound("low", low, len(x)), _bound("high", high, len(x))
    if not ((low > 0) & (high >= low)).all():
        raise ValueError(
            f"low = {low.min():g} and high = {high.min():g} at the least, expected 0 < low ≤ high:"
            " bounds of D⁻¹L's spectrum"
        )
    return _chebyshev(
        list(vertices(sheaf, x, y, pattern).values()),
        w,
        (high + low) / 2,
        np.maximum((high - low) / 2, FLAT),
    )


def _bound(name: str, value: ArrayLike, n_batch: int) -> np.ndarray:
    value = real_array(name, value)
    if value.shape not in ((), (1,), (n_batch,)):
        raise ValueError(
            f"{name} has shape {value.shape}, expected one number, or ({n_batch},): one a sample"
        )
    return value.reshape(-1, 1)


def _chebyshev(
    found: list[Vertex], w: np.ndarray, mean: np.ndarray, half: np.ndarray
) -> Iterator[np.ndarray]:
    """The three-term rule: ρ' = 1/(2 mean/half − ρ), move' = ρ'ρ move + (2ρ'/half) D⁻¹ force; first
    move = D⁻¹ force/mean.
    """
    rho, move = half / mean, _jacobi(found, w) / mean
    while True:
        yield w.copy()
        w = w + move
        after = 1 / (2 * mean / half - rho)
        move = after * rho * move + 2 * after / half * _jacobi(found, w)
        rho = after


def _jacobi(found: list[Vertex], w: np.ndarray) -> np.ndarray:
    """D⁻¹ force of every vertex: (B, N)."""
    return np.concatenate([vertex.solve(vertex.force(w)) for vertex in found], axis=1)


def edge_currents(sheaf: NeuralSheaf, x: ArrayLike, w: ArrayLike, pattern: ArrayLike) -> np.ndarray:
    """w_e r_e of every edge but the label's at stalks w (B, N) and a frozen pattern: (B, N)."""
    w = batch("w", w, check_sheaf(sheaf).N)
    if pattern is None:
        raise TypeError(f"pattern is None, expected ({sheaf.M},) or (B, {sheaf.M}): a frozen one")
    return sheaf.row_weights[: sheaf.N] * sheaf.discrepancy(w, x, pattern)


def relative_error(exact: Currents, w: ArrayLike) -> float:
    """‖w_e r_e − exact‖/‖exact‖ over all edges and samples, for stalks w (B, N) at the pattern of
    `exact`.

    ValueError where no current flows: the forward pass meets every label.
    """
    instance("exact", exact, Currents, "what currents(…) gives")
    size = np.linalg.norm(exact.edges)
    if size == 0:
        raise ValueError("exact holds no current, expected labels that the forward pass misses")
    return float(
        np.linalg.norm(edge_currents(exact.sheaf, exact.x, w, exact.pattern) - exact.edges) / size
    )


def reach(
    scheme: Callable, sheaf: NeuralSheaf, x: ArrayLike, y: ArrayLike, other: ArrayLike, rounds: int
) -> np.ndarray:
    """Which edges feel, after 0 … `rounds` rounds, that labels y became `other`: (rounds + 1,
    edges) of bool, edges as in sheaf.edges.

    scheme(sheaf, x, y) yields stalks (B, N), as all generators here do. A local scheme is felt one
    edge further a parallel round.

    >>> from sheaflib.networks.graph import Network
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> scheme = lambda *given: parallel_rounds(*given, colours(chain))
    >>> reach(scheme, chain, [[1.0]], [[5.0]], [[6.0]], 2).astype(int)
    array([[0, 0, 0],
           [0, 0, 1],
           [0, 1, 1]])
    """
    edges = [e.rows for e in check_sheaf(sheaf).edges if e.head in sheaf.layout]
    pattern, network = sheaf.forward_pattern(x), sheaf.network
    y, other = (
        check_labels(network.output, labels, network.n_out, len(pattern), name)
        for name, labels in (("y", y), ("other", other))
    )
    if not callable(scheme):
        raise TypeError(f"scheme={brief(scheme)}, expected a function of sheaf, x and labels")
    rounds, runs = whole("rounds", rounds, least=0, most=MOST), []
    for labels in (y, other):
        states = scheme(sheaf, x, labels)
        if not hasattr(states, "__iter__"):
            raise TypeError(f"scheme gave {brief(states)}, expected a generator of stalks (B, N)")
        runs.append(islice(states, rounds + 1))
    changed = [
        edge_currents(sheaf, x, a, pattern) != edge_currents(sheaf, x, b, pattern)
        for a, b in zip(*runs)
    ]
    return np.array([[state[:, rows].any() for rows in edges] for state in changed])
