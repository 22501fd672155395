"""The paper's two networks on the paraboloid, each trained both ways, at the moments that its
diagnostics look at (§6.3, App. E.5, E.6).
"""

from __future__ import annotations

from dataclasses import dataclass

from sheaflib.companion import experiments, tasks
from sheaflib.companion.experiments import Snapshot
from sheaflib.companion.ladder import table
from sheaflib.companion.sweep import sweep
from sheaflib.training.objective import loss

METHODS = {"sheaf": "sheaf", "gradient descent": "gd"}  # as we write them, as `train` does
SIZES: dict[str, dict] = {"1H": {"widths": "2x30x1"}, "3H": {"widths": "2x12x8x6x1", "dt": 0.05}}


@dataclass(frozen=True, repr=False)
class Runs:
    """Training runs as step -> Snapshot: `main[size, method]` at seeds 0/42, `appendix[method]` of
    the size 1H at 42/42, and the steps of each size that figures show.
    """

    main: dict[tuple[str, str], dict[int, Snapshot]]
    appendix: dict[str, dict[int, Snapshot]]
    shown: dict[str, tuple[int, ...]]

    @property
    def last(self) -> dict[tuple[str, str], Snapshot]:
        """The end of every run at 0/42: (size, method) -> Snapshot."""
        return {(size, m): run[self.shown[size][-1]] for (size, m), run in self.main.items()}

    @property
    def last_appendix(self) -> dict[str, Snapshot]:
        """The end of every run at 42/42: method -> Snapshot."""
        return {method: run[self.shown["1H"][-1]] for method, run in self.appendix.items()}

    def __repr__(self):
        data = tasks.task("paraboloid")
        ends = {f"{size} at 0/42, {m}": moment for (size, m), moment in self.last.items()}
        ends |= {f"1H at 42/42, {m}": moment for m, moment in self.last_appendix.items()}
        rows = {}
        for name, moment in ends.items():
            test = loss(moment.network, data.X_test, data.Y_test)
            rows[name] = [f"{loss(moment.network, *data[:2]):.4f}", f"{test:.4f}"]
        return table("loss at the end", ["training", "test"], rows)


def train(steps_1h: int, steps_3h: int) -> Runs:
    """Train 1H, which is [2,30,1], for `steps_1h` steps and 3H, [2,12,8,6,1], for `steps_3h`, by
    sheaf training and by gradient descent; 1H once more from the weights of seed 42.

    steps_1h is a multiple of 5000 from 25 000 on, steps_3h above 20 000.
    """
    at = {"1H": [0, 1000, *range(5000, steps_1h + 1, 5000)], "3H": [0, 1000, 20_000, steps_3h]}
    keys = [(size, method) for size in SIZES for method in METHODS]

    def case(size: str, method: str, seed: int) -> dict:
        start = {"method": METHODS[method], "seed": seed, "stalk_seed": 42}
        return {"task": "paraboloid", "at": at[size], **start, **SIZES[size]}

    cases = [case(*key, 0) for key in keys] + [case("1H", method, 42) for method in METHODS]
    found = [
        {moment.step: moment for moment in run}
        for run in sweep(experiments.snapshots, cases, label="training")
    ]
    shown: dict[str, tuple[int, ...]]
    shown = {"1H": (1000, 20_000, steps_1h), "3H": (1000, 20_000, steps_3h)}
    return Runs(dict(zip(keys, found)), dict(zip(METHODS, found[len(keys) :])), shown)


def said(step: int) -> str:
    """A number of steps in words.

    >>> said(20_000)
    '20 000 steps'
    """
    return f"{step:,} steps".replace(",", " ") if step > 9999 else f"{step} steps"
