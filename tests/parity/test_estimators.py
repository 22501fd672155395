"""The estimators keep scikit-learn's contract, and take the updates of the engine, of gradient
descent, of a schedule made by hand.
"""

import pickle
import re
import subprocess
import sys
import warnings
from fractions import Fraction
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from effort import seeds
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
    load_wine,
)
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

from sheaflib import Network, NeuralSheaf, TrainingDiverged, gradient_descent, report
from sheaflib.circuits import estimators, mlp, passes
from sheaflib.circuits.estimators import SheafClassifier, SheafRegressor
from sheaflib.circuits.minibatch import MiniBatches, rates
from sheaflib.circuits.standardisation import folded, in_units, spread
from sheaflib.companion import tasks
from sheaflib.training.objective import loss

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 3)) * [1, 10, 0.01] + [0, 50, 3]
Y = np.column_stack([X[:, 0] ** 2 + 100 * X[:, 2], 1000 * X[:, 1] - X[:, 0]])
SPECIES = np.array(["wren", "crow", "owl"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 55)]
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0}
BARE = SMALL | {"standardise": False, "learning_rate_init": 0.001}


def theta(estimator):
    return np.concatenate(
        [
            part.ravel()
            for node in estimator.network_.affine_nodes
            for part in (node.operation.weight, node.operation.bias)
        ]
    )


def standard(rows):
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


# scikit-learn's own checks
# --------------------------------------------------------------------------------------------------


