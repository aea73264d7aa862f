"""Workflows in the browser: drawn, checked, saved with their comments, run, watched and steered; triggers fired."""

from __future__ import annotations

import json
import re
from urllib.request import Request, urlopen

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

TANKS = 200
DRAWN = """\
# 每晚清洗
apiVersion: plum.dev/v1
kind: Workflow
metadata: {name: qingxi, namespace: default}
spec:
  state: Draft   # 先不启用
  params:
    - {name: good, type: boolean, default: false}
    - {name: tanks, type: array, default: []}
  nodes:
    - {name: look, taskRef: builtin.echo}
    - name: each
      type: map
      dependsOn: [look]
      items: "${{ params.tanks }}"
      body: {nodes: [{name: rinse, taskRef: builtin.echo, payload: {tank: "${{ item }}"}}]}
    - {name: ask, type: wait, dependsOn: [each], wait: {approval: {message: 放行吗}}}
    - {name: fork, type: branch, condition: params.good, dependsOn: [ask]}
    - {name: bad, taskRef: builtin.fail, payload: {message: 压力过低}, dependsOn: [{node: fork, on: "false"}]}
"""


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


def write(page: Page, text: str) -> None:
    """Replace the YAML of the editor."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Escape")  # completions


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def test_an_author_draws_runs_and_repairs_a_workflow_in_chinese(site: UiSite, open_page: OpenPage) -> None:
    page = open_page("/ui/workflows/new?ns=default", language="zh")
    page_errors(page).expect("4(00|09|22)")  # what is not complete yet is refused by the dry run
    page.get_by_label("名称", exact=True).fill("清洗")
    expect(page.get_by_text("只能用小写字母").first).to_be_visible()
    page.get_by_label("名称", exact=True).fill("qingxi")
    check_accessibility(page)
    press(page, "打开编辑器")

    # ---- drawn: each type dragged onto the graph; connected, undone, by keyboard as well
    palette = page.get_by_role("complementary", name="节点类型")
    graph = page.get_by_role("application")
    types = palette.get_by_role("button")
    expect(types).to_have_count(17)
    for name in ("任务", "等待", "设备操作"):
        palette.get_by_role("button", name=name, exact=True).drag_to(graph, target_position={"x": 30, "y": 30})
    expect(page.locator(".cm-content")).to_contain_text("type: operation")
    form = page.get_by_role("region", name="operation 的属性")
    expect(form.get_by_label("设备", exact=True)).to_have_value("")
    expect(form.get_by_text("请指定设备").first).to_be_visible()
    graph.focus()
    graph.press("Delete")
    expect(page.locator(".cm-content")).not_to_contain_text("operation")
    graph.press("Control+z")
    expect(page.locator(".cm-content")).to_contain_text("operation")
    check_accessibility(page)

    # ---- as YAML: in sight although the other graph stood elsewhere; errors where they are; comments kept through forms
    write(page, DRAWN.replace("type: boolean", "type: boolean, least: 1"))
    press(page, "1 个问题")
    expect(page.get_by_text("spec.params[0].least")).to_be_visible()
    press(page, "1 个问题")
    write(page, DRAWN)
    expect(page.get_by_role("button", name="有效")).to_be_visible()
    expect(page.locator(".box", has_text="look")).to_be_in_viewport()
    press(page, "模拟")
    simulation = page.get_by_role("region", name="模拟")
    simulation.get_by_role("button", name="推演").click()
    expect(simulation.get_by_text("压力过低").first).to_be_visible()
    press(page, "新建")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("# 每晚清洗")).to_be_visible()
    dialog.get_by_role("button", name="新建", exact=True).click()
    expect(page).to_have_url(f"{site.url}/ui/workflows/default/qingxi")
    run = page.get_by_role("button", name=re.compile("^运行"))
    expect(run.first).to_have_attribute("aria-disabled", "true")  # a draft
    page.get_by_label("状态", exact=True).first.select_option("Active")
    press(page, "保存")
    page.get_by_role("dialog").get_by_role("button", name="保存", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.reload()
    expect(page.locator(".cm-content")).to_contain_text("state: Active   # 先不启用")

    # ---- run with parameters; the graph live; approved; a failure with its words, retried
    press(page, "运行")
    dialog = page.get_by_role("dialog")
    check_accessibility(page)
    dialog.get_by_label("tanks").fill(json.dumps(list(range(TANKS))))
    dialog.get_by_role("button", name="运行", exact=True).click()
    expect(page.locator(".box", has_text="each")).to_contain_text(f"{TANKS} / {TANKS}", timeout=90_000)
    page.locator(".box.attention").click()
    press(page, "批准")
    expect(page.locator(".head .state")).to_contain_text("失败")
    expect(page.get_by_role("button", name=re.compile("^暂停"))).to_contain_text("运行状态为“失败”")
    page.locator(".box", has_text="bad").click()
    expect(page.get_by_text("压力过低").first).to_be_visible()
    check_accessibility(page)
    page.get_by_role("tab", name="时间线").click()
    expect(page.locator(".gantt .legend")).to_contain_text("look → each → ask → fork → bad")
    press(page, "重试失败项")
    expect(page.get_by_role("heading", level=1)).to_contain_text("-again-")
    expect(page.locator(".head .state")).to_contain_text("失败")

    # ---- by the clock: next times while it is filled in, then what was missed
    page.goto(f"{site.url}/ui/workflows/default/qingxi?tab=triggers")
    page.get_by_role("tab", name="触发器").click()
    press(page, "新建触发器")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("名称", exact=True).fill("meiye")
    dialog.get_by_label("计划", exact=True).fill("30 2 * * *")
    dialog.get_by_role("button", name="新建", exact=True).click()
    expect(page.locator(".times li")).to_have_count(5)
    expect(page.locator(".times li").first).to_contain_text("02:30")
    page.get_by_label("从", exact=True).fill("2026-01-01T00:00")
    page.get_by_label("到", exact=True).fill("2026-01-03T12:00")
    press(page, "看看会运行什么")
    expect(page.get_by_text("将启动 3 个")).to_be_visible()
    page.get_by_role("button", name="启动", exact=True).click()
    expect(page.get_by_text("已启动 3 个")).to_be_visible()
    check_accessibility(page)

    # ---- what waits for somebody, from the list; paused, resumed and cancelled
    page.goto(f"{site.url}/ui/runs?ns=default")
    expect(page.get_by_role("heading", name="等您处理")).to_be_visible()
    check_accessibility(page)
    page.get_by_role("link", name="meiye-20260102-0230").first.click()
    press(page, "暂停")
    expect(page.locator(".head .state")).to_contain_text("已暂停")
    press(page, "恢复")
    expect(page.locator(".head .state")).to_contain_text("运行中")
    page.locator(".box", has_text="ask").click()
    press(page, "跳过")
    expect(page.locator(".head .state")).to_contain_text("成功")

    # ---- a second version beside the first, and back; a change of the state alone has made none; gone at the end
    page.goto(f"{site.url}/ui/workflows/default/qingxi")
    expect(page.locator(".cm-content")).to_contain_text("state: Active")
    write(page, DRAWN.replace("state: Draft", "state: Active").replace("压力过低", "压力不足"))
    press(page, "保存")
    page.get_by_role("dialog").get_by_role("button", name="保存", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("tab", name="版本").click()
    expect(page.get_by_role("button", name="回滚", exact=True)).to_have_count(1)
    for message in ("压力过低", "压力不足"):
        expect(page.locator(".versions")).to_contain_text(message)
    press(page, "回滚")
    page.get_by_role("dialog").get_by_role("button").last.click()
    expect(page.get_by_text(re.compile("已恢复到修订"))).to_be_visible()
    check_accessibility(page)
    press(page, "删除")
    page.get_by_role("dialog").get_by_role("button", name="删除").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("工作流")


def test_a_run_is_watched_approved_and_run_again(site: UiSite, open_page: OpenPage) -> None:
    site.apply("ui-release", RELEASE)
    name = start(site, "ui-run", version=4)
    page = open_page(f"/ui/runs/default/{name}", theme="dark")
    waiting = page.locator(".box.attention")
    expect(waiting).to_contain_text("ask")
    waiting.click()
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator(".box.ok")).to_have_count(5)
    expect(page.locator(".box.off")).to_contain_text("refuse")
    check_accessibility(page)

    # Into the body of the loop, and its last iteration.
    page.locator(".box", has_text="zones").dblclick()
    expect(page.locator(".box")).to_contain_text("sweep")
    expect(page.locator(".rungraph select")).to_have_value("2")

    page.get_by_role("tab", name="Timeline").click()
    expect(page.locator(".gantt .line")).to_have_count(8)
    expect(page.locator(".gantt .legend")).to_contain_text("build → check → ask → zones → close")
    check_accessibility(page)

    page.locator(".gantt .line", has_text="close").click()
    page.get_by_role("button", name="Run again from here").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{name}-again-")
    expect(page.locator(".head .state")).to_contain_text("Succeeded")


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


GREET = """
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {name: ui-greet}
spec:
  executor: os_process
  process:
    command: [sh, -c, 'echo "looking at $0" >&2; echo "{\\"said\\": 7}"; test "$0" = cellar || exit 5', "${{ payload.place }}"]
  payloadSchema: {type: object, required: [place], properties: {place: {type: string}}}
  retry: {limit: 1, initial: 1s}
