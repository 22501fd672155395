"""What every test finds: a folder of its own for results, strict claims, and reproducible hypothesis runs."""

import os
from pathlib import Path

import matplotlib
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("SHEAFLIB_OUT", str(ROOT / "build" / "test"))
os.environ.setdefault("SHEAFLIB_PROFILE", "full")
matplotlib.use("agg")

settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=False)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
