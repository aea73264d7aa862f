"""The web UI in a real Chromium: 5,000 instances, a Deployment of 5,000, a graph of 2,000 nodes, 200 changes per second.

    controller + 50 fake nodes + 5,000 instances + a run of 2,000 nodes  -->  Chromium  -->  paint, main thread, bytes, frames

Times since the start of the navigation are those of the page's own clock; the main thread's are its processor time, which other
programs of the machine do not lengthen. Files of the UI are in the browser's cache, as on every visit but the first.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.fleet import DEPLOYMENTS, INSTANCES_PATH, ask, deployment, nodes_ready, until
from tests.bench.load import request_bytes
from tests.bench.programs import Program, agents, controller
from tests.bench.table import Row

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession, Page

INSTANCES, NODES, GRAPH = 5000, 50, 2000
CHANGES_PER_SECOND = 200
LOOK_SECONDS = 8.0
"""How long a page is watched while changes come in."""
VISITS = 3
"""The best counts; the first fills the browser's cache and does not."""
ROWS = '[data-row="0"]'
COUNT = "document.querySelector('.resource-table .count')?.textContent.includes('5000 objects')"


@dataclass(frozen=True, slots=True)
class Sight:
    """A page, and when it is complete: conditions in JavaScript."""

    name: str
    path: str
    first: str
    whole: str
    goal_ms: float = 1500
    main_ms: float = 800


_PAINTED = f"document.querySelector('.dag[data-painted=\"{GRAPH}\"]')"
SIGHTS = [
    Sight("list of 5,000 instances", "/ui/instances", f"document.querySelector('{ROWS}')", COUNT),
    Sight(
        "Deployment of 5,000",
        "/ui/deployments/default/fleet",
        "document.querySelector('.rows canvas')",
        f"document.querySelectorAll('.rows .count').length === {NODES} && {COUNT}",
    ),
    Sight("run of 2,000 nodes", "/ui/runs/default/large-1", _PAINTED, _PAINTED),
    Sight("editor of 2,000 nodes", "/ui/workflows/default/large", _PAINTED, _PAINTED),
]
_CLOCK = """(() => {
  if (!location.pathname.startsWith('/ui')) return
  const seen = (window.plumSeen = {})
  const afterPaint = (name) => requestAnimationFrame(() => setTimeout(() => (seen[name] = performance.now())))
  const look = () => {
    if (!seen.asked && (FIRST)) { seen.asked = true; afterPaint('first') }
    if (WHOLE) return afterPaint('whole')
    requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
})()"""
"""Looks at each frame whether the page is complete, and notes when that was on the screen."""
_FRAMES = """(seconds) => new Promise((done) => {
  const gaps = []; let last = performance.now(); const end = last + seconds * 1000
  const tick = (now) => {
    gaps.push(now - last); last = now
    if (now < end) requestAnimationFrame(tick); else done(gaps.sort((a, b) => a - b))
  }
  requestAnimationFrame(tick)
})"""


@dataclass(slots=True)
class Seen:
    """One visit of a page."""

    first: float
    whole: float
    main: float
    """Milliseconds of processor time of the main thread, from the navigation to the complete paint."""
    kilobytes: float
    requests: int


# ---- the fleet


@asynccontextmanager
async def fleet(data_dir: Path) -> AsyncIterator[Program]:
    """A controller with everything that is looked at."""
    async with controller(data_dir) as program, agents(program.url, data_dir, driver="fake", count=NODES):
        await nodes_ready(program, NODES)
        wanted = deployment("fleet", INSTANCES, ["sleep", "1000"])
        wanted["spec"]["template"]["env"] = [{"name": "MODE", "value": "demo"}, {"name": "REGION", "value": "north"}]
        wanted["spec"]["template"]["resources"] = {"requests": {"cpu": "10m", "memory": "16Mi"}}
        await ask(program, "POST", DEPLOYMENTS, wanted)
        await graph(program)

        async def all_ready() -> bool:
            found = await ask(program, "GET", f"{DEPLOYMENTS}/fleet")
            return bool(found.get("status", {}).get("readyReplicas", 0) == INSTANCES)

        await until(all_ready, seconds=900, pause=1)
        yield program


