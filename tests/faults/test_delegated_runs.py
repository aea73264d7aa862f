"""Sub-workflows that a node carries out by itself: with the cable cut, agent and controller killed, given up and back again."""

from __future__ import annotations

import json
import signal
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plum_client.errors import ApiError
from plum_flow.delegation import NODE_LOST
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.core import Event, Secret
from plum_schemas.node import Node
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflowrun import WorkflowRun

from tests.support.agent import NODE, until, until_async
from tests.support.edge import SECONDS, Edge, edge, step
from tests.support.http_site import HttpSite, Reply, http_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
Json = dict[str, Any]


async def test_a_delegated_run_is_carried_out_on_its_node_and_looks_as_if_it_had_run_in_the_controller(tmp_path: Path) -> None:
    async with edge(tmp_path) as site, http_site(lambda asked: Reply()) as told:
        value = {"value": b64encode(b"s3cr3t!").decode()}
        await site.api.create(Secret(metadata=ObjectMeta(name="key", namespace="default"), data=value))
        await site.task("measure", 'read line; echo "measured $line" >&2; echo "{\\"value\\": 7}"')
        await site.task(
            "shaky", f"echo x >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) -ge 2 ]", retry={"limit": 2, "initial": "100ms"}
        )
        nodes = [
            step("first", "builtin.echo", payload={"zone": "${{ params.zone }}"}),
            step("measure", "measure", "first", payload={"zone": "${{ nodes.first.output.zone }}", "key": "${{ secrets.key }}"}),
            {"name": "high", "type": "branch", "dependsOn": ["measure"], "condition": "nodes.measure.output.value > 5"},
            step("shaky", "shaky", triggerRule="all_success", dependsOn=[{"node": "high", "on": "true"}]),
            step("low", "builtin.echo", dependsOn=[{"node": "high", "on": "false"}]),
            {
                "name": "again", "type": "loop", "count": 3, "dependsOn": ["measure"],
                "body": {"nodes": [step("once", "builtin.echo", payload={"i": "${{ loop.i }}"})]},
            },
            {"name": "pause", "type": "wait", "wait": {"duration": "100ms"}, "dependsOn": ["again"]},
            step("nap", "builtin.delay", "pause", payload={"seconds": 0.1}),
            {"name": "sub", "type": "subworkflow", "workflowRef": "secretive", "params": {"token": "is ${{ secrets.key }}"}},
        ]  # fmt: skip
        await site.task("show", f"cat > {tmp_path}/shown; cat {tmp_path}/shown")
        shows = [
            step("show", "show", payload={"token": "${{ params.token }}"}),
            step("pass", "builtin.echo", payload={"v": "${{ params.token }}"}),
        ]
        passed = {"v": "${{ nodes.pass.output.v }}", "p": "${{ params.token }}"}
        await site.apply("Workflow", "secretive", nodes=shows, params=[{"name": "token"}], outputs=passed)
        outputs = {"value": "${{ nodes.measure.output.value }}", "last": "${{ nodes.again.output.last.i }}"}

        hook = {"name": "tell", "url": told.url, "on": ["RunStarted", "NodeStarted", "NodeFinished", "RunFinished"]}
        last = {"nodes": [step("close", "builtin.echo", payload={"phase": "${{ run.phase }}"})]}
        zone = {"name": "zone", "type": "integer", "default": 4}
        inner = await site.start("survey", nodes, hooks=[hook], params=[zone], outputs=outputs, **{"finally": last})
        outer = await site.ended("survey-1")

        run = await site.run(inner)
        assert outer.status.phase == "Succeeded", (outer.status, run.status, site.site.log.read_text()[-3000:])
        assert outer.status.outputs == {"edge": {"value": 7, "last": 2}}
        assert (run.status.phase, run.status.node, run.status.fencing_token) == ("Succeeded", NODE, 1)
        rows = await site.rows(inner)
        phases = {name: row["phase"] for name, row in rows.items()}
        assert phases["low"] == "Skipped"
        assert {name for name, phase in phases.items() if phase == "Succeeded"} >= {"first", "measure", "shaky", "once[2]", "nap"}
        measured = await site.api.get(TaskRun, f"{inner}-measure", "default")
        assert measured is not None and measured.status.phase == "Succeeded" and measured.status.node == NODE
        assert measured.status.stderr.startswith("measured ") and "***" in measured.status.stderr
        inside = await site.run(f"{inner}-sub")
        assert (inside.status.phase, inside.status.outputs) == ("Succeeded", {"v": "is ***", "p": "is ***"}), inside.status
        shown = await site.api.get(TaskRun, f"{inner}-sub-show", "default")
        assert json.loads((tmp_path / "shown").read_text())["token"] == "is s3cr3t!"
        assert shown is not None and json.loads(shown.status.stdout)["token"] == "is ***"
        assert "s3cr3t!" not in msgspec.json.encode([measured, inside, shown]).decode(), "what many may read"
        assert rows["finally:close"]["output"] == {"phase": "Succeeded"}
        shaky = await site.api.get(TaskRun, f"{inner}-shaky", "default")
        assert shaky is not None and shaky.status.attempt == 2 and len(shaky.status.attempts) == 2
        await until_async(lambda: node_of(site), lambda found: found.status.delegated_runs == 0, SECONDS)
        assert not site.processes()
        await until(lambda: "RunFinished" in events_of(told), SECONDS, "hooks are told")
        assert (events_of(told)[0], events_of(told)[-1]) == ("RunStarted", "RunFinished")
        assert sorted(events_of(told)).count("NodeFinished measure") == 1


