"""Pictures of sheaves, flows and matrices: each of their functions takes data and an axes, draws,
and returns the axes; none computes. `palette` holds the colours, which mean the same in every
figure; `files` and `rounding` make the bytes of a figure's files.

May import: support, networks, sheaves.
In the paper: the look of its figures; which figure a function draws stands at the function.
"""

from pathlib import Path

from sheaflib.support.extras import needs

with needs("sheaflib.plots", "plots"):
    import matplotlib  # noqa: F401 - all that is in here draws with it

STYLE = Path(__file__).with_name("sheaflib.mplstyle")
