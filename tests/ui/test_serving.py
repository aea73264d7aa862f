"""The shell in a real browser: it loads from this controller alone, under its policy, in both languages."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import PHONE, OpenPage, UiSite, page_errors


@pytest.mark.parametrize(("language", "title"), [("en", "Overview"), ("zh", "概览")])
def test_the_overview_opens_in_the_language_of_the_browser(open_page: OpenPage, language: str, title: str) -> None:
    page = open_page("/", language=language)

    expect(page.get_by_role("heading", level=1)).to_contain_text(title)
    expect(page).to_have_url(page.url.partition("/ui/")[0] + "/ui/overview")


def test_everything_comes_from_this_server_and_runs_under_its_policy(site: UiSite, open_page: OpenPage) -> None:
    page = open_page("/ui/nothing-here")
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith(site.url) else None)

    answer = page.goto(f"{site.url}/")
    assert answer is not None
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    expect(page.get_by_role("navigation").first).to_be_visible()
    assert foreign == []
    page_errors(page).expect("Content Security Policy")
    page.evaluate("const one = document.createElement('script'); one.text = 'window.ran = true'; document.head.append(one)")
    assert page.evaluate("window.ran === undefined")


def test_the_overview_fits_a_phone_in_the_dark(open_page: OpenPage) -> None:
    page = open_page("/", size=PHONE, theme="dark")

    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
