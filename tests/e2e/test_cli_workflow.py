"""`plum workflow`: versions, templates listed, workflows made from them, refusals that name the parameter."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plum_cli.errors import NOT_FOUND, OK

from tests.support.command import Plum
from tests.support.server import started_server

TEMPLATE = """\
apiVersion: plum.dev/v1
kind: Workflow
metadata: {name: report, labels: {team: a}}
spec:
  template: true
  description: tells how a site is
  params:
    - {name: site, description: where}
    - {name: hour, type: integer, default: 2}
    - {name: level, enum: [low, high], default: low}
  nodes: [{name: tell, taskRef: builtin.echo, payload: {text: "${{ params.site }} at ${{ params.hour }}"}}]
  outputs: {text: "${{ nodes.tell.output.text }}"}
"""


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until a controller has seen what was written."""
    deadline = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started_server(tmp_path_factory.mktemp("cli") / "data") as running:
        yield running.url


def test_a_workflow_is_made_from_a_template(server: str, tmp_path: Path) -> None:
    plum = Plum(server, tmp_path)
    assert "there are no templates" in plum.ok("workflow", "templates").out
    plum.ok("apply", "-f", "-", stdin=TEMPLATE)

    listed = plum.ok("workflow", "templates").out
    assert "report - tells how a site is" in listed
    assert "site: string (needed) - where" in listed
    assert 'level: string = "low" one of "low", "high"' in listed
    assert json.loads(plum.ok("workflow", "templates", "-o", "json").out)[0]["name"] == "report"

    for given, words in {
        ("hour=3",): "params.site",
        ("site=x", "hour=late"): "params.hour",
        ("site=x", "level=middle"): "params.level",
        ("site=x", "colour=red"): "params.colour",
    }.items():
        refused = plum("workflow", "new", "nightly", "--template", "report", *(f"--param={one}" for one in given))
        assert refused.code != OK
        assert words in refused.err
    assert plum("get", "workflow", "nightly").code == NOT_FOUND

    made = plum.ok("workflow", "new", "nightly", "--template", "report", "--param", "site=pier3", "--param", "hour=4")
    assert made.out == "workflow.plum.dev/nightly created from report\n"
    stored = json.loads(plum.ok("get", "workflow", "nightly", "-o", "json").out)
    assert stored["metadata"]["annotations"]["plum.dev/template"] == "report"
    assert stored["metadata"]["labels"] == {"team": "a"}
    assert not stored["spec"].get("template")
    plum.ok("run", "workflow/nightly", "--wait")
    [run] = json.loads(plum.ok("get", "workflowruns", "-o", "json").out)["items"]
    assert run["status"]["outputs"] == {"text": "pier3 at 4"}
    assert "is a template" in plum("run", "workflow/report", "--param", "site=x", "--wait").err
    assert "is no template" in plum("workflow", "new", "other", "--template", "nightly").err
    assert plum("workflow", "new", "other", "--template", "nobody").code == NOT_FOUND


def test_versions_are_listed_compared_and_brought_back(server: str, tmp_path: Path) -> None:
    plum = Plum(server, tmp_path)

    def apply(number: int, text: str, **more: str) -> None:
        given = {"nodes": [{"name": "tell", "taskRef": "builtin.echo", "payload": {"text": text}}], **more}
        body = {"apiVersion": "plum.dev/v1", "kind": "Workflow", "metadata": {"name": "kept"}, "spec": given}
        plum.ok("apply", "-f", "-", stdin=json.dumps(body))
        eventually(lambda: f"{number} (current)" in plum.ok("workflow", "versions", "kept").out)

    apply(1, "one")
    apply(2, "二", state="Paused")
    apply(3, "three")

    listed = plum.ok("workflow", "versions", "kept").out.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["3", "2", "1"]
    assert "spec.nodes[tell].payload.text: 二 -> three" in listed[1]
    assert "+      text: 二" in plum.ok("workflow", "diff", "kept", "1", "2").out
    assert "-      text: 二" in plum.ok("workflow", "diff", "kept").out
    unknown = plum("workflow", "rollback", "kept", "--to", "9")
    assert (unknown.code, "has no version 9; kept are 3, 2, 1" in unknown.err) == (NOT_FOUND, True)

    tried = plum.ok("workflow", "rollback", "kept", "--to", "1", "--dry-run").out
    assert "spec.nodes[tell].payload.text: three -> one" in tried
    assert "text: three" in plum.ok("get", "workflow", "kept", "-o", "yaml").out
    plum.ok("workflow", "rollback", "kept", "--to", "2")
    stored = json.loads(plum.ok("get", "workflow", "kept", "-o", "json").out)["spec"]
    assert stored["nodes"][0]["payload"] == {"text": "二"}
    assert stored["state"] == "Active"  # what a run does came back; that it may run was not part of it
    eventually(lambda: "4 (current)" in plum.ok("workflow", "versions", "kept").out)
    assert "unchanged: it does what version 4 does" in plum.ok("workflow", "rollback", "kept", "--to", "4").out

    plum.ok("run", "workflow/kept", "--wait")
    [name] = [line.split()[0] for line in plum.ok("runs", "--workflow", "kept", "--phase", "succeeded").out.splitlines()[1:]]
    assert "NODE" not in plum.ok("runs", "--workflow", "kept").out  # no run of a node: no column for it
    assert "tell  Succeeded" in plum.ok("run", "logs", name).out
    assert '{"text": "二"}' in plum.ok("run", "logs", name, "tell").out
    assert "no runs of workflow kept that are Failed" in plum.ok("runs", "--workflow", "kept", "--phase", "Failed").out
    for action in ("nodes", "logs"):
        assert plum("run", action, name, "--node", "nobody").code == NOT_FOUND
    eventually(lambda: "1 ended, 100% succeeded" in plum.ok("workflow", "show", "kept").out)
    assert plum("workflow", "show", "nobody").code == NOT_FOUND
