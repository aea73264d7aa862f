"""Pages stay live: through a cut, past a forgotten revision, and in as many tabs as somebody opens."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.support.browser import OpenPage, UiSite, new_context, new_page, page_errors
from tests.support.proxy import proxy

MAPS = "/api/v1/namespaces/default/configmaps"
LIST = "/ui/objects/core/v1/configmaps?q=live-&sort=-name&ns=default"
STALE = "Not live since"


def call(site: UiSite, method: str, path: str, body: Any = None) -> None:
    """A request beside the browser; in a thread of its own, because Playwright's loop runs in this one."""

    def ask() -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(site.url + path, data, {"Content-Type": "application/json"}, method=method)
        urllib.request.urlopen(request, timeout=20).close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(ask).result()


def make_maps(site: UiSite, names: list[str]) -> None:
    for name in names:
        call(site, "POST", MAPS, {"metadata": {"name": name}})


_LOOK = """() => {
  const state = (window.plumLook = {fewest: 1e9, same: true})
  const scroller = document.querySelector('.scroller')
  const look = () => {
    state.fewest = Math.min(state.fewest, document.querySelectorAll('[data-row]').length)
    state.same = state.same && scroller.isConnected
    requestAnimationFrame(look)
  }
  look()
}"""


def test_a_cut_is_told_and_healed_without_losing_filter_order_or_place(site: UiSite, open_page: OpenPage) -> None:
    make_maps(site, [f"live-{number:02}" for number in range(60)])
    with proxy(site.url) as link:
        page = open_page(LIST, url=link.url)
        page_errors(page).expect("ERR_|WebSocket|Failed to load")
        count = page.locator(".resource-table .count")
        expect(count).to_contain_text("60 of")
        page.locator(".scroller").evaluate("(element) => (element.scrollTop = 700)")
        expect(page.locator('[data-row="25"]')).to_be_visible()
        page.evaluate(_LOOK)
        lists = _lists(link.requests)

        def cut_while(change: Callable[[], None]) -> None:
            link.cut("reset")
            expect(page.get_by_text(STALE)).to_be_visible()
            change()
            link.heal()
            expect(page.get_by_text(STALE)).to_have_count(0)

        cut_while(lambda: make_maps(site, ["live-60"]))
        expect(count).to_contain_text("61 of")
        assert _lists(link.requests) == lists, "it went on from where it was, and listed nothing again"

        def forget() -> None:
            call(site, "DELETE", f"{MAPS}/live-60")
            call(site, "POST", "/docs/store/compact", {})

        cut_while(forget)
        expect(count).to_contain_text("60 of")
        assert _lists(link.requests) > lists, "the revision was forgotten, so it listed"

        look = page.evaluate("window.plumLook")
        assert look["same"], "the page was not built anew"
        assert look["fewest"] > 0, "the table was never empty"
        assert page.locator(".scroller").evaluate("(element) => element.scrollTop") == 700
        assert page.get_by_role("searchbox").first.input_value() == "live-"
        assert "q=live-" in page.url
        assert "sort=-name" in page.url
        page.reload()
        expect(count).to_contain_text("60 of")
        expect(page.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "descending")
        expect(page.locator('[data-row="25"]')).to_be_visible()
        assert page.locator(".scroller").evaluate("(element) => element.scrollTop") == 700


def _lists(requests: list[str]) -> int:
    return sum("configmaps" in line and "watch=true" not in line for line in requests)


WATCHED = """
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: seen-in-all-tabs}
spec: {replicas: 0, template: {command: [sleep, "9"]}}
"""
_VERSION = """() => Promise.race([
  fetch('/version').then((answer) => answer.status), new Promise((done) => setTimeout(done, 15000, 0)),
])"""
"""Whether a plain connection is free."""


def test_eight_tabs_of_one_browser_are_all_live(site: UiSite, chromium: Browser) -> None:
    """A browser opens six plain connections to one host: six tabs that follow a log must not take them all."""
    site.run("rollout", "status", "deployment/hello")
    paths = ["/ui/deployments/default/hello?tab=logs"] * 6 + ["/ui/deployments", "/ui/audit"]
    context = new_context(chromium)
    pages: list[tuple[str, Page]] = []
    try:
        for path in paths:
            page = new_page(context)
            pages.append((path, page))
            page.goto(site.url + path)
        for _, page in pages:
            expect(page.get_by_role("heading", level=1)).to_be_visible()

        site.apply("tabs", WATCHED)

        for path, page in pages:
            if path.endswith("logs"):
                expect(page.get_by_role("log")).to_contain_text("hello from")
            else:
                expect(page.get_by_text(re.compile("seen-in-all-tabs")).first).to_be_visible()
            expect(page.get_by_text(STALE)).to_have_count(0)
            assert page.evaluate(_VERSION) == 200
        assert [text for _, page in pages for text in page_errors(page).unexpected()] == []
    finally:
        context.close()
        site.run("delete", "deployment", "seen-in-all-tabs")
