"""Heat on a small network in the reader's hands: a part of a page with sliders and pins, a static
picture for where no script runs, and the same inside JupyterLab.

Python writes down the network, the start and the controls; explore.js computes and draws, and
explore.css says how it looks. Nothing is asked of a server.
"""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.flow.heat import default_step
from sheaflib.linear.spectrum import bound
from sheaflib.networks.graph import INPUT, Network, Node, check_network
from sheaflib.networks.selection import Elementwise, MaxPool, Selection
from sheaflib.plots.controls import buttons, controls, graph, hint, legend, plot
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.support.checks import batch, positive, real_array, whole

SCRIPT, STYLESHEET = (Path(__file__).with_name(f"explore.{kind}") for kind in ("js", "css"))
LARGEST = 100  # free coordinates: beyond, the eigenvalues take longer than a picture may
INPUTS = 1000  # numbers of an input


@dataclass(frozen=True, eq=False, repr=False)
class Explorer:
    """A small network as a live part of a page, made by `explore`.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The network that is shown; a sigmoid or softmax is left off its end.
    x : numpy.ndarray
        The input at the beginning, one row.
    start : numpy.ndarray
        Where heat begins, one row of all free coordinates.
    dt : float
        The step at the beginning.

    Notes
    -----
    In the paper: Thm 4.1, and §5.1 for pins.

    JupyterLab, and what else shows HTML, shows the live part; a stored notebook keeps the picture
    beside it. ``html`` is that part, ``png`` the picture. Parameters are kept as attributes.

    Examples
    --------
    >>> import numpy as np
    >>> shown = explore(Network.he([2, 3, 1], np.random.default_rng(0)), dt=0.1)
    >>> shown.dt, shown.start.shape
    (0.1, (1, 7))
    """

    sheaf: NeuralSheaf
    x: np.ndarray
    start: np.ndarray
    dt: float

    @cached_property
    def data(self) -> dict[str, Any]:
        """What the script is given: the sheaf as lists of plain numbers.

        A state of the script holds the inputs, then the free coordinates, and `at` and `window`
        name places in it. Each free coordinate has one of the `rules`: a linear row (`at`, `by`,
        `plus`), an elementwise selection (`at`, `breaks`, `slopes`, `offsets`), or a `window` whose
        largest entry is taken.
        """
        sheaf, n = self.sheaf, self.sheaf.network.n_in
        rules = [rule for node in sheaf.network.nodes for rule in _rules(sheaf, node)]
        readers: list[list[int]] = [[] for _ in range(n + sheaf.N)]
        for row, rule in enumerate(rules):
            if "breaks" in rule and rule["at"][0] >= n:
                readers[rule["at"][0]].append(row)
        edges = [
            {"name": edge.name, "start": edge.rows.start, "stop": edge.rows.stop}
            for edge in sheaf.edges
        ]
        return {
            "n": n,
            "x": self.x[0].tolist(),
            "start": self.start[0].tolist(),
            "dt": self.dt,
            "bound": bound(sheaf),
            "weights": sheaf.row_weights.tolist(),
            "edges": edges,
            "rules": rules,
            "readers": readers,
            "live": self._live(),
        }

    def _live(self) -> str:
        """The elements that the script puts in the picture's place.

        They stand among its numbers: where no script may run, as in a stored notebook that is not
        trusted, nothing of them is seen.
        """
        parts = (hint(), graph(self.sheaf), buttons(), legend(self.sheaf))
        below = controls(self.sheaf, self.x[0], self.dt), plot()
        return f'<div class="sheaf-live">{"".join((*parts, *below))}</div>'

    def html(self, picture: str | None = None) -> str:
        """The live part of a page, with the picture in it until the script has started.

        Parameters
        ----------
        picture : str, optional
            The address of the picture, as `png` makes it. With one, neither the script nor the
            style stands inside: the page links the files `SCRIPT` and `STYLESHEET` itself, once
            for all its explorers. Without one, all stands inside.

        Returns
        -------
        str
            One `<div class="sheaf-explorer">`, the same to the byte for the same network.

        Raises
        ------
        TypeError
            If `picture` is no text.

        Examples
        --------
        >>> import numpy as np
        >>> shown = explore(Network.he([2, 3, 1], np.random.default_rng(0)))
        >>> shown.html("network.png").count("<script")  # the numbers alone
        1
        """
        if not isinstance(picture, str | None):
            raise TypeError(f"picture is a {type(picture).__name__}, expected an address as text")
        inside = picture is None
        parts = [
            f"<style>{STYLESHEET.read_text(encoding='utf-8')}</style>" if inside else "",
            f'<div class="sheaf-still">{self._still(picture)}</div>',
            f'<script type="application/json" class="sheaf-data">{_script(self.data)}</script>',
        ]
        script = f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>" if inside else ""
        return f'<div class="sheaf-explorer">{"".join(parts)}</div>{script}\n'

    def png(self) -> bytes:
        """The static picture: the graph with its stalks after 100 steps, in the colours of discord.

        Returns
        -------
        bytes
            A PNG, the same to the byte for the same numbers.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is missing; the message names the extra that brings it.
        """
        from sheaflib.plots.still import still

        return still(self)

    @property
    def alt(self) -> str:
        """What the picture shows, in words, for those who do not see it.

        Examples
        --------
        >>> import numpy as np
        >>> explore(Network.he([2, 3, 1], np.random.default_rng(0))).alt
        'The sheaf of a network with the stalks x, z1, a1, z2 after 100 steps of heat: each value as
        a bar beside the value of the forward pass, each edge in the colour of its discord.'
        """
        return (
            f"The sheaf of a network with the stalks {', '.join((INPUT, *self.sheaf.layout.names))}"
            " after 100 steps of heat: each value as a bar beside the value of the forward pass,"
            " each edge in the colour of its discord."
        )

    def _still(self, address: str | None) -> str:
        """The picture as a part of the page, or why there is none."""
        if address is None:
            try:
                address = f"data:image/png;base64,{base64.b64encode(self.png()).decode()}"
            except ModuleNotFoundError as error:
                return f"<p>No picture: {html.escape(str(error))}</p>"
        return f'<img src="{html.escape(address)}" alt="{html.escape(self.alt)}">'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook shows and keeps: the live part, the picture, and a line of text."""
        found: dict[str, Any] = {"text/plain": repr(self), "text/html": self.html()}
        try:
            found["image/png"] = base64.b64encode(self.png()).decode()
        except ModuleNotFoundError:
            pass  # the page says so
        return found

    def __repr__(self) -> str:
        return f"Explorer({self.sheaf.network!r}, dt = {self.dt:g})"


def explore(
    network: Network | NeuralSheaf,
    x: ArrayLike | None = None,
    *,
    start: ArrayLike | None = None,
    seed: int = 0,
    dt: float | None = None,
) -> Explorer:
    """Show heat on the sheaf of a small network, live.

    The reader moves the inputs, holds a value by a pin, chooses the step, and plays.

    Parameters
    ----------
    network : Network or NeuralSheaf
        A network with up to 100 free coordinates, or its sheaf, whose edge weights count. A sigmoid
        or softmax output is left off: heat without a_out does not know it.
    x : array_like, optional
        The input at the beginning, (n_in,) or (1, n_in); standard normal numbers by default.
    start : array_like, optional
        Where heat begins, (N,) or (1, N), the free coordinates in the order of `sheaf.layout`;
        standard normal numbers by default.
    seed : int, optional
        Of the numbers that are not given.
    dt : float, optional
        The step at the beginning; by default that of `heat`, stable for every pattern.

    Returns
    -------
    Explorer
        Shows itself in JupyterLab; `Explorer.html` is the same for any other page.

    Raises
    ------
    TypeError
        For what is neither a network nor a sheaf, and for a selection that is not one of those
        below; the message names its node.
    ValueError
        For a network that is too large, for x or start of another shape, and for numbers that are
        not finite.
    OverflowError
        Where the forward pass, or the bound of λ_max, leaves float64.

    Notes
    -----
    In the paper: Thm 4.1, and §5.1 for pins.

    The script takes the steps of `relax`: Euler's without a pin (Thm 4.1 of the paper), and
    prox-Euler's with one (pinned neurons, §5.1; prox-Euler is derived), with max-pools explicit as
    there. A step beyond 2/λ_max is refused as `heat` refuses it. Layers may be affine, stacks and
    sums, ReLU, leaky ReLU, PReLU, absolute values, clamps and max-pools.

    Examples
    --------
    >>> import numpy as np
    >>> network = Network.he([2, 4, 1], np.random.default_rng(42))
    >>> explore(network, [1.0, 0.5], dt=0.01)
    Explorer(Network(x(2) -> z1(4) -> a1(4) -> z2(1), identity), dt = 0.01)
    """
    sheaf = _without_output(network)
    n = sheaf.network.n_in
    if sheaf.N > LARGEST or n > INPUTS:
        raise ValueError(
            f"network has {sheaf.N} free coordinates and {n} inputs, expected at most {LARGEST} and"
            f" {INPUTS}: explore is for small ones"
        )
    for node in sheaf.network.nodes:
        if isinstance(node.operation, Selection) and not _known(node):
            raise TypeError(
                f"network holds {type(node.operation).__name__} at {node.name!r}, expected a"
                " selection that explore knows: ReLU, PReLU, Clamp or MaxPool"
            )
    rng = np.random.default_rng(whole("seed", seed, least=0))
    drawn_x, drawn_start = rng.standard_normal((1, n)), rng.standard_normal((1, sheaf.N))
    x = drawn_x if x is None else _row(INPUT, x, n)
    start = drawn_start if start is None else _row("start", start, sheaf.N)
    sheaf.forward(x)  # OverflowError where it leaves float64
    return Explorer(sheaf, x, start, default_step(sheaf) if dt is None else positive("dt", dt))


def _row(name: str, values: ArrayLike, width: int) -> np.ndarray:
    """A copy of one row of numbers, as a batch of one."""
    values = real_array(name, values)
    rows = batch(name, values[None] if values.ndim == 1 else values, width)
    if len(rows) != 1:
        raise ValueError(f"{name} has {len(rows)} rows, expected one: one state is shown")
    return rows.copy()


def _without_output(network: Network | NeuralSheaf) -> NeuralSheaf:
    """The sheaf of a network whose output is the identity, with the weights of its other edges."""
    if not isinstance(network, NeuralSheaf):
        return NeuralSheaf(check_network(network).with_output("identity"))
    weights = {name: w for name, w in network.edge_weights.items() if name != "output"}
    return NeuralSheaf(network.network.with_output("identity"), weights)


def _known(node: Node) -> bool:
    return isinstance(node.operation, Elementwise | MaxPool)


def _rules(sheaf: NeuralSheaf, node: Node) -> list[dict[str, Any]]:
    """The rule of each coordinate of one node."""
    operation, n = node.operation, sheaf.network.n_in
    free = sheaf.columns(node)
    places = np.where(free < 0, 0, n + free)
    begin = 0
    for name in node.inputs:  # the inputs come first in a state
        width = n if name == INPUT else sheaf.layout[name].stop - sheaf.layout[name].start
        if name == INPUT:
            places[begin : begin + width] = np.arange(n)
        begin += width
    if isinstance(operation, MaxPool):
        return [{"window": places[window].tolist()} for window in operation.windows]
    if isinstance(operation, Elementwise):
        slopes = np.array([np.broadcast_to(slope, operation.n) for slope in operation.slopes])
        common = {"breaks": list(operation.breaks), "offsets": list(operation.offsets)}
        return [
            {"at": [int(place)], "slopes": slopes[:, j].tolist(), **common}
            for j, place in enumerate(places)
        ]
    none = np.zeros((1, 0), dtype=bool)
    plus = operation.value(np.zeros((1, operation.n_in)), none)[0]
    rows, columns, entries = operation.triplets(none[0])
    return [
        {
            "at": places[columns[rows == row]].tolist(),
            "by": np.asarray(entries)[rows == row].tolist(),
            "plus": float(plus[row]),
        }
        for row in range(operation.n_out)
    ]


def _script(data: dict[str, Any]) -> str:
    """Numbers as JSON that no name in it can end."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
