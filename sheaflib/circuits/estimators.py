"""Estimators with scikit-learn's interface, trained by mini-batches with the currents of training's
sheaf (derived).

`import sheaflib` leaves scikit-learn alone: whoever wants an estimator imports this module by its
name.
"""

from __future__ import annotations

from typing import Literal, Self, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

# first: it says what is missing without scikit-learn
from sheaflib.circuits.mlp import SheafMLP
from sheaflib.circuits.passes import naming, readable
from sheaflib.support.checks import brief, real_array, unmasked

from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin  # isort: skip
from sklearn.metrics import r2_score  # isort: skip
from sklearn.utils.multiclass import check_classification_targets, unique_labels  # isort: skip
from sklearn.utils.validation import validate_data  # isort: skip

__all__ = ["SheafClassifier", "SheafRegressor"]


class SheafRegressor(MultiOutputMixin, RegressorMixin, SheafMLP):
    """Regression by a ReLU network, one label or several: least squares, descended along the
    currents of training's sheaf.

    The defaults are the race's recipe (notebook 11): the circuit's rule with mirrored activities, κ
    = −1, at stiffness 3, Adam, batches of 32, and a learning rate of 0.02 that falls linearly to 0
    after 30 % of the updates. They fit closely: where labels are noisy use early_stopping or a
    lower rate.

    hidden_layer_sizes: widths. rule, kappa, stiffness, optimiser, damping, decay: as in
    `MiniBatches`; kappa="auto" is −1, but 0 for the rules "backprop" and "prox", which relax
    nothing. learning_rate: "linear", as above, or "constant", from learning_rate_init. batch_size:
    "auto" is 32; a pass cuts a permutation of n samples into ⌈n/batch_size⌉ batches of nearly equal
    size. max_iter: passes.

    standardise: train on X and y less their means, over their deviations, which are folded into the
    first and the last layer of `network_`: predict(X) is network_(X). The decay and loss_curve_ are
    of standardised data: to predict the mean is a loss of 1. `partial_fit` keeps the means and
    deviations of its first call; pass False for a stream whose first samples say little of the
    others.

    early_stopping: hold back validation_fraction of the samples, score them after every pass, stop
    after more than n_iter_no_change passes without a gain of tol, keep the weights of the best
    score. The schedule is laid out for max_iter passes all the same, so that stopping cuts it,
    often before the rate has fallen; with n_iter_no_change=max_iter it is run to its end.

    random_state: a whole number s starts from Network.he(widths, np.random.default_rng(s)) and
    gives the same bits again. verbose: a bar with the loss, True or False; with None it shows in a
    terminal or live notebook, after a second.

    After fitting: network_ (for `report(NeuralSheaf(est.network_), X, y)`, say), n_features_in_,
    n_outputs_, n_iter_ passes, and one number for each in loss_curve_ and, of early stopping, in
    validation_scores_.

    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> bent = SheafRegressor((20,), max_iter=50, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> bent.predict([[0.5], [-0.5]]).round(1), bent.network_
    (array([0.5, 0.5]), Network(x(1) -> z1(20) -> a1(20) -> z2(1), identity))
    """

    _quality = staticmethod(r2_score)

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """One pass over the samples from the present weights and moments, at the rate
        learning_rate_init; returns the estimator.
        """
        return self._partial_fit(X, y)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """network_(X): (n,) or (n, n_outputs), as the labels were."""
        p = self._forward(X)
        return p[:, 0] if self._flat else p

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The coefficient of determination R² of predict(X), as scikit-learn computes it."""
        readable(y=y, sample_weight=sample_weight)
        return super().score(X, y, sample_weight)

    def _read(self, X: ArrayLike, y: ArrayLike, first: bool) -> tuple[np.ndarray, np.ndarray]:
        readable(y=y)
        unmasked("X", X)
        with naming(X, y):
            data, labels = validate_data(
                self, X, y, reset=first, dtype=np.float64, multi_output=True, y_numeric=True
            )
        rows = real_array("y", labels).reshape(len(data), -1)
        if not first and rows.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {rows.shape[1]} columns, expected {self.n_outputs_} as before")
        self._flat = labels.ndim == 1
        return data, rows


class SheafClassifier(ClassifierMixin, SheafMLP):
    """Classification by a ReLU network: cross-entropy, of a sigmoid for two classes and of a
    softmax for more, descended along currents.

    The defaults are one Rayleigh step, the activities of the forward pass, κ = 0, at stiffness 1,
    as many sweeps as back-propagation has, and a learning rate of 0.001 on the same schedule: of
    the size that the folds of notebook 11 chose for a softmax where classes overlap. Classes that
    can be parted, two of them above all, take ten times as much and more (0.02 to 0.04 there).
    Parameters and attributes are those of `SheafRegressor`, but labels are not standardised, and
    validation scores are accuracies on a stratified share.

    classes_: the sorted labels; a softmax has an output for each, a sigmoid the probability of the
    second. For `report` number them: np.searchsorted(est.classes_, y).

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> sign = SheafClassifier((5,), learning_rate_init=0.1, random_state=0)
    >>> sign = sign.fit(X, ["below", "below", "above", "above"])
    >>> sign.predict([[-3.0], [3.0]]), sign.network_.output.name
    (array(['below', 'above'], dtype='<U5'), 'sigmoid')
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        *,
        rule: str = "rayleigh",
        kappa: float | Literal["auto"] = 0.0,
        stiffness: float = 1.0,
        optimiser: str = "adam",
        damping: float = 0.1,
        decay: float = 0.0,
        learning_rate: Literal["linear", "constant"] = "linear",
        learning_rate_init: float = 0.001,
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int = 200,
        standardise: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | None = None,
    ):
        super().__init__(
            hidden_layer_sizes,
            rule=rule,
            kappa=kappa,
            stiffness=stiffness,
            optimiser=optimiser,
            damping=damping,
            decay=decay,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            batch_size=batch_size,
            max_iter=max_iter,
            standardise=standardise,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            random_state=random_state,
            verbose=verbose,
        )

    @staticmethod
    def _quality(rows: np.ndarray, p: np.ndarray) -> float:
        return np.mean(
            p.argmax(axis=1) == rows.argmax(axis=1) if p.shape[1] > 1 else (p > 0.5) == (rows > 0.5)
        )

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> Self:
        """One pass as in `SheafRegressor`; the first call needs classes: every label that will ever
        come.
        """
        return self._partial_fit(X, y, classes=classes, whole_fit=False)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The likeliest class of every row: (n,)."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Probabilities (n, classes) in the order of classes_: network_(X), for two classes beside
        1 − network_(X).
        """
        p = self._forward(X)
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Their logarithms, from the logits: finite where a probability rounds to 0."""
        z = self._forward(X, "identity")
        return log_softmax(np.hstack([0 * z, z]) if z.shape[1] == 1 else z, axis=1)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The accuracy of predict(X), as scikit-learn computes it."""
        readable(y=y, sample_weight=sample_weight)
        return super().score(X, y, sample_weight)

    def _read(
        self,
        X: ArrayLike,
        y: ArrayLike,
        first: bool,
        classes: ArrayLike | None = None,
        whole_fit: bool = True,
    ) -> tuple[np.ndarray, np.ndarray]:
        readable(y=y, classes=classes)
        if classes is not None and np.ndim(classes) != 1:
            raise ValueError(f"classes has shape {np.shape(classes)}, expected (n_classes,)")
        unmasked("X", X)
        with naming(X, y):
            data, labels = validate_data(self, X, y, reset=first, dtype=np.float64)
        check_classification_targets(labels)
        if first and classes is None and not whole_fit:
            raise ValueError(
                "classes=None in the first call of partial_fit, expected all labels that will ever"
                " come"
            )
        if first:
            self.classes_ = unique_labels(labels if classes is None else classes)
            if len(self.classes_) == 1:
                given = "y holds" if classes is None else "classes hold"
                raise ValueError(f"{given} one class, {self.classes_[0]}, expected two or more")
        elif classes is not None and not np.array_equal(unique_labels(classes), self.classes_):
            raise ValueError(
                f"classes={brief(classes)}, expected those of the first call, {self.classes_}"
            )
        strange, many = ~np.isin(labels, self.classes_), len(self.classes_)
        if strange.any():
            raise ValueError(
                f"y holds {labels[strange][0]}, expected one of the classes {self.classes_}"
            )
        codes = np.searchsorted(self.classes_, labels)
        return data, np.eye(many)[codes] if many > 2 else codes[:, None].astype(np.float64)
