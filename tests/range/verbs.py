"""Every verb of the library on one case of the grid against exact arithmetic: how wrong it is, or
that it says it does not know.

A verb's error is a backward error: the distance from the exact result over what that result moves,
to first order, when every number that was given (a weight, bias, input, edge weight, pin) changes
by one, relative. At 1e-15 only rounding of the data is left.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Callable, NamedTuple

import numpy as np
from range_cases import Case
from rational import dot, eigenvalue_error, exact, floats, multiply, sizes, times, transposed

from sheaflib import backpropagate, equilibrium, harmonic_extension, relax
from sheaflib.circuits.currents import currents
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.flow.exact_flow import exact_flow
from sheaflib.linear import spectrum
from sheaflib.linear.resistance import effective_resistance
from sheaflib.sheaves import discord

REST = 1000  # steps that a flow may take
UNDERFLOW = Fraction(1, 2**1000)


class Outcome(NamedTuple):
    """The backward error, and whether the verb said itself that it has no answer."""

    error: float
    declined: bool = False


DECLINED = Outcome(0.0, True)


class Verb(NamedTuple):
    """What is run, on which pins, and the backward error that is stated for it."""

    run: Callable
    stated: float
    pins: tuple = (None,)
    small: bool = False  # on networks whose faces can be enumerated in no time


def backward(found, expected, condition):
    """The largest |found − expected| over condition, entry by entry; ∞ where an entry is wrong that
    no data move, or is no number."""
    worst = 0.0
    for f, e, k in zip(np.ravel(found), _flat(expected), _flat(condition)):
        if not np.isfinite(f):
            return np.inf
        off = abs(Fraction(float(f)) - e)
        worst = max(worst, float(off / k) if k else (np.inf if off else 0.0))
    return worst


def _flat(values):
    return [v for part in values for v in _flat(part)] if isinstance(values, list) else [values]


# linear maps and what is computed edge by edge ----------------------------------------------------


def forward(case, pins):
    """The forward pass."""
    p = case.problem()
    w = p.forward()
    return Outcome(backward(case.sheaf.forward(case.x), w, p.condition(w, p.pattern(w))[0]))


def discrepancy(case, pins):
    """δw − c, with w's own pattern."""
    p, w = case.problem(), exact(case.w[0])
    return Outcome(
        backward(case.sheaf.discrepancy(case.w, case.x), p.discrepancy(w), p.edge_terms(w))
    )


def push(case, pins):
    """δw at a frozen pattern."""
    delta, w = case.problem().delta(case.frozen), exact(case.w[0])
    return Outcome(
        backward(
            case.sheaf.push(case.w, case.frozen), times(delta, w), times(sizes(delta), sizes(w))
        )
    )


def pull(case, pins):
    """δᵀw at a frozen pattern."""
    delta, w = transposed(case.problem().delta(case.frozen)), exact(case.w[0])
    return Outcome(
        backward(
            case.sheaf.pull(case.w, case.frozen), times(delta, w), times(sizes(delta), sizes(w))
        )
    )


def coboundary(case, pins):
    """The matrices δ and L, entry by entry."""
    p = case.problem()
    delta = p.delta(case.frozen)
    L = p.hessian(case.frozen, range(p.N))
    terms = multiply(
        transposed(sizes(delta)), [[q * abs(v) for v in row] for q, row in zip(p.weights, delta)]
    )
    return Outcome(
        max(
            backward(case.sheaf.coboundary(case.frozen).toarray(), delta, sizes(delta)),
            backward(case.sheaf.laplacian(case.frozen).toarray(), L, terms),
        )
    )


def energy(case, pins):
    """V of a cochain, where δw − c may cancel."""
    p, w = case.problem(), exact(case.w[0])
    condition = 2 * dot(p.weights, [t * t for t in p.edge_terms(w)])
    return Outcome(backward(case.sheaf.energy(case.w, case.x), [p.energy(w)], [condition]))


