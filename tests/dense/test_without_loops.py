"""What is computed without a loop over coordinates is what the loop computes, to the last bit: sums
over shared places, max-pool's adjoint, pins, the worst neurons, a matrix-free map's entries.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases

from sheaflib import Network, NeuralSheaf, hard, soft
from sheaflib.diagnosis.measures import worst_neurons
from sheaflib.networks import affine
from sheaflib.networks.affine import Affine
from sheaflib.networks.selection import MaxPool
from sheaflib.sheaves.pins import resolve
from sheaflib.support.sums import sums

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(1, 4), st.integers(0, 40), st.integers(1, 9), st.booleans())
def test_sums(seed, rows, count, size, shared):
    """Terms over many decades: another order would leave other last digits."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, size, (count,) if shared else (rows, count))
    values = rng.standard_normal((rows, count)) * 10.0 ** rng.integers(-20, 20, (rows, count))
    expected = np.zeros((rows, size))
    for i in range(rows):
        for k in range(count):
            expected[i, places[k] if shared else places[i, k]] += values[i, k]
    np.testing.assert_array_equal(sums(places, values, size), expected)


@given(SEEDS, st.integers(1, 3), st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_the_adjoint_of_a_pool(seed, rows, n_out, k, one):
    """Windows may overlap and repeat an entry; a pattern may be one of each sample or of all."""
    rng = np.random.default_rng(seed)
    pool = MaxPool(rng.integers(0, 7, (n_out, k)), 7)
    s = rng.integers(0, k, (1 if one else rows, n_out))
    e = rng.standard_normal((rows, n_out))
    expected = np.zeros((rows, 7))
    for i in range(rows):
        for j in range(n_out):
            expected[i, pool.windows[j, s[0 if one else i, j]]] += e[i, j]
    np.testing.assert_array_equal(pool.adjoint(e, s), expected)


def by_dictionary(sheaf, pins, n_batch):
    """Hard pins, place -> values, and springs, place -> (γ, values at rest, energy that is left),
    one coordinate after the other.
    """
    clamped, springs = {}, {}
    for pin in pins:
        here = sheaf.layout[pin.stalk]
        at = range(here.stop - here.start) if pin.at is None else pin.at
        values = np.broadcast_to(pin.value, (n_batch, len(at)))
        for k, place in enumerate(at):
            index = range(here.start, here.stop)[place]
            if np.isinf(pin.gamma):
                if index in clamped and (clamped[index] != values[:, k]).any():
                    raise ValueError(sheaf.layout.label(index))
                clamped[index] = values[:, k]
            else:
                springs.setdefault(index, []).append((pin.gamma, values[:, k]))
    loose = {}
    for index in sorted(set(springs) - set(clamped)):
        gamma = sum(g for g, _ in springs[index])
        rest = sum(g * v for g, v in springs[index]) / gamma
        loose[index] = gamma, rest, 0.5 * sum(g * (v - rest) ** 2 for g, v in springs[index])
    return dict(sorted(clamped.items())), loose


@st.composite
def pinned(draw):
    """A sheaf, the size of a batch, and pins of few values, so that some name a coordinate again
    and agree, and some contradict."""
    rng = np.random.default_rng(draw(SEEDS))
    sheaf, n_batch = NeuralSheaf(Network.he([2, 3, 3, 2], rng)), draw(st.integers(1, 3))
    pins = []
    for _ in range(draw(st.integers(0, 6))):
        stalk = rng.choice(sheaf.layout.names)
        here = sheaf.layout[stalk]
        n = here.stop - here.start
        at = None if rng.random() < 0.3 else rng.integers(-n, n, rng.integers(1, 5)).tolist()
        k = n if at is None else len(at)
        shape = [(), (k,), (n_batch, k)][rng.integers(3)]
        value = rng.integers(0, 2, shape) if draw(st.booleans()) else rng.standard_normal(shape)
        is_hard = rng.random() < 0.4
        pins.append(hard(stalk, value, at) if is_hard else soft(stalk, value, rng.random(), at))
    return sheaf, n_batch, pins


@given(pinned())
def test_pins_are_resolved_as_by_a_dictionary(drawn):
    sheaf, n_batch, pins = drawn
    try:
        clamped, loose = by_dictionary(sheaf, pins, n_batch)
    except ValueError as error:
        with pytest.raises(ValueError, match=rf"contradict on {error}".replace("[", r"\[")):
            resolve(sheaf, pins, n_batch)
        return
    found = resolve(sheaf, pins, n_batch)
    assert found.hard_index.tolist() == list(clamped) and found.soft_index.tolist() == list(loose)
    assert found.hard_value.shape == (n_batch, len(clamped)) and found.hard_value.flags.c_contiguous
    assert found.soft_value.shape == (n_batch, len(loose)) and found.soft_value.flags.c_contiguous
    for k, values in enumerate(clamped.values()):
        np.testing.assert_array_equal(found.hard_value[:, k], values)
    offset = np.zeros(n_batch)
    for k, (gamma, rest, left) in enumerate(loose.values()):
        assert found.gamma[k] == gamma
        np.testing.assert_array_equal(found.soft_value[:, k], rest)
        offset += left
    np.testing.assert_array_equal(found.offset, offset)


def test_the_contradiction_that_is_named_is_the_first_one():
    sheaf = NeuralSheaf(Network.he([2, 3, 1], np.random.default_rng(0)))
    pins = [
        hard("z1", [0.0, 1.0, 2.0]),
        hard("z1", [[2.0, 7.0], [2.0, 8.0]], at=[2, 1]),
        hard("z1", 5.0, at=0),
    ]
    with pytest.raises(ValueError, match=r"on z1\[1\]: 1 and 7 in sample 0"):
        resolve(sheaf, pins, 2)
    with pytest.raises(ValueError, match=r"on z1\[2\]: 3 and 4 in sample 1"):
        resolve(sheaf, hard("z1", [[3.0, 3.0], [3.0, 4.0]], at=[2, 2]), 2)


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda at: np.array(at, np.int16)])
def test_places_of_a_pin_may_be_a_list_or_an_array(kind):
    pin = hard("z1", 0.0, at=kind([2, -1, 0]))
    assert pin.at == (2, -1, 0) and all(type(i) is int for i in pin.at)


