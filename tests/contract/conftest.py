"""What these tests find: axes of their own for pictures, and the mark of the command they run in."""

import os

import matplotlib.pyplot as plt
import pytest

from tools.project import INSIDE


@pytest.fixture(autouse=True)
def command(monkeypatch):
    """Put back what says which command started the tests, for those that run commands in here."""
    monkeypatch.setenv(INSIDE, os.environ.get(INSIDE, ""))


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)
