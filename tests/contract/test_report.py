"""A report refuses bad input by name, is the same at every run, and shows itself as one table and
one figure.
"""

import base64
import io
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import sheaflib.diagnosis.report  # noqa: F401  (the module, whose name the function takes)
from sheaflib import Affine, MaxPool, Network, NeuralSheaf, ReLU, Stack, report
from sheaflib.diagnosis import measures
from sheaflib.diagnosis import page as page_of
from sheaflib.training.objective import loss

MODULE = sys.modules["sheaflib.diagnosis.report"]
NAN = float("nan")


def he(dims, output="identity", seed=0):
    return Network.he(dims, np.random.default_rng(seed), output)


def case(output="identity", n_out=1, n=12, seed=0):
    """A small network with inputs and labels of its kind."""
    rng = np.random.default_rng(seed)
    X, labels = rng.standard_normal((n, 3)), rng.standard_normal((n, n_out))
    if output == "sigmoid":
        labels = (labels > 0).astype(float)
    if output == "softmax":
        labels = np.eye(n_out)[labels.argmax(axis=1)]
    return he([3, 6, 5, n_out], output, seed), X, labels


NET, X, Y = case()
SOFTMAX, _, ONE_HOT = case("softmax", 3)
WIDE, _, PAIRS = case(n_out=3)
CLASSES = ONE_HOT.argmax(axis=1)
POOL = Network(3, [("z1", Affine(np.eye(3))), ("m", MaxPool([[0, 1], [1, 2]], 3))])
BOTH = Network(
    3,
    [
        ("z1", Affine(np.eye(3))),
        ("a1", ReLU(3)),
        ("y", Affine(np.eye(3)), "z1"),
        ("p", Stack(3, 3), ("y", "a1")),
    ],
)
HUGE = Network.mlp([1e200 * np.ones((2, 3)), 1e200 * np.ones((1, 2))])
SUNK = Network.mlp([-1e200 * np.ones((2, 3)), 1e200 * np.eye(2), np.ones((1, 2))])
BROKEN = Network(
    3, [("z1", Affine.from_maps(lambda a: np.where(abs(a) > 1e3, NAN, a), lambda e: e, (3, 3)))]
)


def call(network=NET, x=X, y=Y, **options):
    sheaf = NeuralSheaf(network) if isinstance(network, Network) else network
    options = {"budget": 1000, "samples": 4, "progress": False, **options}
    return lambda: report(sheaf, x, y, **options)