@parametrize_with_checks(
    [
        SheafRegressor((10,), max_iter=30),
        SheafRegressor((8, 6), max_iter=30, standardise=False),
        SheafClassifier((10,), max_iter=30, learning_rate_init=0.01),
    ]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_a_grid_search_tunes_the_rule():
    grid = GridSearchCV(
        SheafRegressor((10,), random_state=0), {"rule": ["circuit", "backprop", "rayleigh"]}, cv=2
    )
    assert grid.fit(X, X[:, 0]).best_score_ > 0.9


def test_importing_sheaflib_leaves_scikit_learn_alone():
    code = (
        "import sys, sheaflib; assert 'sklearn' not in sys.modules; sys.modules['sklearn'] = None;"
        " import sheaflib.circuits.estimators"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode and 'pip install "sheaflib[sklearn]"' in done.stderr.splitlines()[-1]


# the same updates
# --------------------------------------------------------------------------------------------------


def test_full_batches_by_back_propagation_are_gradient_descent(monkeypatch):
    """For two outputs ½ of the squares' mean over samples is their mean over all entries; it is
    taken in ten parts here.
    """
    monkeypatch.setattr("sheaflib.circuits.mlp.CHUNK", 7)
    options = BARE | {
        "rule": "backprop",
        "optimiser": "sgd",
        "learning_rate": "constant",
        "learning_rate_init": 1e-5,
        "batch_size": 64,
    }
    estimator = SheafRegressor(**options)
    start = Network.he([3, 6, 2], np.random.default_rng(0))
    *_, state = islice(gradient_descent(NeuralSheaf(start), X, Y, lr=1e-5, every=1), 6)
    np.testing.assert_allclose(estimator.fit(X, Y).predict(X), state.network(X), rtol=1e-10)
    assert estimator.loss_curve_[-1] == pytest.approx(loss(state.network, X, Y), rel=1e-12)
    assert (
        estimator.n_iter_ == len(estimator.loss_curve_) == 5 and estimator.validation_scores_ == []
    )


@pytest.mark.parametrize(
    "estimator, labels, rows, output, options",
    [
        (
            SheafRegressor(**SMALL),
            Y,
            standard(Y),
            "identity",
            {"rule": "circuit", "kappa": -1, "stiffness": 3},
        ),
        (
            SheafClassifier(**SMALL),
            SPECIES,
            np.eye(3)[np.unique(SPECIES, return_inverse=True)[1]],
            "softmax",
            {"rule": "rayleigh"},
        ),
    ],
    ids=["regression", "classification"],
)
def test_fit_is_the_races_recipe_on_standardised_data(estimator, labels, rows, output, options):
    """40 samples: two batches of 20 a pass."""
    x, rows = X[:40], rows[:40] if output == "softmax" else standard(Y[:40])
    rng = np.random.default_rng(0)
    engine = MiniBatches(
        Network.he([3, 6, rows.shape[1]], rng, output), standard(x), rows, **options
    )
    order = np.concatenate([rng.permutation(40).reshape(2, 20) for _ in range(5)])
    engine.advance(order, rates({"identity": 0.02, "softmax": 0.001}[output], 10, False))
    estimator.fit(x, labels[:40])
    expected = engine.network(standard(x))
    expected = (
        expected if output == "softmax" else expected * Y[:40].std(axis=0) + Y[:40].mean(axis=0)
    )
    np.testing.assert_allclose(estimator.network_(x), expected, rtol=1e-9)
    assert estimator.loss_curve_[-1] == pytest.approx(
        loss(engine.network, standard(x), rows), rel=1e-9
    )


def test_two_calls_of_partial_fit_are_one_run_over_both():
    rng = np.random.default_rng(0)
    engine = MiniBatches(Network.he([3, 6, 2], rng), X, Y, kappa=-1, stiffness=3)
    engine.advance(rng.permutation(30)[None], [0.001])
    engine.advance(30 + rng.permutation(34)[None, :], [0.001])
    estimator = SheafRegressor(**BARE, batch_size=40).partial_fit(X[:30], Y[:30])
    assert (estimator.n_iter_, engine.updates) == (1, 2)
    np.testing.assert_array_equal(
        estimator.partial_fit(X[30:], Y[30:]).predict(X), engine.network(X)
    )
    assert estimator.n_iter_ == 2 and estimator._training.updates == 2


def test_partial_fit_goes_on_after_fit_and_fit_begins_anew():
    estimator = SheafRegressor(**SMALL).fit(X, Y)
    before, scales = theta(estimator), estimator._training.scales
    estimator.partial_fit(X[:20] + 5, Y[:20])
    assert (
        estimator.n_iter_ == 6
        and 0 < abs(theta(estimator) - before).max()
        and estimator._training.scales is scales
    )
    np.testing.assert_array_equal(theta(estimator.fit(X, Y)), before)
    estimator.set_params(optimiser="sgd").partial_fit(X, Y)  # Adam's moments mean nothing to it
    assert estimator._training.updates == 2


@pytest.mark.parametrize(
    "n, batch_size, sizes",
    [(64, "auto", [32, 32]), (65, "auto", [22, 22, 21]), (10, 100, [10]), (7, 3, [3, 2, 2])],
)
def test_a_pass_takes_every_sample_once_in_batches_alike(monkeypatch, n, batch_size, sizes):
    taken = []
    monkeypatch.setattr(MiniBatches, "advance", lambda self, order, lr: taken.extend(order))
    SheafRegressor(**SMALL | {"max_iter": 1}, batch_size=batch_size).fit(
        RNG.standard_normal((n, 1)), np.arange(n)
    )
    assert [len(batch) for batch in taken] == sizes and sorted(np.concatenate(taken)) == list(
        range(n)
    )


# what is kept
# --------------------------------------------------------------------------------------------------


def test_predict_is_the_network():
    regressor = SheafRegressor(**SMALL).fit(X, Y)
    classifier = SheafClassifier(**SMALL).fit(X, SPECIES)
    np.testing.assert_array_equal(regressor.predict(X), regressor.network_(X))
    np.testing.assert_array_equal(classifier.predict_proba(X), classifier.network_(X))
    np.testing.assert_array_equal(
        classifier.predict(X),
        np.array(["crow", "owl", "wren"])[classifier.network_(X).argmax(axis=1)],
    )
    assert (regressor.n_outputs_, classifier.n_outputs_, regressor.n_features_in_) == (2, 3, 3)
    found = report(
        NeuralSheaf(classifier.network_),
        X,
        np.searchsorted(classifier.classes_, SPECIES),
        progress=False,
    )
    np.testing.assert_array_equal(found.output, classifier.predict_proba(X))


@pytest.mark.parametrize("y, shape", [(Y[:, 0], (64,)), (Y[:, :1], (64, 1)), (Y, (64, 2))])
def test_predictions_are_shaped_like_labels(y, shape):
    assert SheafRegressor(**SMALL).fit(X, y).predict(X).shape == shape


@pytest.mark.parametrize("hidden", [(), 4, [4, 3], np.array([5])], ids=str)
def test_standardising_changes_scales_alone(hidden):
    """Inputs and labels in other units: the same predictions, in these units; a constant column is
    no harm.
    """
    options = SMALL | {"hidden_layer_sizes": hidden}
    there = np.column_stack([X * [1e3, 1e-3, 1] + [5, 0, -9], np.full(64, 7.0)])
    here = np.column_stack([X, np.zeros(64)])
    one = SheafRegressor(**options).fit(here, Y)
    other = SheafRegressor(**options).fit(there, 1e4 * Y - 3)
    np.testing.assert_allclose(other.predict(there), 1e4 * one.predict(here) - 3, rtol=1e-6)
    dims = [4, *np.ravel(hidden).astype(int), 2]
    assert [node.operation.n_out for node in one.network_.affine_nodes] == dims[1:]


def test_folding():
    network, x = Network.he([3, 4, 2], RNG), RNG.standard_normal((5, 3))
    mean = RNG.standard_normal(3)
    deviation = RNG.uniform(1, 2, 3)
    shift = RNG.standard_normal(2)
    stretch = RNG.uniform(1, 2, 2)
    expected = shift + stretch * network((x - mean) / deviation)
    np.testing.assert_allclose(
        folded(network, mean, deviation, shift, stretch)(x), expected, rtol=1e-12
    )


@pytest.mark.parametrize("learning_rate", ["linear", "constant"])
def test_early_stopping_restores_the_best_weights(monkeypatch, learning_rate):
    """60 to train on in one batch: the weights after every pass are seen."""
    seen, advance = [], MiniBatches.advance

    def spied(self, order, lr):
        advance(self, order, lr)
        seen.extend([self.network] * len(order))

    monkeypatch.setattr(MiniBatches, "advance", spied)
    noise = np.random.default_rng(1).standard_normal(75)
    x = np.random.default_rng(2).standard_normal((75, 3))
    estimator = SheafRegressor(
        (20,),
        early_stopping=True,
        validation_fraction=0.2,
        n_iter_no_change=6,
        batch_size=60,
        max_iter=300,
        random_state=0,
        learning_rate=learning_rate,
    ).fit(x, x[:, 0] + noise)
    scores, rng = estimator.validation_scores_, np.random.default_rng(0)
    best = int(np.argmax(scores))
    assert len(seen) == len(scores) == estimator.n_iter_ < 300
    assert estimator.n_iter_ > best + 1 and max(scores[-7:]) < max(scores[:-7]) + 1e-4
    mean, deviation, shift, stretch = estimator._training.scales
    np.testing.assert_allclose(
        estimator.predict(x), shift + stretch * seen[best]((x - mean) / deviation)[:, 0], rtol=1e-9
    )
    Network.he([3, 20, 1], rng)
    _, held, _, labels = train_test_split(
        x, x[:, 0] + noise, test_size=0.2, random_state=int(rng.integers(2**31))
    )
    assert estimator.score(held, labels) == pytest.approx(scores[best], rel=1e-9)


@pytest.mark.parametrize("rare", [False, True])
def test_early_stopping_of_a_classifier_scores_accuracies(rare):
    """Iris, or its last six flowers against all others: two of them are held back."""
    x, y = load_iris(return_X_y=True)
    y = (np.arange(150) > 143).astype(int) if rare else y
    options = {
        "early_stopping": True,
        "validation_fraction": 1 / 3,
        "n_iter_no_change": 40,
        "max_iter": 40,
        "learning_rate_init": 0.01,
    }
    estimator = SheafClassifier((10,), **options, random_state=0).fit(x, y)
    rng = np.random.default_rng(0)
    Network.he([4, 10, 1 if rare else 3], rng)
    _, held, _, labels = train_test_split(
        x, y, test_size=1 / 3, random_state=int(rng.integers(2**31)), stratify=y
    )
    assert not rare or labels.sum() == 2
    assert (
        estimator.score(held, labels) == pytest.approx(max(estimator.validation_scores_))
        and estimator.score(x, y) > 0.9
    )
    assert estimator.n_iter_ == len(estimator.validation_scores_) == 40  # patience to the end


def test_early_stopping_counts_passes_without_a_gain_of_tol():
    assert (
        SheafRegressor(**SMALL | {"max_iter": 50}, early_stopping=True, n_iter_no_change=3, tol=1e9)
        .fit(X, Y)
        .n_iter_
        == 1 + 4
    )


def test_an_interrupt_keeps_the_weights_so_far(monkeypatch):
    whole = SheafRegressor(**SMALL | {"max_iter": 2}, learning_rate="constant").fit(X, Y)
    advance = MiniBatches.advance
    calls = []

    def interrupted(self, order, lr):
        calls.append(len(order))
        if sum(calls) > 4:  # two batches a pass
            raise KeyboardInterrupt
        advance(self, order, lr)

    monkeypatch.setattr(MiniBatches, "advance", interrupted)
    with pytest.warns(UserWarning, match="interrupted after 2 of 5 passes"):
        estimator = SheafRegressor(**SMALL, learning_rate="constant").fit(X, Y)
    np.testing.assert_array_equal(theta(estimator), theta(whole))
    assert estimator.n_iter_ == 2 and estimator.predict(X).shape == Y.shape


@pytest.mark.parametrize("make, y", [(SheafRegressor, Y), (SheafClassifier, SPECIES)])
def test_the_same_random_state_gives_the_same_bits(make, y):
    one, other = make(**SMALL).fit(X, y), make(**SMALL).fit(X, y)
    assert (
        theta(one).tobytes()
        == theta(other).tobytes()
        != theta(make(**SMALL | {"random_state": 1}).fit(X, y)).tobytes()
    )
    assert theta(clone(one).fit(X, y)).tobytes() == theta(one).tobytes()
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(again.predict(X), one.predict(X))
    assert theta(again.partial_fit(X, y)).tobytes() == theta(one.partial_fit(X, y)).tobytes()
    by_state = [
        make(**SMALL | {"random_state": np.random.RandomState(3)}).fit(X, y) for _ in range(2)
    ]
    assert theta(by_state[0]).tobytes() == theta(by_state[1]).tobytes()
    assert np.isfinite(theta(make(**SMALL | {"random_state": None}).fit(X, y))).all()


def test_a_call_that_fails_leaves_the_weights():
    estimator = SheafRegressor(**SMALL).fit(X, Y)
    before = theta(estimator)
    with pytest.raises(TrainingDiverged, match="lower learning_rate_init, 1e\\+200 at present"):
        estimator.set_params(learning_rate_init=1e200).partial_fit(X, Y)
    np.testing.assert_array_equal(theta(estimator), before)
    with pytest.raises(TrainingDiverged), warnings.catch_warnings(action="error"):
        SheafRegressor(
            **SMALL | {"hidden_layer_sizes": (), "max_iter": 500},
            optimiser="sgd",
            rule="backprop",
            standardise=False,
        ).fit(X, Y)


# fits that fail -----------------------------------------------------------------------------------


def test_a_fit_that_runs_away_is_refused_with_the_losses():
    start = loss(Network.he([3, 6, 2], np.random.default_rng(0)), standard(X), standard(Y))
    with pytest.raises(TrainingDiverged) as caught:
        SheafRegressor(**SMALL, learning_rate_init=1e9).fit(X, Y)
    said = re.fullmatch(
        r"training diverged: the training loss is (\S+), (\S+) at the start: "
        r"lower learning_rate_init, 1e\+09 at present",
        str(caught.value),
    )
    assert float(said[1]) > 1e6 and float(said[2]) == pytest.approx(start, rel=1e-3)


@pytest.mark.parametrize(
    "make, y, rate", [(SheafRegressor, Y, 30.0), (SheafClassifier, SPECIES, 1000.0)]
)
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_fit_that_did_harm_is_kept_with_a_warning(call, make, y, rate):
    estimator = make(**SMALL, learning_rate_init=rate)
    options = {"classes": np.unique(y)} if call == "partial_fit" and y is SPECIES else {}
    with pytest.warns(
        ConvergenceWarning,
        match=(
            rf"did harm: the training loss is .* at the start: lower learning_rate_init, {rate:g}"
            r" at present"
        ),
    ) as seen:
        getattr(estimator, call)(X, y, **options)
    assert Path(seen[0].filename) == Path(__file__)  # where it was called
    rows = np.eye(3)[np.unique(SPECIES, return_inverse=True)[1]] if y is SPECIES else standard(Y)
    begun = loss(
        Network.he(
            [3, 6, rows.shape[1]],
            np.random.default_rng(0),
            "softmax" if y is SPECIES else "identity",
        ),
        standard(X),
        rows,
    )
    reached, first = (
        float(re.search(pattern, str(seen[0].message))[1])
        for pattern in (r"loss is (\S+),", r", (\S+) at the start")
    )
    assert reached == pytest.approx(estimator.loss_curve_[-1], rel=1e-3) and first == pytest.approx(
        begun, rel=1e-3
    )
    assert reached > 2 * max(begun, np.log(3))


@pytest.mark.parametrize(
    "make, data",
    [
        *((SheafClassifier, load) for load in (load_iris, load_wine, load_breast_cancer)),
        (SheafRegressor, load_diabetes),
        (SheafRegressor, load_linnerud),
        (
            SheafRegressor,
            lambda return_X_y: (
                np.random.default_rng(1).standard_normal((60, 4)),
                np.random.default_rng(2).standard_normal(60),
            ),
        ),
        (
            SheafClassifier,
            lambda return_X_y: (
                np.random.default_rng(1).standard_normal((60, 4)),
                np.arange(60) % 3,
            ),
        ),
        (SheafRegressor, lambda return_X_y: (X, np.full(64, 5.0))),
        (SheafRegressor, lambda return_X_y: (np.full((9, 2), 0.1), np.full(9, 0.3))),
        (SheafRegressor, lambda return_X_y: ([[1.0, 2.0]], [3.0])),
    ],
    ids=[
        "iris",
        "wine",
        "cancer",
        "diabetes",
        "linnerud",
        "noise",
        "noise, classes",
        "constant labels",
        "one point",
        "one sample",
    ],
)
@pytest.mark.parametrize("passes", [1, 20])
def test_an_ordinary_fit_raises_no_alarm(passes, make, data):
    x, y = data(return_X_y=True)
    with warnings.catch_warnings(action="error"):
        for seed, options in product(
            seeds(1),
            (
                {},
                {"learning_rate": "constant"},
                {"optimiser": "sgd"},
                {"standardise": False, "learning_rate_init": 1e-5},
            ),
        ):
            make((20,), max_iter=passes, random_state=seed, **options).fit(x, y)


@pytest.mark.parametrize("standardise", [True, False])
def test_a_stream_of_single_samples_raises_no_alarm(standardise):
    """Labels as before, labels of zero and labels far from all others are ordinary samples."""
    estimator = SheafRegressor((20,), random_state=0, standardise=standardise)
    with warnings.catch_warnings(action="error"):
        for x, y in zip(X, [*Y[:40, 0], *np.zeros(12), *1e4 * Y[:12, 0]]):
            estimator.partial_fit(x[None], [y])


class Interrupt:
    """A function that works as another up to the given call, which it interrupts."""

    def __init__(self, function, at):
        self.function, self.left = function, at

    def __call__(self, *given, **named):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.function(*given, **named)


OTHER = np.array(["finch", "gull"])[(X[:, 0] > 0).astype(int)]
FAILURES = {
    "bad labels": ({}, {"y": np.where(np.arange(64) == 3, np.nan, 1.0)}, None),
    "one class": ({}, {"y": np.full(64, "owl")}, None),
    "too few labels": ({}, {"y": OTHER[:10]}, None),
    "masked labels": ({}, {"y": np.ma.array(np.arange(64) % 2, mask=np.arange(64) == 5)}, None),
    "other features, NaN": ({}, {"X": np.full((64, 5), np.nan)}, None),
    "other features, masked": ({}, {"X": np.ma.array(np.ones((64, 5)), mask=np.eye(64, 5))}, None),
    "rule": ({"rule": "magic"}, {}, None),
    "max_iter": ({"max_iter": 0}, {}, None),
    "hidden_layer_sizes": ({"hidden_layer_sizes": (0,)}, {}, None),
    "random_state": ({"random_state": "seed"}, {}, None),
    "divergence": (
        {
            "learning_rate_init": 1e200,
            "rule": "backprop",
            "kappa": 0.0,
            "optimiser": "sgd",
            "stiffness": 1.0,
        },
        {},
        None,
    ),
    "rare class": (
        {"early_stopping": True},
        {"y": np.where(np.arange(64) == 9, "swan", OTHER)},
        None,
    ),
    "no validation": ({"early_stopping": True, "validation_fraction": 1e-6}, {}, None),
    **{
        f"interrupt, {name}": ({}, {}, (name, at))
        for name, at in (
            ("Network.he", 0),
            ("rates", 0),
            ("one_pass", 0),
            ("folded", 0),
            ("spread", 1),
            ("bar", 0),
            ("MiniBatches", 0),
            ("validate_data", 0),
        )
    },
}


@pytest.mark.parametrize("fitted", [True, False], ids=["fitted", "fresh"])
@pytest.mark.parametrize("make", [SheafRegressor, SheafClassifier])
@pytest.mark.parametrize("options, data, interrupt", FAILURES.values(), ids=FAILURES)
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(
    monkeypatch, options, data, interrupt, make, fitted
):
    """To the byte of its pickle: classes, features, weights, moments and the random generator."""
    y = OTHER if make is SheafClassifier else Y[:, 0]
    estimator = make(**SMALL)
    if fitted:
        estimator.fit(X[:, :2], SPECIES if make is SheafClassifier else Y)
    estimator.set_params(**options)
    if make is SheafRegressor and data.get("y", y).dtype.kind == "U":
        data = {"y": np.full(64, np.inf)}
        estimator.set_params(early_stopping=False)
    if interrupt:
        name, at = interrupt
        if name == "Network.he":
            monkeypatch.setattr(Network, "he", Interrupt(Network.he, at))
        else:
            place = where(name)
            monkeypatch.setattr(place, name, Interrupt(getattr(place, name), at))
    before, kept = pickle.dumps(estimator), dict(vars(estimator))
    with pytest.raises(
        KeyboardInterrupt if interrupt else (ValueError, TypeError, TrainingDiverged)
    ):
        estimator.fit(**{"X": X, "y": y} | data)
    assert pickle.dumps(estimator) == before and vars(estimator) == kept
    monkeypatch.undo()
    assert (
        hasattr(estimator, "network_") == fitted
        and estimator.set_params(**make(**SMALL).get_params()).fit(X, y).n_features_in_ == 3
    )


def where(name):
    """The module in which a fit looks up a function of this name, the last time it does."""
    return {"validate_data": estimators, "mean_loss": passes}.get(name, mlp)


@pytest.mark.parametrize("name", ["one_pass", "folded", "mean_loss", "validate_data"])
@pytest.mark.parametrize("fitted", [True, False], ids=["later", "first"])
def test_a_partial_fit_that_fails_leaves_the_estimator_as_it_was(monkeypatch, name, fitted):
    """The loss of a pass is taken after the update, and after samples were drawn."""
    estimator, place = SheafClassifier(**SMALL), where(name)
    if fitted:
        estimator.partial_fit(X, SPECIES, classes=np.unique(SPECIES))
    before = pickle.dumps(estimator)
    interrupt = Interrupt(getattr(place, name), 0)
    monkeypatch.setattr(place, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        estimator.partial_fit(X, SPECIES, classes=np.unique(SPECIES))
    assert pickle.dumps(estimator) == before
    monkeypatch.undo()
    if fitted:
        fresh = pickle.loads(before).partial_fit(X, SPECIES)
        np.testing.assert_array_equal(theta(estimator.partial_fit(X, SPECIES)), theta(fresh))


def test_a_refit_without_names_forgets_the_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    estimator = SheafRegressor(**SMALL).fit(frame, Y)
    assert list(estimator.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError):
        estimator.fit(np.full((64, 2), np.nan), Y)
    assert list(estimator.feature_names_in_) == ["a", "b", "c"]
    assert not hasattr(estimator.fit(X, Y), "feature_names_in_")


# numbers of any size ------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [660, 900, -660, -900])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_data_of_any_size_are_fitted_alike(power, early_stopping):
    """A power of two is taken away again by standardising, to the same bits."""
    options = SMALL | {"early_stopping": early_stopping, "validation_fraction": 0.25}
    one, scale = SheafRegressor(**options).fit(X, Y), 2.0**power
    with warnings.catch_warnings(action="error"):
        np.testing.assert_array_equal(
            SheafRegressor(**options).fit(scale * X, Y).predict(scale * X), one.predict(X)
        )
        np.testing.assert_array_equal(
            SheafRegressor(**options).fit(X, scale * Y).predict(X), scale * one.predict(X)
        )
        both = SheafRegressor(**options).fit(scale * X, scale * Y)
        np.testing.assert_array_equal(both.predict(scale * X), scale * one.predict(X))
        p = SheafClassifier(**SMALL).fit(scale * X, SPECIES).predict_proba(scale * X)
    assert both.loss_curve_ == one.loss_curve_ and both.validation_scores_ == one.validation_scores_
    np.testing.assert_array_equal(p, SheafClassifier(**SMALL).fit(X, SPECIES).predict_proba(X))


def test_means_and_deviations_at_the_ends_of_float64():
    """Against fractions, for columns whose squares, sums or differences leave float64."""
    ends = np.array(
        [
            [1.7e308, 1e-200, 7.0, 0.0, 1e300],
            [-1.7e308, 3e-200, 7.0, 0.0, 1e300],
            [1.7e308, 2e-200, 7.0, 0.0, 1e300],
        ]
    )
    mean, deviation = spread(ends, True)
    for column, m, d in zip(ends.T, mean, deviation):
        exact = [Fraction(v) for v in column.tolist()]
        centre = sum(exact) / 3
        variance = sum((v - centre) ** 2 for v in exact) / 3
        assert abs(Fraction(m) - centre) <= abs(centre) / 10**15
        if variance:
            assert abs(Fraction(d) ** 2 / variance - 1) < Fraction(1, 10**14)
    assert deviation[2] == deviation[3] == 1 and np.isfinite(deviation).all()
    units = in_units("X", ends, mean, deviation)
    np.testing.assert_allclose(
        units[:, :2],
        np.array([[1, -np.sqrt(1.5)], [-2, np.sqrt(1.5)], [1, 0]]) / [np.sqrt(2), 1],
        atol=1e-14,
    )
    assert abs(units[:, 2:]).max() <= 1


@pytest.mark.parametrize(
    "scale, data",
    [
        (1e200, "X and y hold numbers up to 1.4\\d*e\\+202"),
        (1e160, "X and y hold numbers up to 1.4\\d*e\\+162"),
    ],
)
def test_squares_that_leave_float64_are_called_by_their_name(scale, data):
    with pytest.raises(
        ValueError,
        match=(
            f"the loss at the start is too large for float64: {data} and .* in size; rescale them,"
            " or pass standardise=True"
        ),
    ):
        SheafRegressor(**BARE).fit(scale * abs(X) / abs(X).max() * 142, Y)
    with pytest.raises(ValueError, match="the loss at the start is too large for float64"):
        SheafRegressor(**BARE).fit(X, scale * Y)


def test_units_that_leave_float64_are_called_by_their_name():
    with pytest.raises(
        ValueError,
        match="X and y are in units that need weights too large for float64: rescale X or y",
    ):
        SheafRegressor(**SMALL | {"hidden_layer_sizes": ()}).fit(1e-200 * X, 1e200 * Y)
    estimator = SheafRegressor(**SMALL).partial_fit(1e-200 * X, Y)
    with pytest.raises(
        ValueError,
        match=(
            r"X holds 1e\+150 in column 0, where mean and deviation are .* in these units it is too"
            r" large for float64"
        ),
    ):
        estimator.partial_fit(np.full((2, 3), 1e150), Y[:2])


# labels
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels", [[5, -3], [2.0, 7.0, 40.0], ["b", "a"], ["z", "m", "ä"], [True, False]], ids=str
)
def test_classes_of_any_kind(labels):
    x = np.repeat(np.arange(len(labels)), 20)[:, None] + np.random.default_rng(0).uniform(
        -0.3, 0.3, (20 * len(labels), 1)
    )
    y = np.repeat(np.array(labels), 20)
    estimator = SheafClassifier((20,), learning_rate_init=0.02, random_state=0).fit(x, y)
    np.testing.assert_array_equal(estimator.predict(x), y)
    np.testing.assert_array_equal(estimator.classes_, np.unique(labels))
    p = estimator.predict_proba(x)
    assert estimator.network_.output.name == ("softmax" if len(labels) > 2 else "sigmoid")
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_allclose(estimator.predict_log_proba(x), np.log(p), atol=1e-9)
    assert np.isfinite(estimator.predict_log_proba(1e6 * x)).all()


def test_the_samples_of_a_class_may_come_later():
    estimator = SheafClassifier((20,), learning_rate_init=0.01, random_state=0)
    for _ in range(60):
        for species in ("crow", "owl", "wren"):
            estimator.partial_fit(
                X[SPECIES == species], SPECIES[SPECIES == species], classes=["wren", "crow", "owl"]
            )
    assert estimator.score(X, SPECIES) > 0.9 and estimator.n_iter_ == 180


# how well
# --------------------------------------------------------------------------------------------------


def test_the_digits():
    x, y = load_digits(return_X_y=True)
    x, held_x, y, held = train_test_split(x, y, test_size=500, random_state=0)
    assert SheafClassifier(max_iter=30, random_state=0).fit(x, y).score(held_x, held) > 0.95


def test_the_paraboloid():
    task = tasks.task("paraboloid")
    assert (
        SheafRegressor(random_state=0)
        .fit(task.X_train, task.Y_train[:, 0])
        .score(task.X_test, task.Y_test[:, 0])
        > 0.99
    )


# bars and errors
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [None, False, True])
def test_a_bar_is_shown_when_asked_for(capsys, verbose):
    SheafRegressor(**SMALL, verbose=verbose).fit(X, Y)
    out, err = capsys.readouterr()
    assert not out and ("fit" in err and "loss=" in err if verbose else not err)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"rule": "magic"}, ValueError, "rule='magic'"),
        ({"optimiser": "lbfgs"}, ValueError, "optimiser='lbfgs'"),
        (
            {"rule": "backprop", "kappa": 1.0},
            ValueError,
            "kappa=1 with rule='backprop', expected 0",
        ),
        ({"rule": "prox"}, ValueError, "optimiser='adam' with rule='prox', expected 'sgd'"),
        ({"kappa": "mirror"}, TypeError, "kappa"),
        ({"stiffness": 0}, ValueError, "stiffness=0"),
        ({"damping": -1}, ValueError, "damping=-1"),
        ({"decay": -1}, ValueError, "decay=-1"),
        (
            {"learning_rate": "adaptive"},
            ValueError,
            "learning_rate='adaptive' is unknown, expected one of linear, constant",
        ),
        ({"learning_rate_init": 0}, ValueError, "learning_rate_init=0 must be > 0"),
        ({"batch_size": "all"}, ValueError, "batch_size='all', expected"),
        ({"batch_size": 0}, ValueError, "batch_size=0 must be ≥ 1"),
        ({"max_iter": 0}, ValueError, "max_iter=0 must be ≥ 1"),
        ({"max_iter": 1.5}, TypeError, "max_iter=1.5 must be a whole number"),
        ({"n_iter_no_change": -1}, ValueError, "n_iter_no_change=-1"),
        ({"tol": -1}, ValueError, "tol=-1"),
        (
            {"early_stopping": True, "validation_fraction": 1.0},
            ValueError,
            "validation_fraction=1 of n_samples=64",
        ),
        (
            {"early_stopping": True, "validation_fraction": 0.01},
            ValueError,
            "validation_fraction=0.01 of n_samples=64, expected a share of",
        ),
        ({"random_state": -1}, ValueError, "random_state=-1"),
        ({"hidden_layer_sizes": (10, 0)}, ValueError, "hidden_layer_sizes=0"),
        ({"hidden_layer_sizes": 2.5}, TypeError, "hidden_layer_sizes=2.5 must be a whole number"),
        (
            {"hidden_layer_sizes": (300, 200)},
            ValueError,
            r"=\(300, 200\) makes 61300 weights with 3 features and 2 outputs, expected at most",
        ),
    ],
)
def test_bad_parameters_are_named(options, error, message):
    with pytest.raises(error, match=message):
        SheafRegressor(**SMALL | options).fit(X, Y)


