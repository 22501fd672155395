"""Multi-layer perceptrons of scikit-learn, alone or behind the scalers of a pipeline, as nodes.

scikit-learn itself is not imported: what a fitted model has learned are arrays in its attributes.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import INPUT, Network
from sheaflib.networks.operations import Operation
from sheaflib.networks.readers.original import Reading
from sheaflib.networks.readers.tracing import Tracer
from sheaflib.networks.selection import Clamp, ReLU
from sheaflib.networks.structured import BatchNorm
from sheaflib.support.checks import brief

PERCEPTRONS = ("MLPClassifier", "MLPRegressor")
OUTPUTS = {"identity": "identity", "logistic": "sigmoid", "softmax": "softmax"}


def reading(model: Any) -> Reading:
    """A fitted perceptron, or a pipeline that ends in one, as a network, beside its own values.

    Raises ValueError, with the step and its class, for what is no perceptron behind scalers.
    """
    steps = list(_steps("", model))
    width = int(_fitted(*steps[0], "n_features_in_"))
    tracer, reads = Tracer(width, 1), INPUT
    for name, step in steps[:-1]:
        for label, operation in _scaler(name, step):
            reads = tracer.add(label, operation, (reads,))
    layers, output = _perceptron(*steps[-1])
    for label, operation in layers:
        reads = tracer.add(label, operation, (reads,))
    network = Network(width, tracer.nodes, output)
    return Reading(network, _original(model, output), (width,), None, np.dtype(np.float64), output)


def _original(model: Any, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """What scikit-learn itself says of inputs (B, n_in), as (B, n_out).

    Of two classes it is the probability of the second one, `classes_[1]`.
    """
    if output == "identity":
        return lambda x: np.asarray(model.predict(x)).reshape(len(x), -1)

    def probabilities(x: np.ndarray) -> np.ndarray:
        found = model.predict_proba(x)
        return (
            found[:, 1:] if output == "sigmoid" and found.shape[1] == 2 and _two(model) else found
        )

    return probabilities


def _two(model: Any) -> bool:
    """Whether a classifier tells two classes apart, which it does with one output."""
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    return _two(last) if hasattr(last, "steps") else int(last.n_outputs_) == 1


def _steps(name: str, model: Any) -> list[tuple[str, Any]]:
    """The steps of a pipeline and of those in it, with their names, but for "passthrough"."""
    if type(model).__name__ != "Pipeline":
        return [(name, model)]
    found = []
    for own, step in model.steps:
        if step is not None and not isinstance(step, str):
            found += _steps(f"{name}.{own}" if name else own, step)
    if not found:
        raise ValueError("the pipeline has no steps, expected an MLP at its end")
    return found


def _said(name: str, step: Any) -> str:
    """How a message names a step."""
    kind = type(step).__name__
    return f"the step {name!r}, a {kind}," if name else f"the {kind}"


def _fitted(name: str, step: Any, attribute: str) -> Any:
    """What a step has learned; ValueError where it has learned nothing."""
    if not hasattr(step, attribute):
        raise ValueError(f"{_said(name, step)} is not fitted: call fit(X, y) first")
    return getattr(step, attribute)


def _scaler(name: str, step: Any) -> list[tuple[str, Operation]]:
    """The nodes of a step before the perceptron."""
    make = _SCALERS.get(type(step).__name__)
    if make is None:
        raise ValueError(
            f"{_said(name, step)} is not read, expected one of {', '.join(_SCALERS)} before the MLP"
        )
    n = int(_fitted(name, step, "n_features_in_"))
    nodes = [(name, operation) for operation in make(step, n)]
    if getattr(step, "clip", False):
        nodes.append((f"{name}.clip", _clip(name, step, n)))
    return nodes


def _diagonal(center: Any, scale: Any, n: int, shift: Any = None) -> BatchNorm:
    """(a − center) / scale + shift, coordinate by coordinate; None for nothing of it."""
    zeros, ones = np.zeros(n), np.ones(n)
    gain = ones if scale is None else 1 / np.asarray(scale, dtype=float)
    mean = zeros if center is None else np.asarray(center, dtype=float)
    more = zeros if shift is None else np.asarray(shift, dtype=float)
    return BatchNorm(gain, more, mean, ones, eps=0.0)


def _standard(step: Any, n: int) -> list[Operation]:
    return [_diagonal(step.mean_ if step.with_mean else None, step.scale_, n)]


def _min_max(step: Any, n: int) -> list[Operation]:
    return [_diagonal(None, 1 / step.scale_, n, step.min_)]


def _max_abs(step: Any, n: int) -> list[Operation]:
    return [_diagonal(None, step.scale_, n)]


def _robust(step: Any, n: int) -> list[Operation]:
    center = step.center_ if step.with_centering else None
    return [_diagonal(center, step.scale_ if step.with_scaling else None, n)]


def _principal(step: Any, n: int) -> list[Operation]:
    """PCA: the mean is subtracted first, so that nothing cancels that scikit-learn keeps."""
    directions = np.asarray(step.components_, dtype=float)
    if step.whiten:
        deviation = np.sqrt(np.asarray(step.explained_variance_, dtype=float))
        floor = np.finfo(step.explained_variance_.dtype).eps
        directions = directions / np.maximum(deviation, floor)[:, None]
    return [Affine(directions, -directions @ np.asarray(step.mean_, dtype=float))]


_SCALERS: dict[str, Callable[[Any, int], list[Operation]]] = {
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "PCA": _principal,
}


def _clip(name: str, step: Any, n: int) -> Clamp:
    """What a scaler with clip=True does last."""
    low, high = getattr(step, "feature_range", (-1.0, 1.0))
    return Clamp(n, float(low), float(high))


def _perceptron(name: str, step: Any) -> tuple[list[tuple[str, Operation]], str]:
    """The nodes of an MLP, and its output map."""
    if type(step).__name__ not in PERCEPTRONS:
        raise ValueError(
            f"{_said(name, step)} is not read, expected {' or '.join(PERCEPTRONS)}, alone or as the"
            " last step of a Pipeline"
        )
    weights, biases = _fitted(name, step, "coefs_"), step.intercepts_
    if step.activation not in ("relu", "identity"):
        raise ValueError(
            f"{_said(name, step)} has activation={step.activation!r} in its hidden layers, expected"
            " 'relu' or 'identity'"
        )
    if step.out_activation_ not in OUTPUTS:
        raise ValueError(
            f"{_said(name, step)} has the output {brief(step.out_activation_)}, expected one of"
            f" {', '.join(OUTPUTS)}"
        )
    before = f"{name}." if name else ""
    nodes: list[tuple[str, Operation]] = []
    for layer, (weight, bias) in enumerate(zip(weights, biases), start=1):
        nodes.append((f"{before}layer{layer}", Affine(np.asarray(weight, dtype=float).T, bias)))
        if layer < len(weights) and step.activation == "relu":
            nodes.append((f"{before}relu{layer}", ReLU(len(bias))))
    return nodes, OUTPUTS[step.out_activation_]
