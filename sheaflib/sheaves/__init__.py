"""Cellular sheaves, and the sheaf of a network: stalks, restriction maps, pins, discord, forces.

May import: support, networks.
In the paper: section 3.1 (stalks and edges), 3.4 (pins as edges), 6 (discord).
"""