"""


def test_a_task_is_run_by_form_and_shows_its_attempts_output_and_log(site: UiSite, open_page: OpenPage) -> None:
    site.apply("greet", GREET)
    page = open_page("/ui/tasks?ns=default")
    page.get_by_role("tab", name=re.compile("^Definitions")).click()
    check_accessibility(page)
    page.get_by_role("row").filter(has_text="ui-greet").get_by_role("button", name="Run").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("place").fill("attic")
    dialog.get_by_role("button", name="Run", exact=True).click()

    panel = page.get_by_role("tabpanel")
    expect(page.get_by_text("exit code 5").or_(page.get_by_text("code 5")).first).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="Attempts").click()
    expect(panel.get_by_role("row")).to_have_count(5, timeout=60_000)  # the head, and two for each attempt
    page.get_by_role("tab", name="Log", exact=True).click()
    expect(panel).to_contain_text("looking at attic")
    check_accessibility(page)
    expect(page.get_by_role("button", name="Cancel")).to_contain_text("It has ended.")

    page.goto(f"{site.url}/ui/tasks/definitions/default/ui-greet")
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.get_by_role("dialog").get_by_label("place").fill("cellar")
    page.get_by_role("dialog").get_by_role("button", name="Run", exact=True).click()
    expect(panel).to_contain_text("said: 7", timeout=60_000)
    page.get_by_role("tab", name="Input").click()
    expect(panel).to_contain_text("place: cellar")
