"""The library alone works without what the extras bring, and says what is missing where it is."""

import json
import subprocess
import sys

import pytest

from tools.project import REPOSITORY

OPTIONAL = ("matplotlib", "seaborn", "PIL", "joblib", "tqdm", "sklearn", "pandas", "IPython")

SETTING = """
import numpy as np
import sheaflib
from sheaflib import Network, NeuralSheaf, report
network = Network.he([2, 3, 1], np.random.default_rng(0))
sheaf, x, y = NeuralSheaf(network), np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([1.0, 2.0])
"""


def run(code, missing=OPTIONAL):
    """Run code in a process where the packages `missing` cannot be imported."""
    block = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in missing)
    return subprocess.run(
        [sys.executable, "-c", block + SETTING + code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


def test_the_verbs_work_without_the_extras():
    done = run("""
from sheaflib import equilibrium, exact_flow, gradient_descent, hard, joint_flow, relax
solution = relax(sheaf, x, np.zeros((2, sheaf.N)), tol=1e-12)
assert np.allclose(solution.output, network(x)), solution
assert equilibrium(sheaf, x, pins=hard("z2", 1.0)).converged.all()
assert exact_flow(sheaf, x[:1], np.zeros((1, sheaf.N))).at(50.0).shape == (1, sheaf.N)
assert next(joint_flow(sheaf, x, y[:, None]))
assert next(gradient_descent(sheaf, x, y[:, None], lr=0.1))
found = report(sheaf, x, y)
print(found)
assert "<table>" in found._repr_html_()
assert 'No picture: the picture of a report needs matplotlib: pip install' in found._repr_html_()
shown = sheaflib.explore(sheaf)._repr_mimebundle_()
assert "No picture: the picture of an explorer needs matplotlib" in shown["text/html"]
assert sorted(shown) == ["text/html", "text/plain"]
""")
    assert done.returncode == 0, done.stderr
    assert "total" in done.stdout and done.stderr == ""


SAYING = [
    ("report(sheaf, x, y).figure()", "the picture of a report needs matplotlib", "plots"),
    ("report(sheaf, x, y).to_frame()", "the table of a report needs pandas", "plots"),
    ("import sheaflib.plots.spectra", "sheaflib.plots needs matplotlib", "plots"),
    ("sheaflib.explore(sheaf).png()", "the picture of an explorer needs matplotlib", "plots"),
    (
        "import sheaflib.companion.record.gallery",
        "sheaflib.companion.record.gallery needs matplotlib",
        "plots",
    ),
    ("import sheaflib.companion.sweep", "sheaflib.companion.sweep needs joblib", "notebooks"),
    ("report(sheaf, x, y, progress=True)", "a progress bar needs tqdm", "notebooks"),
    ("import sheaflib.circuits.estimators", "needs scikit-learn 1.6 or later", "sklearn"),
]
WITHOUT_SKLEARN = [
    ("from sheaflib.companion.race import digits; digits()", "race.digits needs sklearn", "sklearn")
]
WITHOUT_SEABORN = [
    (f"import sheaflib.{module}", f"sheaflib.{module} needs seaborn", "plots")
    for module in ("plots.matrices", "plots.spectra", "companion.figures.training")
]


@pytest.mark.parametrize(
    "missing, cases",
    [(OPTIONAL, SAYING), (("sklearn",), WITHOUT_SKLEARN), (("seaborn",), WITHOUT_SEABORN)],
)
def test_one_line_says_what_is_missing_and_what_brings_it(missing, cases):
    """Each of the cases as if nothing had been tried before, in one process."""
    done = run(
        f"""
import json
for code in {[code for code, _, _ in cases]!r}:
    before = set(sys.modules)
    try:
        exec(code)
    except ImportError as error:
        print(json.dumps(str(error)))
    for name in set(sys.modules) - before:
        if name.startswith("sheaflib"):
            del sys.modules[name]
""",
        missing,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    for error, (_, line, extra) in zip(said, cases, strict=True):
        assert f'{line}: pip install "sheaflib[{extra}]"' in error and "\n" not in error


def test_the_estimators_need_scikit_learn_alone():
    done = run(
        """
from sheaflib.circuits.estimators import SheafRegressor
print(SheafRegressor((3,), max_iter=2, random_state=0).fit(x, y).predict(x).shape)
""",
        missing=("matplotlib", "seaborn", "PIL", "tqdm", "IPython"),
    )
    assert done.stdout.strip() == "(2,)", done.stderr
