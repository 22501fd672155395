"""The pictures of single notebooks. A function that makes a whole figure takes results, and leaves
the numbers that it shows in `fig.numbers`; one that draws a part of it takes data and axes, and
returns the axes.

May import: support, networks, sheaves, linear, plots, diagnosis, companion.
In the paper: Figures 6 to 12 and those of Appendix E.
"""

from sheaflib.support.extras import needs

with needs("sheaflib.companion.figures", "plots"):
    import matplotlib  # noqa: F401 - all that is in here draws with it
