"""What discord says about a trained network: `report`, its measures and their cost, text, pictures.

May import: support, networks, layers, sheaves, linear, equilibria, flow, training, circuits, plots.
In the paper: section 6 and Table E.2.
"""
