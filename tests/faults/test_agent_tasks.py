"""Tasks on a node with a real agent: what they get, how they end, and that `kill -9` of the agent changes none of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from plum_agent.drivers import cgroups
from plum_client.conditions import find_condition
from plum_client.http_transport import HttpTransport
from plum_schemas.base import Condition
from plum_schemas.core import Event
from plum_schemas.node import Node
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflowrun import WorkflowRun

from tests.integration.tasks.support import Tasks
from tests.support.agent import NODE, Site, marked, running_site, until, until_async
from tests.support.server import started_server


def tasks_of(site: Site) -> Tasks:
    return Tasks(site.api, "default")


def processes(site: Site) -> dict[int, str]:
    """Those of tasks."""
    return marked((site.data / NODE / "agent-id").read_text().strip() + "-task.")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """One controller and one agent for what leaves both alone: address and folder."""
    folder = tmp_path_factory.mktemp("shared")
    with started_server(folder / "controller") as server:
        command = [sys.executable, "-m", "plum_agent", "--node", NODE, "--controller", server.url, "--engine", "none"]
        with (folder / "agent.log").open("ab") as log:
            agent = subprocess.Popen([*command, "--data-dir", str(folder / "agent")], stdout=log, stderr=log, cwd=folder)
        yield server.url, folder
        agent.kill()
        agent.wait()


@pytest.fixture
async def calm(shared: tuple[str, Path]) -> AsyncIterator[Site]:
    url, folder = shared
    seen = Site(folder, url)
    await seen.registered()
    yield seen
    await seen.api.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path, "--engine", "none") as running:
        yield running


def process(*command: str, **more: object) -> dict[str, object]:
    return {"executor": "os_process", "process": {"command": list(command), **more}}


def shell(script: str, **more: object) -> dict[str, object]:
    return process("sh", "-c", script, **more)


async def test_a_process_gets_its_input_environment_and_folder_and_its_output_is_kept(calm: Site, tmp_path: Path) -> None:
    tasks = tasks_of(calm)
    script = 'cat; echo "$GREETING $PLUM_TASK_RUN $PLUM_TASK_ATTEMPT $WORKER_NODE_ID" >&2; pwd >&2; exit 0'

    run = await tasks.run(
        task=shell(script, env={"GREETING": "hello"}, workingDir=str(tmp_path)), payload={"width": 3}, name="cat"
    )

    status = run.status
    assert (status.phase, status.node, status.exit_code) == ("Succeeded", NODE, 0)
    assert json.loads(status.stdout) == {"width": 3}
    assert status.stderr.splitlines() == ["hello cat 1 node-1", str(tmp_path)]
    assert status.output["width"] == 3
    assert not processes(calm)


async def test_a_failure_is_tried_again_and_keeps_its_exit_code(calm: Site, tmp_path: Path) -> None:
    tasks, mark = tasks_of(calm), tmp_path / "tries"

    run = await tasks.run(task=shell(f"echo x >> {mark}; exit 7"), retry={"limit": 2, "initial": "50ms", "on": ["7"]})

    assert (run.status.phase, run.status.exit_code, run.status.reason) == ("Failed", 7, "ExitCode")
    assert [attempt.exit_code for attempt in run.status.attempts] == [7, 7, 7]
    assert mark.read_text() == "x\n" * 3


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_timeout_and_a_cancel_end_the_whole_tree(calm: Site, how: str) -> None:
    tasks = tasks_of(calm)
    script = "trap '' TERM; setsid sleep 300 & sleep 300 & echo up; wait"
    run = await tasks.start(task=shell(script), timeout="1s" if how == "timeout" else None)
    if how == "cancel":
        await until(lambda: len(processes(calm)) >= 3, 30)
        await tasks.cancel(run)

    ended = await tasks.wait(run, seconds=60)

    assert ended.status.phase == {"timeout": "Timeout", "cancel": "Canceled"}[how]
    assert ended.status.stdout == "up\n"
    assert not processes(calm)


async def test_output_is_bounded_in_the_status_and_whole_in_the_log(calm: Site) -> None:
    run = await tasks_of(calm).run(
        task=shell("i=0; while [ $i -lt 30000 ]; do printf '%0100d\\n' $i; i=$((i+1)); done; printf '\\001\\377'")
    )

    assert run.status.phase == "Succeeded"
    assert 900_000 < len(json.dumps(run.status.stdout)) < 1_200_000
    folder = next((calm.data / NODE / "tasks").glob(f"{run.metadata.uid}-*"))
    assert (folder / "run" / "stdout.log").stat().st_size == 30000 * 101 + 2


@pytest.mark.parametrize("moment", ["running", "ended while away"])
async def test_the_next_agent_adopts_a_task_and_reports_the_true_exit(site: Site, tmp_path: Path, moment: str) -> None:
    tasks, gate = tasks_of(site), tmp_path / "gate"
    run = await tasks.start(
        task=shell(f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; echo done; exit 5"), execution="AtMostOnce"
    )
    await until(lambda: bool(processes(site)), 30)
    await tasks.wait(run, lambda found: found.status.phase == "Running")

    site.end_agent(signal.SIGKILL)
    if moment == "ended while away":
        gate.touch()
        await until(lambda: not processes(site), 30)
    site.start_agent("--engine", "none")
    gate.touch()
    ended = await tasks.wait(run, seconds=60)

    assert (ended.status.phase, ended.status.exit_code, ended.status.stdout) == ("Failed", 5, "begun\ndone\n")
    assert (ended.status.attempt, len(ended.status.attempts)) == (1, 1)


async def test_what_the_node_does_not_allow_is_never_started(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with running_site(tmp_path, "--engine", "none", "--task-allow", "true,/opt/tasks/*") as site:
        tasks = tasks_of(site)
        refused = await tasks.run(task=process("touch", str(mark)), retry={"limit": 3})
        sneaky = await tasks.run(task=process("true", env={"PATH": str(tmp_path)}))
        image = await tasks.run(
            task={"executor": "container", "container": {"image": "tools:1"}},
            deadline="2100-01-01T00:00:00Z",
            timeout="5s",
            nodeName=NODE,
        )

    assert (refused.status.phase, refused.status.reason, refused.status.attempt) == ("Failed", "NotAllowed", 1)
    assert "PLUM_TASK_ALLOW" in refused.status.error
    assert not mark.exists()
    assert sneaky.status.phase == "Succeeded"
    assert (image.status.phase, image.status.reason) == ("Failed", "RuntimeNotSupported")


LIMITED: dict[str, object] = {"resources": {"limits": {"cpu": "500m", "memory": "256Mi"}}}


async def test_limits_that_are_enforced_are_told_with_the_end(calm: Site) -> None:
    if {"cpu", "memory"} - cgroups.find_hierarchies().parents.keys():
        pytest.skip("this machine has no writable cgroups")
    tasks = tasks_of(calm)

    limited = await tasks.run(task=shell("cat /proc/self/cgroup") | LIMITED)
    free = await tasks.run(task=shell("exit 0"))

    assert verdict(limited) == ("True", "Enforced", "")
    assert "/plum" in limited.status.stdout
    assert [one.type for one in free.status.conditions] == ["Succeeded"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="taking cgroups away needs root and unshare")
async def test_limits_that_the_node_cannot_enforce_are_said_in_the_run_while_it_goes_on(tmp_path: Path) -> None:
    """The agent sees no control groups; it is killed and started again under the first attempt."""
    gate = tmp_path / "gate"
    hidden = ("unshare", "--mount", "sh", "-c", 'umount -a -l -t cgroup,cgroup2 && exec "$@"', "sh")
    async with running_site(tmp_path, "--engine", "none", prefix=hidden) as site:
        tasks = tasks_of(site)
        script = f"while [ ! -e {gate} ]; do sleep 0.05; done; exit 3"
        run = await tasks.start(task=shell(script) | LIMITED, retry={"limit": 1, "initial": "10ms"})
        going = await tasks.wait(run, lambda found: verdict(found) is not None)
        site.end_agent(signal.SIGKILL)
        site.start_agent("--engine", "none")
        gate.touch()
        ended = await tasks.wait(run, seconds=60)
        free = await tasks.run(task=shell("exit 0"))

        async def events() -> list[str]:
            found = await site.api.list(Event, "default")
            return [one.message for one in found if (one.reason, one.involved_object.name) == ("NotEnforced", run.metadata.name)]

        told = await until_async(events, bool)
        await tasks.define("limited", **(shell("sleep 0.5") | LIMITED))
        head = {"apiVersion": "plum.dev/v1", "kind": "WorkflowRun", "metadata": {"name": "edge", "namespace": "default"}}
        spec = {"definition": {"nodes": [{"name": "work", "taskRef": "limited"}]}, "delegate": {"nodeName": NODE}}
        await site.api.create({**head, "spec": spec}, kind=WorkflowRun.info)
        delegated = await until_async(lambda: site.api.get(TaskRun, "edge-work", "default"), lambda found: found is not None)
        path = f"/apis/plum.dev/v1/namespaces/default/taskruns/{run.metadata.name}/why"
        assert isinstance(site.api.transport, HttpTransport)
        explained = (await site.api.transport.request("GET", path, {}, b"")).body.decode()

    assert going.status.phase == "Running"
    assert (ended.status.phase, ended.status.attempt) == ("Failed", 2)
    for one in (going, ended):
        status, reason, message = verdict(one) or ("", "", "")
        assert (status, reason) == ("False", "NotEnforced")
        assert "limits.cpu is not enforced: this host has no writable cpu cgroup" in message
        assert "limits.memory is not enforced" in message
    assert "limits.cpu is not enforced" in told[0]
    assert "limits.cpu is not enforced" in explained
    assert verdict(free) is None
    assert (delegated.status.phase, (verdict(delegated) or ())[:2]) == ("Succeeded", ("False", "NotEnforced"))


def verdict(run: TaskRun) -> tuple[str, str, str] | None:
    """What a run says of its limits."""
    found = find_condition(run.status.conditions, "ResourceLimits")
    return (found.status, found.reason, found.message) if found is not None else None


async def test_a_result_waits_on_the_disk_while_the_controller_is_away(site: Site, tmp_path: Path) -> None:
    tasks, gate = tasks_of(site), tmp_path / "gate"
    run = await tasks.start(task=shell(f"while [ ! -e {gate} ]; do sleep 0.05; done; echo kept"), nodeName=NODE)
    await until(lambda: bool(processes(site)), 30)
    site.end_agent(signal.SIGTERM)
    gate.touch()
    await until(lambda: not processes(site), 30)

    site.start_agent("--engine", "none", "--controller", "http://127.0.0.1:9")
    folder = next((site.data / NODE / "tasks").glob(f"{run.metadata.uid}-*"))
    await until(lambda: b'"state":"Ended"' in (folder / "record").read_bytes(), 30)
    site.end_agent(signal.SIGKILL)
    site.start_agent("--engine", "none")

    assert (await tasks.wait(run)).status.stdout == "kept\n"


def is_running(run: TaskRun) -> bool:
    return run.status.phase == "Running"


async def drained(site: Site) -> Condition | None:
    node = await site.api.get(Node, NODE)
    assert node is not None and node.spec.drain is not None
    found = next((one for one in node.status.conditions if one.type == "Drained"), None)
    return found if found is not None and found.observed_generation == node.metadata.generation else None


async def drain_node(site: Site, deadline: int) -> None:
    drain = {"deadlineSeconds": deadline, "requestedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    await site.api.patch(Node, NODE, {"spec": {"unschedulable": True, "drain": drain}})


async def test_a_drain_waits_for_tasks_and_starts_none_meanwhile(site: Site, tmp_path: Path) -> None:
    tasks = tasks_of(site)
    long = await tasks.start(shell(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"), "long")
    await tasks.wait(long, is_running)

    await drain_node(site, 600)
    said = await until_async(lambda: drained(site), lambda found: found is not None)
    assert (said.status, said.message) == ("False", "still here: task default/long")
    after = await tasks.start({**process("true"), "nodeName": NODE}, "next")
    waits = await tasks.wait(after, lambda run: run.status.reason == "NoNodeFits")
    assert waits.status.error == f"node {NODE} is being drained"
    (tmp_path / "go").touch()

    await until_async(lambda: drained(site), lambda found: found is not None and found.status == "True")
    assert (await tasks.wait(long)).status.phase == "Succeeded"
    await site.api.patch(Node, NODE, {"spec": {"unschedulable": False, "drain": None}})
    assert (await tasks.wait(after)).status.phase == "Succeeded"


async def test_at_the_deadline_of_a_drain_tasks_go_as_their_policy_says(site: Site, tmp_path: Path) -> None:
    tasks = tasks_of(site)
    script = f"echo x >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) -ge 2 ] || sleep 1000"
    again = await tasks.start(shell(script), "again")
    once = await tasks.start({**shell("sleep 1000"), "execution": "AtMostOnce"}, "once")
    await tasks.wait(again, is_running)
    await tasks.wait(once, is_running)
    await until(lambda: (tmp_path / "runs").exists() and len(processes(site)) >= 2, what="both run")

    await drain_node(site, 1)
    once = await tasks.wait(once)
    again = await tasks.wait(again, lambda run: run.status.phase == "Pending")

    assert (once.status.phase, once.status.reason) == ("Unknown", "NodeDrained")
    assert again.status.attempts[0].reason == "NodeDrained"
    await until(lambda: not processes(site), what="what ran is ended")
    await until_async(lambda: drained(site), lambda found: found is not None and found.status == "True")
    await site.api.patch(Node, NODE, {"spec": {"unschedulable": False, "drain": None}})
    assert (await tasks.wait(again)).status.attempt == 2


async def test_on_stop_stop_takes_tasks_along_and_their_policy_says_what_follows(tmp_path: Path) -> None:
    async with running_site(tmp_path, "--engine", "none", "--on-stop", "stop") as site:
        tasks = tasks_of(site)
        script = f"echo x >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) -ge 2 ] || sleep 1000"
        again = await tasks.start(shell(script), "again")
        once = await tasks.start({**shell("sleep 1000"), "execution": "AtMostOnce"}, "once")
        await tasks.wait(again, is_running)
        await tasks.wait(once, is_running)
        await until(lambda: (tmp_path / "runs").exists() and len(processes(site)) >= 2, what="both run")

        site.end_agent(signal.SIGTERM)

        assert not processes(site)
        once = await tasks.wait(once)
        assert (once.status.phase, once.status.reason) == ("Unknown", "NodeStopped")
        site.start_agent("--engine", "none")
        again = await tasks.wait(again)
        assert (again.status.phase, again.status.attempt, again.status.attempts[0].reason) == ("Succeeded", 2, "NodeStopped")


async def test_on_stop_drain_waits_for_tasks(tmp_path: Path) -> None:
    async with running_site(tmp_path, "--engine", "none", "--on-stop", "drain") as site:
        tasks = tasks_of(site)
        long = await tasks.start(shell(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"), "long")
        await tasks.wait(long, is_running)
        await until(lambda: processes(site), what="its process runs")
        assert site.agent is not None

        site.agent.send_signal(signal.SIGTERM)
        await until_async(lambda: site.api.get(Node, NODE), lambda node: node.spec.drain is not None)
        assert processes(site) and site.agent.poll() is None
        (tmp_path / "go").touch()

        site.agent.wait(30)
        site.agent = None
        assert (await tasks.wait(long)).status.phase == "Succeeded"