async def graph(program: Program) -> None:
    """A workflow of many nodes side by side with edges across, and a run of it."""
    nodes = []
    for number in range(GRAPH):
        before = [number - 40] * (number >= 40) + [number - 39] * (number >= 40 and number % 7 == 0)
        nodes.append({"name": f"n{number}", "taskRef": "builtin.echo", "dependsOn": [f"n{one}" for one in before]})
    common = {"apiVersion": "plum.dev/v1"}
    path = DEPLOYMENTS.removesuffix("deployments")
    workflow = {**common, "kind": "Workflow", "metadata": {"name": "large", "namespace": "default"}, "spec": {"nodes": nodes}}
    run = {**common, "kind": "WorkflowRun", "metadata": {"name": "large-1"}, "spec": {"workflowRef": "large"}}
    await ask(program, "POST", f"{path}workflows", workflow)
    await ask(program, "POST", f"{path}workflowruns", run)


async def changes(program: Program, per_second: int) -> None:
    """Write to instances one after the other, until cancelled."""
    names = [item["metadata"]["name"] for item in (await ask(program, "GET", f"{INSTANCES_PATH}?limit=1000"))["items"]]
    links = [await asyncio.open_connection(program.host, program.port) for _ in range(8)]
    clock = asyncio.get_running_loop().time
    began, done = clock(), 0
    try:
        while True:
            await asyncio.gather(*(_change(*link, names[(done + at) % len(names)], done) for at, link in enumerate(links)))
            done += len(links)
            await asyncio.sleep(max(0.0, began + done / per_second - clock()))
    finally:
        for _, writer in links:
            writer.close()


async def _change(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, turn: int) -> None:
    body = json.dumps({"metadata": {"annotations": {"bench": str(turn)}}}).encode()
    writer.write(request_bytes("PATCH", f"{INSTANCES_PATH}/{name}", body, "application/merge-patch+json"))
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head:
        raise RuntimeError(f"{name} was not changed: {head!r}")
    await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r")[0]))


# ---- the browser


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    from playwright.async_api import async_playwright

    from tests.support.browser import ARGUMENTS, chromium

    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        try:
            yield running
        finally:
            await running.close()


@asynccontextmanager
async def opened(running: Browser, sight: Sight) -> AsyncIterator[tuple[Page, CDPSession]]:
    """A page that notes when it is complete."""
    context = await running.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    await context.add_init_script(_CLOCK.replace("FIRST", sight.first).replace("WHOLE", sight.whole))
    page = await context.new_page()
    cdp = await context.new_cdp_session(page)
    await cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
    await cdp.send("Network.enable")
    try:
        yield page, cdp
    finally:
        await context.close()


async def main_thread(cdp: CDPSession) -> float:
    """Milliseconds of processor time of the page's main thread so far."""
    found = await cdp.send("Performance.getMetrics")
    return 1000 * next(float(one["value"]) for one in found["metrics"] if one["name"] == "TaskDuration")


async def visit(page: Page, cdp: CDPSession, url: str) -> Seen:
    """Go to a page from an empty one, until it is complete."""
    got = {"bytes": 0.0, "requests": 0}

    def finished(event: Any) -> None:
        got["bytes"] += event["encodedDataLength"]
        got["requests"] += 1

    await page.goto("about:blank")
    cdp.on("Network.loadingFinished", finished)
    before = await main_thread(cdp)
    await page.goto(url, wait_until="commit")
    async with asyncio.timeout(120):
        # Asked from outside: the policy of the page lets nothing be compiled inside it.
        while not await page.evaluate("window.plumSeen?.whole ?? 0"):
            await asyncio.sleep(0.1)
    after = await main_thread(cdp)
    cdp.remove_listener("Network.loadingFinished", finished)
    seen = await page.evaluate("window.plumSeen")
    # A page of another process begins to count at nothing.
    spent = after - before if after > before else after
    return Seen(seen["first"], seen["whole"], spent, got["bytes"] / 1024, int(got["requests"]))