def per_edge(case, pins):
    """Discord edge by edge, and its total."""
    p, w = case.problem(), exact(case.w[0])
    r = p.discrepancy(w)
    terms = p.edge_terms(w)
    found = discord.per_edge(case.sheaf, case.w, case.x)
    worst = backward(
        discord.total(case.sheaf, case.w, case.x), [dot(r, r)], [2 * dot(terms, terms)]
    )
    for e in case.sheaf.edges:
        if e.name in found:
            worst = max(
                worst,
                backward(
                    found[e.name],
                    [dot(r[e.rows], r[e.rows])],
                    [2 * dot(terms[e.rows], terms[e.rows])],
                ),
            )
    return Outcome(worst)


def gradients(case, pins):
    """Back-propagation of a one at every output."""
    p = case.problem()
    w = p.forward()
    pattern = p.pattern(w)
    G, paths = p.inverse_rows(pattern, _last(case))
    e, e_terms = [sum(column) for column in zip(*G)], [sum(column) for column in zip(*paths)]
    moves = p.condition(w, pattern)[0]
    found = backpropagate(case.sheaf, case.x, np.ones((1, case.sheaf.network.n_out)))
    worst = 0.0
    for node in case.sheaf.network.nodes:
        if node.name in found:
            rows = case.sheaf.layout[node.name]
            below = None if node.inputs == ("x",) else case.sheaf.layout[node.inputs[0]]
            a, a_moves = (p.x, sizes(p.x)) if below is None else (w[below], moves[below])
            dW, db = found[node.name].values()
            value = [[u * v for v in a] for u in e[rows]]
            terms = [
                [s * (abs(v) + m) + abs(u) * m for v, m in zip(a, a_moves)]
                for u, s in zip(e[rows], e_terms[rows])
            ]
            worst = max(worst, backward(dW, value, terms), backward(db, e[rows], e_terms[rows]))
    return Outcome(worst)


# linear problems at a frozen pattern --------------------------------------------------------------


def masked(case, pins):
    """The harmonic extension of a frozen pattern."""
    p = case.problem()
    w = p.forward(case.frozen)
    return Outcome(
        backward(
            harmonic_extension(case.sheaf, case.x, pattern=case.frozen).cochain,
            w,
            p.condition(w, case.frozen)[0],
        )
    )


def extension(case, pins):
    """The harmonic extension of a frozen pattern with pins."""
    p, pinned = case.problem(case.pins[pins]), case.pins[pins].given(case.sheaf)
    w = p.minimum(case.frozen)
    try:
        found = harmonic_extension(case.sheaf, case.x, pins=pinned, pattern=case.frozen)
    except ArithmeticError:
        return DECLINED
    return Outcome(backward(found.cochain, w, p.condition(w, case.frozen)[0]))


def residual(case, pins):
    """Solution.residual of the pinned answer: max|∂V/∂w| of the cochain it has, off the clamped
    coordinates."""
    p, pinned = case.problem(case.pins[pins]), case.pins[pins].given(case.sheaf)
    try:
        found = harmonic_extension(case.sheaf, case.x, pins=pinned, pattern=case.frozen)
    except ArithmeticError:
        return DECLINED
    w, free = exact(found.cochain[0]), p.free()
    g = p.gradient(w, case.frozen)
    stress = [q * t for q, t in zip(p.weights, p.edge_terms(w, case.frozen))]
    terms = times(transposed(sizes(p.delta(case.frozen))), stress)
    for i, (gamma, t) in p.soft.items():
        terms[i] += gamma * (abs(w[i]) + abs(t))
    return Outcome(
        backward([found.residual], [max(abs(g[i]) for i in free)], [max(terms[i] for i in free)])
    )


def ends(case, pins):
    """Solution.error, against the distance to the exact answer; what rounding hides of it does not
    count."""
    p, pinned = case.problem(case.pins[pins]), case.pins[pins].given(case.sheaf)
    try:
        found = harmonic_extension(case.sheaf, case.x, pins=pinned, pattern=case.frozen)
        said = found.error
    except ArithmeticError:
        return DECLINED
    w = p.minimum(case.frozen)
    off = max(abs(a - b) for a, b in zip(exact(found.cochain[0]), w))
    return Outcome(backward([said], [off], [max(p.condition(w, case.frozen)[0])]))


