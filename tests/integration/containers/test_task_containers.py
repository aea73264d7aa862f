"""Tasks in containers, from the run to the container and back: a real controller, a real agent, a real engine."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from plum_schemas.node import Node

from tests.integration.tasks.support import Tasks
from tests.support.agent import NODE, Site, running_site, until_async
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

    read = await tasks.run(container("cat; echo $MODE-$PLUM_TASK_ATTEMPT >&2; exit 3", env={"MODE": "fast"}), payload={"n": 1})
    refused = await tasks.run(container("true", "other:1"), retry={"limit": 2})
    late = await tasks.run(container("trap '' TERM; sleep 300"), timeout="1s")
    adopted = await tasks.start(container("sleep 3; exit 4"), execution="AtMostOnce")
    await tasks.wait(adopted, lambda run: run.status.phase == "Running")
    site.end_agent(signal.SIGKILL)
    site.start_agent("--engine", f"unix://{engine.socket}", "--task-allow", f"image:{IMAGE}")
    found = await tasks.wait(adopted, seconds=40)

    assert (read.status.phase, read.status.exit_code, read.status.stderr) == ("Failed", 3, "fast-1\n"), read.status.error
    assert json.loads(read.status.stdout) == {"n": 1}
    assert (refused.status.reason, refused.status.attempt) == ("NotAllowed", 1)
    assert late.status.phase == "Timeout"
    assert (found.status.phase, found.status.exit_code, found.status.attempt) == ("Failed", 4, 1)
