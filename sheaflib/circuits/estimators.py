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
    """Regression by a ReLU network, for scikit-learn, trained by the currents of a sheaf.

    It descends the squared error of one label or several. The defaults are the recipe of the race
    in notebook 11: the circuit's rule with mirrored activities at stiffness 3, Adam, batches of 32,
    and a learning rate of 0.02 that falls linearly to 0. They fit closely: where labels are noisy
    use ``early_stopping`` or a lower rate.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default: (100,)
        The widths of the hidden layers.
    rule : {"backprop", "circuit", "rayleigh", "prox"}, default: "circuit"
        How the current is found that the label drives, as in ``MiniBatches``.
    kappa : float or "auto", default: "auto"
        Which activity a weight feels: that of the forward pass plus κ times its change in the
        relaxed sheaf. "auto" is −1, the mirrored activity, for the rules "circuit" and "rayleigh",
        and 0 for the others, which relax nothing.
    stiffness : float, default: 3.0
        The weight of all edges but that to the label.
    optimiser : {"adam", "sgd", "least-squares"}, default: "adam"
        What makes steps of the currents, as in ``MiniBatches``.
    damping : float, default: 0.1
        The damping of "least-squares".
    decay : float, default: 0.0
        How much parameters decay, as a part of the learning rate.
    learning_rate : {"linear", "constant"}, default: "linear"
        Whether the rate falls linearly to 0 after 30 % of the updates, or stays.
    learning_rate_init : float, default: 0.02
        The learning rate at the start.
    batch_size : int or "auto", default: "auto"
        How many samples an update averages over; "auto" is 32. A pass cuts a permutation of n
        samples into ⌈n/batch_size⌉ batches of nearly equal size.
    max_iter : int, default: 200
        How many passes over the samples are taken.
    standardise : bool, default: True
        Whether to train on X and y less their means, over their deviations. These are folded into
        the first and the last layer of ``network_``, so that ``predict(X)`` is ``network_(X)``.
        Decay and ``loss_curve_`` are of standardised data: to predict the mean is a loss of 1.
        ``partial_fit`` keeps the means and deviations of its first call; pass False for a stream
        whose first samples say little of the others.
    early_stopping : bool, default: False
        Whether to hold back some samples, to score them after every pass, to stop when the score
        gains nothing more, and to keep the weights of the best score. The schedule is laid out for
        ``max_iter`` passes all the same, so that stopping cuts it, often before the rate has
        fallen; with ``n_iter_no_change=max_iter`` it is run to its end.
    validation_fraction : float, default: 0.1
        The part of the samples that is held back.
    n_iter_no_change : int, default: 10
        After more passes than this without a gain training stops.
    tol : float, default: 1e-4
        What counts as a gain.
    random_state : int, RandomState or None, default: None
        Where random numbers come from. A number s starts from ``Network.he(widths,
        np.random.default_rng(s))`` and gives the same bits again.
    verbose : bool or None, default: None
        Whether a bar with the loss is shown. With None it shows in a terminal or live notebook,
        after a second.

    Attributes
    ----------
    network_ : Network
        The trained network, which takes the data as they are.
    n_features_in_ : int
        The number of features.
    n_outputs_ : int
        The number of outputs of the network.
    n_iter_ : int
        How many passes were taken.
    loss_curve_ : list of float
        The training loss after each pass.
    validation_scores_ : list of float
        The validation score after each pass, empty without early stopping.

    Notes
    -----
    In the paper: not there; derived from §5.2.

    ``report(NeuralSheaf(estimator.network_), X, y)`` diagnoses what was trained.

    Examples
    --------
    >>> import numpy as np
    >>> from sheaflib.circuits.estimators import SheafRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> bent = SheafRegressor((20,), max_iter=50, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> bent.predict([[0.5], [-0.5]]).round(1), bent.network_
    (array([0.5, 0.5]), Network(x(1) -> z1(20) -> a1(20) -> z2(1), identity))
    """

    _quality = staticmethod(r2_score)

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train for one pass over some samples.

        It goes on from the present weights and moments, at the constant rate
        ``learning_rate_init``.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            The samples.
        y : array_like of shape (n,) or (n, n_outputs)
            Their labels.

        Returns
        -------
        SheafRegressor
            The estimator itself.

        Raises
        ------
        ValueError or TypeError
            For bad input and bad parameters, and with ``early_stopping``.
        TrainingDiverged
            As in ``fit``. A call that fails leaves the estimator as it was.
        """
        return self._partial_fit(X, y)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the labels of samples, which is ``network_(X)``.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            The samples.

        Returns
        -------
        ndarray of shape (n,) or (n, n_outputs)
            The predictions, in the shape that the labels had.
        """
        p = self._forward(X)
        return p[:, 0] if self._flat else p

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the coefficient of determination R² of ``predict(X)``, as scikit-learn does.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            The samples.
        y : array_like of shape (n,) or (n, n_outputs)
            Their labels.
        sample_weight : array_like of shape (n,), optional
            How much each sample counts.

        Returns
        -------
        float
            The score, 1 at best.
        """
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
    """Classification by a ReLU network, for scikit-learn, trained by the currents of a sheaf.

    It descends the cross-entropy, of a sigmoid for two classes and of a softmax for more. The
    defaults are one Rayleigh step, the activities of the forward pass, and as many sweeps as
    back-propagation has, with a learning rate of the size that the folds of notebook 11 chose for a
    softmax where classes overlap. Classes that can be parted, two of them above all, take ten times
    as much and more (0.02 to 0.04 there).

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default: (100,)
        The widths of the hidden layers.
    rule : {"backprop", "circuit", "rayleigh", "prox"}, default: "rayleigh"
        How the current is found that the label drives, as in ``MiniBatches``.
    kappa : float or "auto", default: 0.0
        Which activity a weight feels: that of the forward pass plus κ times its change in the
        relaxed sheaf. "auto" is −1, the mirrored activity, for the rules "circuit" and "rayleigh",
        and 0 for the others, which relax nothing.
    stiffness : float, default: 1.0
        The weight of all edges but that to the label.
    optimiser : {"adam", "sgd", "least-squares"}, default: "adam"
        What makes steps of the currents, as in ``MiniBatches``.
    damping : float, default: 0.1
        The damping of "least-squares".
    decay : float, default: 0.0
        How much parameters decay, as a part of the learning rate.
    learning_rate : {"linear", "constant"}, default: "linear"
        Whether the rate falls linearly to 0 after 30 % of the updates, or stays.
    learning_rate_init : float, default: 0.001
        The learning rate at the start.
    batch_size : int or "auto", default: "auto"
        How many samples an update averages over; "auto" is 32. A pass cuts a permutation of n
        samples into ⌈n/batch_size⌉ batches of nearly equal size.
    max_iter : int, default: 200
        How many passes over the samples are taken.
    standardise : bool, default: True
        Whether to train on X less its means, over its deviations, which are folded into the first
        layer of ``network_``. Labels are not standardised. ``partial_fit`` keeps the means and
        deviations of its first call; pass False for a stream whose first samples say little of the
        others.
    early_stopping : bool, default: False
        Whether to hold back some samples, to score them after every pass, to stop when the score
        gains nothing more, and to keep the weights of the best score. The schedule is laid out for
        ``max_iter`` passes all the same, so that stopping cuts it, often before the rate has
        fallen; with ``n_iter_no_change=max_iter`` it is run to its end.
    validation_fraction : float, default: 0.1
        The part of the samples that is held back, of each class alike.
    n_iter_no_change : int, default: 10
        After more passes than this without a gain training stops.
    tol : float, default: 1e-4
        What counts as a gain.
    random_state : int, RandomState or None, default: None
        Where random numbers come from. A number s starts from ``Network.he(widths,
        np.random.default_rng(s))`` and gives the same bits again.
    verbose : bool or None, default: None
        Whether a bar with the loss is shown. With None it shows in a terminal or live notebook,
        after a second.

    Attributes
    ----------
    network_ : Network
        The trained network, which takes the data as they are.
    n_features_in_ : int
        The number of features.
    n_outputs_ : int
        The number of outputs of the network.
    n_iter_ : int
        How many passes were taken.
    loss_curve_ : list of float
        The training loss after each pass.
    validation_scores_ : list of float
        The accuracy on the samples held back, after each pass, empty without early stopping.
    classes_ : ndarray of shape (n_classes,)
        The sorted labels. A softmax has an output for each, a sigmoid the probability of the
        second.

    Notes
    -----
    In the paper: not there; derived from §5.2.

    ``report`` needs numbered classes: pass it ``np.searchsorted(estimator.classes_, y)``.

    Examples
    --------
    >>> import numpy as np
    >>> from sheaflib.circuits.estimators import SheafClassifier
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
        """Train for one pass over some samples.

        It goes on from the present weights and moments, at the constant rate
        ``learning_rate_init``.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            The samples.
        y : array_like of shape (n,)
            Their labels.
        classes : array_like of shape (n_classes,), optional
            Every label that will ever come. The first call needs them.

        Returns
        -------
        SheafClassifier
            The estimator itself.

        Raises
        ------
        ValueError or TypeError
            For bad input and bad parameters, with ``early_stopping``, and for a first call without
            classes.
        TrainingDiverged
            As in ``fit``. A call that fails leaves the estimator as it was.
        """
        return self._partial_fit(X, y, classes=classes, whole_fit=False)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the likeliest class of each sample.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            The samples.

        Returns
        -------
        ndarray of shape (n,)
            The classes.
        """
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Compute the probability of each class.

        It is ``network_(X)``, for two classes beside 1 − ``network_(X)``.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            The samples.

        Returns
        -------
        ndarray of shape (n, n_classes)
            The probabilities, in the order of ``classes_``.
        """
        p = self._forward(X)
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Compute the logarithm of each class's probability.

        It is computed from the logits, so that it is finite where a probability rounds to 0.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            The samples.

        Returns
        -------
        ndarray of shape (n, n_classes)
            The logarithms, in the order of ``classes_``.
        """
        z = self._forward(X, "identity")
        return log_softmax(np.hstack([0 * z, z]) if z.shape[1] == 1 else z, axis=1)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the accuracy of ``predict(X)``, as scikit-learn does.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            The samples.
        y : array_like of shape (n,)
            Their labels.
        sample_weight : array_like of shape (n,), optional
            How much each sample counts.

        Returns
        -------
        float
            The part of the samples whose class is right.
        """
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