BAD = {
    "a matrix for sheaf": (
        call(np.eye(3)),
        TypeError,
        r"sheaf is a ndarray, expected NeuralSheaf\(network\)",
    ),
    "no sheaf": (call(None), TypeError, r"sheaf is a NoneType, expected NeuralSheaf\(network\)"),
    "a network for sheaf": (
        lambda: report(NET, X, Y),
        TypeError,
        r"sheaf is a Network, expected NeuralSheaf\(network\)",
    ),
    "max-pool": (
        call(POOL),
        ValueError,
        (
            r"report cannot pin this network: node 'm' reads windows of the stalk 'z1' that"
            r" overlap.*the sheaf of network\.separated\(\)"
        ),
    ),
    "affine map on a kink": (
        call(BOTH),
        ValueError,
        (
            r"node 'a1' reads the stalk 'z1', which the affine node 'y' reads too.*take"
            r" the sheaf of network\.separated\(\)"
        ),
    ),
    "wide X": (
        call(x=np.ones((12, 4))),
        ValueError,
        r"x has the wrong shape: got \(12, 4\), expected \(B, 3\)",
    ),
    "one sample of X": (
        call(x=X[0]),
        ValueError,
        r"x has the wrong shape: got \(3,\), expected \(B, 3\): use x\[None\]",
    ),
    "NaN in X": (
        call(x=np.where(X == X[2, 1], NAN, X)),
        ValueError,
        r"x must be finite, got nan at index \(2, 1\)",
    ),
    "X of objects": (
        call(x=X.astype(object)),
        TypeError,
        r"x has dtype object, expected real numbers",
    ),
    "no samples": (call(x=X[:0], y=Y[:0]), ValueError, r"x is an empty batch"),
    "no labels": (call(y=None), TypeError, r"y is None, expected 12 labels: one a row of x"),
    "too few labels": (
        call(y=Y[:5]),
        ValueError,
        r"y has shape \(5, 1\), expected 12 labels: one a row of x",
    ),
    "one label": (call(y=1.0), ValueError, r"y has shape \(\), expected 12 labels"),
    "a cube of labels": (
        call(y=np.ones((12, 1, 1))),
        ValueError,
        r"y has shape \(12, 1, 1\), expected \(12, 1\): the identity output is 1 wide$",
    ),
    "labels of another width": (
        call(y=PAIRS),
        ValueError,
        r"y has shape \(12, 3\), expected \(12, 1\): the identity output is 1 wide$",
    ),
    "NaN label": (
        call(y=np.where(Y == Y[3], NAN, Y)),
        ValueError,
        r"y must be finite, got nan at index \(3, 0\)",
    ),
    "a label too large": (
        call(y=np.r_[1e200 * Y[:1], Y[1:]]),
        ValueError,
        r"y holds .*e\+(199|200), whose square",
    ),
    "names of classes": (
        call(SOFTMAX, y=np.array(list("abc") * 4)),
        TypeError,
        r"y has dtype <U1, expected real numbers.*return_inverse=True\)\[1\] numbers classes",
    ),
    "names in a list": (call(SOFTMAX, y=list("abc") * 4), TypeError, r"numbers classes"),
    "classes of an identity": (
        call(WIDE, y=CLASSES),
        ValueError,
        (
            r"y has shape \(12,\), expected \(12, 3\): the identity output is 3 wide; for classes"
            r' make .* with output="softmax"'
        ),
    ),
    "classes of sigmoids": (
        call(he([3, 4, 3], "sigmoid"), y=CLASSES),
        ValueError,
        r'the sigmoid output is 3 wide; for classes make the network with output="softmax"',
    ),
    "a column of classes": (
        call(SOFTMAX, y=CLASSES[:, None]),
        ValueError,
        (
            r"y has shape \(12, 1\), expected \(12, 3\): the softmax output is 3 wide; for classes"
            r" use y\[:, 0\]"
        ),
    ),
    "a class too many": (
        call(SOFTMAX, y=CLASSES + 1),
        ValueError,
        r"y holds 3 at index \d+, expected classes 0 … 2: the output is 3 wide",
    ),
    "a negative class": (
        call(SOFTMAX, y=np.r_[-1, CLASSES[1:]]),
        ValueError,
        r"y holds -1 at index 0, expected classes 0 … 2",
    ),
    "half a class": (call(SOFTMAX, y=CLASSES + 0.5), ValueError, r"expected classes 0 … 2"),
    "soft labels": (
        call(SOFTMAX, y=np.full((12, 3), 1 / 3)),
        ValueError,
        r"y holds 0\.333333 at index \(0, 0\), expected 0 or 1: the output is a softmax",
    ),
    "two classes at once": (
        call(SOFTMAX, y=np.ones((12, 3))),
        ValueError,
        r"y is not one-hot: row 0 sums to 3",
    ),
    "signs for a sigmoid": (
        call(he([3, 4, 1], "sigmoid"), y=np.sign(Y)),
        ValueError,
        r"y holds -1 at index .*, expected 0 or 1: the output is a sigmoid",
    ),
    "overflow": (
        call(HUGE, x=1e200 * abs(X)),
        ValueError,
        r"x cannot be diagnosed: the forward pass overflows at 'z1'",
    ),
    "overflow that a ReLU hides": (
        call(SUNK, x=1e200 * abs(X)),
        ValueError,
        r"x cannot be diagnosed: z1\[0\] is -inf in sample 0, whose square",
    ),
    "a square that overflows": (
        call(Network.mlp([np.ones((1, 3))]), x=1e180 * X),
        ValueError,
        r"x cannot be diagnosed: z1\[0\] is .*e\+1[78]\d in sample 0, whose square",
    ),
    "NaN activations": (
        call(BROKEN, x=1e4 * X, y=PAIRS),
        ValueError,
        r"x cannot be .*: the forward pass overflows at 'z1'",
    ),
    "a negative budget": (call(budget=-1), ValueError, r"budget=-1 must be ≥ 0"),
    "half a pass": (call(budget=0.5), TypeError, r"budget=0\.5 must be a whole number"),
    "no samples of the null": (call(samples=0), ValueError, r"samples=0 must be ≥ 1"),
    "an empty list": (call(worst=0), ValueError, r"worst=0 must be ≥ 1"),
    "a list longer than the batch": (
        call(worst=13),
        ValueError,
        r"worst=13, expected at most 12: x has no more samples",
    ),
    "negative seed": (call(seed=-1), ValueError, r"seed=-1 must be ≥ 0"),
}


