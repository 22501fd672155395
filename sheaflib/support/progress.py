"""Progress bars, for a person who watches and has tqdm."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sheaflib.support.extras import needs

if TYPE_CHECKING:
    from tqdm import tqdm


def watched() -> bool:
    """Whether a person sees a bar: in a terminal or a live notebook, never in a run with a ledger
    profile."""
    if os.environ.get("SHEAFLIB_PROFILE"):
        return False
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel") or sys.stderr.isatty()


def bar(total: int, label: str, shown: bool | None = None, **options: Any) -> tqdm | Unseen:
    """A bar of `total` steps for a `with` statement; `shown`: by default where a person watches.

    Without tqdm there is no bar; ModuleNotFoundError where one is asked for. `options` are tqdm's.
    """
    if not shown and find_spec("tqdm") is None:
        return Unseen()
    with needs("a progress bar", "notebooks"):
        from tqdm import tqdm
    visible = watched() if shown is None else shown
    return tqdm(total=total, desc=label or None, disable=not visible, **options)


class Unseen:
    """What stands in for a bar where tqdm is not installed."""

    def __enter__(self) -> Unseen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, steps: int = 1) -> None:
        """Take note of nothing."""

    def set_postfix(self, **_: object) -> None:
        """Show nothing."""
