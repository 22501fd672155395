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
            ": a module of PyTorch is not read yet, pass the weights and biases of its layers to"
            " Network.mlp(weights, biases), each as .detach().numpy()"
        )
    if hasattr(value, "steps") and hasattr(value, "predict"):
        return (
            ": fold its scaler into the first layer, or pass the last step's weights, as"
            " Network.mlp(weights, biases), and inputs that went through the steps before it"
        )
    return ""
