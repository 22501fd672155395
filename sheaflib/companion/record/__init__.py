"""The record of what the notebooks find: claims, the ledger of their measurements, and figures.

May import: support, plots, companion.
In the paper: nowhere.
"""
