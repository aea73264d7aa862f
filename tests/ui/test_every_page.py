"""Every page of the UI, found by its routes: in both languages and themes, on a screen and on a phone, nothing serious for axe,
nothing wider than the window, no error on the console. The journeys ask that of what they pass by; this asks it of the rest."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.support.browser import DESKTOP, PHONE, UI, OpenPage, UiSite, check_accessibility, page_errors
from tests.support.command import eventually

MORE = """\
apiVersion: plum.dev/v1
kind: Deployment
metadata: {{name: valve-1}}
spec:
  template:
    command: [{python}, -m, plum_worker.simulator, valve, valve-1]
    ports: [{{name: http, port: 0}}]
    services: [{{name: valve, port: http}}]
    terminationGracePeriodSeconds: 2
---
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {{name: greet}}
spec: {{executor: os_process, process: {{command: [echo, hi]}}}}
---
apiVersion: plum.dev/v1
kind: TaskRun
metadata: {{name: greeting}}
spec: {{taskRef: greet}}
---
apiVersion: plum.dev/v1
kind: Workflow
metadata: {{name: sample}}
spec:
  params: [{{name: zone, type: integer, default: 4}}]
  nodes:
    - {{name: look, taskRef: builtin.echo, payload: {{zone: "${{{{ params.zone }}}}"}}}}
    - {{name: fork, type: branch, condition: params.zone > 3, dependsOn: [look]}}
    - {{name: far, taskRef: builtin.fail, payload: {{message: too far}}, dependsOn: [{{node: fork, on: "true"}}]}}
---
apiVersion: plum.dev/v1
kind: WorkflowRun
metadata: {{name: sample-1}}
spec: {{workflowRef: sample}}
---
apiVersion: plum.dev/v1
kind: Trigger
metadata: {{name: nightly}}
spec: {{workflowRef: sample, cron: {{schedule: "30 2 * * *"}}}}
"""
OBJECT_TABS = ("desired", "actual", "diff", "events", "why", "history", "yaml")
PAGES: dict[str, tuple[str, ...]] = {
    "/overview": ("/overview",),
    "/deployments": ("/deployments",),
    "/deployments/new": ("/deployments/new",),
    "/deployments/:namespace/:name": tuple(
        f"/deployments/default/hello?tab={tab}" for tab in ("", "revisions", "logs", *OBJECT_TABS)
    ),
    "/deployments/:namespace/:name/edit": ("/deployments/default/hello/edit",),
    "/instances": ("/instances",),
    "/instances/:namespace/:name": tuple(f"/instances/default/INSTANCE?tab={tab}" for tab in ("", "logs", "terminal")),
    "/packages": ("/packages",),
    "/packages/:namespace/:name": ("/packages/default/nothing-of-this-name",),
    "/services": ("/services",),
    "/services/:namespace/:name": ("/services/default/valve",),
    "/nodes": ("/nodes", "/nodes?add=1"),
    "/nodes/:name": ("/nodes/node-1", "/nodes/node-1?tab=labels"),
    "/workflows": ("/workflows",),
    "/workflows/new": ("/workflows/new",),
    "/workflows/:namespace/:name": tuple(f"/workflows/default/sample?tab={tab}" for tab in ("", "runs", "triggers", "versions")),
    "/runs": ("/runs",),
    "/runs/:namespace/:name": tuple(f"/runs/default/sample-1?tab={tab}" for tab in ("", "gantt", "nodes", "details")),
    "/triggers": ("/triggers",),
    "/triggers/:namespace/:name": ("/triggers/default/nightly",),
    "/tasks": ("/tasks", "/tasks?tab=definitions"),
    "/tasks/runs/:namespace/:name": ("/tasks/runs/default/greeting",),
    "/tasks/definitions/:namespace/:name": ("/tasks/definitions/default/greet",),
    "/workers": ("/workers",),
    "/workers/:namespace/:name": ("/workers/default/nobody",),
    "/resources": ("/resources",),
    "/resources/:namespace/:name": ("/resources/default/valve-1", "/resources/default/valve-1?tab=diff"),
    "/operations": ("/operations",),
    "/kv": ("/kv",),
    "/syncs": ("/syncs",),
    "/syncs/:namespace/:name": tuple(f"/syncs/default/manifests?tab={tab}" for tab in ("", "plan", "drift", "revisions")),
    "/events": ("/events",),
    "/audit": ("/audit",),
    "/tokens": ("/tokens", "/tokens?new=1"),
    "/settings": ("/settings",),
    "/objects": ("/objects",),
    "/objects/:group/:version/:plural": ("/objects/core/v1/configmaps",),
    "/objects/:group/:version/:plural/:namespace/:name": ("/objects/core/v1/namespaces/-/default",),
    "/create": ("/create",),
    "/login": ("/login",),
}
"""By route, the addresses that show what it can show."""


def routes() -> set[str]:
    return {
        path for file in (UI / "src/features").glob("*/routes.ts") for path in re.findall(r"path: '([^']+)'", file.read_text())
    }


@pytest.fixture(scope="module")
def furnished(site: UiSite) -> Iterator[UiSite]:
    """With something on every page."""
    site.apply("more", MORE.format(python=sys.executable))
    assert eventually(lambda: "valve-1" in site.run("get", "resources").out, 60), "the valve did not come"
    assert eventually(lambda: "Failed" in site.run("get", "workflowruns").out, 60), "the sample did not end"
    yield site


def test_every_route_is_among_the_pages() -> None:
    assert routes() == set(PAGES)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("language", "theme", "size"),
    [("en", "light", DESKTOP), ("zh", "dark", DESKTOP), ("zh", "light", PHONE), ("en", "dark", PHONE)],
    ids=["english", "chinese-dark", "chinese-phone", "english-dark-phone"],
)
def test_every_page_is_for_everybody(
    furnished: UiSite, open_page: OpenPage, language: str, theme: str, size: dict[str, int]
) -> None:
    instance = furnished.run("get", "instances", "-l", "app=hello", "-o", "jsonpath={.items[0].metadata.name}").out.strip()
    page = open_page("/ui/settings", language=language, theme=theme, size=size)
    page_errors(page).expect("404")  # a worker and a package that are not there
    found: list[str] = []
    for address in [address for addresses in PAGES.values() for address in addresses]:
        page.goto(f"{furnished.url}/ui{address.replace('INSTANCE', instance)}")
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        page.wait_for_timeout(500)  # what moves in has come
        try:
            check_accessibility(page)
        except AssertionError as problem:
            found.append(str(problem))
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{address} is wider than the window")
    assert not found, "\n".join(found)
