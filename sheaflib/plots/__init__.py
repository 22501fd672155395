"""Pictures of sheaves, flows and matrices: each of their functions takes data and an axes, draws,
and returns the axes; none computes. `palette` holds the colours, which mean the same in every
figure; `files` and `rounding` make the bytes of a figure's files. `explore` puts a small network
into a page, where heat runs live; it works without matplotlib, `still` is its picture.

May import: support, networks, sheaves, linear, flow.
In the paper: the look of its figures; which figure a function draws stands at the function.
"""

from pathlib import Path

STYLE = Path(__file__).with_name("sheaflib.mplstyle")
