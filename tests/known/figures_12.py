"""The oracles of notebook 12's figures: dense spectra, and a small matrix that carries both ends of
one.
"""

import numpy as np
import pytest
from figure_oracles import close, oracle
from figures_09 import METHODS, forward, layers, said
from oracles import dense_laplacian
from paraboloid_runs import APPENDIX, DATA, SIZES, run

from sheaflib import NeuralSheaf
from sheaflib.companion.tasks import paper_inputs


def dense_spectra(network, x):
    """Eigenvalues (B, N) and eigenvectors (B, N, N) of the dense Laplacian at each input's own
    pattern.
    """
    sheaf = NeuralSheaf(network)
    s = np.hstack([z >= 0 for z in forward(layers(network), x)[0][:-1]])
    return np.linalg.eigh([dense_laplacian(sheaf, pattern.astype(float)) for pattern in s])


def small_matrix(network, x):
    """λ₁ (B,) of one hidden layer from p = ‖W²R‖², q = ‖W²(I − R)‖²: the 4 × 4 matrix that carries
    the ends of the spectrum.
    """
    parts = layers(network)
    active, squares = forward(parts, x)[0][0] >= 0, parts[1][0][0] ** 2
    p, q = active @ squares, ~active @ squares
    o, r = np.zeros(len(p)), np.sqrt(p * q)
    P, Q = -np.sqrt(p), -np.sqrt(q)
    M = np.array([[2 + o, -1 + o, o, o], [-1 + o, 1 + p, r, P], [o, r, 1 + q, Q], [o, P, Q, 1 + o]])
    return np.linalg.eigvalsh(np.moveaxis(M, 2, 0))[:, 0]


@oracle("12-fig-e5")
def _(n):
    assert n["step"] == list(range(0, 100_001, 5000))
    names = ("λ₁", "λ_max", "κ")
    for method in METHODS:
        for step in (0, 20_000, 100_000):
            values, _ = dense_spectra(run("1H", method, APPENDIX)[step][0], DATA.X_train[:50])
            low, high, place = values[:, 0], values[:, -1], n["step"].index(step)
            for name, found in zip(names, (low, high, high / low)):
                expected = np.quantile(found, [0.25, 0.5, 0.75])
                close(np.array(n["quartiles"][name][method])[:, place], expected, rtol=1e-6)
        start = n["quartiles"]["λ₁"][method][1][0]
        assert start == pytest.approx(0.2248, abs=5.1e-5)  # recorded for the weights of seed 42
    bins = np.linspace(0.02, 0.16, 36)
    close(n["bins"], bins)
    for step in (1000, 20_000, 100_000):
        for method in METHODS:
            counts = n["counts"][str(step)][method]
            expected = small_matrix(run("1H", method, APPENDIX)[step][0], DATA.X_train[:100])
            assert counts == np.histogram(expected, bins)[0].tolist()
            assert sum(counts) == 100


@oracle("12-fig-11")
def _(n):
    x = paper_inputs()["diagnostic_inputs/uniform50_seed99"]
    for size, (_, _, moments) in SIZES.items():
        assert set(n[size]) == {said(step) for step in moments}
        for step in moments:
            ends, network = n[size][said(step)], run(size, "sheaf")[step][0]
            _, vectors = dense_spectra(network, x)
            cuts = np.cumsum([node.operation.n_out for node in network.nodes])[:-1]
            blocks = [node.name for node in network.nodes]
            for end, column in (("bottom", 0), ("top", -1)):
                energy = [
                    (block**2).sum(axis=1).mean()
                    for block in np.split(vectors[:, :, column], cuts, axis=1)
                ]
                close([ends[end][block] for block in blocks], energy, rtol=1e-6, atol=1e-8)
                assert sum(energy) == pytest.approx(1)
    recorded = [n["1H"][said(step)]["bottom"]["z2"] for step in SIZES["1H"][2]]
    close(recorded, [0.776, 0.916, 0.936], rtol=0, atol=5.1e-4)


# discord
# --------------------------------------------------------------------------------------------------
