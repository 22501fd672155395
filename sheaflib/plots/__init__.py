"""Pictures of sheaves, flows and matrices: each of their functions takes data and an axes, draws,
and returns the axes; none computes. Colours by edge kind are the same in every figure. `files` and
`rounding` make the bytes of a figure's files.

May import: support, networks, sheaves.
In the paper: the look of its figures; which figure a function draws stands at the function.
"""

from pathlib import Path

from sheaflib.support.extras import needs

with needs("sheaflib.plots", "plots"):
    import matplotlib  # noqa: F401 - all that is in here draws with it

STYLE = Path(__file__).with_name("sheaflib.mplstyle")
EDGE_COLOURS = {
    "affine": "#0072B2",
    "activation": "#E69F00",
    "projection": "#009E73",
    "output": "#CC79A7",
    "penalty": "#D55E00",
}
# the first, second, … of what is compared
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