def spectra(case, pins):
    """λ₁ and λ_max by `extremes`, and λ₁ by `smallest`: the error over the one that `extremes`
    states.
    """
    pinned = None if pins is None else case.pins[pins]
    p = case.problem(pinned)
    H, given = p.hessian(case.frozen, p.free()), () if pins is None else pinned.given(case.sheaf)
    try:
        both = spectrum.extremes(case.sheaf, case.frozen, pins=given)
        least = spectrum.smallest(case.sheaf, case.frozen, pins=given)
    except ArithmeticError:
        return DECLINED
    return Outcome(
        max(
            eigenvalue_error(H, 0, float(both.smallest[0])) / both.error_low[0],
            eigenvalue_error(H, 0, float(least[0])) / both.error_low[0],
            eigenvalue_error(H, len(H) - 1, float(both.largest[0])) / both.error_high[0],
        )
    )


def bound(case, pins):
    """spectrum.bound is no less than λ_max of any pattern: its error is by how much it is less."""
    p = case.problem()
    H = p.hessian([1] * case.sheaf.M, range(p.N))
    value = spectrum.bound(case.sheaf)
    above = eigenvalue_error(H, p.N - 1, value) if value < _largest(H) else 0.0
    return Outcome(above)


def _largest(H):
    return float(np.linalg.eigvalsh(floats(H))[-1]) * (1 - 1e-12)


def resistance(case, pins):
    """ρ of the output entry by entry, and its largest eigenvalue."""
    p = case.problem()
    G, paths = p.inverse_rows(case.frozen, _last(case))
    rho, terms = (
        multiply([[v / q for v, q in zip(row, p.weights)] for row in rows], transposed(rows))
        for rows in (G, paths)
    )
    found = effective_resistance(case.sheaf, case.frozen)
    norm = float(found.norm[0])
    worst = max(
        backward(found.total[0], rho, terms),
        eigenvalue_error(rho, len(rho) - 1, norm)
        * float(Fraction(norm) / max(max(row) for row in terms)),
    )
    return Outcome(worst)


def injections(case, pins):
    """η of a moved output, clamped there or pulled by a spring."""
    worst, last, moved = 0.0, _last(case), [Fraction(float(v)) for v in case.label[0]]
    law = effective_resistance(case.sheaf, case.frozen)
    for spring in (np.inf, 1.0, 1e-6):
        p = case.problem()
        p.c, p.constant_terms = [Fraction(0)] * p.N, [Fraction(0)] * p.N
        if np.isinf(spring):
            p.hard = dict(zip(last, moved))
        else:
            p.soft = {i: (Fraction(spring), v) for i, v in zip(last, moved)}
        w = p.minimum(case.frozen)
        worst = max(
            worst,
            backward(
                law.injections(case.label, spring),
                p.discrepancy(w, case.frozen),
                p.condition(w, case.frozen)[1],
            ),
        )
    return Outcome(worst)


def _last(case):
    here = case.sheaf.layout[case.sheaf.layout.names[-1]]
    return range(here.start, here.stop)


# the circuit of training --------------------------------------------------------------------------


def square(case, pins):
    """Pull, currents and relaxed stalks of the square loss, a spring of stiffness one at the
    output."""
    p = case.problem()
    pattern = p.pattern(p.forward())
    p.soft = {i: (Fraction(1), Fraction(float(v))) for i, v in zip(_last(case), case.label[0])}
    w = p.minimum(pattern)
    r, bends = p.discrepancy(w, pattern), p.condition(w, pattern)[1]
    flow = [a * b for a, b in zip(p.weights, r)]
    flow_moves = [a * b for a, b in zip(p.weights, bends)]
    try:
        found = currents(case.sheaf, case.x, case.label)
    except ArithmeticError:
        return DECLINED
    last = slice(_last(case).start, None)
    return Outcome(
        max(
            backward(found.pull, flow[last], flow_moves[last]),
            backward(found.edges, flow, flow_moves),
        )
    )