async def look(page: Page, cdp: CDPSession, seconds: float, hands: str) -> tuple[float, float, float]:
    """Frames while somebody scrolls (`wheel`), drags or zooms: the 95th percentile and the longest gap in milliseconds, and the
    share of time that the main thread was busy, in percent."""
    await page.mouse.move(720, 600)
    if hands == "drag":
        await page.mouse.down()
    before = await main_thread(cdp)
    watching = asyncio.ensure_future(page.evaluate(_FRAMES, seconds))
    step = 0
    while not watching.done():
        step += 1
        if hands == "wheel":
            await page.mouse.wheel(0, 300 if step % 80 < 40 else -300)
        elif hands == "drag":
            await page.mouse.move(720 + 3 * (step % 60), 600 - 2 * (step % 60))
        elif hands == "zoom":
            await page.mouse.wheel(0, -120 if step % 40 < 20 else 120)
        await asyncio.sleep(0.05)
    gaps = await watching
    if hands == "drag":
        await page.mouse.up()
    busy = (await main_thread(cdp) - before) / (10 * seconds)
    return gaps[int(len(gaps) * 0.95)], gaps[-1], busy


async def measure_pages(program: Program, running: Browser) -> list[Row]:
    """Paint and cost of every page, best of some visits."""
    rows = []
    for sight in SIGHTS:
        async with opened(running, sight) as (page, cdp):
            visits = [await visit(page, cdp, program.url + sight.path) for _ in range(VISITS + 1)][1:]
        best = min(visits, key=lambda one: one.whole)
        if best.first < best.whole - 50:
            rows.append(Row(f"{sight.name}: first rows painted", min(one.first for one in visits), "ms", sight.goal_ms, False))
        rows.append(Row(f"{sight.name}: all of it painted", best.whole, "ms", sight.goal_ms, False))
        main = min(one.main for one in visits)
        rows.append(Row(f"{sight.name}: main thread until then", main, "ms of processor", sight.main_ms, False))
        rows.append(Row(f"{sight.name}: over the wire, {best.requests} requests", best.kilobytes, "KB", 1000, False))
    return rows


async def measure_live(program: Program, running: Browser) -> list[Row]:
    """Frames while changes come in and somebody scrolls, drags, zooms."""
    rows = []
    plans = [(SIGHTS[0], ["wheel"], True), (SIGHTS[1], ["wheel"], True), (SIGHTS[2], ["drag", "zoom"], False)]
    for sight, hands, with_changes in plans:
        async with opened(running, sight) as (page, cdp):
            await visit(page, cdp, program.url + sight.path)
            writing = asyncio.ensure_future(changes(program, CHANGES_PER_SECOND)) if with_changes else None
            try:
                for hand in hands:
                    p95, longest, busy = await look(page, cdp, LOOK_SECONDS, hand)
                    what = f"{sight.name}, {hand}" + (f", {CHANGES_PER_SECOND} changes/s" if with_changes else "")
                    rows.append(Row(f"{what}: frames, p95", p95, "ms", 50, False))
                    rows.append(Row(f"{what}: longest frame", longest, "ms", 250, False))
                    rows.append(Row(f"{what}: main thread busy", busy, "%", 60, False))
            finally:
                if writing is not None:
                    if writing.done():
                        writing.result()
                    writing.cancel()
    return rows


async def measure(data_dir: Path) -> list[Row]:
    """All of it."""
    async with fleet(data_dir) as program, browser() as running:
        return await measure_pages(program, running) + await measure_live(program, running)


async def at(url: str) -> None:
    """Measure a controller that runs already and has such a fleet: `python -m tests.bench.ui URL`."""
    from tests.bench.table import render

    program = Program(None, url, 0.0)  # type: ignore[arg-type]
    async with browser() as running:
        print(render(await measure_pages(program, running)), flush=True)
        print(render(await measure_live(program, running)))


if __name__ == "__main__":
    urllib.request.urlopen(f"{sys.argv[1]}/readyz").close()
    asyncio.run(at(sys.argv[1].rstrip("/")))
