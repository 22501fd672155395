"""δ_Ω, δ_Ωᵀ and their inverses without matrices agree with the matrices, for every DAG and
pattern.
"""

import numpy as np
from hypothesis import given
from oracles import EPS, dense_system
from strategies import cases

from sheaflib import backward_substitution, forward_substitution


@given(cases(integer=True, cube=False))
def test_sparse_coboundary_is_the_one_of_the_definition(case):
    expected, _ = dense_system(case.sheaf.network, case.pattern[0], case.x[0])
    np.testing.assert_array_equal(case.sheaf.coboundary(case.pattern[0]).toarray(), expected)


@given(cases(integer=True))
def test_push_and_pull_are_the_matrix_and_its_transpose(case):
    sheaf, v = case.sheaf, case.w
    for i, s in enumerate(case.pattern):
        delta, _ = dense_system(sheaf.network, s, case.x[i])
        np.testing.assert_array_equal(sheaf.push(v, case.pattern)[i], delta @ v[i])
        np.testing.assert_array_equal(sheaf.pull(v, case.pattern)[i], delta.T @ v[i])


@given(cases(cube=True))
def test_adjointness(case):
    rng = np.random.default_rng(0)
    v, e = case.w, rng.standard_normal(case.w.shape)
    pushed, pulled = case.sheaf.push(v, case.pattern), case.sheaf.pull(e, case.pattern)
    size = np.linalg.norm(pushed, axis=1) * np.linalg.norm(e, axis=1) + np.linalg.norm(
        pulled, axis=1
    ) * np.linalg.norm(v, axis=1)
    assert (abs((pushed * e).sum(axis=1) - (v * pulled).sum(axis=1)) <= 50 * EPS * size).all()


@given(cases(integer=True))
def test_substitutions_invert_push_and_pull_exactly(case):
    sheaf, f, s = case.sheaf, case.w, case.pattern
    np.testing.assert_array_equal(sheaf.push(forward_substitution(sheaf, f, s), s), f)
    np.testing.assert_array_equal(sheaf.pull(backward_substitution(sheaf, f, s), s), f)
    np.testing.assert_array_equal(forward_substitution(sheaf, sheaf.push(f, s), s), f)
    np.testing.assert_array_equal(backward_substitution(sheaf, sheaf.pull(f, s), s), f)


@given(cases(cube=True))
def test_forward_substitution_is_backward_stable(case):
    """|δv − f| ≤ n·eps·|δ||v| componentwise, whatever the scale of the weights (Higham, Thm
    8.5).
    """
    sheaf, f, s = case.sheaf, case.w[:1], case.pattern[:1]
    delta = sheaf.coboundary(s).toarray()
    for solve, matrix in ((forward_substitution, delta), (backward_substitution, delta.T)):
        v = solve(sheaf, f, s)[0]
        assert (abs(matrix @ v - f[0]) <= 2 * sheaf.N * EPS * (abs(matrix) @ abs(v))).all()