def relaxed(case, pins):
    """The relaxed stalks of the square loss, relative to the forward pass and the change that they
    are the sum of."""
    p = case.problem()
    passed = p.forward()
    pattern = p.pattern(passed)
    p.soft = {i: (Fraction(1), Fraction(float(v))) for i, v in zip(_last(case), case.label[0])}
    w = p.minimum(pattern)
    _, paths = p.inverse_rows(pattern, range(p.N))
    strain = [t + abs(r) for t, r in zip(p.edge_terms(passed), p.discrepancy(w, pattern))]
    moves = [a + b for a, b in zip(p.condition(w, pattern)[0], times(paths, strain))]
    return Outcome(backward(currents(case.sheaf, case.x, case.label).relaxed, w, moves))


def cross_entropy(case, pins):
    """The pull of a sigmoid of one output, or a softmax of two: one equation s = w σ(−(d + ρ s)),
    here solved with 60 digits.

    d is the margin of the forward pass in favour of the label, and ρ the resistance that the pull s
    meets.
    """
    output = "sigmoid" if case.sheaf.network.n_out == 1 else "softmax"
    case = Case(case.widths, case.name, output)
    p, weight = case.problem(), case.sheaf.edge_weights["output"]
    w = p.forward()
    pattern, (G, paths), last = p.pattern(w), p.inverse_rows(p.pattern(w), _last(case)), _last(case)
    moves, worst = [p.condition(w, pattern)[0][i] for i in last], 0.0
    for label in (0, 1):
        y = np.array([[float(label)]]) if output == "sigmoid" else np.eye(2)[[label]]
        signs = [1 if v else -1 for v in y[0]]
        d = dot(signs, [w[i] for i in last])
        path = [dot(signs, column) for column in zip(*G)]
        rough = [sum(column) for column in zip(*paths)]
        rho, rho_moves = (sum(v * v / q for v, q in zip(row, p.weights)) for row in (path, rough))
        s, slope = _balance(d, rho, Fraction(weight))
        loose = slope * (sum(moves) + abs(d) + rho_moves * s)
        condition = s + loose / (1 + slope * rho) + UNDERFLOW
        try:
            found = currents(case.sheaf, case.x, y).pull[0]
        except ArithmeticError:
            return DECLINED
        worst = max(worst, backward(found, [s * v for v in signs], [condition] * len(signs)))
    return Outcome(worst)


