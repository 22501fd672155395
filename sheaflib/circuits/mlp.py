"""What the estimators share: a chain trained on standardised data, pass by pass (derived)."""

from __future__ import annotations

import multiprocessing
import warnings
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Callable, Literal, NamedTuple, Self, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.circuits.minibatch import MiniBatches, rates
from sheaflib.circuits.passes import mean_loss, naming, one_pass, split
from sheaflib.circuits.standardisation import folded, in_units, spread
from sheaflib.networks.graph import Network
from sheaflib.support.checks import brief, choice, flag, items, positive, room, unmasked, whole
from sheaflib.support.progress import Unseen, watched
from sheaflib.support.progress import bar as progress_bar
from sheaflib.training.chains import MAX_WEIGHTS
from sheaflib.training.joint import RUNAWAY, TrainingDiverged

try:
    from sklearn.base import BaseEstimator, is_classifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "sheaflib.circuits.estimators needs scikit-learn 1.6 or later: "
        f'pip install "sheaflib[sklearn]" ({error})'
    ) from error

if TYPE_CHECKING:
    from tqdm import tqdm

BATCH = 32  # the race's
CHUNK = 10_000  # samples whose loss is taken at once
PATIENCE = 1.0  # seconds before a bar shows that nobody asked for
WORSE = 2.0  # times the loss at the start: harm


