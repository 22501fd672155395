"""What else people call a network, here and in other libraries, and how a `Network` comes of it."""

from __future__ import annotations


def way_from(value: object) -> str:
    """The end of a message that refuses `value`: how to make a Network of it, "" where nothing is
    known.
    """
    if hasattr(value, "network"):
        return ": its attribute network is a Network"
    if hasattr(value, "network_"):
        return ": its attribute network_ is a Network"
    if hasattr(value, "forward") and hasattr(value, "parameters"):
        return (
            ": sheaflib.read(module, example) makes a Network of a module of PyTorch or a model of"
            " Keras"
        )
    if hasattr(value, "steps") and hasattr(value, "predict"):
        return (
            ": sheaflib.read(pipeline) makes a Network of an MLP of scikit-learn and the scalers"
            " before it"
        )
    return ""