def _balance(d, rho, weight):
    """s with s = weight σ(−(d + rho s)), which decreases on the right, and the slope weight σ(1 −
    σ) there."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**17), 10**17
        d, rho, weight = (Decimal(v.numerator) / Decimal(v.denominator) for v in (d, rho, weight))

        def part(s):
            z = d + rho * s
            return 1 / (1 + z.exp()) if z < 10**15 else (-z).exp()

        low, high = Decimal(0), weight
        if weight * part(low) < Decimal("1e-320"):
            return Fraction(0), Fraction(0)
        low = high
        while weight * part(low) < low:
            low, high = low / 16, low
        for _ in range(190):
            middle = (low + high) / 2
            low, high = (middle, high) if weight * part(middle) > middle else (low, middle)
        return Fraction(low), Fraction(weight * part(low) * (1 - part(low)))


# pinned equilibria --------------------------------------------------------------------------------


@lru_cache(maxsize=None)
def _minima(widths, name, pins):
    case = Case(widths, name)
    p = case.problem(case.pins[pins])
    minima = [
        (w, [w[z] >= 0 and z not in corners for z, _, _ in p.units], corners)
        for w, corners in p.minima()
    ]
    return (
        case,
        p,
        [
            (w, *(p.condition(w, pattern, corners, by_stalks)[0] for by_stalks in (False, True)))
            for w, pattern, corners in minima
        ],
    )


def _nearest(w, known):
    """The backward error of w as the nearest of the exact minima, for a method that keeps stalks
    alone."""
    return min(backward(w, exact_w, condition) for exact_w, _, condition in known)


def enumeration(case, pins):
    """enumerate_equilibria: every minimum once, the right number of them, or ArithmeticError."""
    case, p, known = _minima(case.widths, case.name, pins)
    try:
        found = enumerate_equilibria(case.sheaf, case.x, pins=case.pins[pins].given(case.sheaf))
    except ArithmeticError:
        return DECLINED
    if len(found.minima) != len(known):
        return Outcome(np.inf)
    return Outcome(max(min(backward(w, e, k) for w in found.minima) for e, k, _ in known))


def newton(case, pins):
    """equilibrium: a strict local minimum, or not converged, or no claim in its certificate, or
    ArithmeticError."""
    case, p, known = _minima(case.widths, case.name, pins)
    worst, declined = 0.0, True
    for mode in ("track", "global"):
        try:
            found = equilibrium(
                case.sheaf,
                case.x,
                pins=case.pins[pins].given(case.sheaf),
                mode=mode,
                max_iterations=60,
            )
            claimed = bool(found.converged[0]) and bool(found.certificate.minimum()[0])
        except ArithmeticError:
            continue
        except ValueError:  # "w must be finite" is no verdict
            return Outcome(np.inf)
        if claimed:
            worst, declined = max(worst, _nearest(found.cochain[0], known)), False
    return Outcome(worst, declined)


def flow_limit(case, pins):
    """exact_flow from a random start: settled at a strict local minimum, or no claim, or
    ArithmeticError."""
    case, p, known = _minima(case.widths, case.name, pins)
    try:
        found = exact_flow(
            case.sheaf, case.x, case.w, pins=case.pins[pins].given(case.sheaf), max_events=200
        )
    except ArithmeticError:
        return DECLINED
    return Outcome(_nearest(found.limit, known)) if found.settled else DECLINED


def at_rest(case, pins):
    """relax from the same start, some steps only: at rest at a strict local minimum, or stopped and
    saying so."""
    case, p, known = _minima(case.widths, case.name, pins)
    try:
        found = relax(
            case.sheaf,
            case.x,
            case.w,
            pins=case.pins[pins].given(case.sheaf),
            max_steps=REST,
            every=REST,
        )
    except ArithmeticError:
        return DECLINED
    return (
        DECLINED if not found.history.arrived.all() else Outcome(_nearest(found.cochain[0], known))
    )


ALL = ("output", "spring", "inside", "graded")
VERBS = {
    "forward": Verb(forward, 1e-14),
    "discrepancy": Verb(discrepancy, 1e-15),
    "push": Verb(push, 1e-15),
    "pull": Verb(pull, 1e-15),
    "coboundary, laplacian": Verb(coboundary, 1e-15),
    "energy": Verb(energy, 1e-14),
    "discord": Verb(per_edge, 1e-14),
    "backpropagate": Verb(gradients, 1e-14),
    "harmonic_extension, pattern": Verb(masked, 1e-14),
    "harmonic_extension, pins": Verb(extension, 1e-14, ALL),
    "Solution.residual": Verb(residual, 1e-14, ("output", "graded")),
    "Solution.error": Verb(ends, 1e-12, ("inside", "graded")),
    "extremes, smallest": Verb(spectra, 1.0, (None, "output", "inside")),
    "bound": Verb(bound, 1e-12),
    "effective_resistance": Verb(resistance, 1e-14),
    "Resistance.injections": Verb(injections, 1e-13),
    "currents, square loss": Verb(square, 1e-11),
    "Currents.relaxed": Verb(relaxed, 1e-10),
    "currents, cross-entropy": Verb(cross_entropy, 1e-13),
    "enumerate_equilibria": Verb(enumeration, 1e-14, ("output", "inside"), True),
    "equilibrium": Verb(newton, 1e-12, ("output", "inside"), True),
    "exact_flow": Verb(flow_limit, 1e-9, ("output", "inside"), True),
    "relax": Verb(at_rest, 1e-9, ("output", "inside"), True),
}
