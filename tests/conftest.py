"""What every test finds: a folder of its own for results, strict claims, and hypothesis runs that
can be repeated; and the option --nothing-skipped.
"""

import os
from pathlib import Path

import effort  # noqa: F401  (it registers the profiles)
import matplotlib
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = (  # reasons that say what this machine is, not what is missing in the environment
    "the script is for bash",
    "this processor is left as it is",
    "long double is double here",
    "not checking array_api input",  # scikit-learn's, of arrays that no estimator here takes
)

os.environ.setdefault("SHEAFLIB_OUT", str(ROOT / "build" / "test"))
os.environ.setdefault("SHEAFLIB_PROFILE", "full")
matplotlib.use("agg")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser):
    """Offer --nothing-skipped."""
    parser.addoption(
        "--nothing-skipped",
        action="store_true",
        help="fail when a test was skipped for a reason that tests/conftest.py does not allow",
    )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Fail, with --nothing-skipped, where a test was skipped for want of something."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("--nothing-skipped"):
        return
    reports = reporter.stats.get("skipped", [])
    wanting = [report for report in reports if not report.longrepr[2].endswith(SKIPPED)]
    reporter.write_line("")
    for report in wanting:
        reporter.write_line(f"must not be skipped: {report.nodeid}: {report.longrepr[2]}")
    if wanting and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
