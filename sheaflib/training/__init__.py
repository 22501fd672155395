"""Training as a flow of stalks and weights together and, to compare, gradient descent: the drivers
of both (`drivers`), one step of each (`joint`, `descent`), and their losses (`objective`).

May import: support, networks, sheaves, linear, equilibria, flow.
In the paper: section 5.2 and Appendix E.
"""
