"""Training's sheaf as an electrical circuit: currents and their local relaxation, mini-batches,
messages, and estimators with scikit-learn's interface.

May import: support, networks, sheaves, linear, equilibria, flow, training.
In the paper: nowhere; it is derived here from section 5.2.
"""
