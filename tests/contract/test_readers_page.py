"""The page on reading networks lists exactly the operators of ONNX that are read."""

import re

from sheaflib.networks.readers.onnx_file import OPERATORS
from sheaflib.networks.readers.sklearn_model import _SCALERS, PERCEPTRONS
from tools.project import REPOSITORY

PAGE = (REPOSITORY / "docs" / "your-own-network.md").read_text(encoding="utf-8")
TABLE = PAGE.split("<!-- operators -->")[1].split("<!-- /operators -->")[0]


def test_the_page_lists_every_operator_that_is_read_and_no_other():
    firsts = [line.split("|")[1] for line in TABLE.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(firsts))) == set(OPERATORS)


def test_the_page_names_every_estimator_that_is_read():
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| `MLPClassifier`")]
    named = set(re.findall(r"`(\w+)`", row.split("|")[1]))
    assert named == {*PERCEPTRONS, *_SCALERS, "Pipeline"}