@pytest.mark.parametrize("bad, exception, message", BAD.values(), ids=BAD)
def test_refused_by_name(bad, exception, message):
    with pytest.raises(exception, match=message):
        bad()


KINDS = [("identity", 1), ("identity", 3), ("sigmoid", 1), ("sigmoid", 3), ("softmax", 3)]


@pytest.mark.parametrize("output, n_out", KINDS)
def test_what_every_report_holds(output, n_out):
    network, x, y = case(output, n_out, n=130)
    found = report(NeuralSheaf(network), x, y, budget=5000, samples=20, progress=False)
    assert (
        found.discord.shape == found.loss.shape == found.converged.shape == (130,)
        and found.converged.all()
    )
    names = [edge.name for edge in NeuralSheaf(network).edges]
    assert [row.name for row in found.edges] == names == list(found.per_edge) == list(
        found.null
    ) == list(found.frozen) and found.permutations >= 3
    for row in found.edges:
        assert row.discord == pytest.approx(found.per_edge[row.name].mean())
        for null, means, times in (
            (row.solved, found.null, found.permutations),
            (row.frozen, found.frozen, 1000),
        ):
            assert null.low <= null.median <= null.high
            assert means[row.name].shape == (times,) and null.median == pytest.approx(
                np.median(means[row.name])
            )
            assert null.ratio == pytest.approx(null.same / null.median)
        assert row.solved.same == pytest.approx(found.per_edge[row.name][found.subset].mean())
        assert row.null == row.solved and row.ratio == row.solved.ratio
        assert np.isnan(row.share) == np.isnan(row.resistance) == (row.name == "output")
    for column in ("share", "resistance"):
        assert sum(
            getattr(row, column) for row in found.edges if row.name != "output"
        ) == pytest.approx(1)
    np.testing.assert_allclose(found.discord, sum(found.per_edge.values()), rtol=1e-12)
    assert found.total.discord == pytest.approx(found.discord.mean()) and found.total.size == sum(
        row.size for row in found.edges
    )
    assert found.loss.mean() == pytest.approx(loss(network, x, y), rel=1e-9)
    assert (
        len(found.worst) == round(130 / 20) == 6
        and (found.discord[found.worst] == np.sort(found.discord)[::-1][:6]).all()
    )
    assert len(found.subset) == 20 and found.smallest.shape == found.largest.shape == (20,)
    assert found.resistance.shape == (20,) and (found.spectral == found.subset).all()
    assert (found.smallest <= 1 / found.resistance * (1 + 1e-9)).all() and (
        found.largest >= 1
    ).all()
    assert len(found.neurons) == 10 and all(
        a.discord >= b.discord for a, b in zip(found.neurons, found.neurons[1:])
    )
    np.testing.assert_array_equal(found.output, network(x))
    assert found.pinned == ("z3" if output == "identity" else f"a_out ({output}, cross-entropy)")
    assert (found.start, found.solver) == ("the forward pass", "Newton")


