"""Tasks in containers, from the run to the container and back: a real controller, a real agent, a real engine."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from plum_client.conditions import find_condition
from plum_schemas.base import ObjectKey
from plum_schemas.node import Node
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from tests.integration.tasks.support import Tasks
from tests.support.agent import NODE, Site, running_site, until, until_async
from tests.support.docker_engine import IMAGE, Engine, shared_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with shared_engine() as running:
        yield running


@pytest.fixture
async def site(tmp_path: Path, engine: Engine) -> AsyncIterator[Site]:
    async with running_site(tmp_path, "--engine", f"unix://{engine.socket}", "--task-allow", f"image:{IMAGE}") as running:
        await until_async(lambda: running.api.get(Node, NODE), lambda node: node and "container" in node.status.runtimes, 20)
        yield running
        agent = (running.data / NODE / "agent-id").read_text().strip()
        for line in engine.docker("ps", "-aq", "-f", f"label=plum.dev/agent={agent}-task").stdout.split():
            engine.docker("rm", "-f", line, ok=False)


def container(script: str, image: str = IMAGE, **more: object) -> dict[str, object]:
    return {"executor": "container", "container": {"image": image, "command": ["sh", "-c", script], **more}}


@pytest.mark.slow
async def test_a_task_runs_in_a_container_with_its_input_and_is_adopted_and_ended(site: Site, engine: Engine) -> None:
    tasks = Tasks(site.api, "default")

    limited = {"resources": {"limits": {"memory": "64Mi"}}}
    script = "cat; echo $MODE-$PLUM_TASK_ATTEMPT >&2; exit 3"
    read = await tasks.run(container(script, env={"MODE": "fast"}) | limited, payload={"n": 1})
    refused = await tasks.run(container("true", "other:1"), retry={"limit": 2})
    late = await tasks.run(container("trap '' TERM; sleep 300"), timeout="1s")
    adopted = await tasks.start(container("sleep 3; exit 4"), execution="AtMostOnce")
    await tasks.wait(adopted, lambda run: run.status.phase == "Running")
    site.end_agent(signal.SIGKILL)
    site.start_agent("--engine", f"unix://{engine.socket}", "--task-allow", f"image:{IMAGE}")
    found = await tasks.wait(adopted, seconds=40)

    assert (read.status.phase, read.status.exit_code, read.status.stderr) == ("Failed", 3, "fast-1\n"), read.status.error
    assert json.loads(read.status.stdout) == {"n": 1}
    limits = find_condition(read.status.conditions, "ResourceLimits")
    assert limits is not None and (limits.status, limits.reason) == ("True", "Enforced"), limits
    assert (refused.status.reason, refused.status.attempt) == ("NotAllowed", 1)
    assert late.status.phase == "Timeout"
    assert (found.status.phase, found.status.exit_code, found.status.attempt) == ("Failed", 4, 1)


@pytest.mark.slow
async def test_a_delegated_run_has_tasks_in_containers(site: Site, engine: Engine) -> None:
    async def make(kind: type[Any], name: str, **spec: Any) -> None:
        body = {"apiVersion": "plum.dev/v1", "kind": kind.info.kind, "metadata": {"name": name, "namespace": "default"}}
        await site.api.apply({**body, "spec": spec}, kind=kind.info, force=True)

    seen = 'cat > seen; echo "{\\"node\\": \\"$WORKER_NODE_ID\\", \\"bytes\\": $(stat -c %s seen)}"'
    await make(TaskDefinition, "look", **container(seen))
    await make(TaskDefinition, "long", **container("trap '' TERM; sleep 300"))
    first = {"name": "look", "taskRef": "look", "payload": {"n": 1}}
    again = {"name": "again", "taskRef": "look", "dependsOn": ["look"], "payload": {"n": "${{ nodes.look.output.node }}"}}
    await make(
        Workflow,
        "inner",
        nodes=[first, again],
        outputs={"node": "${{ nodes.again.output.node }}", "bytes": "${{ nodes.again.output.bytes }}"},
    )
    await make(WorkflowRun, "r", workflowRef="inner", delegate={"nodeName": NODE})
    run = await ended(site, "r")
    assert (run.status.phase, run.status.outputs) == ("Succeeded", {"node": NODE, "bytes": 14}), run.status
    task = await site.api.get(TaskRun, "r-again", "default")
    assert task is not None and (task.status.phase, task.status.node) == ("Succeeded", NODE)

    await make(Workflow, "stays", nodes=[{"name": "long", "taskRef": "long"}])
    await make(WorkflowRun, "s", workflowRef="stays", delegate={"nodeName": NODE})
    agent = (site.data / NODE / "agent-id").read_text().strip()
    marked = ("ps", "-q", "-f", f"label=plum.dev/agent={agent}-flow")
    await until(lambda: engine.docker(*marked).stdout.split(), 60, "its container runs")
    site.end_agent(signal.SIGKILL)
    site.start_agent("--engine", f"unix://{engine.socket}", "--task-allow", f"image:{IMAGE}")
    await site.api.patch(WorkflowRun, ObjectKey("default", "s"), {"spec": {"state": "Canceled"}})
    assert (await ended(site, "s")).status.phase == "Canceled"
    await until(lambda: not engine.docker(*marked).stdout.split(), 60, "its container was adopted, and has ended with it")


async def ended(site: Site, name: str) -> WorkflowRun:
    found: WorkflowRun = await until_async(
        lambda: site.api.get(WorkflowRun, name, "default"), lambda run: run.status.phase in TERMINAL_RUN_PHASES, 60
    )
    return found
