"""`plum workflow`: templates listed, workflows made from them, refusals that name the parameter."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
