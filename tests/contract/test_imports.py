"""Imports go one way, nothing heavy comes with the core, and the library works with numba and
without.
"""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

import sheaflib
from sheaflib import Network, NeuralSheaf, relax
from sheaflib.flow.kernels import can_compile

FOLDER = Path(sheaflib.__file__).parent
MODULES = {
    ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FOLDER.rglob("*.py")
}
FOREIGN = {
    "papermill",
    "nbformat",
    "nbconvert",
    "pytest",
    "hypothesis",
    "torch",
    "sklearn",
    "tqdm",
    "joblib",
    "dask",
    "distributed",
    "ray",
    "tools",
    "tests",
    "autograd",
}
EXEMPT = {
    "sheaflib.companion.sweep": {"joblib"},
    "sheaflib.support.progress": {"tqdm"},
    "sheaflib.companion.digits": {"sklearn"},
    "sheaflib.companion.race": {"sklearn"},
    "sheaflib.networks.readers.torch_module": {"torch"},
    "sheaflib.circuits.estimators": {"sklearn"},
    "sheaflib.circuits.mlp": {"sklearn"},
    "sheaflib.circuits.passes": {"sklearn"},
    "sheaflib.circuits.standardisation": {"sklearn"},
}


def imported(module):
    """The modules that one names, by their whole names, inside functions too; what stands under
    `if TYPE_CHECKING` is never imported.
    """
    found, tree = set(), ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & set(MODULES) | (set() if names <= set(MODULES) else {node.module})
    return found


def inside(names):
    return {name for name in names if name in MODULES}


GRAPH = {module: inside(imported(module)) - {module} for module in MODULES}


def test_imports_are_acyclic():
    # CycleError names the circle
    assert set(TopologicalSorter(GRAPH).static_order()) == set(MODULES)


def test_no_module_imports_the_package_root():
    """`import sheaflib` from inside would point back at everything."""
    assert not [module for module in MODULES if "sheaflib" in GRAPH[module]]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_imports_the_tools_of_building_and_testing(module):
    assert not {name.split(".")[0] for name in imported(module)} & FOREIGN - EXEMPT.get(
        module, set()
    )


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=FOLDER.parent, check=True
    ).stdout.strip()


def test_importing_sheaflib_draws_in_no_plotting_no_workers_and_no_compiler():
    heavy = (
        "matplotlib",
        "seaborn",
        "PIL",
        "IPython",
        "papermill",
        "pytest",
        "joblib",
        "tqdm",
        "sklearn",
        "numba",
        "scipy.sparse",
        "scipy.linalg",
        "scipy.special",
    )
    assert run(f"import sys, sheaflib; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_importing_sheaflib_takes_little_time():
    """0.2 s of the processor where this was written, to which numba adds 0.3; once in five."""
    code = "from time import process_time as now; t = now(); import sheaflib; print(now() - t)"
    assert any(float(run(code)) < 0.45 for _ in range(5))


# numba
# --------------------------------------------------------------------------------------------------

SMALL = """
import numpy as np
from sheaflib import Network, NeuralSheaf, hard, relax
from sheaflib.flow.kernels import can_compile
weights, biases = [[[1.0, 2.0], [-1.0, 1.0]], [[1.0, -2.0]]], [[0.5, 0.0], [1.0]]
sheaf = NeuralSheaf(Network.mlp(weights, biases, 'sigmoid'))
solution = relax(sheaf, [[1.0, 0.5]], np.ones((1, 6)), tol=1e-10, pins=hard('z1', 0.25, at=0))
print(can_compile(sheaf), solution.history.steps[0], *solution.cochain[0].round(9))
"""


def test_numba_is_used_when_it_imports(monkeypatch):
    dispatcher = pytest.importorskip("numba.core.registry").CPUDispatcher
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    assert can_compile(sheaf)

    def refuse(*_):
        raise AssertionError("the NumPy stepper was used")

    monkeypatch.setattr("sheaflib.flow.euler.EulerStepper.advance", refuse)
    solution = relax(sheaf, [[1.0]], np.zeros((1, 3)), tol=1e-10)
    np.testing.assert_allclose(solution.cochain, 1.0, atol=1e-8)
    modules = [module for name, module in sys.modules.items() if name.startswith("sheaflib.")]
    assert any(
        isinstance(value, dispatcher) and value.signatures
        for module in modules
        for value in vars(module).values()
    )


def test_everything_works_without_numba(capsys):
    without = run("import sys; sys.modules['numba'] = None\n" + SMALL).split()
    assert without[0] == "False"
    if can_compile(NeuralSheaf(Network.mlp([[[1.0]]]))):
        exec(SMALL, {})
        with_numba = capsys.readouterr().out.split()
        assert with_numba[0] == "True"
        assert with_numba[1] == without[1]
        np.testing.assert_allclose(
            np.array(with_numba[2:], float), np.array(without[2:], float), rtol=0, atol=2e-9
        )


def test_a_matrix_free_network_runs_in_numpy():
    from sheaflib import Affine

    sheaf = NeuralSheaf(
        Network(1, [("z1", Affine.from_maps(lambda a: 2 * a, lambda e: 2 * e, (1, 1)))])
    )
    assert not can_compile(sheaf)
    np.testing.assert_allclose(relax(sheaf, [[3.0]], [[0.0]]).cochain, [[6.0]], atol=1e-9)
