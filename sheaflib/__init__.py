"""sheaflib: a feedforward ReLU network as a cellular sheaf.

A companion of "Neural Networks as Local-to-Global Computations" (Bosca & Ghrist, arXiv:2603.14831).

Importing it takes little longer than importing NumPy: `import scipy as sp` loads a part of SciPy
when it is first named, as in `sp.sparse.csr_array`, and numba is loaded by the first flow or
training.

>>> import numpy as np
>>> from sheaflib import Network, NeuralSheaf, harmonic_extension, relax
>>> network = Network.he([2, 4, 1], np.random.default_rng(0))
>>> sheaf = NeuralSheaf(network)
>>> x = [[1.0, 0.5]]
>>> bool(np.allclose(harmonic_extension(sheaf, x).output, network(x)))
True
>>> relax(sheaf, x, start=np.zeros((1, sheaf.N)), tol=1e-10).reason.split(" after")[0]
'at rest: |∂V/∂w| ≤ 1e-10 of its own terms'
"""

from sheaflib import layers  # noqa: F401 - so that it is there with sheaflib
from sheaflib.diagnosis.report import report
from sheaflib.equilibria.newton import equilibrium
from sheaflib.flow.exact_flow import exact_flow, exact_flows
from sheaflib.flow.heat import HeatUnstable, heat, relax
from sheaflib.linear.harmonic import backpropagate, harmonic_extension
from sheaflib.linear.solution import Solution
from sheaflib.linear.substitution import backward_substitution, forward_substitution
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import Network, Node
from sheaflib.networks.operations import Stack
from sheaflib.networks.output import Output
from sheaflib.networks.readers.read import read
from sheaflib.networks.selection import Clamp, MaxPool, PReLU, ReLU
from sheaflib.plots.explore import explore
from sheaflib.sheaves.cellular import CellularSheaf, SheafEdge
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard, soft
from sheaflib.training.drivers import TrainingDiverged, TrainingState, gradient_descent, joint_flow

__version__ = "0.2.0"

__all__ = [
    # networks (constructors of layers are in sheaflib.layers)
    "Affine",
    "Clamp",
    "MaxPool",
    "Network",
    "Node",
    "Output",
    "PReLU",
    "ReLU",
    "Stack",
    "read",
    # sheaves
    "CellularSheaf",
    "NeuralSheaf",
    "SheafEdge",
    "hard",
    "soft",
    # one linear solve
    "Solution",
    "backpropagate",
    "backward_substitution",
    "forward_substitution",
    "harmonic_extension",
    # states at rest, and the flow
    "HeatUnstable",
    "equilibrium",
    "exact_flow",
    "exact_flows",
    "heat",
    "relax",
    # training
    "TrainingDiverged",
    "TrainingState",
    "gradient_descent",
    "joint_flow",
    # diagnosis
    "report",
    # in a page or in JupyterLab
    "explore",
]