def test_labels_are_taken_as_they_come():
    """(B,) for one output; classes, as whole numbers of any type, for a softmax; lists and
    booleans.
    """
    column = report(NeuralSheaf(NET), X, Y, progress=False)
    lists = report(NeuralSheaf(NET), X.tolist(), Y[:, 0].tolist(), progress=False)
    np.testing.assert_array_equal(lists.discord, column.discord)
    one_hot = report(NeuralSheaf(SOFTMAX), X, ONE_HOT, progress=False)
    for classes in (CLASSES, CLASSES.astype(float), CLASSES.tolist(), CLASSES.astype(np.uint8)):
        np.testing.assert_array_equal(
            report(NeuralSheaf(SOFTMAX), X, classes, progress=False).discord, one_hot.discord
        )
    sigmoid, _, y = case("sigmoid")
    np.testing.assert_array_equal(
        report(NeuralSheaf(sigmoid), X, y[:, 0] > 0, progress=False).labels, y
    )


def test_the_same_seed_gives_the_same_report_and_another_one_another_null():
    one, two, other = (
        report(NeuralSheaf(NET), X, Y, budget=2000, samples=6, seed=seed, progress=False)
        for seed in (1, 1, 2)
    )
    assert str(one) == str(two)
    assert (
        one.null["affine_1"].tolist()
        == two.null["affine_1"].tolist()
        != other.null["affine_1"].tolist()
    )
    np.testing.assert_array_equal(one.discord, other.discord)


@pytest.mark.parametrize("output, n_out", KINDS)
def test_chunks_do_not_show(output, n_out, monkeypatch):
    network, x, y = case(output, n_out)
    whole = report(NeuralSheaf(network), x, y, budget=2000, samples=7, progress=False)
    monkeypatch.setattr(measures, "ROOM", 60)
    parts = report(NeuralSheaf(network), x, y, budget=2000, samples=7, progress=False)
    for name in ("discord", "loss", "smallest", "largest", "resistance", "output"):
        np.testing.assert_allclose(
            getattr(parts, name), getattr(whole, name), rtol=1e-8, err_msg=name
        )
    for a, b in zip((*parts.edges, parts.total), (*whole.edges, whole.total)):
        np.testing.assert_allclose(a[3:6], b[3:6], rtol=1e-8)
        np.testing.assert_allclose(a.frozen, b.frozen, rtol=1e-8)
        np.testing.assert_allclose(a.solved, b.solved, rtol=1e-8)
    assert parts.worst.tolist() == whole.worst.tolist()
    assert {n.name: n.discord for n in parts.neurons} == pytest.approx(
        {n.name: n.discord for n in whole.neurons}, rel=1e-8
    )


@pytest.mark.parametrize("labels", [np.ones(12), Y[:1]], ids=["all alike", "one sample"])
def test_without_a_null_nothing_is_said_of_it(labels):
    found = report(NeuralSheaf(NET), X[: len(labels)], labels, budget=5000, progress=False)
    assert found.null == found.frozen == {}
    assert np.isnan(found.total.null.median) and np.isnan(found.total.ratio)
    assert found.permutations == 0 and "re-solved null none" in str(found)
    assert "frozen null    none" in str(found) and found.passes["null"] == 0
    assert "null's" not in repr(found) and "permuted labels" not in page_of.described(found)
    if len(labels) == 1:
        assert found._repr_html_()


