"""The estimators keep scikit-learn's contract, and take the updates of the engine, of gradient descent, of a schedule made by hand."""

import pickle
import subprocess
import sys
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

from sheaflib import Network, TrainingDiverged, gradient_descent, report, tasks
from sheaflib.estimators import SheafClassifier, SheafRegressor, folded
from sheaflib.minibatch import MiniBatches
from sheaflib.objective import loss
from sheaflib.race import rates

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 3)) * [1, 10, 0.01] + [0, 50, 3]
Y = np.column_stack([X[:, 0]**2 + 100 * X[:, 2], 1000 * X[:, 1] - X[:, 0]])
SPECIES = np.array(["wren", "crow", "owl"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 55)]
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0}
BARE = SMALL | {"standardise": False, "learning_rate_init": 0.001}


def theta(estimator):
    return np.concatenate([part.ravel() for node in estimator.network_.nodes[::2] for part in (node.operation.weight, node.operation.bias)])


def standard(rows):
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


# scikit-learn's own checks ----------------------------------------------------------------------------------------------------

@parametrize_with_checks([SheafRegressor((10,), max_iter=30), SheafRegressor((8, 6), max_iter=30, standardise=False),
                          SheafClassifier((10,), max_iter=30, learning_rate_init=0.01), SheafRegressor(), SheafClassifier()])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_a_grid_search_tunes_the_rule():
    grid = GridSearchCV(SheafRegressor((10,), random_state=0), {"rule": ["circuit", "backprop", "rayleigh"]}, cv=2)
    assert grid.fit(X, X[:, 0]).best_score_ > 0.9


def test_importing_sheaflib_leaves_scikit_learn_alone():
    code = "import sys, sheaflib; assert 'sklearn' not in sys.modules; sys.modules['sklearn'] = None; import sheaflib.estimators"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode and 'pip install "sheaflib[sklearn]"' in done.stderr.splitlines()[-1]


# the same updates -------------------------------------------------------------------------------------------------------------

def test_full_batches_by_back_propagation_are_gradient_descent(monkeypatch):
    """For two outputs ½ of the squares' mean over samples is their mean over all entries; it is taken in ten parts here."""
    monkeypatch.setattr("sheaflib.estimators.CHUNK", 7)
    options = BARE | {"rule": "backprop", "optimiser": "sgd", "learning_rate": "constant", "learning_rate_init": 1e-5, "batch_size": 64}
    estimator = SheafRegressor(**options)
    start = Network.he([3, 6, 2], np.random.default_rng(0))
    *_, state = islice(gradient_descent(start, X, Y, lr=1e-5, every=1), 6)
    np.testing.assert_allclose(estimator.fit(X, Y).predict(X), state.network(X), rtol=1e-10)
    assert estimator.loss_curve_[-1] == pytest.approx(loss(state.network, X, Y), rel=1e-12)
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 5 and estimator.validation_scores_ == []


@pytest.mark.parametrize("estimator, labels, rows, output, options", [
    (SheafRegressor(**SMALL), Y, standard(Y), "identity", {"rule": "circuit", "kappa": -1, "stiffness": 3}),
    (SheafClassifier(**SMALL), SPECIES, np.eye(3)[np.unique(SPECIES, return_inverse=True)[1]], "softmax", {"rule": "rayleigh"}),
], ids=["regression", "classification"])
def test_fit_is_the_races_recipe_on_standardised_data(estimator, labels, rows, output, options):
    """40 samples: two batches of 20 a pass."""
    x, rows = X[:40], rows[:40] if output == "softmax" else standard(Y[:40])
    rng = np.random.default_rng(0)
    engine = MiniBatches(Network.he([3, 6, rows.shape[1]], rng, output), standard(x), rows, **options)
    order = np.concatenate([rng.permutation(40).reshape(2, 20) for _ in range(5)])
    engine.advance(order, rates({"identity": 0.02, "softmax": 0.001}[output], 10, False))
    estimator.fit(x, labels[:40])
    expected = engine.network(standard(x))
    expected = expected if output == "softmax" else expected * Y[:40].std(axis=0) + Y[:40].mean(axis=0)
    np.testing.assert_allclose(estimator.network_(x), expected, rtol=1e-9)
    assert estimator.loss_curve_[-1] == pytest.approx(loss(engine.network, standard(x), rows), rel=1e-9)


