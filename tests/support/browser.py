"""A real browser at a real controller: Debian's Chromium, driven by Playwright, in front of `plum dev` with agents.

    def test_x(site: UiSite, open_page: OpenPage) -> None:
        page = open_page("/ui/deployments", language="zh")
        expect(page.get_by_role("heading", level=1)).to_have_text("部署")
        check_accessibility(page)

Each test has a context of its own: no cookie, no language, no theme of another. An error on the console, an exception in a
script or an answer of 5xx fails the test that caused it, unless it said so before: `page_errors(page).expect("409")`.
Tests here are not async: Playwright runs its own loop in this thread, from the first to the last test of a module.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.command import Dev, Done, Plum, running_dev
from tests.support.docker_engine import install

PROJECT = Path(__file__).parents[2]
UI = PROJECT / "ui"
BUILT = PROJECT / "controller/plum_controller/ui_dist"
DEMO = PROJECT / "manifests/demo"
AXE = UI / "node_modules/axe-core/axe.min.js"
WAIT_MS = 30_000
"""How long anything may take to appear. Machines that run tests side by side are slow."""
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-default-apps", "--disable-extensions", "--disable-sync", "--no-first-run", "--no-default-browser-check",
    "--disable-features=Translate,MediaRouter,OptimizationHints", "--force-color-profile=srgb", "--font-render-hinting=none",
]  # fmt: skip
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1440, "height": 900}


class OpenPage(Protocol):
    """Opens a page of the UI in a context of the test."""

    def __call__(
        self, path: str = "/", *, language: str = "en", theme: str = "light", size: dict[str, int] | None = None, url: str = ""
    ) -> Page:
        """`path` on the site, or on another controller at `url`."""


@dataclass(slots=True)
class PageErrors:
    """What went wrong in a page, and what was expected to."""

    seen: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        """Errors that match are what the test wants to happen."""
        self.expected.append(pattern)

    def unexpected(self) -> list[str]:
        return [text for text in self.seen if not any(re.search(pattern, text) for pattern in self.expected)]


_errors: WeakKeyDictionary[Page, PageErrors] = WeakKeyDictionary()


def page_errors(page: Page) -> PageErrors:
    """The errors of a page that `open_page` opened."""
    return _errors[page]


@dataclass(slots=True)
class UiSite:
    """A `plum dev` with two agents and the demo."""

    dev: Dev

    @property
    def url(self) -> str:
        return self.dev.plum.url.rstrip("/")

    @property
    def plum(self) -> Plum:
        return self.dev.plum

    @property
    def manifests(self) -> Path:
        """The folder that the site follows."""
        return self.dev.data_dir.parent / "manifests"

    def run(self, *argv: str) -> Done:
        """A command of `plum` that must succeed; in a thread of its own, because Playwright's loop runs in this one."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self.plum.ok, *argv).result()

    def apply(self, name: str, text: str, *flags: str) -> None:
        """Apply manifests as `plum apply` does."""
        self.run("apply", "-f", self.plum.write(f"{name}.yaml", text), *flags)


def require_ui() -> None:
    """The UI is built from its sources as they are now. Skips where it cannot be built."""
    if os.environ.get("PLUM_UI_DIR"):
        return  # somebody who works on the UI brings a build of their own
    done = subprocess.run([str(UI / "build.sh")], capture_output=True, text=True, timeout=500)
    if done.returncode != 0 and not (BUILT / "index.html").exists():
        pytest.skip(f"the web UI cannot be built here: {done.stderr.strip()[-500:]}")
    assert done.returncode == 0, f"the web UI does not build:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


@contextlib.contextmanager
def running_site(folder: Path, *flags: str, manifests: Path | None = DEMO, agents: int = 2) -> Iterator[UiSite]:
    """A `plum dev` that serves the UI."""
    require_ui()
    following = [] if manifests is None else ["--manifests", str(own_ports(manifests, folder / "manifests"))]
    kept = os.environ.get("PLUM_UI_DIR", "")
    environment = {"PLUM_UI_DIR": kept} if kept else {}
    with running_dev(folder, "--agents", str(agents), *following, *flags, env=environment) as dev:
        yield UiSite(dev)