MANY = np.arange(64) % 5


@pytest.mark.parametrize(
    "y, share, message",
    [
        (
            ["swan"] + ["crow", "owl", "wren"] * 21,
            0.1,
            r"y holds the class swan once, expected every class twice or more with"
            r" early_stopping=True, .*"
            r"add samples of it, leave it out, or pass early_stopping=False",
        ),
        ([7] + [0, 1] * 31 + [0], 0.1, "y holds the class 7 once"),
        (
            MANY,
            0.05,
            (
                "validation_fraction=0.05 of n_samples=64 holds back 4, expected 5 to 59: as many"
                " as there are classes"
            ),
        ),
        (MANY, 0.95, "validation_fraction=0.95 of n_samples=64 holds back 61, expected 5 to 59"),
        (
            [0, 0] + [1] * 62,
            0.9,
            (
                "validation_fraction=0.9 holds back every sample of the class 0, expected a share"
                " that leaves some"
            ),
        ),
        (
            MANY,
            1e-9,
            (
                "validation_fraction=1e-09 of n_samples=64, expected a share of at least two"
                " samples that leaves at least one to train on"
            ),
        ),
        (MANY, 0.99, "validation_fraction=0.99 of n_samples=64, expected a share of at least two"),
        (MANY, 1e300, r"validation_fraction=1e\+300 of n_samples=64, expected a share"),
        (MANY, 0, "validation_fraction=0 must be > 0"),
    ],
)
def test_a_split_that_cannot_be_made_says_which_class_and_how_many(y, share, message):
    with pytest.raises(ValueError, match=message):
        SheafClassifier(**SMALL, early_stopping=True, validation_fraction=share).fit(X, y)


