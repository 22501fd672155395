"""States at rest of the piecewise quadratic energy under pins: Newton's method, the kinks it
crosses, certificates, and the list of all of them for a small network.

May import: support, networks, sheaves, linear.
In the paper: section 5.1, which reaches them by the flow.
"""
