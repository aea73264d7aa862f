"""Pictures of the main pages for `docs/ui.md`, taken from a `plum dev` with the demo and what `furnish` adds: `make screenshots`.

Names, texts and sizes are the same every time; ages and times are not, so pictures are taken anew only when pages changed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Page

from tests.support.browser import PHONE, UiSite, new_context, new_page, page_errors, running_browser, running_site
from tests.support.command import eventually

TARGET = Path(__file__).parents[2] / "docs" / "ui"
EXAMPLE = Path(__file__).parents[2] / "manifests" / "75-devices"
SIZE = {"width": 1180, "height": 740}
LARGEST = 150 * 1024
"""Bytes of one picture."""


class Shot(NamedTuple):
    """One picture."""

    name: str
    path: str
    waits_for: str
    """Text that is on the page when it has what it shows."""
    language: str = "en"
    theme: str = "light"
    phone: bool = False


SHOTS = [
    Shot("overview", "/ui/overview", "hello"),
    Shot("deployment", "/ui/deployments/default/hello", "node-"),
    Shot("instances", "/ui/instances", "radar-1-"),
    Shot("nodes", "/ui/nodes", "node-2", theme="dark"),
    Shot("workflow", "/ui/workflows/default/patrol", "rinse"),
    Shot("run", "/ui/runs/default/patrol-1", "rinse", theme="dark"),
    Shot("device", "/ui/resources/default/radar-1", "rotation"),
    Shot("kv", "/ui/kv?ns=default", "rye-bread"),
    Shot("sync", "/ui/syncs/default/manifests?tab=plan", "spec.replicas"),
    Shot("audit", "/ui/audit", "tokens", language="zh", theme="dark"),
    Shot("phone", "/ui/overview", "hello", phone=True),
]
RUN = """\
apiVersion: plum.dev/v1
kind: WorkflowRun
metadata: {name: patrol-1}
spec: {workflowRef: patrol}
"""


def furnish(site: UiSite) -> None:
    """What the demo lacks: two devices and a workflow over them, keys, a token, a suspended sync with something to do."""
    site.run("token", "create", "--user", "alice", "--group", "ops", "--description", "laptop of Alice")
    site.run("kv", "put", "recipe/current", "rye-bread")
    site.run("kv", "put", "recipe/rye-bread", '{"minutes": 45, "celsius": 230}', "--type", "json")
    site.run("kv", "put", "counters/loaves", "1287", "--type", "int")
    site.apply("devices", (EXAMPLE / "devices.yaml").read_text().replace("python3", sys.executable))
    site.apply("patrol", (EXAMPLE / "patrol.yaml").read_text())
    assert eventually(lambda: "radar-1" in site.run("get", "resources").out, 60), "the radar did not come"
    site.run("device", "set", "radar-1", "mode=scan", "range=4000")
    site.apply("run", RUN)
    site.run("sync", "suspend", "manifests", "--reason", "until the oven is mended")
    hello = site.manifests / "hello.yaml"
    hello.write_text(hello.read_text().replace("replicas: 2", "replicas: 4"))
    assert eventually(lambda: "Succeeded" in site.run("get", "workflowruns").out, 90), "the patrol did not end"


def take(browser: Browser, site: UiSite, shot: Shot, target: Path) -> None:
    """One picture. Raises `AssertionError` when the page shows an error or never what is waited for."""
    context = new_context(browser, language=shot.language, theme=shot.theme, size=PHONE if shot.phone else SIZE)
    try:
        page: Page = new_page(context)
        page.goto(site.url + shot.path)
        page.get_by_text(shot.waits_for).first.wait_for()
        page.wait_for_timeout(1500)  # graphs and charts settle
        path = target / f"{shot.name}.png"
        page.screenshot(path=str(path), scale="css")
        assert not page_errors(page).unexpected(), (shot.name, page_errors(page).unexpected()[:3])
        assert path.stat().st_size <= LARGEST, f"{path} has {path.stat().st_size} bytes, and may have {LARGEST}"
    finally:
        context.close()


def main() -> None:
    """Take all of them, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="pictures to take; default: all")
    parser.add_argument("--to", type=Path, default=TARGET)
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    problems = []
    with (
        tempfile.TemporaryDirectory(prefix="plum-ui-") as folder,
        running_site(Path(folder)) as site,
        running_browser() as browser,
    ):
        furnish(site)
        for shot in SHOTS:
            if args.names and shot.name not in args.names:
                continue
            try:
                take(browser, site, shot, args.to)
                print(shot.name)
            except Exception as error:
                problems.append(f"{shot.name}: {error}")
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
