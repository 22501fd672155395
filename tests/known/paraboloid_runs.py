"""The runs of training on the paraboloid that several figures show, each computed once."""

from functools import cache
from itertools import islice

from sheaflib import NeuralSheaf, gradient_descent, joint_flow
from sheaflib.companion import experiments
from sheaflib.companion.tasks import paper_network, task

SIZES = {
    "1H": ("2x30x1", 0.005, [1000, 20_000, 100_000]),
    "3H": ("2x12x8x6x1", 0.05, [1000, 20_000, 200_000]),
}
MAIN_TEXT, APPENDIX = 0, 42  # seeds of the weights; of the stalks: 42
DATA = task("paraboloid")
TRAIN = DATA.X_train, DATA.Y_train


def stalks(network, widths):
    """The recorded random stalks from which the paper's runs start."""
    return experiments.stalks(NeuralSheaf(network), widths, 42, False, 300)


def run(size, method, seed=MAIN_TEXT):
    """Step -> (network, stalks) of a run from a seed's weights, every 1000 steps to 5000 apart."""
    return computed(size, method, seed)


@cache  # of all three arguments: a seed that is left out is no other run
def computed(size, method, seed):
    widths, dt, moments = SIZES[size]
    network = paper_network(widths, seed)
    if method == "sheaf":
        start = stalks(network, widths)
        options = {"beta": 1 / 300, "dt": dt, "every": 1000}
        flow = joint_flow(NeuralSheaf(network), *TRAIN, start=start, **options)
    else:
        flow = gradient_descent(NeuralSheaf(network), *TRAIN, lr=0.005, every=1000)
    kept = {}
    for state in islice(flow, moments[-1] // 1000 + 1):
        if state.record.step % 5000 == 0 or state.record.step in moments:
            kept[state.record.step] = state.network, state.stalks
    return kept
