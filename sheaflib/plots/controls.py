"""The elements of an explorer's page: the sheaf's graph, the controls, the place of the curve.

They are plain HTML, which explore.js fills with numbers and explore.css lays out.
"""

from __future__ import annotations

from html import escape

import numpy as np

from sheaflib.linear.spectrum import bound
from sheaflib.networks.graph import INPUT
from sheaflib.networks.selection import Elementwise
from sheaflib.sheaves.neural import NeuralSheaf

SLIDERS = 4  # inputs that have one
ABREAST = 8  # stalks: more of them stand below each other on every screen


def graph(sheaf: NeuralSheaf) -> str:
    """The stalks, each with a bar a coordinate, and the edges, in an order to read aloud.

    Stalk i stands at place 2i + 1 of a grid, the edge to its neighbour at the place after it; an
    edge that skips stalks has a lane of its own. The bars and edges are in the order of the state
    and of `sheaf.edges`.
    """
    names = (INPUT, *sheaf.layout.names)
    sizes = dict(zip(names, (sheaf.network.n_in, *sheaf.layout.dims)))
    at = {name: 2 * i + 1 for i, name in enumerate(names)}
    lanes = lanes_of([(at[edge.tail], at[edge.head]) for edge in sheaf.edges])
    parts = []
    for name in names:
        arriving = [k for k, edge in enumerate(sheaf.edges) if edge.head == name]
        for nth, k in enumerate(arriving):
            parts.append(_edge(sheaf.edges[k], at, lanes[k], nth))
        kind = "sheaf-bar sheaf-boundary" if name == INPUT else "sheaf-bar"
        bars = f'<i class="{kind}"><i></i></i>' * sizes[name]
        parts.append(
            f'<div class="sheaf-stalk" style="--place:{at[name]}"><div class="sheaf-bars">{bars}'
            f'</div><b class="sheaf-name">{escape(name)}</b></div>'
        )
    gap = " minmax(3.4rem,3fr) "
    columns = gap.join(f"minmax(2.2rem,{sizes[name]}fr)" for name in names)
    shown = (
        f'<div class="sheaf-graph" style="--columns:{columns};--lanes:{max(lanes)}">'
        f'<span class="sheaf-scale"></span>{"".join(parts)}</div>'
    )
    return f'<div class="sheaf-long">{shown}</div>' if len(names) > ABREAST else shown


def _edge(edge, at: dict[str, int], lane: int, nth: int) -> str:
    """One edge with its name and the place of its number; lane 0 is that between neighbours."""
    tail, head = at[edge.tail], at[edge.head]
    begin, end = (tail, head + 1) if lane else (tail + 1, head)
    skips = " sheaf-skip" if lane else ""
    places = f"--begin:{begin};--end:{end};--lane:{lane};--row:{2 + lane}"
    return (
        f'<div class="sheaf-edge{skips}"'
        f' style="{places};--last:{3 + lane};--gap:{head - 1};--nth:{nth}">'
        f'<i class="sheaf-line"></i><span class="sheaf-label">{edge.name.replace("_", " ")}</span>'
        '<span class="sheaf-number"></span></div>'
    )


def lanes_of(ends: list[tuple[int, int]]) -> list[int]:
    """A lane for each edge (tail, head) on a line: 0 between neighbours, which are 2 apart; for
    what skips others one that no other edge has over the same stretch.

    >>> lanes_of([(1, 3), (1, 5), (3, 5), (1, 7), (5, 7), (5, 7)])
    [0, 1, 0, 2, 0, 1]
    """
    lanes: dict[int, int] = {}
    for k in sorted(range(len(ends)), key=lambda k: ends[k][1] - ends[k][0]):
        tail, head = ends[k]
        taken = {lanes[i] for i in lanes if ends[i][0] < head and tail < ends[i][1]}
        first = 0 if head - tail == 2 else 1
        lanes[k] = next(lane for lane in range(first, len(ends) + 1) if lane not in taken)
    return [lanes[k] for k in range(len(ends))]


def hint() -> str:
    """What to do first, in one line above the drawing."""
    return '<p class="sheaf-hint">Press Play. Then choose Pin: hard, and move its value.</p>'


def buttons() -> str:
    """The buttons, which stand directly under the drawing."""
    return "".join(
        [
            '<div class="sheaf-buttons">',
            _button("play", "Play"),
            _button("steps", "Step", 1),
            _button("steps", "100 steps", 100),
            _button("again", "Start again"),
            _button("noise", "Start from noise"),
            _button("pass", "Start from the forward pass"),
            "</div>",
        ]
    )


def _piece(sheaf: NeuralSheaf) -> str:
    """What a number of the pattern says."""
    kinks = [node.operation for node in sheaf.network.nodes if node.name in sheaf.pattern_layout]
    neurons = all(isinstance(kink, Elementwise) and len(kink.breaks) == 1 for kink in kinks)
    return "1: the neuron is on" if neurons else "a number: the piece of its selection"