def own_ports(manifests: Path, folder: Path) -> Path:
    """A copy of the demo whose programs listen where nobody else does: several sites may run on one machine."""
    shutil.copytree(manifests, folder, dirs_exist_ok=True)
    for port in ("18081", "18082"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            own = str(free.getsockname()[1])
        for path in folder.rglob("*.yaml"):
            path.write_text(path.read_text().replace(port, own))
    return folder


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Chromium without a window."""
    install({"chromium": "chromium"})
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS, timeout=WAIT_MS * 2)
        try:
            yield browser
        finally:
            browser.close()


def chromium() -> str:
    # The wrapper of Debian asks the system for extensions and memory first; the program is what we want.
    for path in ("/usr/lib/chromium/chromium", "/usr/bin/chromium"):
        if os.access(path, os.X_OK):
            return path
    pytest.skip("Chromium is missing")


def new_context(
    browser: Browser, *, language: str = "en", theme: str = "light", size: dict[str, int] | None = None
) -> BrowserContext:
    """A fresh profile of somebody who speaks a language and likes a theme."""
    where: dict[str, Any] = {"width": DESKTOP["width"], "height": DESKTOP["height"]} if size is None else dict(size)
    context = browser.new_context(
        locale="zh-CN" if language == "zh" else "en-GB",
        color_scheme="dark" if theme == "dark" else "light",
        viewport=where,  # type: ignore[arg-type]
        has_touch=where["width"] < 600,
        reduced_motion="reduce",
        timezone_id="UTC",
        ignore_https_errors=True,
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(WAIT_MS)
    context.set_default_navigation_timeout(WAIT_MS * 2)
    return context


def new_page(context: BrowserContext) -> Page:
    """A page whose errors are written down."""
    page = context.new_page()
    errors = _errors[page] = PageErrors()
    page.on("pageerror", lambda error: errors.seen.append(f"exception: {error}\n{error.stack or ''}"))
    page.on("console", lambda message: errors.seen.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("response", lambda answer: errors.seen.append(f"{answer.status}: {answer.url}") if answer.status >= 500 else None)
    return page


@contextlib.contextmanager
def opened_pages(browser: Browser, site_url: Callable[[], str], artifacts: Path) -> Iterator[OpenPage]:
    """What the fixture `open_page` is. At the end, what went wrong in the pages is raised, with pictures in `artifacts`."""
    contexts: list[BrowserContext] = []
    pages: list[Page] = []

    def open_page(
        path: str = "/", *, language: str = "en", theme: str = "light", size: dict[str, int] | None = None, url: str = ""
    ) -> Page:
        contexts.append(new_context(browser, language=language, theme=theme, size=size))
        page = new_page(contexts[-1])
        pages.append(page)
        page.goto((url or site_url()) + path)
        return page

    try:
        yield open_page
        wrong = [text for page in pages for text in page_errors(page).unexpected()]
        assert not wrong, "errors in the browser:\n" + "\n".join(wrong[:20])
    except BaseException:
        for number, page in enumerate(pages):
            with contextlib.suppress(Exception):
                page.screenshot(path=str(artifacts / f"page-{number}.png"), timeout=5000)
        raise
    finally:
        for context in contexts:
            context.close()


def check_accessibility(page: Page, *, without: tuple[str, ...] = ()) -> None:
    """No serious or critical finding of axe-core (WCAG 2.2 A and AA). `without` are CSS selectors of parts that are not ours."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        """async ({without}) => {
            const context = without.length ? {exclude: without.map(one => [one])} : document
            const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
            const result = await axe.run(context, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})
            return result.violations.filter(one => ['serious', 'critical'].includes(one.impact)).map(one =>
                `${one.impact} ${one.id}: ${one.help}\\n` + one.nodes.slice(0, 5).map(node =>
                    `    ${node.target.join(' ')}  ${([...node.any, ...node.all, ...node.none][0] || {}).message || ''}`
                ).join('\\n'))
        }""",
        {"without": list(without)},
    )
    assert not found, f"{page.url} is not accessible:\n" + "\n".join(found)
