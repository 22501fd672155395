"""States at rest of the piecewise quadratic energy under pins: Newton's method, the kinks it
crosses, certificates (which also say the kinks that a state sits on, its corners), and the list
of all such states for a small network.

May import: support, networks, sheaves, linear.
In the paper: section 5.1, which reaches them by the flow.
"""
