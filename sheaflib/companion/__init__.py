"""What only the notebooks need: the paper's inputs and experiments, sweeps, races, and the record
of claims and figures. Nothing else in sheaflib imports it.

May import: everything.
In the paper: the experiments of sections 4 to 6 and Appendix E.
"""
