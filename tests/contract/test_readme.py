"""The README's code prints what it says and its recipes for other libraries' networks work."""

import doctest
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sheaflib import Network

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(word):
    """The Python blocks of the README that mention `word`."""
    return [
        code for code in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if word in code
    ]


def block(word):
    """The one Python block of the README that mentions `word`."""
    (found,) = blocks(word)
    return found


def relu_chain(weights, biases, x):
    """A two-layer network in plain NumPy; weights (n_out, n_in)."""
    return np.maximum(x @ weights[0].T + biases[0], 0) @ weights[1].T + biases[1]


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((5, 3)), rng.standard_normal((2, 5))], [
        rng.standard_normal(5),
        rng.standard_normal(2),
    ]


def test_examples_print_what_they_say():
    test = doctest.DocTestParser().get_doctest("".join(blocks(">>>")), {}, "README", "README.md", 0)
    assert len(blocks(">>>")) == 6 and len(test.examples) >= 20
    assert doctest.DocTestRunner().run(test).failed == 0


def test_from_a_state_dict(layers):
    """A state_dict maps "0.weight" to a tensor with .numpy(); Linear stores (n_out, n_in)."""
    weights, biases = layers
    state = {
        f"{2 * i}.{name}": SimpleNamespace(numpy=lambda value=value: value)
        for name, values in (("weight", weights), ("bias", biases))
        for i, value in enumerate(values)
    }
    space = {"Network": Network, "model": SimpleNamespace(state_dict=lambda: state)}
    exec(block("state_dict"), space)
    x = np.random.default_rng(1).standard_normal((4, 3))
    np.testing.assert_allclose(space["network"](x), relu_chain(weights, biases, x), atol=1e-12)


@pytest.mark.parametrize(
    "activation, last",
    [
        ("identity", lambda z: z),
        ("logistic", lambda z: 1 / (1 + np.exp(-z))),
        ("softmax", lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)),
    ],
)
def test_from_coefs(layers, activation, last):
    """scikit-learn's coefs_ are (n_in, n_out), its output activations identity, logistic,
    softmax.
    """
    weights, biases = layers
    mlp = SimpleNamespace(
        coefs_=[W.T for W in weights], intercepts_=biases, out_activation_=activation
    )
    space = {"Network": Network, "mlp": mlp}
    exec(block("coefs_"), space)
    x = np.random.default_rng(1).standard_normal((4, 3))
    np.testing.assert_allclose(
        space["network"](x), last(relu_chain(weights, biases, x)), atol=1e-12
    )


def test_every_local_link_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []
