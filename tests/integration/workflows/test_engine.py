"""The engine on a whole control plane: what runs do, what people ask of them, and what is left after a crash anywhere."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from plum_client.errors import ApiError, ConflictError, InvalidObjectError
from plum_controller.api.identity import Identity
from plum_controller.api.run_access import check_commands
from plum_controller.resources.errors import ApiStatusError
from plum_controller.store.base import Transaction
from plum_controller.store.errors import StoreUnavailableError
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Secret
from plum_schemas.kv import KV
from plum_schemas.revision import Revision
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import WorkflowRun

from tests.support.workflows import Site, echo, on_site


def test_data_goes_from_node_to_node_and_out() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow(
            "flow",
            params={"zone": 4},
            variables={"base": 10},
            nodes=[
                echo("scan", payload={"contacts": "${{ params.zone + variables.base }}"}),
                {"name": "found", "type": "branch", "dependsOn": ["scan"], "condition": "nodes.scan.output.contacts > 10"},
                echo("photo", payload={"of": "${{ nodes.scan.output.contacts }}"}, dependsOn=[{"node": "found", "on": "true"}]),
                {"name": "again", "type": "loop", "count": 2, "dependsOn": [{"node": "found", "on": "false"}],
                 "body": [echo("sweep", payload={"pass": "${{ loop.i }}"})]},
                echo("close", "photo", "again", payload={"text": "{{steps.photo.output.of}} by ${{ run.name }}"}),
            ],
            outputs={"text": "${{ nodes.close.output.text }}"},
        )  # fmt: skip

        high = await site.ended(await site.run("flow", "high"))
        low = await site.ended(await site.run("flow", "low", params={"zone": 0}))

        assert (high.status.phase, high.status.outputs) == ("Succeeded", {"text": "14 by high"})
        assert {name: row["phase"] for name, row in (await site.rows("high")).items()} == {
            "scan": "Succeeded", "found": "Succeeded", "photo": "Succeeded", "again": "Skipped", "close": "Succeeded",
        }  # fmt: skip
        assert low.status.phase == "Failed"  # photo was skipped, so close has nothing to read
        assert "node close failed" in low.status.message
        rows = await site.rows("low")
        assert rows["sweep[1]"]["output"] == {"pass": 1}
        assert rows["again"]["output"] == {"iterations": 2, "last": {"pass": 1}}

    on_site(scenario)


def test_tasks_are_task_runs_that_are_made_once() -> None:
    async def scenario(site: Site) -> None:
        nodes = [{"name": "wait", "taskRef": "builtin.delay", "payload": {"seconds": 5}}, echo("after", "wait")]
        await site.workflow("flow", nodes=nodes)
        name = await site.run("flow")
        await site.until(site.task_runs, lambda found: bool(found))

        await site.crash()
        await site.run_controllers()
        run = await site.ended(name)

        [made] = await site.task_runs()
        assert run.status.phase == "Succeeded"
        assert made.metadata.name == "flow-1-wait"
        assert (await site.rows(name))["wait"]["made"] == "TaskRun/flow-1-wait"

    on_site(scenario)


def test_failures_are_handled_and_finally_runs() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow(
            "flow",
            nodes=[{"name": "bad", "taskRef": "builtin.fail", "payload": {"message": "no signal"}}, echo("never", "bad")],
            onFailure=[echo("tell", payload={"node": "${{ run.failedNode }}"})],
            **{"finally": [echo("clean", payload={"phase": "${{ run.phase }}"})]},
        )

        run = await site.ended(await site.run("flow"))

        rows = await site.rows("flow-1")
        assert (run.status.phase, run.status.message) == ("Failed", "node bad failed: no signal")
        assert rows["never"]["phase"] == "UpstreamFailed"
        assert rows["onFailure:tell"]["output"] == {"node": "bad"}
        assert rows["finally:clean"]["output"] == {"phase": "Failed"}

    on_site(scenario)


def test_a_failed_attempt_is_tried_again_after_its_pause() -> None:
    async def scenario(site: Site) -> None:
        retry = {"limit": 3, "initial": "10s"}
        await site.workflow("flow", nodes=[{"name": "a", "taskRef": "builtin.fail", "payload": {"times": 2}, "retry": retry}])
        started = site.plane.clock.monotonic()

        run = await site.ended(await site.run("flow"))

        assert run.status.phase == "Succeeded"
        assert 30 <= site.plane.clock.monotonic() - started < 40  # 10 s, then 20 s
        assert (await site.rows("flow-1"))["a"]["attempt"] == 3

    on_site(scenario)


def test_maps_loops_and_nested_bodies_are_addressable() -> None:
    async def scenario(site: Site) -> None:
        inner = {"name": "inner", "type": "loop", "count": 2, "variable": "j",
                 "body": [echo("leaf", payload={"v": "${{ item * 10 + loop.j }}"})]}  # fmt: skip
        each = {"name": "each", "type": "map", "items": "${{ params.list }}", "maxParallel": 2, "body": [inner]}
        await site.workflow("flow", params={"list": [1, 2, 3]}, nodes=[each], outputs={"all": "${{ nodes.each.output }}"})

        run = await site.ended(await site.run("flow"))

        rows = await site.rows("flow-1", "?node=leaf[2][1]")
        assert rows["leaf[2][1]"]["output"] == {"v": 31}
        assert run.status.outputs["all"]["results"][0] == {"iterations": 2, "last": {"v": 11}}
        assert run.status.counts.succeeded == 1 + 3 + 6

    on_site(scenario)


def test_runs_inside_of_runs_give_their_outputs() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("inner", params={"x": 0}, nodes=[echo("a", payload={"y": "${{ params.x + 1 }}"})],
                            outputs={"y": "${{ nodes.a.output.y }}"})  # fmt: skip
        await site.workflow(
            "outer",
            nodes=[{"name": "sub", "type": "subworkflow", "workflowRef": "inner", "params": {"x": 4}}],
            outputs={"y": "${{ nodes.sub.output.y }}"},
        )

        run = await site.ended(await site.run("outer"))

        assert run.status.outputs == {"y": 5}
        assert (await site.get("outer-1-sub")).status.phase == "Succeeded"

    on_site(scenario)


def test_a_workflow_that_calls_itself_ends() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("self", nodes=[{"name": "sub", "type": "subworkflow", "workflowRef": "self"}])

        run = await site.ended(await site.run("self"))

        assert run.status.phase == "Failed"
        assert "call itself" in run.status.message

    on_site(scenario)


def test_people_pause_resume_approve_skip_and_cancel() -> None:
    async def scenario(site: Site) -> None:
        ask = {"name": "ok", "type": "wait", "wait": {"approval": {"message": "go?", "approvers": ["system:admin", "boss"]}}}
        slow = {"name": "slow", "taskRef": "builtin.delay", "payload": {"seconds": 3600}}
        await site.workflow("flow", nodes=[ask, echo("after", "ok", payload={"by": "${{ nodes.ok.output.approved }}"}), slow])
        name = await site.run("flow")
        await site.until(lambda: site.rows(name), lambda rows: rows.get("ok", {}).get("phase") == "Waiting")

        assert (await site.rows(name))["ok"]["waitsFor"] == "approval: go?"
        with pytest.raises(ConflictError, match=r"waits for no approval|is Running"):
            await site.control(name, "approve", node="slow")
        with pytest.raises(ConflictError, match="may not answer"):
            await site.control(name, "approve", node="ok")
        await site.control(name, "pause")
        await site.until(lambda: site.get(name), lambda run: run.status.phase == "Paused")
        patch = {"spec": {"commands": [{"name": "c1", "action": "Approve", "node": "ok", "requestedBy": "boss"}]}}
        await site.api.patch(WorkflowRun, (await site.get(name)).key, patch)
        await site.until(lambda: site.rows(name), lambda rows: rows["ok"]["phase"] == "Succeeded")
        await asyncio.sleep(5)
        assert (await site.rows(name))["after"]["phase"] == "Pending"

        await site.control(name, "resume")
        await site.until(lambda: site.rows(name), lambda rows: rows["after"]["phase"] == "Succeeded")
        await site.control(name, "skip", node="slow", message="too slow")
        run = await site.ended(name)

        assert run.status.phase == "Succeeded"
        assert (await site.rows(name))["slow"]["message"].endswith(": too slow")
        [made] = await site.task_runs()
        assert made.spec.canceled
        for action in ("pause", "resume", "cancel", "skip"):
            with pytest.raises(ConflictError, match="the run has ended"):
                await site.control(name, action, node="slow")
        with pytest.raises(ConflictError, match="the run has ended"):
            await site.api.patch(WorkflowRun, run.key, {"spec": {"state": "Paused"}})

    on_site(scenario)


def test_who_asks_is_written_by_the_server_and_only_approvers_answer() -> None:
    async def scenario(site: Site) -> None:
        ask = {"name": "ok", "type": "wait", "wait": {"approval": {"approvers": ["leads"]}}}
        await site.workflow("flow", nodes=[ask])
        name = await site.run("flow")
        await site.until(lambda: site.rows(name), lambda rows: rows.get("ok", {}).get("phase") == "Waiting")
        gate = site.plane.api.gate
        assert site.engine is not None
        gate.refused_command = site.engine.refusal
        live = msgspec.to_builtins(await site.get(name))

        def wanted(**more: str) -> dict[str, Any]:
            command = {"name": "c", "action": "Approve", "node": "ok", **more}
            return {**live, "spec": {**live["spec"], "commands": [command]}}

        with pytest.raises(ApiStatusError, match="names who asks") as forged:
            check_commands(gate, Identity("mallory", ("staff",)), wanted(requestedBy="boss"), live)
        with pytest.raises(ApiStatusError, match="mallory may not answer") as refused:
            check_commands(gate, Identity("mallory", ("staff",)), wanted(), live)
        allowed = wanted()
        check_commands(gate, Identity("ann", ("leads",)), allowed, live)

        assert (forged.value.code, refused.value.code) == (403, 409)
        assert allowed["spec"]["commands"][0]["requestedBy"] == "ann"

    on_site(scenario)


def test_cancelling_stops_what_runs_and_still_cleans_up() -> None:
    async def scenario(site: Site) -> None:
        slow = {"name": "slow", "taskRef": "builtin.delay", "payload": {"seconds": 3600}}
        await site.workflow("flow", nodes=[slow, echo("after", "slow")], **{"finally": [echo("clean")]})
        name = await site.run("flow")
        await site.until(site.task_runs, lambda found: bool(found) and found[0].status.phase == "Running")

        await site.control(name, "cancel")
        run = await site.ended(name)

        assert (run.status.phase, run.status.reason) == ("Canceled", "Canceled")
        rows = await site.rows(name)
        assert {key: row["phase"] for key, row in rows.items()} == {
            "slow": "Canceled", "after": "Canceled", "finally:clean": "Succeeded",
        }  # fmt: skip
        assert (await site.task_runs())[0].status.phase == "Canceled"

    on_site(scenario)


def test_a_run_that_takes_too_long_is_stopped() -> None:
    async def scenario(site: Site) -> None:
        slow = {"name": "slow", "taskRef": "builtin.delay", "payload": {"seconds": 3600}}
        await site.workflow("flow", timeout="30s", nodes=[slow])

        run = await site.ended(await site.run("flow"))

        assert (run.status.phase, run.status.reason) == ("Timeout", "DeadlineExceeded")

    on_site(scenario)


def test_retry_of_an_ended_run_takes_over_what_succeeded() -> None:
    async def scenario(site: Site) -> None:
        nodes = [
            echo("a", payload={"n": 1}),
            {"name": "b", "taskRef": "builtin.kv", "dependsOn": ["a"], "payload": {"operation": "put", "value": 1}},
            echo("c", "b"),
        ]
        await site.workflow("flow", nodes=nodes)
        first = await site.ended(await site.run("flow"))
        assert first.status.phase == "Failed"
        fixed = {"spec": {"nodes": [nodes[0], echo("b", "a"), nodes[2]]}}
        await site.api.patch(Workflow, first.key._replace(name="flow"), fixed)

        again = await site.control("flow-1", "retry")
        second = await site.ended(again["metadata"]["name"])

        assert second.status.phase == "Failed"  # the run is pinned: it fails as before
        rows = await site.rows(second.metadata.name)
        assert rows["a"]["reused"] is True
        assert rows["b"].get("reused") is None
        third = await site.ended((await site.control("flow-1", "rerun", node="a"))["metadata"]["name"])
        assert (await site.rows(third.metadata.name))["a"].get("reused") is None
        assert (await site.ended(await site.run("flow", "new"))).status.phase == "Succeeded"

    on_site(scenario)


def test_retry_of_a_run_that_goes_on_runs_the_failed_node_again() -> None:
    async def scenario(site: Site) -> None:
        fail = {"name": "bad", "taskRef": "builtin.fail", "payload": {"times": 1}}
        slow = {"name": "slow", "taskRef": "builtin.delay", "payload": {"seconds": 60}}
        await site.workflow("flow", nodes=[fail, echo("after", "bad"), slow])
        name = await site.run("flow")
        await site.until(lambda: site.rows(name), lambda rows: rows.get("after", {}).get("phase") == "UpstreamFailed")

        await site.control(name, "retry")
        run = await site.ended(name)

        assert run.status.phase == "Succeeded"
        assert (await site.rows(name))["bad"]["attempt"] == 2
        assert run.status.counts.succeeded == 3

    on_site(scenario)


@pytest.mark.parametrize(
    ("policy", "phases"),
    [("Allow", ["Succeeded"] * 3), ("Queue", ["Succeeded"] * 3), ("Forbid", ["Succeeded", "Failed", "Failed"]),
     ("Replace", ["Canceled", "Canceled", "Succeeded"])],
)  # fmt: skip
def test_concurrency_policies(policy: str, phases: list[str]) -> None:
    async def scenario(site: Site) -> None:
        slow = {"name": "slow", "taskRef": "builtin.delay", "payload": {"seconds": 10}}
        await site.workflow("flow", concurrencyPolicy=policy, nodes=[slow])
        for number in range(3):
            await site.run("flow", f"r{number}")
            await asyncio.sleep(1)
        if policy == "Queue":
            assert [(await site.get(f"r{n}")).status.phase for n in range(3)] == ["Running", "Queued", "Queued"]

        runs = [await site.ended(f"r{number}") for number in range(3)]

        assert [run.status.phase for run in runs] == phases
        if policy == "Queue":
            starts = [run.status.started_at for run in runs]
            assert starts == sorted(starts)

    on_site(scenario)


def test_versions_statistics_and_retention() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("flow", keepRuns={"succeeded": 3}, nodes=[echo("a")])
        for number in range(6):
            await site.ended(await site.run("flow", f"r{number}"))
        changed = {"spec": {"nodes": [echo("a"), echo("b", "a")]}}
        await site.api.patch(Workflow, (await site.get("r5")).key._replace(name="flow"), changed)

        async def read() -> Workflow:
            found = await site.api.get(Workflow, "flow", "default")
            assert found is not None
            return found

        found = await site.until(read, lambda w: w.status.revision == 2 and w.status.statistics.forgotten_succeeded == 3)
        assert found.status.statistics.runs == found.status.statistics.succeeded == 6
        assert found.status.last_run == "r5"
        assert [run.metadata.name for run in await site.api.list(WorkflowRun, "default")] == ["r3", "r4", "r5"]
        numbers = sorted(revision.spec.number for revision in await site.api.list(Revision, "default"))
        assert numbers == [1, 2]
        # The rows of runs that were forgotten are gone too.
        await asyncio.sleep(5)
        spaces = await site.plane.store.row_spaces("runs/")
        assert len(spaces) == 3

    on_site(scenario)


def test_runs_with_a_definition_of_their_own_are_forgotten_too() -> None:
    async def scenario(site: Site) -> None:
        for number in range(104):
            spec = {"definition": {"nodes": [echo("a")]}}
            await site.api.create(await site.manifest("WorkflowRun", f"r{number:03}", spec), kind=WorkflowRun.info)
            if number % 20 == 3:
                await site.ended(f"r{number:03}")

        async def read() -> list[str]:
            return [run.metadata.name for run in await site.api.list(WorkflowRun, "default")]

        await site.until(read, lambda names: names == [f"r{number:03}" for number in range(4, 104)])

    on_site(scenario)


def test_secrets_reach_the_task_and_nothing_else() -> None:
    async def scenario(site: Site) -> None:
        await site.api.create(Secret(metadata=ObjectMeta(name="db", namespace="default"), data={"password": "aHVudGVyMjI="}))
        await site.workflow("flow", nodes=[echo("a", payload={"text": "pw ${{ secrets.db.password }}"})],
                            outputs={"o": "${{ nodes.a.output.text }}"})  # fmt: skip

        run = await site.ended(await site.run("flow"))

        assert run.status.outputs == {"o": "pw ***"}
        rows = await site.plane.store.rows(f"runs/{run.metadata.uid}")
        assert all(b"hunter22" not in value for _, value in rows)

    on_site(scenario)


FAR = [
    ("apply", {"manifest": {"kind": "Secret", "metadata": {"name": "x"}}}, "give no rights"),
    ("apply", {"manifest": {"kind": "Node", "metadata": {"name": "x"}}}, "namespaced"),
    ("apply", {"manifest": {"kind": "KV", "metadata": {"name": "x", "namespace": "other"}}}, "that of the run"),
    ("apply", {"manifest": {"kind": "KV", "metadata": {"name": "x"}, "spec": {"type": "int", "value": "a"}}}, "KV x"),
    ("patch", {"kind": "Role", "name": "x", "patch": {}}, "give no rights"),
    ("patch", {"kind": "KV", "name": "none", "patch": {}}, "not found"),
    ("delete", {"kind": "Token", "name": "x"}, "give no rights"),
    ("apply", {"manifest": {"kind": "Sync", "metadata": {"name": "x"}, "spec": {}}}, "give no rights"),
    ("apply", {"manifest": {"kind": "Trigger", "metadata": {"name": "x"}, "spec": {"workflowRef": "flow"}}}, "give no rights"),
    ("transact", {"then": [{"create": {"kind": "Trigger", "metadata": {"name": "x"}}}]}, "gives no rights"),
    ("rollback", {"name": "none"}, "no Deployment none"),
    ("transact", {"then": [{"put": {"namespace": "other", "key": "k", "value": 1}}]}, "that of the run"),
    ("transact", {"then": [{"create": {"kind": "Secret", "metadata": {"name": "x"}}}]}, "gives no rights"),
]


def test_nodes_reach_no_further_than_the_namespace_of_their_run() -> None:
    async def scenario(site: Site) -> None:
        nodes = [{"name": f"n{at}", "taskRef": f"builtin.{name}", "payload": given} for at, (name, given, _) in enumerate(FAR)]
        await site.workflow("flow", nodes=nodes)

        await site.ended(await site.run("flow"))

        rows = await site.rows("flow-1")
        for at, (name, _, message) in enumerate(FAR):
            assert rows[f"n{at}"]["phase"] == "Failed", name
            assert message in rows[f"n{at}"]["message"], rows[f"n{at}"]["message"]

    on_site(scenario)


def test_nodes_change_objects_and_keys() -> None:
    async def scenario(site: Site) -> None:
        put = {"then": [{"put": {"key": "a", "value": 1}}, {"put": {"key": "b", "value": 2}}]}
        kv = {"apiVersion": "plum.dev/v1", "kind": "KV", "metadata": {"name": "c"}, "spec": {"type": "int", "value": 3}}
        nodes = [
            {"name": "t", "taskRef": "builtin.transact", "payload": put},
            {"name": "p", "taskRef": "builtin.apply", "payload": {"manifest": kv}, "dependsOn": ["t"]},
            {"name": "c", "taskRef": "builtin.patch", "dependsOn": ["p"],
             "payload": {"kind": "KV", "name": "c", "patch": {"spec": {"value": 4}}}},
            {"name": "d", "taskRef": "builtin.delete", "payload": {"kind": "KV", "name": "a"}, "dependsOn": ["c"]},
        ]  # fmt: skip
        await site.workflow("flow", nodes=nodes)

        run = await site.ended(await site.run("flow"))

        assert run.status.phase == "Succeeded", run.status.message
        assert {entry.key_text: entry.spec.value for entry in await site.api.list(KV, "default")} == {"b": 2, "c": 4}

    on_site(scenario)


def test_what_was_deleted_while_nobody_looked_is_swept() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("old", nodes=[echo("a")])
        await site.workflow("kept", nodes=[echo("b")])
        for name in ("old", "kept"):
            await site.ended(await site.run(name))
        await site.crash()
        await site.api.delete(WorkflowRun, (await site.get("old-1")).key)
        assert len(await site.plane.store.row_spaces("runs/")) == 2
        await site.run_controllers()

        await site.ended(await site.run("kept", "again"))

        known = {f"runs/{(await site.get(name)).metadata.uid}" for name in ("kept-1", "again")}
        assert set(await site.plane.store.row_spaces("runs/")) == known
        assert len(await site.plane.store.row_spaces("definitions/")) == 1

    on_site(scenario)


def test_waits_for_conditions_and_events() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow(
            "flow",
            nodes=[
                {"name": "level", "type": "wait", "wait": {"condition": "kv('default', 'level') > 80"}},
                {
                    "name": "change",
                    "type": "wait",
                    "wait": {"event": {"kind": "KV", "name": "go", "when": "object.spec.value == 2"}},
                },
            ],
            outputs={"name": "${{ nodes.change.output.name }}"},
        )  # fmt: skip
        name = await site.run("flow")
        await site.until(lambda: site.get(name), lambda run: run.status.counts.waiting == 2)
        await asyncio.sleep(2)
        kv: Any = site.manifest
        for key, value in (("level", 10), ("go", 1), ("go", 2), ("level", 90)):
            made = await kv("KV", key, {"type": "int", "value": value})
            await site.api.apply(made, kind=(await site.api.resolve("KV")))
            await asyncio.sleep(1)

        run = await site.ended(name)

        assert run.status.phase == "Succeeded"
        assert run.status.outputs == {"name": "go"}

    on_site(scenario)


def test_wrong_definitions_and_parameters_are_refused_with_their_place() -> None:
    async def scenario(site: Site) -> None:
        with pytest.raises(InvalidObjectError) as caught:
            await site.workflow(
                "flow",
                nodes=[
                    echo("a", payload={"x": ["${{ nodes.b.output }}"]}),
                    echo("b", when="params.x >", taskRef="builtin.nothing"),
                    {"name": "c", "type": "branch", "condition": "nodes.zz.output == 1"},
                ],
            )
        fields = {cause.field for cause in caught.value.causes}
        assert fields == {"spec.nodes[0].payload.x[0]", "spec.nodes[1].when", "spec.nodes[1].taskRef", "spec.nodes[2].condition"}
        await site.workflow("good", params=[{"name": "zone", "type": "integer", "required": True}], nodes=[echo("a")])
        for params in ({}, {"zone": "x"}, {"zone": 1, "other": 2}):
            with pytest.raises(InvalidObjectError, match=r"spec\.params"):
                await site.run("good", params=params)

    on_site(scenario)


def test_every_step_survives_a_crash_there_and_a_store_that_refuses() -> None:
    """The store refuses the n-th commit of rows, or the controllers die right after it: the run ends the same each time."""

    async def scenario(site: Site) -> None:
        await site.workflow(
            "flow",
            nodes=[
                echo("a", payload={"n": 2}),
                {"name": "b", "type": "branch", "dependsOn": ["a"], "condition": "nodes.a.output.n > 1"},
                {"name": "l", "type": "loop", "count": 2, "dependsOn": [{"node": "b", "on": "true"}],
                 "body": [echo("x"), {"name": "t", "taskRef": "builtin.transform", "dependsOn": ["x"],
                                      "payload": {"input": "${{ loop.i }}", "expression": "input + 1"}}]},
                {"name": "w", "type": "wait", "dependsOn": ["l"], "wait": {"duration": "2s"}},
                {"name": "d", "taskRef": "builtin.delay", "dependsOn": ["w"], "payload": {"seconds": 1}},
                echo("z", "d", payload={"last": "${{ nodes.l.output.last }}"}),
            ],
            **{"finally": [echo("f")]},
            outputs={"last": "${{ nodes.z.output.last }}"},
        )  # fmt: skip
        plain = await site.ended(await site.run("flow", "plain"))
        assert plain.status.outputs == {"last": 2}
        store: Any = site.plane.store
        commit = store.commit
        steps = 0

        async def counting(transaction: Transaction) -> int:
            nonlocal steps
            if transaction.rows:
                steps += 1
                if steps == target and fault == "refuse":
                    raise StoreUnavailableError("injected")
            done = int(await commit(transaction))
            if transaction.rows and steps == target and fault == "crash":
                crashed.set()
                await asyncio.sleep(3600)
            return done

        crashed = asyncio.Event()
        for fault in ("refuse", "crash"):
            for target in range(1, 13):
                steps = 0
                crashed.clear()
                store.commit = counting
                name = await site.run("flow", f"{fault}-{target}")
                if fault == "crash":
                    waiting = asyncio.ensure_future(site.ended(name))
                    await asyncio.wait([waiting, asyncio.ensure_future(crashed.wait())], return_when=asyncio.FIRST_COMPLETED)
                    store.commit = commit
                    await site.crash()
                    await site.run_controllers()
                    await waiting
                run = await site.ended(name)
                store.commit = commit
                assert (run.status.phase, run.status.outputs) == ("Succeeded", {"last": 2}), name
                assert run.status.counts == plain.status.counts, name
                made = [t for t in await site.task_runs() if t.metadata.name.startswith(name)]
                assert len(made) == 1, name

    on_site(scenario)


def test_a_simulation_shows_the_schedule_and_does_nothing() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow(
            "flow",
            nodes=[
                {"name": "scan", "taskRef": "scan"},
                {"name": "hit", "type": "branch", "dependsOn": ["scan"], "condition": "nodes.scan.output.contacts > 0"},
                {"name": "photo", "taskRef": "photo", "dependsOn": [{"node": "hit", "on": "true"}], "retry": {"limit": 1}},
            ],
        )

        results = {"scan": {"output": {"contacts": 1}, "seconds": 5}, "photo": {"fail": "dark"}}
        found = await site.ask("POST", "workflows/flow/simulate", {"results": results})

        assert (found["phase"], found["seconds"]) == ("Failed", 8.0)
        assert [(entry["at"], entry["node"], entry["what"]) for entry in found["schedule"]] == [
            (0.0, "scan", "starts"), (5.0, "scan", "Succeeded"), (5.0, "hit", "Succeeded"), (5.0, "photo", "starts"),
            (6.0, "photo", "Waiting"), (7.0, "photo", "starts"), (8.0, "photo", "Failed"),
        ]  # fmt: skip
        assert not await site.task_runs()
        with pytest.raises(ApiError, match=r"params\.x"):
            await site.ask("POST", "workflows/flow/simulate", {"params": {"x": 1}})
        with pytest.raises(InvalidObjectError, match=r"results\.skan"):
            await site.ask("POST", "workflows/flow/simulate", {"results": {"skan": {}}})
        wrong = {"nodes": [{"name": "a", "taskref": "builtin.echo"}]}
        with pytest.raises(ApiError, match=r'unknown field "spec\.nodes\[0\]\.taskref"'):
            await site.ask("POST", "workflows/new/simulate", {"definition": wrong})
        draft = {"state": "Draft", "nodes": [echo("a", payload={"x": "${{ params.x }}"})]}
        with pytest.raises(InvalidObjectError) as caught:
            await site.ask("POST", "workflows/new/simulate", {"definition": draft})
        assert [cause.field for cause in caught.value.causes] == ["spec.nodes[0].payload.x"]

    on_site(scenario)
