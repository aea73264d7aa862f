"""Workflows in the browser: drawn, checked, saved with their comments, run, watched and steered; triggers fired."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import PHONE, OpenPage, UiSite, check_accessibility, page_errors

OBJECTS = "/apis/plum.dev/v1/namespaces/default"

RELEASE = """
apiVersion: plum.dev/v1
kind: Workflow
metadata: {name: ui-release}
spec:
  params: [{name: version, type: integer, required: true}, {name: good, type: boolean, default: true}]
  nodes:
    - {name: build, taskRef: builtin.echo, payload: {version: "${{ params.version }}"}}
    - {name: check, type: branch, dependsOn: [build], condition: params.good}
    - {name: ask, type: wait, dependsOn: [{node: check, on: "true"}], wait: {approval: {message: "release it?"}}}
    - {name: refuse, taskRef: builtin.fail, payload: {message: "not good"}, dependsOn: [{node: check, on: "false"}]}
    - name: zones
      type: loop
      count: 3
      dependsOn: [ask]
      body: {nodes: [{name: sweep, taskRef: builtin.echo, payload: {pass: "${{ loop.index }}"}}]}
    - {name: close, taskRef: builtin.echo, dependsOn: [zones]}
---
apiVersion: plum.dev/v1
kind: Trigger
metadata: {name: ui-nightly}
spec: {workflowRef: ui-release, params: {version: 9, good: false}, cron: {schedule: "30 2 * * *", timezone: Asia/Shanghai}}
"""

WORDS = {
    "en": {
        "run": "Run",
        "approve": "Approve",
        "timeline": "Timeline",
        "failed": "Failed",
        "again": "Run again from here",
        "rerun": "Retry failed",
    },
    "zh": {
        "run": "运行",
        "approve": "批准",
        "timeline": "时间线",
        "failed": "失败",
        "again": "从这里重新运行",
        "rerun": "重试失败项",
    },
}


def stored(site: UiSite, path: str) -> dict[str, object]:
    with urlopen(f"{site.url}{OBJECTS}/{path}", timeout=20) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def start(site: UiSite, name: str, **params: object) -> str:
    made = {
        "apiVersion": "plum.dev/v1",
        "kind": "WorkflowRun",
        "metadata": {"name": name},
        "spec": {"workflowRef": "ui-release", "params": params},
    }
    headers = {"Content-Type": "application/json"}
    request = Request(f"{site.url}{OBJECTS}/workflowruns", data=json.dumps(made).encode(), headers=headers)
    assert urlopen(request, timeout=20).status == 201
    return name


def yaml_of(page: Page) -> str:
    text: str = page.locator(".cm-content").inner_text()
    return text


def test_a_workflow_is_drawn_simulated_saved_with_its_comments_and_run(site: UiSite, open_page: OpenPage) -> None:
    page = open_page("/ui/workflows/new?ns=default")
    page_errors(page).expect("422")  # what is not complete yet is refused by the dry run
    page.get_by_label("Name", exact=True).fill("ui-drawn")
    page.get_by_role("button", name="Open the editor").click()
    palette = page.get_by_role("complementary", name="Types of nodes")
    palette.get_by_role("button", name="Task", exact=True).click()
    palette.get_by_role("button", name="Wait", exact=True).click()
    form = page.get_by_role("region", name="Properties of wait")
    expect(form).to_be_visible()
    form.get_by_label("Question").fill("go on?")
    form.get_by_label("Name", exact=True).first.fill("ask")
    form.get_by_label("Name", exact=True).first.press("Enter")
    expect(page.locator(".cm-content")).to_contain_text("name: ask")
    assert "dependsOn: [task]" in yaml_of(page), "a new node comes after the chosen one"

    # By keyboard: from node to node, removed and brought back.
    graph = page.get_by_role("application")
    graph.focus()
    graph.press("ArrowLeft")
    expect(page.get_by_role("region", name="Properties of task")).to_be_visible()
    graph.press("Delete")
    expect(page.locator(".cm-content")).not_to_contain_text("builtin.echo")
    graph.press("Control+z")
    expect(page.locator(".cm-content")).to_contain_text("dependsOn: [task]")

    # Wrong YAML locks the graph and says where; a comment stays.
    page.locator(".cm-content").click()
    page.keyboard.press("Control+Home")
    page.keyboard.type("# Drawn by hand.\n")
    page.keyboard.type("wrong: [")
    expect(page.get_by_text("The YAML has an error in line").first).to_be_visible()
    page.keyboard.press("Shift+Home")
    page.keyboard.press("Delete")
    expect(page.get_by_text("The YAML has an error in line")).to_have_count(0)
    expect(page.get_by_role("button", name="Valid")).to_be_visible()
    check_accessibility(page)

    page.get_by_role("button", name="Simulate").click()
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("region", name="Simulate").get_by_text("approved by simulation").first).to_be_visible()
    page.get_by_role("button", name="Create", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("# Drawn by hand.")).to_be_visible()
    dialog.get_by_role("button", name="Create", exact=True).click()
    expect(page).to_have_url(f"{site.url}/ui/workflows/default/ui-drawn")
    nodes = stored(site, "workflows/ui-drawn")["spec"]["nodes"]  # type: ignore[index]
    assert [node["name"] for node in nodes] == ["task", "ask"]

    page.reload()
    expect(page.locator(".cm-content")).to_contain_text("# Drawn by hand.")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("go on?").or_(page.get_by_role("application"))).not_to_have_count(0)
    expect(page.locator(".box.attention")).to_contain_text("ask")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_run_is_watched_approved_and_run_again(site: UiSite, open_page: OpenPage, language: str) -> None:
    words = WORDS[language]
    site.apply("ui-release", RELEASE)
    name = start(site, f"ui-run-{language}", version=4)
    page = open_page(f"/ui/runs/default/{name}", language=language, theme="dark" if language == "zh" else "light")
    waiting = page.locator(".box.attention")
    expect(waiting).to_contain_text("ask")
    waiting.click()
    page.get_by_role("button", name=words["approve"], exact=True).click()
    expect(page.locator(".box.ok")).to_have_count(5)
    expect(page.locator(".box.off")).to_contain_text("refuse")
    check_accessibility(page)

    # Into the body of the loop, and its last iteration.
    page.locator(".box", has_text="zones").dblclick()
    expect(page.locator(".box")).to_contain_text("sweep")
    expect(page.locator(".rungraph select")).to_have_value("2")

    page.get_by_role("tab", name=words["timeline"]).click()
    expect(page.locator(".gantt .line")).to_have_count(8)
    expect(page.locator(".gantt .legend")).to_contain_text("build → check → ask → zones → close")
    check_accessibility(page)

    page.locator(".gantt .line", has_text="close").click()
    page.get_by_role("button", name=words["again"]).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{name}-again-")
    expect(page.locator(".head .state")).to_contain_text({"en": "Succeeded", "zh": "成功"}[language])


def test_a_trigger_shows_its_next_times_and_is_fired(site: UiSite, open_page: OpenPage) -> None:
    site.apply("ui-release", RELEASE)
    page = open_page("/ui/triggers?ns=default")
    page.get_by_role("link", name="ui-nightly").click()
    expect(page.locator(".times li")).to_have_count(5)
    expect(page.locator(".times li").first).to_contain_text("02:30")
    check_accessibility(page)
    page.get_by_role("button", name="Fire now").click()
    page.get_by_role("status").get_by_role("link").click()
    expect(page.locator(".head .state")).to_contain_text("Failed")
    expect(page.get_by_text("not good").first).to_be_visible()
    expect(page.locator(".box.bad")).to_contain_text("refuse")

    page.goto(f"{site.url}/ui/workflows/default/ui-release?tab=runs")
    expect(page.get_by_role("button", name="refuse, ").first).to_be_visible()
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    check_accessibility(page)
