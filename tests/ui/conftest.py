"""One `plum dev` for all tests of a process, one browser for the tests of a module, one context for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import WAIT_MS, OpenPage, UiSite, opened_pages, running_browser, running_site

expect.set_options(timeout=WAIT_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = f"{Path(__file__).parent}/"
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiSite]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Ended with the module: while Playwright's loop runs in this thread, no async test can."""
    with running_browser() as browser:
        yield browser


@pytest.fixture
def open_page(chromium: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenPage]:
    def url() -> str:
        found: UiSite = request.getfixturevalue("site")
        return found.url

    with opened_pages(chromium, url, tmp_path) as opened:
        yield opened