def test_two_calls_of_partial_fit_are_one_run_over_both():
    rng = np.random.default_rng(0)
    engine = MiniBatches(Network.he([3, 6, 2], rng), X, Y, kappa=-1, stiffness=3)
    engine.advance(rng.permutation(30)[None], [0.001])
    engine.advance(30 + rng.permutation(34)[None, :], [0.001])
    estimator = SheafRegressor(**BARE, batch_size=40).partial_fit(X[:30], Y[:30])
    assert (estimator.n_iter_, engine.updates) == (1, 2)
    np.testing.assert_array_equal(estimator.partial_fit(X[30:], Y[30:]).predict(X), engine.network(X))
    assert estimator.n_iter_ == 2 and estimator._training.updates == 2


def test_partial_fit_goes_on_after_fit_and_fit_begins_anew():
    estimator = SheafRegressor(**SMALL).fit(X, Y)
    before, scales = theta(estimator), estimator._training.scales
    estimator.partial_fit(X[:20] + 5, Y[:20])
    assert estimator.n_iter_ == 6 and 0 < abs(theta(estimator) - before).max() and estimator._training.scales is scales
    np.testing.assert_array_equal(theta(estimator.fit(X, Y)), before)
    estimator.set_params(optimiser="sgd").partial_fit(X, Y)                           # Adam's moments mean nothing to it
    assert estimator._training.updates == 2


@pytest.mark.parametrize("n, batch_size, sizes", [(64, "auto", [32, 32]), (65, "auto", [22, 22, 21]), (10, 100, [10]), (7, 3, [3, 2, 2])])
def test_a_pass_takes_every_sample_once_in_batches_alike(monkeypatch, n, batch_size, sizes):
    taken = []
    monkeypatch.setattr(MiniBatches, "advance", lambda self, order, lr: taken.extend(order))
    SheafRegressor(**SMALL | {"max_iter": 1}, batch_size=batch_size).fit(RNG.standard_normal((n, 1)), np.arange(n))
    assert [len(batch) for batch in taken] == sizes and sorted(np.concatenate(taken)) == list(range(n))


# what is kept -----------------------------------------------------------------------------------------------------------------

def test_predict_is_the_network():
    regressor, classifier = SheafRegressor(**SMALL).fit(X, Y), SheafClassifier(**SMALL).fit(X, SPECIES)
    np.testing.assert_array_equal(regressor.predict(X), regressor.network_(X))
    np.testing.assert_array_equal(classifier.predict_proba(X), classifier.network_(X))
    np.testing.assert_array_equal(classifier.predict(X), np.array(["crow", "owl", "wren"])[classifier.network_(X).argmax(axis=1)])
    assert (regressor.n_outputs_, classifier.n_outputs_, regressor.n_features_in_) == (2, 3, 3)
    found = report(classifier.network_, X, np.searchsorted(classifier.classes_, SPECIES), permutations=0, progress=False)
    np.testing.assert_array_equal(found.output, classifier.predict_proba(X))


@pytest.mark.parametrize("y, shape", [(Y[:, 0], (64,)), (Y[:, :1], (64, 1)), (Y, (64, 2))])
def test_predictions_are_shaped_like_labels(y, shape):
    assert SheafRegressor(**SMALL).fit(X, y).predict(X).shape == shape


@pytest.mark.parametrize("hidden", [(), 4, [4, 3], np.array([5])], ids=str)
def test_standardising_changes_scales_alone(hidden):
    """Inputs and labels in other units: the same predictions, in these units; a constant column is no harm."""
    options = SMALL | {"hidden_layer_sizes": hidden}
    there = np.column_stack([X * [1e3, 1e-3, 1] + [5, 0, -9], np.full(64, 7.0)])
    here = np.column_stack([X, np.zeros(64)])
    one, other = SheafRegressor(**options).fit(here, Y), SheafRegressor(**options).fit(there, 1e4 * Y - 3)
    np.testing.assert_allclose(other.predict(there), 1e4 * one.predict(here) - 3, rtol=1e-6)
    dims = [4, *np.ravel(hidden).astype(int), 2]
    assert [node.operation.n_out for node in one.network_.nodes[::2]] == dims[1:]


