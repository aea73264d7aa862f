"""The overview and the pages that every object has, those of kinds that users define included: each journey once."""

from __future__ import annotations

import json

from playwright.sync_api import Page, expect

from tests.support.browser import OpenPage, UiSite, check_accessibility, page_errors

DEFINITION = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pumps.plant.example}
spec:
  group: plant.example
  scope: Namespaced
  names: {plural: pumps, singular: pump, kind: Pump}
  versions:
    - name: v1
      served: true
      storage: true
      additionalPrinterColumns: [{name: Flow, type: integer, jsonPath: .spec.flow}]
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [flow]
              properties: {flow: {type: integer, minimum: 1}}
"""
PUMP = """\
apiVersion: plant.example/v1
kind: Pump
metadata: {{name: p1, namespace: default}}
spec: {{flow: {flow}}}
"""
TASK = """\
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {name: by-form, namespace: default}
spec:
  task: builtin.echo
  retry:
    limit: 2 # as the manual says
"""
BROKEN = """\
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: broken}
spec:
  strategy: {progressDeadlineSeconds: 5}
  template: {command: [sh, -c, exit 3], backoff: {initial: 1s}, probes: {readiness: {exec: {command: ["false"]}}}}
"""
"""Never ready: without a probe a program that a busy machine lets live for a second counts as available."""


def write(page: Page, name: str, text: str) -> None:
    """Replace what stands in an editor."""
    page.get_by_role("textbox", name=name).click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(text)


def flow(site: UiSite) -> int:
    return int(json.loads(site.run("get", "pumps.plant.example/p1", "-o", "json").out)["spec"]["flow"])


def test_a_kind_of_a_user_is_defined_edited_and_rolled_back(site: UiSite, open_page: OpenPage) -> None:
    page = open_page("/ui/create")
    write(page, "Create from YAML", DEFINITION)
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Applied:")).to_be_visible()
    site.apply("pump", PUMP.format(flow=12))

    page.goto(f"{site.url}/ui/objects")
    page.get_by_role("link", name="Pump").click()
    row = page.get_by_role("row").filter(has_text="p1")
    expect(row).to_contain_text("12")
    site.apply("pump", PUMP.format(flow=13))
    expect(row).to_contain_text("13")  # told by the watch

    row.get_by_role("link", name="p1").press("Enter")
    page.get_by_role("tab", name="YAML").click()
    write(page, "YAML p1", PUMP.format(flow=0))
    expect(page.get_by_role("button", name="Apply")).to_contain_text("spec.flow is 0; at least 1 is expected.")
    page.reload()  # a draft survives
    expect(page.get_by_role("textbox", name="YAML p1")).to_contain_text("flow: 0")
    write(page, "YAML p1", PUMP.format(flow=14))
    page.get_by_role("button", name="Plan").click()
    expect(page.get_by_text("What would happen")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="Pump p1")).to_contain_text("spec.flow")
    assert flow(site) == 13
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Applied.")).to_be_visible()
    assert flow(site) == 14

    page.get_by_role("tab", name="History").click()
    page.get_by_role("list", name="History").get_by_role("listitem").last.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert flow(site) == 12

    page.get_by_role("tab", name="Why").click()
    expect(page.get_by_role("tabpanel")).to_contain_text("Pump p1")
    check_accessibility(page)


def test_a_kind_without_a_form_of_its_own_is_made_by_form_with_its_yaml_beside_it(site: UiSite, open_page: OpenPage) -> None:
    page = open_page("/ui/create?kind=TaskDefinition&apiVersion=plum.dev/v1")
    page_errors(page).expect("422")
    form = page.get_by_role("form", name="Form")
    form.get_by_label("name", exact=True).first.fill("Not A Name")
    expect(form.get_by_role("alert").filter(has_text="RFC 1123")).to_be_visible()  # what the API refuses stands at its field
    form.get_by_label("name", exact=True).first.fill("by-form")
    expect(page.get_by_text("The API would accept it.")).to_be_visible()
    form.locator("summary").filter(has_text="retry").click()
    form.get_by_label("limit", exact=True).fill("2")
    yaml = page.get_by_role("textbox", name="Create from YAML")
    expect(yaml).to_contain_text("limit: 2")

    write(page, "Create from YAML", "# why twice\n" + TASK)
    form.get_by_label("limit", exact=True).fill("3")
    expect(yaml).to_contain_text("limit: 3 # as the manual says")
    expect(yaml).to_contain_text("# why twice")
    check_accessibility(page)
    page.get_by_role("button", name="Plan").click()
    expect(page.get_by_role("listitem").filter(has_text="TaskDefinition by-form")).to_be_visible()
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Applied:")).to_be_visible()
    stored = json.loads(site.run("get", "taskdefinition/by-form", "-o", "json").out)
    assert (stored["spec"]["retry"]["limit"], stored["spec"]["task"]) == (3, "builtin.echo")

    page.goto(f"{site.url}/ui/objects/plum.dev/v1/taskdefinitions/default/by-form?tab=yaml&view=form")
    expect(page.get_by_label("name", exact=True).first).to_be_disabled()
    page.get_by_label("timeout", exact=True).first.fill("1m")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Applied.")).to_be_visible()
    assert json.loads(site.run("get", "taskdefinition/by-form", "-o", "json").out)["spec"]["timeout"] == "1m"


def test_the_overview_leads_from_what_differs_to_the_reason(site: UiSite, open_page: OpenPage) -> None:
    page = open_page("/ui/overview", language="zh", theme="dark")
    expect(page.get_by_role("heading", level=1)).to_have_text("概览")
    site.apply("broken", BROKEN)

    trouble = page.get_by_role("listitem").filter(has_text="发布超时").first
    expect(trouble).to_be_visible(timeout=90_000)  # a rollout has to fail first
    check_accessibility(page)
    trouble.get_by_role("link", name="broken").click()
    page.get_by_role("tab", name="原因").click()
    expect(page.get_by_role("tabpanel")).to_contain_text("Deployment broken")

    page.keyboard.press("ControlOrMeta+k")
    search = page.get_by_role("combobox", name="搜索与命令")
    expect(search).to_be_focused()
    page.keyboard.insert_text("broken yaml")
    expect(page.get_by_role("option", name="broken → YAML")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="YAML broken")).to_be_visible()

    page.get_by_role("button", name="删除").click()
    page.get_by_role("dialog").get_by_role("button", name="删除").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("部署")
