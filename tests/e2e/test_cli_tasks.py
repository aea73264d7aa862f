"""`plum run task`, `plum task`, `plum get taskruns`, `plum explain taskrun` against a real controller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from plum_cli.errors import FAILED, NOT_FOUND

from tests.support.command import Plum, eventually
from tests.support.server import started_server

SLOW = """\
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {name: slow}
spec: {executor: embedded, task: builtin.delay, timeout: 5m, defaultPayload: {seconds: 60}}
---
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {name: resize}
spec:
  executor: embedded
  payloadSchema: {type: object, properties: {width: {type: integer}}}
---
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {name: survey}
spec: {executor: os_process, process: {command: date}, nodeSelector: {deck: lower}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started_server(tmp_path_factory.mktemp("cli") / "data") as running:
        yield running.url


@pytest.fixture
def plum(server: str, tmp_path: Path) -> Plum:
    plum = Plum(server, tmp_path)
    plum.ok("apply", "-f", "-", stdin=SLOW)
    return plum


def name_of(out: str) -> str:
    return out.split()[0].partition("/")[2]


def test_run_prints_the_output_and_fails_with_the_run(plum: Plum) -> None:
    done = plum.ok("run", "task/builtin.echo", "--payload", '{"a": 1, "b": 2}', "--param", "b=3", "--wait")
    failed = plum("run", "task/builtin.fail", "--param", "message=no luck", "--wait")

    assert json.loads(done.out.partition("created\n")[2].partition("{")[1] + done.out.partition("{")[2]) == {"a": 1, "b": 3}
    assert failed.code == FAILED
    assert "no luck" in failed.err
    assert plum("run", "task/no-such", "--wait").code == NOT_FOUND
    assert "no JSON" in plum("run", "task/resize", "--payload", "{").err


def test_a_run_is_listed_explained_cancelled_and_run_again(plum: Plum) -> None:
    name = name_of(plum.ok("run", "task/slow").out)
    eventually(lambda: "Running" in plum.ok("get", "taskruns", name).out)

    said = plum.ok("explain", f"taskrun/{name}").out
    assert "is executed by the controller" in said
    assert "ended when the attempt has taken 5m" in said
    assert plum("task", "retry", name).code == FAILED

    assert plum.ok("task", "cancel", name, "--wait").out == f"taskrun.plum.dev/{name} cancelled\n"
    assert "ended as Canceled" in plum.ok("explain", f"taskrun/{name}").out
    again = plum("task", "cancel", name)
    assert (again.code, "has ended as Canceled already" in again.err) == (FAILED, True)

    second = name_of(plum.ok("task", "retry", name).out)
    assert second != name
    plum.ok("task", "cancel", second, "--wait")


def test_explain_says_what_a_run_waits_for(plum: Plum) -> None:
    worker, node = (name_of(plum.ok("run", f"task/{task}", "--param", "width=1").out) for task in ("resize", "survey"))

    eventually(
        lambda: "No worker in namespace default has registered the task resize" in plum.ok("explain", f"taskrun/{worker}").out
    )
    eventually(lambda: "there are no nodes" in plum.ok("explain", f"taskrun/{node}").out)
    plum.ok("task", "cancel", worker, node)