def test_folding():
    network, x = Network.he([3, 4, 2], RNG), RNG.standard_normal((5, 3))
    mean, deviation, shift, stretch = RNG.standard_normal(3), RNG.uniform(1, 2, 3), RNG.standard_normal(2), RNG.uniform(1, 2, 2)
    expected = shift + stretch * network((x - mean) / deviation)
    np.testing.assert_allclose(folded(network, mean, deviation, shift, stretch)(x), expected, rtol=1e-12)


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
    estimator = SheafRegressor((20,), early_stopping=True, validation_fraction=0.2, n_iter_no_change=6, batch_size=60, max_iter=300,
                               random_state=0, learning_rate=learning_rate).fit(x, x[:, 0] + noise)
    scores, rng = estimator.validation_scores_, np.random.default_rng(0)
    best = int(np.argmax(scores))
    assert len(seen) == len(scores) == estimator.n_iter_ < 300
    assert estimator.n_iter_ > best + 1 and max(scores[-7:]) < max(scores[:-7]) + 1e-4
    mean, deviation, shift, stretch = estimator._training.scales
    np.testing.assert_allclose(estimator.predict(x), shift + stretch * seen[best]((x - mean) / deviation)[:, 0], rtol=1e-9)
    Network.he([3, 20, 1], rng)
    _, held, _, labels = train_test_split(x, x[:, 0] + noise, test_size=0.2, random_state=int(rng.integers(2**31)))
    assert estimator.score(held, labels) == pytest.approx(scores[best], rel=1e-9)


@pytest.mark.parametrize("rare", [False, True])
def test_early_stopping_of_a_classifier_scores_accuracies(rare):
    """Iris, or its last six flowers against all others: two of them are held back."""
    x, y = load_iris(return_X_y=True)
    y = (np.arange(150) > 143).astype(int) if rare else y
    options = {"early_stopping": True, "validation_fraction": 1 / 3, "n_iter_no_change": 40, "max_iter": 40, "learning_rate_init": 0.01}
    estimator = SheafClassifier((10,), **options, random_state=0).fit(x, y)
    rng = np.random.default_rng(0)
    Network.he([4, 10, 1 if rare else 3], rng)
    _, held, _, labels = train_test_split(x, y, test_size=1 / 3, random_state=int(rng.integers(2**31)), stratify=y)
    assert not rare or labels.sum() == 2
    assert estimator.score(held, labels) == pytest.approx(max(estimator.validation_scores_)) and estimator.score(x, y) > 0.9
    assert estimator.n_iter_ == len(estimator.validation_scores_) == 40             # patience to the end


def test_early_stopping_counts_passes_without_a_gain_of_tol():
    assert SheafRegressor(**SMALL | {"max_iter": 50}, early_stopping=True, n_iter_no_change=3, tol=1e9).fit(X, Y).n_iter_ == 1 + 4


def test_an_interrupt_keeps_the_weights_so_far(monkeypatch):
    whole, advance, calls = SheafRegressor(**SMALL | {"max_iter": 2}, learning_rate="constant").fit(X, Y), MiniBatches.advance, []

    def interrupted(self, order, lr):
        calls.append(len(order))
        if sum(calls) > 4:                                                            # two batches a pass
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
    assert theta(one).tobytes() == theta(other).tobytes() != theta(make(**SMALL | {"random_state": 1}).fit(X, y)).tobytes()
    assert theta(clone(one).fit(X, y)).tobytes() == theta(one).tobytes()
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(again.predict(X), one.predict(X))
    assert theta(again.partial_fit(X, y)).tobytes() == theta(one.partial_fit(X, y)).tobytes()
    by_state = [make(**SMALL | {"random_state": np.random.RandomState(3)}).fit(X, y) for _ in range(2)]
    assert theta(by_state[0]).tobytes() == theta(by_state[1]).tobytes()
    assert np.isfinite(theta(make(**SMALL | {"random_state": None}).fit(X, y))).all()


def test_a_call_that_fails_leaves_the_weights():
    estimator = SheafRegressor(**SMALL).fit(X, Y)
    before = theta(estimator)
    with pytest.raises(TrainingDiverged, match="lower learning_rate_init, 1e\\+200 at present"):
        estimator.set_params(learning_rate_init=1e200).partial_fit(X, Y)
    np.testing.assert_array_equal(theta(estimator), before)
    with pytest.raises(TrainingDiverged), warnings.catch_warnings(action="error"):
        SheafRegressor(**SMALL | {"hidden_layer_sizes": (), "max_iter": 500}, optimiser="sgd", rule="backprop", standardise=False).fit(X, Y)


# labels -----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("labels", [[5, -3], [2.0, 7.0, 40.0], ["b", "a"], ["z", "m", "ä"], [True, False]], ids=str)
def test_classes_of_any_kind(labels):
    x = np.repeat(np.arange(len(labels)), 20)[:, None] + np.random.default_rng(0).uniform(-0.3, 0.3, (20 * len(labels), 1))
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
            estimator.partial_fit(X[SPECIES == species], SPECIES[SPECIES == species], classes=["wren", "crow", "owl"])
    assert estimator.score(X, SPECIES) > 0.9 and estimator.n_iter_ == 180


# how well ---------------------------------------------------------------------------------------------------------------------

