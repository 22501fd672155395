"""Training as a flow of stalks and weights together, beside gradient descent; the losses of both.

May import: support, networks, sheaves, linear, equilibria, flow.
In the paper: section 5.2 and Appendix E.
"""
