"""What notebooks/index.toml says of a notebook: its figures with their captions, and the defaults
of its parameters, beside the values that they have in this session.
"""

from __future__ import annotations

import sys
import tomllib

from sheaflib.companion import repository


def entries() -> list[dict]:
    """The entries of all notebooks in order; [] where there is no repository."""
    if repository.found() is None:
        return []
    text = repository.needed("notebooks/index.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["notebook"]


def titles() -> dict[str, str]:
    """The title of each notebook by its number."""
    return {found["number"]: found["title"] for found in entries()}


def entry(number: str) -> dict:
    """The entry of the notebook with this number; {} where there is no repository or no entry."""
    return next((found for found in entries() if found["number"] == number), {})


def figure(name: str) -> dict:
    """What the index says of a figure: caption, alt text, tolerances, seed. {} for one it does not
    list."""
    figures = entry(name[:2]).get("figures", {})
    return figures.get(name, {}) if isinstance(figures, dict) else {}


def place(name: str) -> str:
    """Where a figure's files stand in figures/, which has one folder a notebook.

    >>> place("04-fig-6"), place("scratch")
    ('04/04-fig-6', 'scratch')
    """
    return f"{name[:2]}/{name}" if name[:2].isdecimal() and name[2:3] == "-" else name


def parameters(number: str) -> dict:
    """The values that a notebook's parameters have in this session, defaults where they have
    none."""
    session = vars(sys.modules["__main__"])
    defaults = entry(number).get("parameters", {})
    return {name: session.get(name, value) for name, value in defaults.items()}


def changed(number: str) -> bool:
    """Whether a parameter has another value in this session than by default."""
    return parameters(number) != entry(number).get("parameters", {})
