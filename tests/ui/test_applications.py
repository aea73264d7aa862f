"""Applications and nodes in the browser: logs, a terminal, a node that is emptied, all lists in Chinese."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.browser import PHONE, OpenPage, UiSite, check_accessibility


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


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
