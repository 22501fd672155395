"""What every package leans on: checks of arguments, files written whole, optional packages,
progress bars.

May import: nothing of sheaflib.
In the paper: nowhere.
"""