def test_the_null_permutes_labels_among_the_chosen_samples(monkeypatch):
    """What is pinned in the null: each chosen sample once a permutation, each of their labels once
    too.
    """
    seen = []
    original = measures.pinned

    def watched(sheaf, x, y, at, of, *more):
        seen.append((at, of))
        return original(sheaf, x, y, at, of, *more)

    monkeypatch.setattr(measures, "pinned", watched)
    found = report(NeuralSheaf(NET), X, Y, budget=3000, samples=7, progress=False)
    n = found.permutations
    own, again = seen[: len(seen) - n], seen[len(seen) - n :]
    assert n > 2 and all((at == of).all() for at, of in own)
    assert sorted(np.concatenate([at for at, _ in own])) == list(range(12))
    assert all((at == found.subset).all() for at, _ in again)
    orders = np.array([of for _, of in again])
    assert (np.sort(orders) == np.sort(found.subset)).all()
    assert len({tuple(order) for order in orders}) > 1


def test_the_report_is_frozen_and_leaves_its_arguments_alone():
    x, y = X.copy(), Y.copy()
    found = report(NeuralSheaf(NET), x, y, budget=2000, progress=False)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    y[:] = 7
    np.testing.assert_array_equal(found.labels, Y)
    with pytest.raises(FrozenInstanceError):
        found.discord = None


# what it shows
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown():
    return report(NeuralSheaf(SOFTMAX), X, CLASSES, budget=4000, progress=False)


def test_one_line(shown):
    parts = (
        "12 samples",
        r"pinned discord \S+",
        r"\S+ times the null's",
        r"λ₁ \S+",
        r"λ_max \S+",
        r"resistance \S+",
    )
    assert re.fullmatch(rf"Report\({', '.join(parts)}\)", repr(shown))


def test_the_terminal_table(shown):
    lines = str(shown).splitlines()
    assert max(map(len, lines)) <= 100 and not any(line != line.rstrip() for line in lines)
    assert (
        "labels pinned on a_out (softmax, cross-entropy). Start: the forward pass. Solver: Newton."
        in " ".join(lines[:2])
    )
    head = next(i for i, line in enumerate(lines) if line.startswith("layer "))
    rows = [line.split("  ")[0] for line in lines[head + 1 : head + 8]]
    assert rows == [
        "z1 · Affine",
        "a1 · ReLU",
        "z2 · Affine",
        "a2 · ReLU",
        "z3 · Affine",
        "a_out · softmax",
        "total",
    ]
    assert len({len(line) for line in lines[head : head + 8]}) == 1  # aligned
    samples = next(i for i, line in enumerate(lines) if line.startswith("sample "))
    assert lines[samples].split() == ["sample", "label", "output", "loss", "discord", "converged"]
    for line, worst in zip(lines[samples + 1 :], shown.worst.tolist(), strict=True):
        label, out = CLASSES[worst], shown.output[worst].argmax()
        numbers = [f"{v:.3g}" for v in (shown.loss[worst], shown.discord[worst])]
        assert line.split() == [f"{worst}", f"{label}", f"{out}", *numbers, "yes"]
    neuron = shown.neurons[0]
    kind = {"affine": "Affine", "activation": "ReLU"}[neuron.kind]
    assert f"{neuron.name}: {neuron.discord:.3g} ({kind})" in str(shown)
    names = ("λ₁", "λ_max", "resistance", "frozen null", "re-solved null", "passes")
    for name in (*names, "worst samples", "worst neurons"):
        assert sum(line.startswith(name) for line in lines) == 1


def test_samples_that_did_not_converge_are_told(shown):
    assert "did not converge" not in str(shown)
    assert "3 did not converge." in " ".join(
        str(replace(shown, converged=np.arange(12) > 2)).split()
    )
    verdict = np.where(np.arange(12) < 2, "undecided by rounding", "minimum")
    assert "2 are undecided by rounding." in " ".join(str(replace(shown, verdict=verdict)).split())
    assert "Of the null's, 4 did not converge." in " ".join(
        str(replace(shown, unsettled=4)).split()
    )


@pytest.fixture(scope="module")
def page(shown):
    return shown._repr_html_()


