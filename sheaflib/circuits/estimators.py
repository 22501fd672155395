"""Estimators with scikit-learn's interface, trained by mini-batches with the currents of training's sheaf (derived).

`import sheaflib` leaves scikit-learn alone: whoever wants an estimator imports this module by its name.
"""

from __future__ import annotations

import multiprocessing
import warnings
from copy import copy, deepcopy
from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax

from sheaflib.checks import positive, unmasked, whole
from sheaflib.fused import MAX_WEIGHTS
from sheaflib.joint import RUNAWAY, TrainingDiverged, with_weights
from sheaflib.minibatch import MiniBatches, rates
from sheaflib.network import Network
from sheaflib.objective import loss
from sheaflib.progress import bar as progress_bar, watched

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin, is_classifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import check_random_state, gen_batches
    from sklearn.utils.multiclass import check_classification_targets, unique_labels
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(f'sheaflib.estimators needs scikit-learn 1.6 or later: pip install "sheaflib[sklearn]" ({error})') from error

__all__ = ["SheafClassifier", "SheafRegressor"]

BATCH = 32                                                # the race's
CHUNK = 10_000                                            # samples whose loss is taken at once
PATIENCE = 1.0                                            # seconds before a bar shows that nobody asked for
WORSE = 2.0                                               # times the loss at the start: harm


class State(NamedTuple):
    """Where training stands: the network of standardised data, mean and deviation of X and of y, what the optimiser remembers."""

    network: Network
    scales: tuple[np.ndarray, ...]
    optimiser: str = ""
    moments: np.ndarray | None = None
    second: np.ndarray | None = None
    updates: int = 0
    scale: float = 0.0


class Losses(NamedTuple):
    """What a loss is measured by: that at the start of a call, and the largest met at one so far.

    The latter, `scale`, is at least the loss of logits that are all zero.
    """

    start: float
    scale: float