def test_every_class_is_trained_on_or_the_split_is_refused():
    rows = np.eye(3)[[0, 0, 1, 1] + [2] * 60]
    seen = set()
    for seed in range(40):
        try:
            rng = np.random.default_rng(seed)
            trained_X, held_X, trained, held = passes.split(X, rows, rng, 0.6, np.arange(3))
        except ValueError as error:
            seen.add(re.search(r"holds back every sample of the class ([01])", str(error))[1])
        else:
            seen.add("parted")
            assert trained.any(axis=0).all() and len(held) == 39
            np.testing.assert_array_equal(
                np.sort(np.vstack([trained_X, held_X]), axis=0), np.sort(X, axis=0)
            )
    assert "parted" in seen


@pytest.mark.filterwarnings("error:overflow encountered")
def test_a_validation_sample_too_far_away_is_named():
    """One sample lies far out: with other samples it is trained on, and held back it overflows."""
    x, said = X[:20].copy(), []
    x[0, 0] = 1.7e308
    for seed in range(6):
        try:
            SheafRegressor(
                **SMALL | {"random_state": seed}, early_stopping=True, validation_fraction=0.5
            ).fit(x, Y[:20])
        except TrainingDiverged as error:  # and no warning of NumPy's
            said.append(str(error))
    assert 0 < len(said) < 6
    for message in said:
        assert re.match(
            r"on the validation samples, which hold numbers up to \S+e\+308 in the units of"
            r" training, the forward pass overflows at",
            message,
        )