def test_the_digits():
    x, y = load_digits(return_X_y=True)
    x, held_x, y, held = train_test_split(x, y, test_size=500, random_state=0)
    assert SheafClassifier(max_iter=30, random_state=0).fit(x, y).score(held_x, held) > 0.95


def test_the_paraboloid():
    task = tasks.task("paraboloid")
    assert SheafRegressor(random_state=0).fit(task.X_train, task.Y_train[:, 0]).score(task.X_test, task.Y_test[:, 0]) > 0.99


# bars and errors --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("verbose", [None, False, True])
def test_a_bar_is_shown_when_asked_for(capsys, verbose):
    SheafRegressor(**SMALL, verbose=verbose).fit(X, Y)
    out, err = capsys.readouterr()
    assert not out and ("fit" in err and "loss=" in err if verbose else not err)


@pytest.mark.parametrize("options, error, message", [
    ({"rule": "magic"}, ValueError, "rule='magic'"),
    ({"optimiser": "lbfgs"}, ValueError, "optimiser='lbfgs'"),
    ({"rule": "backprop", "kappa": 1.0}, ValueError, "kappa=1 with rule='backprop', expected 0"),
    ({"rule": "prox"}, ValueError, "optimiser='adam' with rule='prox', expected 'sgd'"),
    ({"kappa": "mirror"}, TypeError, "kappa"),
    ({"stiffness": 0}, ValueError, "stiffness=0"),
    ({"damping": -1}, ValueError, "damping=-1"),
    ({"decay": -1}, ValueError, "decay=-1"),
    ({"learning_rate": "adaptive"}, ValueError, "learning_rate='adaptive' and batch_size='auto', expected 'linear' or 'constant'"),
    ({"learning_rate_init": 0}, ValueError, "learning_rate_init=0 must be > 0"),
    ({"batch_size": "all"}, ValueError, "batch_size='all', expected"),
    ({"batch_size": 0}, ValueError, "batch_size=0 must be ≥ 1"),
    ({"max_iter": 0}, ValueError, "max_iter=0 must be ≥ 1"),
    ({"max_iter": 1.5}, TypeError, "max_iter=1.5 must be a whole number"),
    ({"n_iter_no_change": -1}, ValueError, "n_iter_no_change=-1"),
    ({"tol": -1}, ValueError, "tol=-1"),
    ({"early_stopping": True, "validation_fraction": 1.0}, ValueError, "validation_fraction=1 of n_samples=64"),
    ({"early_stopping": True, "validation_fraction": 0.01}, ValueError, "validation_fraction=0.01 of n_samples=64, expected a share of"),
    ({"random_state": -1}, ValueError, "random_state=-1"),
    ({"hidden_layer_sizes": (10, 0)}, ValueError, "hidden_layer_sizes=0"),
    ({"hidden_layer_sizes": 2.5}, TypeError, "hidden_layer_sizes=2.5 must be a whole number"),
    ({"hidden_layer_sizes": (300, 200)}, ValueError, r"=\(300, 200\) makes 61300 weights with 3 features and 2 outputs, expected at most"),
])
def test_bad_parameters_are_named(options, error, message):
    with pytest.raises(error, match=message):
        SheafRegressor(**SMALL | options).fit(X, Y)


def test_bad_labels_and_calls_are_named():
    with pytest.raises(NotFittedError):
        SheafClassifier().predict(X)
    with pytest.raises(ValueError, match="y holds one class, owl, expected two or more"):
        SheafClassifier(**SMALL).fit(X, ["owl"] * 64)
    with pytest.raises(ValueError, match="classes=None in the first call of partial_fit"):
        SheafClassifier(**SMALL).partial_fit(X, SPECIES)
    for make, labels, options in ((SheafRegressor, Y, {}), (SheafClassifier, SPECIES, {"classes": np.unique(SPECIES)})):
        with pytest.raises(ValueError, match="early_stopping=True with partial_fit, expected False"):
            make(**SMALL, early_stopping=True).partial_fit(X, labels, **options)
    classifier = SheafClassifier(**SMALL).fit(X, SPECIES)
    with pytest.raises(ValueError, match="y holds emu, expected one of the classes"):
        classifier.partial_fit(X, ["emu"] * 64)
    with pytest.raises(ValueError, match=r"classes=\['emu', 'owl'\], expected those of the first call"):
        classifier.partial_fit(X, SPECIES, classes=["emu", "owl"])
    with pytest.raises(ValueError, match="y has 1 columns, expected 2 as before"):
        SheafRegressor(**SMALL).fit(X, Y).partial_fit(X, Y[:, 0])
    with pytest.warns(DataConversionWarning):
        SheafClassifier(**SMALL).fit(X, SPECIES[:, None])