def events_of(site: HttpSite) -> list[str]:
    """What a hook was told, in order: the event, and the node."""
    return [" ".join(filter(None, (asked.json()["event"], asked.json().get("node", {}).get("name")))) for asked in site.asked]


async def node_of(site: Edge) -> Any:
    return await site.api.get(Node, NODE)


async def test_a_delegated_run_goes_on_without_the_controller_and_through_the_death_of_its_agent(tmp_path: Path) -> None:
    async with edge(tmp_path, lease=1) as site, http_site(lambda asked: Reply({"wind": 7})) as station:
        cable = site.cable
        await site.task("begin", f"echo begin >> {tmp_path}/log; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
        waits = f"while [ ! -e {tmp_path}/end ]; do sleep 0.05; done"
        await site.task("long", f"echo long >> {tmp_path}/log; {waits}; echo '{{\"n\": 5}}'")
        await site.task("after", f"echo after >> {tmp_path}/log")
        more = "print(json.dumps({'wind': json.load(sys.stdin)['wind'] + 1}))"
        script = f"import json, sys; open('{tmp_path}/script', 'a').write('x'); {more}"
        leaf = [
            {"name": "ask", "type": "http", "config": {"url": f"{station.url}/wind"}},
            {
                "name": "add", "type": "script", "config": {"code": script}, "dependsOn": ["ask"],
                "payload": {"wind": "${{ nodes.ask.output.body.wind }}"},
            },
            step("nap", "builtin.delay", "add", payload={"seconds": 0.2}),
        ]  # fmt: skip
        await site.apply("Workflow", "leaf", nodes=leaf, outputs={"wind": "${{ nodes.add.output.wind }}"})
        body = {"nodes": [step("pass", "builtin.echo", payload={"i": "${{ loop.i }}"})]}
        nodes = [
            step("begin", "begin"),
            step("long", "long", "begin"),
            {"name": "wind", "type": "subworkflow", "workflowRef": "leaf", "dependsOn": ["long"]},
            {"name": "may", "type": "wait", "wait": {"approval": {"message": "report?"}}},
            step("report", "builtin.echo", "may", "after"),
            {"name": "many", "type": "loop", "count": 300, "dependsOn": ["long"], "body": body},
            {"name": "pause", "type": "wait", "wait": {"duration": "300ms"}, "dependsOn": ["many", "wind"]},
            step("after", "after", "pause"),
        ]
        outputs = {"n": "${{ nodes.long.output.n }}", "wind": "${{ nodes.wind.output.wind }}"}
        inner = await site.start("voyage", nodes, outputs=outputs)
        await until(lambda: site.lines("log") == ["begin"], SECONDS, "the first task runs")
        await site.phase(inner, "Running")
        await until_async(lambda: site.rows(inner), lambda rows: rows["may"]["phase"] == "Waiting", SECONDS)

        cable.cut()
        away = await until_async(lambda: site.run(inner), lambda run: run.status.out_of_contact_since is not None, SECONDS)
        assert away.status.phase == "Running", "nobody is given up who may be away for any time"
        (tmp_path / "go").touch()
        await until(lambda: site.lines("log") == ["begin", "long"], SECONDS, "the next task starts with nobody in reach")
        site.site.end_agent(signal.SIGKILL)
        assert len(site.processes()) >= 1, "what runs goes on without the agent"
        site.site.start_agent("--engine", "none")
        await site.control(inner, action="approve", node="may")
        (tmp_path / "end").touch()
        await until(lambda: site.lines("log") == ["begin", "long", "after"], SECONDS, "the next agent goes on")
        assert (await site.run(inner)).status.phase == "Running", "the controller knows nothing of it yet"

        cable.heal()
        outer = await site.ended("voyage-1")

        run = await site.run(inner)
        assert (outer.status.phase, outer.status.outputs) == ("Succeeded", {"edge": {"n": 5, "wind": 8}}), run.status
        assert run.status.out_of_contact_since is None
        assert run.status.counts.succeeded == 8 + 300
        assert site.lines("log") == ["begin", "long", "after"], "each ran once"
        rows = await site.rows(inner)
        assert len([name for name in rows if name.startswith("pass[")]) == 300
        assert all(row["phase"] == "Succeeded" for row in rows.values()), rows
        inside = await site.run(f"{inner}-wind")
        assert (inside.status.phase, inside.status.node, inside.status.outputs) == ("Succeeded", NODE, {"wind": 8})
        assert {name: row["phase"] for name, row in (await site.rows(f"{inner}-wind")).items()} == dict.fromkeys(
            ("ask", "add", "nap"), "Succeeded"
        )
        assert (tmp_path / "script").read_text() == "x" and len(station.asked) == 1, "each ran once"
        assert (await site.api.get(TaskRun, f"{inner}-wind-add", "default")).status.phase == "Succeeded"
        assert not site.processes()


async def test_a_node_that_was_given_up_is_refused_when_it_returns_and_ends_what_it_runs(tmp_path: Path) -> None:
    async with edge(tmp_path, lease=1) as site:
        cable = site.cable
        stays = "[ $WORKER_NODE_ID = node-2 ] || sleep 1000"
        await site.task("long", f"echo $WORKER_NODE_ID long >> {tmp_path}/log; {stays}; echo '{{\"n\": 2}}'")
        await site.task("other", f"echo $WORKER_NODE_ID other >> {tmp_path}/log")
        await site.apply("Workflow", "deep", nodes=[step("long", "long")], outputs={"n": "${{ nodes.long.output.n }}"})
        nodes = [{"name": "deep", "type": "subworkflow", "workflowRef": "deep"}, step("other", "other")]
        await site.api.patch(Node, NODE, {"metadata": {"labels": {"pier": "3"}}})
        delegate = {"nodeSelector": {"pier": "3"}, "lostAfter": "2s"}
        retry = {"limit": 1, "initial": "100ms"}
        outputs = {"n": "${{ nodes.deep.output.n }}"}
        inner = await site.start("lost", nodes, delegate=delegate, retry=retry, outputs=outputs)
        await until(lambda: sorted(site.lines("log")) == ["node-1 long", "node-1 other"], SECONDS, "both run")
        before = await site.phase(inner, "Running")
        await site.phase(f"{inner}-deep", "Running")

        async with site.another_node("node-2", pier="3"):
            cable.cut()
            run = await site.phase(inner, "Failed")
            assert "longer than lostAfter 2s; given up" in run.status.message and run.status.reason == NODE_LOST, run.status
            assert run.status.fencing_token == before.status.fencing_token + 1
            inside = await site.phase(f"{inner}-deep", "Failed")
            assert (inside.status.reason, inside.status.fencing_token) == (NODE_LOST, 2)
            rows = await until_async(lambda: site.rows(inner), lambda found: found["deep"]["phase"] == "Canceled", SECONDS)
            assert rows["deep"]["reason"] == NODE_LOST
            outer = await site.ended("lost-1")
            again = await site.run(f"{inner}-r2")
            assert (outer.status.phase, outer.status.outputs) == ("Succeeded", {"edge": {"n": 2}}), (outer.status, again.status)
            assert (again.status.phase, again.status.node) == ("Succeeded", "node-2")
            assert site.processes(), "the node that was given up does not know yet"

            cable.heal()
            await until(lambda: not site.processes(), SECONDS, "what ran there is ended")
        with pytest.raises(ApiError, match="fencing token is 2, not 1"):
            row = {"key": "other", "value": {"name": "other", "phase": "Succeeded"}}
            await site.merge(inner, fencingToken=before.status.fencing_token, number=99, rows=[row])
        with pytest.raises(ApiError, match="has ended"):
            await site.merge(inner, fencingToken=run.status.fencing_token, number=99, rows=[row])
        with pytest.raises(ApiError, match="fencing token"):
            await site.merge(f"{inner}-deep", fencingToken=1, number=99, rows=[row])
        for name, stale in ((inner, run.status.fencing_token - 1), (f"{inner}-deep", 1)):
            with pytest.raises(ApiError, match="fencing token"):
                patch = {"status": {"fencingToken": stale, "phase": "Succeeded"}}
                await site.api.patch(WorkflowRun, ObjectKey("default", name), patch, subresource="status")
        for name in (inner, f"{inner}-deep"):
            after = await site.run(name)
            assert (after.status.phase, after.status.reason, after.status.outputs) == ("Failed", NODE_LOST, {})
        assert (await site.rows(inner))["deep"]["phase"] == "Canceled"
        assert (await site.ended("lost-1")).status.outputs == {"edge": {"n": 2}}
        assert sorted(site.lines("log")) == ["node-1 long", "node-1 other", "node-2 long", "node-2 other"]
        names = [task.metadata.name for task in await site.api.list(TaskRun, "default") if task.status.phase == "Succeeded"]
        assert sorted(names) == sorted({*names}) and f"{inner}-r2-deep-long" in names and f"{inner}-deep-long" not in names


async def test_pause_and_cancel_take_effect_when_the_node_can_be_reached(tmp_path: Path) -> None:
    async with edge(tmp_path, lease=1) as site:
        cable = site.cable
        await site.task("first", f"echo first >> {tmp_path}/log; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
        await site.task("second", f"echo second >> {tmp_path}/log; sleep 1000")
        await site.apply("Workflow", "deep", nodes=[step("second", "second")])
        deep = {"name": "deep", "type": "subworkflow", "workflowRef": "deep", "dependsOn": ["first"]}
        inner = await site.start("held", [step("first", "first"), deep])
        await until(lambda: site.lines("log") == ["first"], SECONDS, "it runs")

        await site.api.patch(WorkflowRun, ObjectKey("default", inner), {"spec": {"state": "Paused"}})
        await site.phase(inner, "Paused")
        (tmp_path / "go").touch()
        await until_async(lambda: site.rows(inner), lambda rows: rows["first"]["phase"] == "Succeeded", SECONDS)
        assert site.lines("log") == ["first"], "nothing new starts"
        await site.api.patch(WorkflowRun, ObjectKey("default", inner), {"spec": {"state": "Running"}})
        await until(lambda: site.lines("log") == ["first", "second"], SECONDS, "it goes on")
        await site.phase(inner, "Running")
        inside = await site.phase(f"{inner}-deep", "Running")
        assert (inside.status.node, inside.metadata.owner_references[0].name) == (NODE, inner)
        await site.control(inner, action="approve", node="first")
        await until_async(lambda: site.api.list(Event, "default"), lambda found: refused_in(found, inner), SECONDS)

        name = f"run default/{inner}"
        for deadline, stays in ((600, f"still here: {name}"), (1, f"{name}, {name}-deep were delegated to this node")):
            drain = {"deadlineSeconds": deadline, "requestedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
            await site.api.patch(Node, NODE, {"spec": {"unschedulable": True, "drain": drain}})
            await until_async(lambda: drained(site), lambda said, stays=stays: stays in said, SECONDS)
            assert site.processes(), "a drain waits for it, and leaves it when the time is up"
        await site.api.patch(Node, NODE, {"spec": {"unschedulable": False, "drain": None}})

        cable.cut()
        await until_async(lambda: site.run(inner), lambda run: run.status.out_of_contact_since is not None, SECONDS)
        await site.api.patch(WorkflowRun, ObjectKey("default", "held-1"), {"spec": {"state": "Canceled"}})
        await until_async(lambda: site.run(inner), lambda run: run.spec.state == "Canceled", SECONDS)
        assert site.processes() and (await site.run(inner)).status.phase == "Running"
        cable.heal()
        run, outer = await site.ended(inner), await site.ended("held-1")
        assert (run.status.phase, outer.status.phase) == ("Canceled", "Canceled")
        assert (await site.ended(f"{inner}-deep")).status.phase == "Canceled", "and what is inside"
        await until(lambda: not site.processes(), SECONDS, "it was ended")


def refused_in(events: Iterable[Event], run: str) -> bool:
    """Whether it was told that a command made no sense where the run goes on."""
    return any(one.reason == "CommandRefused" and one.involved_object.name == run for one in events)


async def drained(site: Edge) -> str:
    """What is said of the drain of the node."""
    node = await node_of(site)
    found = [one for one in node.status.conditions if one.type == "Drained"]
    return str(found[0].message) if found and found[0].observed_generation == node.metadata.generation else ""