def test_masked_entries_are_refused_in_every_call():
    masked = np.ma.array(X, mask=False)
    np.testing.assert_array_equal(
        SheafRegressor(**SMALL).fit(masked, Y).predict(masked),
        SheafRegressor(**SMALL).fit(X, Y).predict(X),
    )
    masked[2, 1] = np.ma.masked
    labels, classes = np.ma.array(Y[:, 0]), np.ma.array(MANY)
    labels[4] = classes[5] = np.ma.masked
    for estimator, y, hidden in (
        (SheafRegressor(**SMALL), Y[:, 0], labels),
        (SheafClassifier(**SMALL), MANY, classes),
    ):
        for call in (estimator.fit, estimator.partial_fit):
            with pytest.raises(
                ValueError, match=r"X is masked at index \(2, 1\), expected no masked entries"
            ):
                call(masked, y)
            with pytest.raises(ValueError, match=r"y is masked at index \([45],\)"):
                call(X, hidden)
        estimator.fit(X, y)
        for call in (
            estimator.predict,
            lambda x: estimator.score(x, y),
            getattr(estimator, "predict_log_proba", estimator.predict),
        ):
            with pytest.raises(ValueError, match=r"X is masked at index \(2, 1\)"):
                call(masked)
        with pytest.raises(ValueError, match="y is masked"):
            estimator.score(X, hidden)
    with pytest.raises(ValueError, match=r"classes is masked at index \(1,\)"):
        SheafClassifier(**SMALL).partial_fit(
            X, MANY, classes=np.ma.array([0, 1, 2, 3, 4, 5], mask=[0, 1, 0, 0, 0, 0])
        )