@given(cases(), SEEDS, st.integers(1, 20))
def test_the_worst_neurons(case, seed, most):
    """Ties are listed in the order of the coordinates."""
    sheaf, rng = case.sheaf, np.random.default_rng(seed)
    values = rng.integers(0, 4, sheaf.augmented_layout.size).astype(float)
    order = sorted(range(sheaf.N), key=lambda i: -values[i])[:most]
    found = worst_neurons(sheaf, values, most)
    assert [(n.name, n.discord) for n in found] == [
        (sheaf.layout.label(i), values[i]) for i in order
    ]
    for i, neuron in zip(order, found):
        edge = next(e for e in sheaf.edges if e.name == neuron.edge)
        assert edge.rows.start <= i < edge.rows.stop


@pytest.mark.parametrize("entries", [1, 7, 12, 10**6])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6), (6, 1)])
def test_the_entries_of_a_matrix_free_map(monkeypatch, shape, entries):
    """Asked for by unit vectors, at most so many entries at once or one vector; zeros are left
    out."""
    monkeypatch.setattr(affine, "ENTRIES", entries)
    rng, largest = np.random.default_rng(0), []
    W = rng.standard_normal(shape) * (rng.random(shape) < 0.6)

    def seen(result, v):
        largest.append(max(v.size, result.size))
        return result

    free = Affine.from_maps(lambda a: seen(a @ W.T, a), lambda e: seen(e @ W, e), shape)
    largest.clear()
    rows, columns, values = free.triplets()
    assert max(largest) <= max(entries, *shape)
    np.testing.assert_array_equal(np.array([rows, columns]), np.nonzero(W))
    np.testing.assert_array_equal(values, W[W != 0])
    if W.size <= entries:
        a, e = rng.random((2, shape[1])), rng.random((2, shape[0]))
        np.testing.assert_allclose(free.absolute(a, None), a @ abs(W).T, rtol=1e-14)
        np.testing.assert_allclose(free.absolute_adjoint(e, None), e @ abs(W), rtol=1e-14)