def test_the_notebook_gets_one_table_and_one_figure(shown, page):
    assert page.count("<table>") == 2 and page.count("<img ") == 1 and len(page) < 80_000
    assert re.findall(r'<tr><th scope="row">([^<]+)</th>', page)[:3] == [
        "z1 · Affine",
        "a1 · ReLU",
        "z2 · Affine",
    ]
    alt, data = re.search(r'alt="([^"]+)" src="data:image/png;base64,([^"]+)"', page).groups()
    assert (
        alt.startswith("Left: mean discord by edge, most on ")
        and f"the {len(shown.worst)} samples" in alt
    )
    assert Image.open(io.BytesIO(base64.b64decode(data))).width > 800


def test_the_picture_does_not_depend_on_the_callers_style_and_leaves_it_alone(shown, page):
    figures = plt.get_fignums()
    with plt.rc_context(
        {"font.size": 25, "figure.dpi": 30, "axes.spines.top": True, "savefig.pad_inches": 3}
    ):
        assert shown._repr_html_() == page
        assert plt.rcParams["font.size"] == 25
    assert plt.get_fignums() == figures


def test_labels_of_several_outputs_are_told_in_brackets():
    wide = report(NeuralSheaf(he([3, 4, 5])), X, np.tile(Y, 5), progress=False)
    text = ", ".join(f"{value:.3g}" for value in wide.labels[wide.worst[0]][:3])
    assert f"  [{text}, …]  [" in str(wide)


def test_a_perfect_fit_shows_no_noise():
    exact = report(NeuralSheaf(NET), X, NET(X), progress=False)
    assert (
        exact.total.discord < 1e-24
        and "e-2" not in str(exact).replace("< 1e-24", "")
        and exact._repr_html_()
    )


# around it
# --------------------------------------------------------------------------------------------------


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_nothing_is_drawn_before_someone_looks():
    done = run(
        "import sys\n"
        "from sheaflib import Network, NeuralSheaf, report\n"
        "sheaf = NeuralSheaf(Network.mlp([[[1.0]]]))\n"
        "print(report(sheaf, [[1.0], [2.0]], [3, 1]))\n"
        "print([name for name in ('matplotlib', 'IPython', 'PIL') if name in sys.modules])"
    )
    assert done.stdout.splitlines()[-1] == "[]" and done.stderr == ""


def test_a_bar_is_shown_where_it_is_asked_for_and_never_under_a_profile(capsys, monkeypatch):
    found = report(NeuralSheaf(NET), X, Y, progress=True)
    said = capsys.readouterr().err
    assert f"about {found.estimate.seconds:.2g} s for 12 samples" in said
    assert f"at most {found.estimate.passes:.0f} passes" in said and "report:" in said
    monkeypatch.setenv("SHEAFLIB_PROFILE", "full")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    report(NeuralSheaf(NET), X, Y)
    assert capsys.readouterr().err == ""


def test_the_bar_counts_every_sample(monkeypatch):
    told, totals = [], []

    class Bar:
        def __init__(self, total, **_):
            totals.append(total)
            told.append(total)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, count):
            told.append(-count)

    monkeypatch.setattr("tqdm.tqdm", Bar)
    found = report(NeuralSheaf(NET), X, Y, samples=5)
    assert len(totals) == 2 and totals[0] <= 12 and sum(told) == 0
    assert totals[1] <= 12 - totals[0] + 5 + len(found.spectral)
    told.clear()
    found = report(NeuralSheaf(NET), X, Y, samples=5, budget=1000)
    assert sum(told) == 1000 - found.passes["null"] >= 0


def test_a_large_bystander_does_not_hide_a_force():
    """One weight of 1e13 on a unit that the output does not read: the discord of the other, 3
    springs and an error of 1, is ⅓.
    """
    network = Network.mlp([[[1e13], [1.0]], [[0.0, 1.0]]])
    found = report(NeuralSheaf(network), [[1.0], [1.0]], [2.0, 4.0], progress=False)
    np.testing.assert_allclose(found.discord, [1 / 3, 3.0], rtol=1e-12)
    assert found.verdict.tolist() == ["minimum"] * 2 and found.converged.all()