def test_bad_labels_and_calls_are_named():
    with pytest.raises(NotFittedError):
        SheafClassifier().predict(X)
    with pytest.raises(ValueError, match="y holds one class, owl, expected two or more"):
        SheafClassifier(**SMALL).fit(X, ["owl"] * 64)
    with pytest.raises(ValueError, match="classes=None in the first call of partial_fit"):
        SheafClassifier(**SMALL).partial_fit(X, SPECIES)
    for make, labels, options in (
        (SheafRegressor, Y, {}),
        (SheafClassifier, SPECIES, {"classes": np.unique(SPECIES)}),
    ):
        with pytest.raises(
            ValueError, match="early_stopping=True with partial_fit, expected False"
        ):
            make(**SMALL, early_stopping=True).partial_fit(X, labels, **options)
    classifier = SheafClassifier(**SMALL).fit(X, SPECIES)
    with pytest.raises(ValueError, match="y holds emu, expected one of the classes"):
        classifier.partial_fit(X, ["emu"] * 64)
    with pytest.raises(
        ValueError, match=r"classes=\['emu', 'owl'\], expected those of the first call"
    ):
        classifier.partial_fit(X, SPECIES, classes=["emu", "owl"])
    with pytest.raises(ValueError, match="y has 1 columns, expected 2 as before"):
        SheafRegressor(**SMALL).fit(X, Y).partial_fit(X, Y[:, 0])
    with pytest.warns(DataConversionWarning):
        SheafClassifier(**SMALL).fit(X, SPECIES[:, None])
