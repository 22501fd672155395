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

from sheaflib.diagnosis.report import report
from sheaflib.equilibria.newton import equilibrium
from sheaflib.flow.exact_flow import exact_flow, exact_flows
from sheaflib.flow.heat import HeatUnstable, heat, relax
from sheaflib.layers import add, average_pool, batch_norm, convolution, max_pool
from sheaflib.linear.harmonic import backpropagate, harmonic_extension
from sheaflib.linear.solution import Solution
from sheaflib.linear.substitution import backward_substitution, forward_substitution
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import Network, Node
from sheaflib.networks.operations import Stack
from sheaflib.networks.output import Output
from sheaflib.networks.selection import MaxPool, ReLU
from sheaflib.sheaves.cellular import CellularSheaf, SheafEdge
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard, soft
from sheaflib.training.flows import (
    TrainingDiverged,
    TrainingState,
    gradient_descent,
    joint_flow,
)

__version__ = "0.1.0"

__all__ = [
    "Affine", "CellularSheaf", "HeatUnstable", "MaxPool", "Network", "NeuralSheaf", "Node", "Output", "ReLU", "SheafEdge",
    "Solution", "Stack", "TrainingDiverged", "TrainingState", "add", "average_pool", "backpropagate", "backward_substitution", "batch_norm", "convolution",
    "equilibrium", "exact_flow", "exact_flows", "forward_substitution", "gradient_descent", "hard", "harmonic_extension", "heat", "joint_flow", "max_pool", "relax",
    "report", "soft",
]
