"""General cellular sheaves whose answers every topologist knows."""

import numpy as np
import pytest

from sheaflib import CellularSheaf, SheafEdge


def constant(vertices, pairs, dim=1):
    return CellularSheaf(
        dict.fromkeys(vertices, dim), [(a, b, np.eye(dim), np.eye(dim)) for a, b in pairs]
    )


PATH = constant("abcde", ["ab", "bc", "cd", "de"])


def test_harmonic_extension_on_a_path_is_linear_interpolation():
    w = PATH.harmonic_extension({"a": [0.0], "e": [2.0]})
    np.testing.assert_allclose(
        [w[v][0] for v in "abcde"], [0.0, 0.5, 1.0, 1.5, 2.0], rtol=0, atol=1e-14
    )


def test_edge_weights_interpolate_like_resistors():
    """Two edges of conductance 1 and 3 in series: the middle sits at 3/4 of the way to the stiffer
    end.
    """
    path = CellularSheaf(
        {"a": 1, "b": 1, "c": 1}, [("a", "b", [[1]], [[1]], 1.0), ("b", "c", [[1]], [[1]], 3.0)]
    )
    assert path.harmonic_extension({"a": [0.0], "c": [1.0]})["b"][0] == pytest.approx(
        0.75, rel=1e-14
    )
    np.testing.assert_array_equal(path.laplacian.toarray(), [[1, -1, 0], [-1, 4, -3], [0, -3, 3]])


def test_restriction_maps_scale_the_interpolation():
    """2b = a and b = 3c hold at once: zero energy, b = a/2, c = a/6."""
    path = CellularSheaf(
        {"a": 1, "b": 1, "c": 1}, [("a", "b", [[1]], [[2]]), ("b", "c", [[1]], [[3]])]
    )
    w = path.harmonic_extension({"a": [6.0]})
    np.testing.assert_allclose([w["b"][0], w["c"][0]], [3.0, 1.0], rtol=1e-14)


@pytest.mark.parametrize("n", [3, 4, 7])
@pytest.mark.parametrize("dim", [1, 2])
def test_cycle_with_the_constant_sheaf(n, dim):
    names = [f"v{i}" for i in range(n)]
    cycle = constant(names, [(names[i - 1], names[i]) for i in range(n)], dim)
    assert (cycle.dim_h0, cycle.dim_h1) == (dim, dim)
    sections = cycle.global_sections().reshape(n, dim, dim)
    assert abs(sections - sections[0]).max() < 1e-14
    np.testing.assert_allclose(
        np.linalg.eigvalsh(cycle.laplacian.toarray())[::dim],
        np.sort(2 - 2 * np.cos(2 * np.pi * np.arange(n) / n)),
        rtol=0,
        atol=1e-13,
    )


@pytest.mark.parametrize("n", [3, 4, 7])
def test_cycle_with_one_sign_twisted(n):
    names = [f"v{i}" for i in range(n)]
    cycle = CellularSheaf(
        dict.fromkeys(names, 1),
        [(names[i - 1], names[i], [[-1 if i == 0 else 1]], [[1]]) for i in range(n)],
    )
    assert (cycle.dim_h0, cycle.dim_h1) == (0, 0)
    assert cycle.global_sections().shape == (n, 0)


def test_relative_cohomology_of_a_path():
    """Rel one end: nothing. Rel both ends: one cocycle. Rel nothing: the constants."""
    assert PATH.relative_dims([0]) == (0, 0)
    assert PATH.relative_dims([0, 4]) == (0, 1)
    assert PATH.relative_dims([]) == (1, 0)


def test_no_extension_without_a_boundary():
    with pytest.raises(ValueError, match=r"not unique: dim H⁰\(G, U; F\) = 1"):
        PATH.harmonic_extension({})


def test_part_of_a_stalk_as_boundary_and_parallel_edges():
    sheaf = CellularSheaf(
        {"a": 2, "b": 1},
        [
            ("a", "b", [[1, 1]], [[1]]),
            SheafEdge(
                "second",
                "a",
                "b",
                CellularSheaf({"u": 2, "v": 1}, [("u", "v", [[0, 1]], [[1]])]).edges[0].from_tail,
                CellularSheaf({"u": 1, "v": 1}, [("u", "v", [[1]], [[1]])]).edges[0].from_head,
            ),
        ],
    )
    w = sheaf.harmonic_extension({"a": ([0], [0.0]), "b": [2.0]})
    np.testing.assert_allclose(w["a"], [0.0, 2.0], rtol=0, atol=1e-14)


def test_a_graph_without_edges():
    lonely = CellularSheaf({"a": 2, "b": 1}, [])
    assert (lonely.dim_h0, lonely.dim_h1) == (3, 0)
    assert lonely.coboundary.shape == (0, 3)


def test_coboundary_is_head_minus_tail():
    edge = CellularSheaf({"a": 1, "b": 2}, [("a", "b", [[5], [6]], [[1, 2], [3, 4]])])
    np.testing.assert_array_equal(edge.coboundary.toarray(), [[-5, 1, 2], [-6, 3, 4]])
