"""The sheaf heat equation: its driver, steppers, compiled steps, and the flow without a time step.

May import: support, networks, sheaves, linear, equilibria.
In the paper: section 4 (the equation and its limit), 5.1 (with pins).
"""
