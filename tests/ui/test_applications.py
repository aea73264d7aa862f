"""Applications and nodes in the browser: from nothing to a fleet, a failed rollout, a way back, an emptied node."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import PHONE, OpenPage, UiSite, check_accessibility, page_errors, running_site

META = "name=clock\nversion={version}\nservice=clock:http:8080\n"
START = '#!/bin/sh\nwhile true; do echo "tick of $PLUM_INSTANCE_ID"; sleep 1; done\n'


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiSite]:
    """Two nodes, and nothing on them."""
    with running_site(tmp_path_factory.mktemp("empty"), manifests=None) as running:
        yield running


def package(folder: Path, version: str, meta: str = META) -> Path:
    path = folder / f"clock-{version}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.ini", meta.format(version=version))
        entry = zipfile.ZipInfo("start.sh")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, START)
    return path


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def test_from_a_package_to_a_fleet_a_failed_rollout_and_back(empty: UiSite, open_page: OpenPage, tmp_path: Path) -> None:
    # ---- nothing yet: a package that cannot run is refused in words, a good one is stored
    page = open_page("/ui/deployments", url=empty.url)
    expect(page.get_by_text("Nothing is deployed yet")).to_be_visible()
    check_accessibility(page)
    page.get_by_role("link", name="Upload a package first").click()
    page_errors(page).expect("422")
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(package(tmp_path, "0.9.0", "version={version}\n"))
    expect(page.get_by_role("alert")).to_contain_text("name")
    chooser.set_input_files(package(tmp_path, "1.0.0"))
    press(page, "Deploy")

    # ---- by form, with the YAML beside it
    expect(page.get_by_label("Name", exact=True)).to_have_value("clock")
    expect(page.locator(".cm-content")).to_contain_text("version: 1.0.0")
    page.get_by_role("spinbutton", name="Instances").fill("2")
    page.get_by_role("spinbutton", name="Instances").press("Tab")
    expect(page.locator(".cm-content")).to_contain_text("replicas: 2")
    page.get_by_label("Fewer than wanted").fill("lots")
    page.get_by_label("Fewer than wanted").press("Tab")
    expect(page.get_by_role("alert").filter(has_text="lots").first).to_be_visible()
    expect(page.get_by_role("button", name="Create")).to_have_attribute("aria-disabled", "true")
    page.get_by_label("Fewer than wanted").fill("1")
    page.get_by_label("Failed after").fill("4")
    page.get_by_label("Failed after").press("Tab")
    expect(page.get_by_text("The server would take it")).to_be_visible()
    check_accessibility(page)
    press(page, "Create")

    # ---- wanted and running, block by block
    expect(page.get_by_role("heading", name="clock", level=1)).to_be_visible()
    expect(page.get_by_text("Complete", exact=True)).to_be_visible()
    expect(page.get_by_role("listitem").get_by_role("link", name=re.compile(r"^clock-.* · Ready$"))).to_have_count(2)
    check_accessibility(page)

    # ---- a rollout that cannot work says why, and an undo leads back
    press(page, "Edit")
    page.get_by_role("textbox", name="Command").first.fill("/does/not/exist")
    page.get_by_role("textbox", name="Command").first.press("Tab")
    expect(page.get_by_text("The server would take it")).to_be_visible()
    press(page, "Apply")
    expect(page.get_by_text("Rollout failed")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("heading", name="Why it is not where it should be")).to_be_visible()
    page.get_by_role("tab", name="Revisions").click()
    expect(page.get_by_text("/does/not/exist")).to_be_visible()
    press(page, "Undo to 1")
    page.get_by_role("tab", name="Overview").click()
    expect(page.get_by_text("Complete", exact=True)).to_be_visible(timeout=60_000)

    # ---- stopped and started by a click each
    press(page, "Stop")
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
    press(page, "Start")
    expect(page.get_by_text("Complete", exact=True)).to_be_visible(timeout=60_000)


def test_what_an_instance_writes_and_a_command_beside_it(site: UiSite, open_page: OpenPage) -> None:
    site.run("rollout", "status", "deployment/hello")
    page = open_page("/ui/deployments/default/hello")
    page.get_by_role("table", name="Instances").get_by_role("link", name=re.compile("^hello-")).first.click()
    expect(page.get_by_role("heading", name="Conditions")).to_be_visible()
    page.get_by_role("tab", name="Logs").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("hello from")
    page.get_by_role("searchbox", name="Search in the log").fill("from hello-")
    expect(log.locator(".hit").first).to_be_visible()
    check_accessibility(page)
    with page.expect_download() as saved:
        press(page, "Save what is shown")
    assert "hello from" in Path(saved.value.path()).read_text(encoding="utf-8")

    page.get_by_role("tab", name="Terminal").click()
    page.get_by_role("textbox", name="Command").fill("sh -c 'echo it is $((6*7)); read line; echo got $line; exit 3'")
    press(page, "Run")
    terminal = page.locator(".xterm-rows")
    expect(terminal).to_contain_text("it is 42")
    page.keyboard.type("plums\n")
    expect(terminal).to_contain_text("got plums")
    expect(page.get_by_text("Ended with exit code 3")).to_be_visible()


def test_a_node_is_labelled_emptied_and_taken_back(site: UiSite, open_page: OpenPage) -> None:
    site.apply(
        "mover",
        """
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: mover}
spec:
  replicas: 2
  strategy: {maxSurge: 1, maxUnavailable: 1}
  template: {command: [sleep, "1000"], nodeSelector: {pier: east}}
""",
    )
    for name in ("node-1", "node-2"):
        page = open_page(f"/ui/nodes/{name}?tab=labels", language="en")
        page.get_by_role("button", name="+ Label").click()
        page.get_by_label("Label", exact=True).fill("pier")
        page.get_by_label("Value", exact=True).fill("east")
        press(page, "Save")
        expect(page.get_by_text("pier=east").first).to_be_visible()
    site.run("rollout", "status", "deployment/mover")

    press(page, "Drain")
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    page.get_by_role("tab", name="Overview").click()
    expect(page.get_by_text("The drain is complete")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name=re.compile("^Drain"))).to_have_attribute("aria-disabled", "true")
    check_accessibility(page)
    press(page, "Uncordon")
    expect(page.get_by_role("button", name="Cordon", exact=True)).to_be_visible()
    site.run("delete", "deployment/mover")


TITLES = {"deployments": "部署", "instances": "实例", "nodes": "节点", "packages": "制品", "services": "服务"}


def test_every_list_in_chinese_dark_and_on_a_phone(site: UiSite, open_page: OpenPage) -> None:
    page = open_page("/ui/deployments", language="zh", theme="dark")
    for path, title in TITLES.items():
        page.goto(f"{site.url}/ui/{path}")
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        check_accessibility(page)
    phone = open_page("/ui/deployments/default/hello", size=PHONE)
    expect(phone.get_by_role("heading", name="hello", level=1)).to_be_visible()
    expect(phone.get_by_role("table", name="Instances")).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