class State(NamedTuple):
    """Where training stands: the network of standardised data, mean and deviation of X and of y,
    what the optimiser remembers.
    """

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
    """What the regressor and the classifier share. A subclass has `_read`, checked X and the labels
    as rows (n, n_outputs), and `_quality`, the score of such rows.
    """

    _read: Callable[..., tuple[np.ndarray, np.ndarray]]
    _quality: Callable[[np.ndarray, np.ndarray], float]

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        *,
        rule: str = "circuit",
        kappa: float | Literal["auto"] = "auto",
        stiffness: float = 3.0,
        optimiser: str = "adam",
        damping: float = 0.1,
        decay: float = 0.0,
        learning_rate: Literal["linear", "constant"] = "linear",
        learning_rate_init: float = 0.02,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.rule = rule
        self.kappa = kappa
        self.stiffness = stiffness
        self.optimiser = optimiser
        self.damping = damping
        self.decay = decay
        self.standardise = standardise
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train a fresh network on samples and labels.

        A fit that fails leaves the estimator exactly as it was. An interrupt (Ctrl-C) ends training
        with a warning and keeps the weights of the last complete pass; before the end of the first
        one it is a failure as any other.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            The samples.
        y : array_like of shape (n,) or (n, n_outputs)
            Their labels.

        Returns
        -------
        SheafRegressor or SheafClassifier
            The estimator itself.

        Raises
        ------
        ValueError or TypeError
            For bad input and bad parameters. With ``standardise=True`` X and y may be of any size
            in float64; a ValueError says so where their squares, or the weights for their units,
            are not.
        TrainingDiverged
            When the training loss of the weights that are kept is not finite, or above a million
            times that at the start, or that of an output of zeros where this is larger.

        Warns
        -----
        ConvergenceWarning
            When that loss is above twice as much. The warning and the error name
            ``learning_rate_init``, the loss reached and the loss at the start.
        """
        new = copy(self)
        new._fit(X, y)
        self.__dict__ = new.__dict__  # at once, and only now
        return self

    def _fit(self, X: ArrayLike, y: ArrayLike) -> None:
        """As `fit`, on an estimator of its own."""
        X, rows = self._read(X, y, first=True)
        self._check_choices()
        network, rng = self._fresh(X, rows)
        passes = whole("max_iter", self.max_iter)
        patience = whole("n_iter_no_change", self.n_iter_no_change)
        share = positive("validation_fraction", self.validation_fraction)
        tol, constant = positive("tol", self.tol, zero=True), self.learning_rate == "constant"
        if self.early_stopping:
            classes = self.classes_ if is_classifier(self) else None
            parts = split(X, rows, rng, share, classes)
            X, held_X, rows, held = parts
        state = State(network, self._scales(X, rows))
        engine, batches = self._engine(state, X, rows)
        room("max_iter", passes, passes * batches)
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

    def _partial_fit(self, X: ArrayLike, y: ArrayLike, **options: object) -> Self:
        """One pass over the samples at a constant rate; a call that fails changes nothing."""
        self._check_choices()
        if self.early_stopping:
            raise ValueError(
                "early_stopping=True with partial_fit, expected False: one pass leaves nothing to"
                " stop"
            )
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

    def _check_choices(self) -> None:
        """Raise TypeError or ValueError for a parameter that chooses what is done, and is wrong."""
        flag("standardise", self.standardise)
        flag("early_stopping", self.early_stopping)
        choice("learning_rate", self.learning_rate, ("linear", "constant"))
        if self.verbose is not None and not isinstance(self.verbose, (int, np.integer, np.bool_)):
            raise TypeError(f"verbose={brief(self.verbose)}, expected True, False or None")
        if isinstance(self.batch_size, str) and self.batch_size != "auto":
            raise ValueError(f"batch_size={self.batch_size!r}, expected 'auto' or a whole number")

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

    def _validate(self, engine: MiniBatches, x: np.ndarray, rows: np.ndarray) -> float:
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

    def _fresh(self, X: np.ndarray, rows: np.ndarray) -> tuple[Network, np.random.Generator]:
        """He weights, and the generator that drew them; ValueError for more weights than the engine
        takes.
        """
        if isinstance(self.random_state, (int, np.integer)):
            rng = np.random.default_rng(whole("random_state", self.random_state, least=0))
        else:
            try:
                seed = check_random_state(self.random_state).randint(2**31 - 1)
            except Exception:
                raise ValueError(
                    f"random_state={brief(self.random_state)}, expected a whole number, a"
                    " RandomState or None"
                ) from None
            rng = np.random.default_rng(seed)
        sizes = self.hidden_layer_sizes
        sizes = items("hidden_layer_sizes", sizes) if hasattr(sizes, "__iter__") else [sizes]
        hidden = [whole("hidden_layer_sizes", n) for n in sizes]
        dims = [X.shape[1], *hidden, rows.shape[1]]
        size = sum(n * m for n, m in zip(dims, dims[1:]))
        if size > MAX_WEIGHTS:
            raise ValueError(
                f"hidden_layer_sizes={brief(self.hidden_layer_sizes)} makes {brief(size)} weights"
                f" with {dims[0]} features and {dims[-1]} outputs, expected at most {MAX_WEIGHTS}"
            )
        kind = "identity" if not is_classifier(self) else "sigmoid" if dims[-1] == 1 else "softmax"
        return Network.he(dims, rng, kind), rng

    def _scales(self, X: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Mean and deviation of X, then of the rows, as they are to be folded."""
        return *spread(X, self.standardise), *spread(
            rows, self.standardise and not is_classifier(self)
        )

    def _engine(self, state: State, X: np.ndarray, rows: np.ndarray) -> tuple[MiniBatches, int]:
        """Training from a state on, which it leaves alone, and the batches of a pass; another
        optimiser remembers nothing.
        """
        positive("learning_rate_init", self.learning_rate_init)
        auto = isinstance(self.batch_size, str)
        size = BATCH if auto else whole("batch_size", self.batch_size)
        kappa = self.kappa
        if isinstance(kappa, str) and kappa == "auto":
            relaxing = isinstance(self.rule, str) and self.rule in ("circuit", "rayleigh")
            kappa = -1.0 if relaxing else 0.0
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
        moments, second = state.moments, state.second
        if state.optimiser == self.optimiser and moments is not None and second is not None:
            engine.moments = moments.copy()
            engine.second = second.copy()
            engine.updates = state.updates
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

    def _keep(
        self, state: State, rng: np.random.Generator, curve: list[float], scores: list[float]
    ) -> None:
        """Set what fitting leaves behind."""
        self._training, self._rng, self.network_ = state, rng, folded(state.network, *state.scales)
        self.loss_curve_ = curve
        self.validation_scores_ = scores
        self.n_iter_ = len(curve)
        self.n_outputs_ = self.network_.n_out

    def _forward(self, X: ArrayLike, output: str | None = None) -> np.ndarray:
        """network_(X), or with another output map; X is checked."""
        check_is_fitted(self, "network_")
        unmasked("X", X)
        with naming(X):
            X = validate_data(self, X, reset=False, dtype=np.float64)
        network = self.network_
        return Network(network.n_in, network.nodes, output or network.output)(X)


def bar(passes: int, verbose: bool | None) -> tqdm | Unseen:
    """A bar of passes: as asked for, or, not asked, for a person who has waited a while, never in
    a worker process."""
    shown = watched() and multiprocessing.parent_process() is None if verbose is None else verbose
    delay = 0 if verbose else PATIENCE
    return progress_bar(passes, "fit", shown, leave=bool(verbose), delay=delay)