class SheafMLP(BaseEstimator):
    """What both share. A subclass has `_read`, checked X and the labels as rows (n, n_outputs), and `_quality`, the score of such rows."""

    def __init__(self, hidden_layer_sizes=(100,), *, rule="circuit", kappa="auto", stiffness=3.0, optimiser="adam", damping=0.1, decay=0.0,
                 learning_rate="linear", learning_rate_init=0.02, batch_size="auto", max_iter=200, standardise=True, early_stopping=False,
                 validation_fraction=0.1, n_iter_no_change=10, tol=1e-4, random_state=None, verbose=None):
        self.hidden_layer_sizes, self.rule, self.kappa, self.stiffness = hidden_layer_sizes, rule, kappa, stiffness
        self.optimiser, self.damping, self.decay, self.standardise = optimiser, damping, decay, standardise
        self.learning_rate, self.learning_rate_init, self.batch_size = learning_rate, learning_rate_init, batch_size
        self.early_stopping, self.validation_fraction, self.n_iter_no_change = early_stopping, validation_fraction, n_iter_no_change
        self.max_iter, self.tol, self.random_state, self.verbose = max_iter, tol, random_state, verbose

    def fit(self, X, y):
        """Train a fresh network on X (n, n_features) and the labels y; returns the estimator.

        A fit that fails leaves the estimator exactly as it was. An interrupt (Ctrl-C) ends training
        with a warning and keeps the weights of the last complete pass; before the end of the first
        one it is a failure as any other.

        The training loss of the weights that are kept is compared with that at the start, or with
        that of an output of zeros where this is larger: above a million times as much, or when it
        is not finite, TrainingDiverged is raised; above twice as much, a ConvergenceWarning is
        given. Both name learning_rate_init, the loss reached and the loss at the start.

        Raises ValueError or TypeError for bad input and bad parameters. X and y may be of any size
        in float64 with standardise=True; ValueError says so where their squares, or the weights
        for their units, are not.
        """
        new = copy(self)
        new._fit(X, y)
        self.__dict__ = new.__dict__  # at once, and only now
        return self

    def _fit(self, X, y):
        """As `fit`, on an estimator of its own."""
        X, rows = self._read(X, y, first=True)
        network, rng = self._fresh(X, rows)
        passes, patience = whole("max_iter", self.max_iter), whole("n_iter_no_change", self.n_iter_no_change)
        tol, constant = positive("tol", self.tol, zero=True), self.learning_rate == "constant"
        if self.early_stopping:
            X, held_X, rows, held = self._split(X, rows, rng)
        state = State(network, self._scales(X, rows))
        engine, batches = self._engine(state, X, rows)
        losses = self._losses(engine, 0.0)
        if self.early_stopping:
            mean, deviation, shift, stretch = state.scales
            held_X = in_units("X", held_X, mean, deviation)
            held = in_units("y", held, shift, stretch)
        speeds = rates(self.learning_rate_init, passes * batches, constant).reshape(passes, batches)
        curve, scores, best, waited, kept = [], [], -np.inf, 0, None
        try:
            with bar(passes, self.verbose) as shown:
                for speed in speeds:
                    reached = one_pass(engine, speed, rng, losses.start)
                    score = self._validate(engine, held_X, held) if self.early_stopping else 0.0
                    state = self._state(state, engine, losses.scale)
                    curve.append(reached)
                    shown.set_postfix(loss=f"{reached:.4g}", refresh=False)
                    shown.update()
                    if self.early_stopping:
                        scores.append(score)
                        waited = 0 if score >= best + tol else waited + 1
                        if score > best:
                            kept, best = (state, reached), score
                        if waited > patience:
                            break
        except KeyboardInterrupt:
            if not curve:
                raise
            warnings.warn(
                f"training was interrupted after {len(curve)} of {passes} passes: "
                "the weights so far are kept",
                stacklevel=3,
            )
        state, reached = kept or (state, curve[-1])
        self._judge(reached, losses)
        self._keep(state, rng, curve, scores)

    def _partial_fit(self, X, y, **options):
        """One pass over the samples at a constant rate; a call that fails changes nothing."""
        if self.early_stopping:
            raise ValueError("early_stopping=True with partial_fit, expected False: one pass leaves nothing to stop")
        new, first = copy(self), not hasattr(self, "network_")
        X, rows = new._read(X, y, first=first, **options)
        if first:
            network, rng = new._fresh(X, rows)
            state, curve, scores = State(network, new._scales(X, rows)), [], []
        else:
            state, rng = self._training, deepcopy(self._rng)
            curve, scores = self.loss_curve_, self.validation_scores_
        engine, batches = new._engine(state, X, rows)
        losses = new._losses(engine, state.scale)
        now = one_pass(engine, np.full(batches, float(self.learning_rate_init)), rng, losses.start)
        new._judge(now, losses)
        new._keep(new._state(state, engine, losses.scale), rng, [*curve, now], scores)
        self.__dict__ = new.__dict__  # at once, and only now
        return self

    def _losses(self, engine: MiniBatches, scale: float) -> Losses:
        """The loss before an update, and the largest so far; ValueError where it leaves float64."""
        start = mean_loss(engine)
        if is_classifier(self):
            silent = np.log(max(2, engine.y.shape[1]))
        else:
            with np.errstate(over="ignore"):
                silent = max((engine.y**2).mean(), float(self.standardise))
        if not np.isfinite(start + silent):
            large, labels = abs(engine.x).max(), abs(engine.y).max()
            how = " less their means, over their deviations" if self.standardise else ""
            remedy = (
                "rescale them" if self.standardise else "rescale them, or pass standardise=True"
            )
            raise ValueError(
                f"the loss at the start is too large for float64: X and y{how} hold numbers up to "
                f"{large:.3g} and {labels:.3g} in size; {remedy}"
            )
        return Losses(start, max(start, silent, scale))

    def _judge(self, loss: float, losses: Losses) -> None:
        """Raise TrainingDiverged, or warn, when the loss is far above that to begin with."""
        said = (
            f"the training loss is {loss:.4g}, {losses.start:.4g} at the start: "
            f"lower learning_rate_init, {self.learning_rate_init:g} at present"
        )
        if loss > RUNAWAY * losses.scale:
            raise TrainingDiverged(f"training diverged: {said}")
        if loss > WORSE * losses.scale:
            warnings.warn(f"training did harm: {said}", ConvergenceWarning, stacklevel=4)

    def _validate(self, engine: MiniBatches, x, rows) -> float:
        """The score of the present weights, all in the units of training."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                return float(self._quality(rows, engine.network(x)))
        except OverflowError as error:
            raise TrainingDiverged(
                f"on the validation samples, which hold numbers up to {abs(x).max():.3g} in the"
                f" units of training, {error}: lower learning_rate_init,"
                f" {self.learning_rate_init:g} at present, or leave such samples out"
            ) from error

    def _fresh(self, X, rows) -> tuple[Network, np.random.Generator]:
        """He weights, and the generator that drew them; ValueError for more weights than the engine takes."""
        if isinstance(self.random_state, (int, np.integer)):
            rng = np.random.default_rng(whole("random_state", self.random_state, least=0))
        else:
            rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        hidden = [whole("hidden_layer_sizes", n) for n in np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object))]
        dims = [X.shape[1], *hidden, rows.shape[1]]
        size = sum(n * m for n, m in zip(dims, dims[1:]))
        if size > MAX_WEIGHTS:
            raise ValueError(f"hidden_layer_sizes={self.hidden_layer_sizes!r} makes {size} weights with {dims[0]} features and {dims[-1]} "
                             f"outputs, expected at most {MAX_WEIGHTS}")
        kind = "identity" if not is_classifier(self) else "sigmoid" if dims[-1] == 1 else "softmax"
        return Network.he(dims, rng, kind), rng

    def _split(self, X, rows, rng) -> list[np.ndarray]:
        """Samples to train on, samples to validate on, their rows in the same order; classes in equal proportions."""
        share, n = positive("validation_fraction", self.validation_fraction), len(X)
        held = int(np.ceil(share * n)) if share < 1 else n
        if not 2 <= held < n:
            raise ValueError(
                f"validation_fraction={share:g} of n_samples={n}, expected a share of at least two"
                " samples that leaves at least one to train on"
            )
        kinds, stratify = np.zeros(n, dtype=int), None
        if is_classifier(self):
            kinds = stratify = rows.argmax(axis=1) if rows.shape[1] > 1 else rows[:, 0].astype(int)
            counts, classes = np.bincount(kinds), len(self.classes_)
            if counts.min() < 2:
                raise ValueError(
                    f"y holds the class {self.classes_[counts.argmin()]!s} once, expected every"
                    " class twice or more with early_stopping=True, to train on and to validate"
                    " on: add samples of it, leave it out, or pass early_stopping=False"
                )
            if not classes <= held <= n - classes:
                raise ValueError(
                    f"validation_fraction={share:g} of n_samples={n} holds back {held}, expected"
                    f" {classes} to {n - classes}: as many as there are classes, or more, on both"
                    " sides"
                )
        *parts, trained, _ = train_test_split(
            X,
            rows,
            kinds,
            test_size=share,
            random_state=int(rng.integers(2**31)),
            stratify=stratify,
        )
        missing = np.setdiff1d(kinds, trained)
        if len(missing):
            raise ValueError(
                f"validation_fraction={share:g} holds back every sample of the class "
                f"{self.classes_[missing[0]]!s}, expected a share that leaves some to train on"
            )
        return parts

    def _scales(self, X, rows) -> tuple[np.ndarray, ...]:
        """Mean and deviation of X, then of the rows, as they are to be folded."""
        return *spread(X, self.standardise), *spread(rows, self.standardise and not is_classifier(self))

    def _engine(self, state: State, X, rows) -> tuple[MiniBatches, int]:
        """Training from a state on, which it leaves alone, and the batches of a pass; another optimiser remembers nothing."""
        if self.learning_rate not in ("linear", "constant") or isinstance(self.batch_size, str) and self.batch_size != "auto":
            raise ValueError(f"learning_rate={self.learning_rate!r} and batch_size={self.batch_size!r}, expected 'linear' or 'constant', "
                             "and 'auto' or a whole number")
        positive("learning_rate_init", self.learning_rate_init)
        size = BATCH if self.batch_size == "auto" else whole("batch_size", self.batch_size)
        kappa = self.kappa if self.kappa != "auto" else -1.0 if self.rule in ("circuit", "rayleigh") else 0.0
        mean, deviation, shift, stretch = state.scales
        engine = MiniBatches(
            state.network,
            in_units("X", X, mean, deviation),
            in_units("y", rows, shift, stretch),
            rule=self.rule,
            kappa=kappa,
            stiffness=self.stiffness,
            optimiser=self.optimiser,
            damping=self.damping,
            decay=self.decay,
        )
        if state.optimiser == self.optimiser:
            engine.moments, engine.second, engine.updates = state.moments.copy(), state.second.copy(), state.updates
        return engine, -(-len(X) // size)

    def _state(self, before: State, engine: MiniBatches, scale: float) -> State:
        return State(
            engine.network,
            before.scales,
            self.optimiser,
            engine.moments.copy(),
            engine.second.copy(),
            engine.updates,
            scale,
        )

    def _keep(self, state: State, rng, curve: list[float], scores: list[float]):
        """Set what fitting leaves behind."""
        self._training, self._rng, self.network_ = state, rng, folded(state.network, *state.scales)
        self.loss_curve_, self.validation_scores_, self.n_iter_, self.n_outputs_ = curve, scores, len(curve), self.network_.n_out

    def _forward(self, X, output: str | None = None) -> np.ndarray:
        """network_(X), or with another output map; X is checked."""
        check_is_fitted(self, "network_")
        unmasked("X", X)
        X, network = validate_data(self, X, reset=False, dtype=np.float64), self.network_
        return Network(network.n_in, network.nodes, output or network.output)(X)


class SheafRegressor(MultiOutputMixin, RegressorMixin, SheafMLP):
    """Regression by a ReLU network, one label or several: least squares, descended along the currents of training's sheaf.

    The defaults are the race's recipe (notebook 11): the circuit's rule with mirrored activities, κ = −1, at stiffness 3, Adam, batches
    of 32, and a learning rate of 0.02 that falls linearly to 0 after 30 % of the updates. They fit closely: where labels are noisy
    use early_stopping or a lower rate.

    hidden_layer_sizes: widths. rule, kappa, stiffness, optimiser, damping, decay: as in `MiniBatches`; kappa="auto" is −1, but 0 for the
    rules "backprop" and "prox", which relax nothing. learning_rate: "linear", as above, or "constant", from learning_rate_init.
    batch_size: "auto" is 32; a pass cuts a permutation of n samples into ⌈n/batch_size⌉ batches of nearly equal size. max_iter: passes.

    standardise: train on X and y less their means, over their deviations, which are folded into the first and the last layer of
    `network_`: predict(X) is network_(X). The decay and loss_curve_ are of standardised data: to predict the mean is a loss of 1.
    `partial_fit` keeps the means and deviations of its first call; pass False for a stream whose first samples say little of the others.

    early_stopping: hold back validation_fraction of the samples, score them after every pass, stop after more than n_iter_no_change
    passes without a gain of tol, keep the weights of the best score. The schedule is laid out for max_iter passes all the same, so that
    stopping cuts it, often before the rate has fallen; with n_iter_no_change=max_iter it is run to its end.

    random_state: a whole number s starts from Network.he(widths, np.random.default_rng(s)) and gives the same bits again. verbose: a bar
    with the loss, True or False; with None it shows in a terminal or live notebook, after a second.

    After fitting: network_ (for `report(est.network_, X, y)`, say), n_features_in_, n_outputs_, n_iter_ passes, and one number for each
    in loss_curve_ and, of early stopping, in validation_scores_.

    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> bent = SheafRegressor((20,), max_iter=50, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> bent.predict([[0.5], [-0.5]]).round(1), bent.network_
    (array([0.5, 0.5]), Network(x(1) -> z1(20) -> a1(20) -> z2(1), identity))
    """

    _quality = staticmethod(r2_score)

    def partial_fit(self, X, y):
        """One pass over the samples from the present weights and moments, at the rate learning_rate_init; returns the estimator."""
        return self._partial_fit(X, y)

    def predict(self, X) -> np.ndarray:
        """network_(X): (n,) or (n, n_outputs), as the labels were."""
        p = self._forward(X)
        return p[:, 0] if self._flat else p

    def score(self, X, y, sample_weight=None) -> float:
        """The coefficient of determination R² of predict(X), as scikit-learn computes it."""
        unmasked("y", y)
        return super().score(X, y, sample_weight)

    def _read(self, X, y, first: bool):
        unmasked("X", X)
        unmasked("y", y)
        X, y = validate_data(self, X, y, reset=first, dtype=np.float64, multi_output=True, y_numeric=True)
        rows = np.asarray(y, dtype=np.float64).reshape(len(X), -1)
        if not first and rows.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {rows.shape[1]} columns, expected {self.n_outputs_} as before")
        self._flat = y.ndim == 1
        return X, rows


class SheafClassifier(ClassifierMixin, SheafMLP):
    """Classification by a ReLU network: cross-entropy, of a sigmoid for two classes and of a softmax for more, descended along currents.

    The defaults are one Rayleigh step, the activities of the forward pass, κ = 0, at stiffness 1, as many sweeps as back-propagation has,
    and a learning rate of 0.001 on the same schedule: of the size that the folds of notebook 11 chose for a softmax where classes overlap.
    Classes that can be parted, two of them above all, take ten times as much and more (0.02 to 0.04 there). Parameters and attributes are
    those of `SheafRegressor`, but labels are not standardised, and validation scores are accuracies on a stratified share.

    classes_: the sorted labels; a softmax has an output for each, a sigmoid the probability of the second. For `report` number them:
    np.searchsorted(est.classes_, y).

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> sign = SheafClassifier((5,), learning_rate_init=0.1, random_state=0).fit(X, ["below", "below", "above", "above"])
    >>> sign.predict([[-3.0], [3.0]]), sign.network_.output.name
    (array(['below', 'above'], dtype='<U5'), 'sigmoid')
    """

    def __init__(self, hidden_layer_sizes=(100,), *, rule="rayleigh", kappa=0.0, stiffness=1.0, optimiser="adam", damping=0.1, decay=0.0,
                 learning_rate="linear", learning_rate_init=0.001, batch_size="auto", max_iter=200, standardise=True, early_stopping=False,
                 validation_fraction=0.1, n_iter_no_change=10, tol=1e-4, random_state=None, verbose=None):
        super().__init__(
            hidden_layer_sizes, rule=rule, kappa=kappa, stiffness=stiffness, optimiser=optimiser, damping=damping, decay=decay,
            learning_rate=learning_rate, learning_rate_init=learning_rate_init, batch_size=batch_size, max_iter=max_iter,
            standardise=standardise, early_stopping=early_stopping, validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change, tol=tol, random_state=random_state, verbose=verbose)

    @staticmethod
    def _quality(rows, p) -> float:
        return np.mean(p.argmax(axis=1) == rows.argmax(axis=1) if p.shape[1] > 1 else (p > 0.5) == (rows > 0.5))

    def partial_fit(self, X, y, classes=None):
        """One pass as in `SheafRegressor`; the first call needs classes: every label that will ever come."""
        return self._partial_fit(X, y, classes=classes, whole_fit=False)

    def predict(self, X) -> np.ndarray:
        """The likeliest class of every row: (n,)."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def predict_proba(self, X) -> np.ndarray:
        """Probabilities (n, classes) in the order of classes_: network_(X), for two classes beside 1 − network_(X)."""
        p = self._forward(X)
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p

    def predict_log_proba(self, X) -> np.ndarray:
        """Their logarithms, from the logits: finite where a probability rounds to 0."""
        z = self._forward(X, "identity")
        return log_softmax(np.hstack([0 * z, z]) if z.shape[1] == 1 else z, axis=1)

    def score(self, X, y, sample_weight=None) -> float:
        """The accuracy of predict(X), as scikit-learn computes it."""
        unmasked("y", y)
        return super().score(X, y, sample_weight)

    def _read(self, X, y, first: bool, classes=None, whole_fit: bool = True):
        for name, value in (("X", X), ("y", y), ("classes", classes)):
            unmasked(name, value)
        X, y = validate_data(self, X, y, reset=first, dtype=np.float64)
        check_classification_targets(y)
        if first and classes is None and not whole_fit:
            raise ValueError("classes=None in the first call of partial_fit, expected all labels that will ever come")
        if first:
            self.classes_ = unique_labels(y if classes is None else classes)
            if len(self.classes_) == 1:
                raise ValueError(f"y holds one class, {self.classes_[0]}, expected two or more")
        elif classes is not None and not np.array_equal(unique_labels(classes), self.classes_):
            raise ValueError(f"classes={classes!r}, expected those of the first call, {self.classes_}")
        strange, many = ~np.isin(y, self.classes_), len(self.classes_)
        if strange.any():
            raise ValueError(f"y holds {y[strange][0]}, expected one of the classes {self.classes_}")
        codes = np.searchsorted(self.classes_, y)
        return X, np.eye(many)[codes] if many > 2 else codes[:, None].astype(np.float64)


def folded(network: Network, mean, deviation, shift, stretch) -> Network:
    """The chain with x -> (x − mean)/deviation folded into its first layer, z -> shift + stretch z into its last: arrays (n_in,), (n_out,).

    >>> folded(Network.mlp([[[3.0]]], [[1.0]]), *np.array([[1.0], [2.0], [10.0], [2.0]]))([[3.0]])       # 10 + 2 (3 (3 − 1)/2 + 1)
    array([[18.]])
    """
    first, last = network.nodes[0], network.nodes[-1].name
    with np.errstate(over="ignore", invalid="ignore"):
        W = first.operation.weight / deviation
        b = first.operation.bias - W @ mean
    fits(W, b)
    network = with_weights(network, {first.name: (W, b)})
    edge = network.nodes[-1].operation
    with np.errstate(over="ignore", invalid="ignore"):
        W, b = stretch[:, None] * edge.weight, stretch * edge.bias + shift
    fits(W, b)
    return with_weights(network, {last: (W, b)})


def fits(*weights) -> None:
    """Raise ValueError unless the weights and biases for the units of X and y are finite."""
    if not all(np.isfinite(part).all() for part in weights):
        raise ValueError(
            "X and y are in units that need weights too large for float64: rescale X or y"
        )


def in_units(name: str, rows, mean, deviation) -> np.ndarray:
    """(rows − mean)/deviation; ValueError where that is too large for float64."""
    with np.errstate(over="ignore"):
        half = 0.5 * rows - 0.5 * mean  # the difference may be twice the largest float
        found = half / deviation * 2
    if not np.isfinite(found).all():
        i, j = np.argwhere(~np.isfinite(found))[0]
        raise ValueError(
            f"{name} holds {rows[i, j]:g} in column {j}, where mean and deviation are {mean[j]:g}"
            f" and {deviation[j]:g} in training: in these units it is too large for float64"
        )
    return found


def spread(rows, standardise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every column, 1 for that of a constant; 0 and 1 if not standardised.

    Squares are taken in units of a power of two near the column's largest entry, which changes no
    bit of the results but keeps them in float64. A constant so large that 1 is less than the
    rounding of its mean has this rounding for its deviation.
    """
    if not standardise:
        return np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    largest = abs(rows).max(axis=0)
    unit = np.frexp(largest)[1]
    scaler = StandardScaler().fit(np.ldexp(rows, -unit))  # entries below 1: no deviation is 1
    rounding = np.maximum(1.0, len(rows) * np.spacing(largest))
    deviation = np.where(scaler.scale_ == 1, rounding, np.ldexp(scaler.scale_, unit))
    return np.ldexp(scaler.mean_, unit), deviation


def mean_loss(engine: MiniBatches) -> float:
    """The loss over all samples; infinite where it, or the forward pass, leaves float64."""
    if not np.isfinite(engine.theta).all():
        return np.inf
    network, parts = engine.network, gen_batches(len(engine.x), CHUNK)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            total = sum(
                loss(network, engine.x[part], engine.y[part]) * (part.stop - part.start)
                for part in parts
            )
    except OverflowError:
        return np.inf
    return total / len(engine.x) if np.isfinite(total) else np.inf


def one_pass(
    engine: MiniBatches, speeds: np.ndarray, rng: np.random.Generator, start: float
) -> float:
    """Take every sample once, in as many batches as there are rates, and return the loss after it.

    start: the loss at the start, for the message of TrainingDiverged where the loss is not finite.
    """
    order = rng.permutation(len(engine.x))
    size, more = divmod(len(order), len(speeds))
    cut = more * (size + 1)
    engine.advance(order[:cut].reshape(more, size + 1), speeds[:more])
    engine.advance(order[cut:].reshape(-1, size), speeds[more:])
    reached = mean_loss(engine)
    if not np.isfinite(reached):
        raise TrainingDiverged(
            f"training diverged within {engine.updates} updates: the loss is not finite,"
            f" {start:.4g} at the start: lower learning_rate_init, {speeds[0]:g} at present"
        )
    return reached


def bar(passes: int, verbose: bool | None):
    """A bar of passes: as asked for, or, not asked, for a person who has waited a while, never in
    a worker process."""
    shown = watched() and multiprocessing.parent_process() is None if verbose is None else verbose
    delay = 0 if verbose else PATIENCE
    return progress_bar(passes, "fit", shown, leave=bool(verbose), delay=delay)
