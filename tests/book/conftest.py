"""A browser for the tests of pages: Chromium without a network, opened on files alone."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (  # nothing that a browser asks the world on its own
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MISSING = (
    "these tests need Chromium, and none was found: install it with `apt-get install chromium` (on"
    " Debian and Ubuntu), or with `build/sphinx/bin/python -m playwright install chromium`"
)


@pytest.fixture(scope="session")
def browser():
    """Chromium, that of the system or playwright's own; the tests fail where there is none."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = [path for path in map(shutil.which, NAMES) if path]
        found += [own] if Path(own).exists() else []
        if not found:
            pytest.fail(MISSING, pytrace=False)
        browser = playwright.chromium.launch(executable_path=found[0], args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens the body of a page as a file, offline, for a reader who wishes for no
    motion unless told otherwise; afterwards, no request has left the page and no script has failed.
    """
    contexts, faults = [], []

    def opened(body, head="", **options):
        path = tmp_path / f"page-{len(contexts)}.html"
        path.write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">{head}</head>'
            f"<body><main>{body}</main></body></html>",
            encoding="utf-8",
        )
        context = browser.new_context(offline=True, **{"reduced_motion": "reduce", **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("console", lambda m: faults.append(m.text) if m.type != "log" else None)
        page.on("request", lambda request: leaves(request.url))
        page.goto(path.as_uri())
        return page

    def leaves(url):
        if not url.startswith(("file:", "data:")):
            faults.append(f"request: {url}")

    yield opened
    for context in contexts:
        context.close()
    assert faults == []
