"""The README's own example of other parameters runs: one notebook at twice the step, into build/runs."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_one_notebook_with_other_parameters():
    number, parameters = re.search(r"`make figures NB=(\d+) P='([^']+)'`", (ROOT / "README.md").read_text(encoding="utf-8")).groups()
    done = subprocess.run([sys.executable, "-m", "tools", "figures", "--notebook", number, "--parameters", parameters], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((ROOT / "build" / "runs" / f"{number}-{parameters}" / "figures").glob("*.pdf"))