def legend(sheaf: NeuralSheaf) -> str:
    """What colours, lines and signs mean."""
    blocks = "".join(f'<i data-level="{level}"></i>' for level in range(8))
    return (
        '<p class="sheaf-legend"><span>discord of an edge: ≤ 1e-6'
        f' <span class="sheaf-blocks">{blocks}</span> ≥ 10</span>'
        ' <span><i class="sheaf-pass"></i> forward pass</span>'
        ' <span><i class="sheaf-diamond"></i> pin</span>'
        f" <span>below a bar: {_piece(sheaf)}</span></p>"
    )


def controls(sheaf: NeuralSheaf, x: np.ndarray, dt: float) -> str:
    """Sliders and selects, and below them the state in words, or why a step is refused. Sliders of
    γ and dt are logarithmic; that of dt ends beyond every limit of stability, as λ_max is at least
    the least edge weight.
    """
    far = float(np.ceil(max(3.0, *(2 * np.abs(x)), 2 * np.abs(sheaf.forward(x[None])).max())))
    places = [(str(i), sheaf.layout.label(i)) for i in range(sheaf.N)]
    last = sheaf.N - 1
    least, most = min(dt, 2 / bound(sheaf)) / 100, 2.5 / float(min(sheaf.edge_weights.values()))
    inputs = [
        _slider(f"Input x{i + 1}", str(i), -far, far, 0.01, value)
        for i, value in enumerate(x[:SLIDERS].tolist())
    ]
    steps = [("1", "1"), ("10", "10"), ("100", "100")]
    return "".join(
        [
            '<div class="sheaf-controls">',
            *inputs,
            _select("Pin", "pin", [("off", "off"), ("soft", "soft, γ"), ("hard", "hard")], "off"),
            _select("Pinned coordinate", "at", places, last, "soft hard"),
            _slider("Value of the pin", "value", -far, far, 0.01, 1.0, "soft hard"),
            _slider("Stiffness γ", "gamma", -2, 4, 0.01, 0.0, "soft"),
            _slider("Step dt", "dt", np.log10(least), np.log10(max(most, dt)), "any", np.log10(dt)),
            _select("Steps a frame", "speed", steps, 10),
            '</div><div class="sheaf-said"><p class="sheaf-alert" role="alert"><b></b>',
            '<small></small></p><p><span class="sheaf-status" role="status"></span>',
            f" <small>({_piece(sheaf)})</small></p></div>",
        ]
    )


def _slider(
    label: str, name: str, low: float, high: float, step: float | str, at: float, modes: str = ""
) -> str:
    """A slider and the place of its number; with modes of the pin, it is for those alone."""
    return (
        f'<label class="sheaf-control"><span>{label}</span><input type="range" name="{name}"'
        f' aria-label="{label}" autocomplete="off"{_only(modes)} min="{float(low):.6g}"'
        f' max="{float(high):.6g}" step="{step}" value="{float(at):.9g}"><b></b></label>'
    )


def _only(modes: str) -> str:
    return f' data-for="{modes}"' if modes else ""


def _select(
    label: str, name: str, options: list[tuple[str, str]], chosen: object, modes: str = ""
) -> str:
    shown = "".join(
        f'<option value="{value}"{" selected" if value == str(chosen) else ""}>{escape(text)}'
        "</option>"
        for value, text in options
    )
    return (
        f'<label class="sheaf-control"><span>{label}</span><select name="{name}"'
        f' aria-label="{label}" autocomplete="off"{_only(modes)}>{shown}</select></label>'
    )


def _button(name: str, text: str, value: int = 0) -> str:
    return f'<button type="button" name="{name}" value="{value}">{text}</button>'


def plot() -> str:
    """The place of the curve, total discord against steps on a log axis, and what it says."""
    return (
        '<figure class="sheaf-plot"><b>total discord</b><span class="sheaf-marks"></span>'
        '<svg viewBox="0 0 1 1" preserveAspectRatio="none"'
        ' role="img" aria-label="Total discord against steps on a log axis, and the predicted'
        ' slope"><polyline class="sheaf-predicted"/><polyline class="sheaf-total"/></svg>'
        '<span class="sheaf-first">0</span><span>step</span><span class="sheaf-last"></span>'
        "<figcaption>Line: total discord. Dashed: the slope that λ₁ predicts without a pin,"
        " 2 ln|1 − dt λ₁| a step, through the last point; λ₁ is the smallest eigenvalue of the"
        " sheaf Laplacian at the present pattern. With a pin discord stays, and no slope is drawn."
        " What is below 1e-20 is rounding, and is drawn at the foot.</figcaption></figure>"
    )
