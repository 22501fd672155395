"""The pictures of single notebooks: each function takes data and axes, draws and returns the axes.

May import: support, networks, sheaves, linear, plots, companion.
In the paper: Figures 6 to 12 and those of Appendix E.
"""

from sheaflib.support.extras import needs

with needs("sheaflib.companion.figures", "plots"):
    import matplotlib  # noqa: F401 - all that is in here draws with it
