"""Prop. 3.4: the forward pass is the unique harmonic extension; V = 0 exactly for a self-consistent
pattern.
"""

import numpy as np
from hypothesis import given
from oracles import dense_system
from strategies import MODERATE, any_pattern, cases

from sheaflib import harmonic_extension
from sheaflib.linear.rational import rational


@given(cases(integer=True))
def test_harmonic_extension_is_the_forward_pass(case):
    solution = harmonic_extension(case.sheaf, case.x)
    np.testing.assert_array_equal(solution.output, case.sheaf.network(case.x))
    np.testing.assert_array_equal(solution.cochain, case.sheaf.forward(case.x))
    assert (solution.energy == 0).all()
    assert solution.residual == 0
    assert solution.error == 0


@given(cases(integer=True))
def test_forward_pass_is_the_substitution_of_the_definition(case):
    sheaf = case.sheaf
    w = harmonic_extension(sheaf, case.x).cochain
    for x, row, s in zip(case.x, w, sheaf.pattern(w, case.x)):
        delta, c = dense_system(sheaf.network, s, x)
        np.testing.assert_array_equal(delta @ row, c)


@given(cases(integer=True, most=5))
def test_laplace_equation_holds_exactly_with_the_papers_boundary(case):
    """L[Ω,Ω] ω = −L[Ω,U] u, in rational arithmetic; L ≻ 0 makes ω the only solution."""
    sheaf = case.sheaf
    omega, u = sheaf.forward(case.x)[0], sheaf.extended.boundary_values(case.x)[0]
    s = sheaf.forward_pattern(case.x)[0]
    inner, outer = rational(sheaf.laplacian(s)), rational(sheaf.extended.boundary_laplacian(s))
    free, fixed = rational([omega])[0], rational([u])[0]
    for left, right in zip(inner, outer):
        assert sum(a * b for a, b in zip(left, free)) == -sum(a * b for a, b in zip(right, fixed))


@given(cases(scales=MODERATE, most=5))
def test_dense_solve_finds_the_forward_pass(case):
    sheaf = case.sheaf
    w, u = sheaf.forward(case.x), sheaf.extended.boundary_values(case.x)
    s = sheaf.pattern(w, case.x)[0]
    L = sheaf.laplacian(s).toarray()
    solved = np.linalg.solve(L, -(sheaf.extended.boundary_laplacian(s) @ u[0]))
    size = max(1.0, abs(w[0]).max(), abs(u).max())
    np.testing.assert_allclose(solved, w[0], rtol=0, atol=1e-14 * np.linalg.cond(L) * size)


@given(cases(integer=True))
def test_a_frozen_pattern_gives_the_masked_network_and_energy_zero_in_its_own_sheaf(case):
    sheaf, s = case.sheaf, case.pattern
    solution = harmonic_extension(sheaf, case.x, pattern=s)
    for x, row, one in zip(case.x, solution.cochain, s):
        delta, c = dense_system(sheaf.network, one, x)
        np.testing.assert_array_equal(delta @ row, c)
    assert (sheaf.energy(solution.cochain, case.x, s) == 0).all()


@given(cases(integer=True))
def test_state_dependent_energy_vanishes_exactly_when_the_network_is_not_masked_differently(case):
    """V = 0 iff the masked network computes the same values as the network: one-to-one, as the
    extension is unique.
    """
    sheaf = case.sheaf
    solution = harmonic_extension(sheaf, case.x, pattern=case.pattern)
    same = (solution.cochain == sheaf.forward(case.x)).all(axis=1)
    np.testing.assert_array_equal(solution.energy == 0, same)


@given(cases(integer=True))
def test_self_consistent_pattern_means_energy_zero(case):
    sheaf = case.sheaf
    solution = harmonic_extension(sheaf, case.x, pattern=case.pattern)
    consistent = (solution.own_pattern == case.pattern).all(axis=1)
    assert (solution.energy[consistent] == 0).all()
    assert solution.pattern_changes == (solution.own_pattern != case.pattern).sum()


@given(cases(integer=True))
def test_own_pattern_of_the_forward_pass_is_self_consistent(case):
    sheaf = case.sheaf
    w = sheaf.forward(case.x)
    again = harmonic_extension(sheaf, case.x, pattern=sheaf.pattern(w, case.x))
    np.testing.assert_array_equal(again.cochain, w)
    assert again.pattern_changes == 0


@given(cases(integer=True))
def test_nothing_but_the_harmonic_extension_has_energy_zero(case):
    """Uniqueness: moving any cochain off the extension of its pattern costs energy."""
    sheaf, rng = case.sheaf, np.random.default_rng(1)
    s = any_pattern(sheaf, rng, len(case.x))
    w = harmonic_extension(sheaf, case.x, pattern=s).cochain
    moved = case.w.any(axis=1)
    assert ((sheaf.energy(w + case.w, case.x, s) > 0) == moved).all()
