"""`/v1/workflows`, `/v1/dag` and `/v1/workflow-runs`: the forms of the system before, over Workflows and WorkflowRuns."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from tests.support.server import HttpAnswer, RunningServer

Json = dict[str, Any]
OBJECTS = "/apis/plum.dev/v1/namespaces/default"


async def call(server: RunningServer, method: str, path: str, body: object = None) -> HttpAnswer:
    return await server.request(method, f"/v1{path}", body)


async def until(server: RunningServer, path: str, holds: Callable[[Json], bool]) -> Json:
    async with asyncio.timeout(30):
        while True:
            answer = await call(server, "GET", path)
            if answer.status == 200 and holds(found := answer.json()):
                return found
            await asyncio.sleep(0.05)


async def echo(server: RunningServer) -> str:
    return next(one["DefID"] for one in (await call(server, "GET", "/task-defs")).json() if one["Name"] == "builtin.echo")


async def test_a_sequence_is_made_run_and_read(server: RunningServer) -> None:
    steps = [
        {"name": "builtin.delay", "executor": "embedded", "timeoutSec": 30, "maxRetries": 0, "payloadJSON": '{"seconds":0.1}'},
        {"name": "builtin.echo", "executor": "embedded", "payloadJSON": '{"n":2}'},
    ]
    answer = await call(server, "POST", "/workflows", {"name": "nightly", "labels": {"area": "4"}, "steps": steps})
    assert answer.status == 200, answer.body
    wanted = answer.json()["workflowId"]
    assert re.fullmatch("[0-9a-f]{32}", wanted)

    shown = (await call(server, "GET", f"/workflows/{wanted}")).json()
    assert (shown["WorkflowID"], shown["Name"], shown["Labels"]) == (wanted, "nightly", {"area": "4"})
    assert [(step["Name"], step["PayloadJSON"], step["TimeoutSec"], step["Ord"]) for step in shown["Steps"]] == [
        ("builtin.delay", '{"seconds":0.1}', 30, 0),
        ("builtin.echo", '{"n":2}', 0, 1),
    ]
    run = (await call(server, "POST", f"/workflows/{wanted}?action=run")).json()["runId"]
    done = await until(server, f"/workflow-runs/{run}", lambda found: found["run"]["State"] == "Succeeded")
    assert (done["run"]["RunID"], done["run"]["WorkflowID"], done["run"]["FinishedAt"] > 0) == (run, wanted, True)
    assert [step["StepID"] for step in done["steps"]] == [step["StepID"] for step in done["stepRuns"]]
    first, second = done["stepRuns"]
    assert (first["State"], second["State"], first["Ord"], second["Ord"]) == ("Succeeded", "Succeeded", 0, 1)
    assert (await call(server, "GET", f"/tasks/{first['TaskID']}")).json()["ResultJSON"] == '{"seconds":0.1}'

    assert [one["RunID"] for one in (await call(server, "GET", f"/workflow-runs?workflowId={wanted}")).json()] == [run]
    assert (await call(server, "GET", "/workflow-runs?workflowId=nobody")).json() == []
    assert wanted in {one["WorkflowID"] for one in (await call(server, "GET", "/workflows")).json()}
    assert wanted not in {one["WorkflowID"] for one in (await call(server, "GET", "/dag/workflows")).json()}
    assert (await call(server, "POST", f"/workflows/{wanted}")).status == 400
    assert (await call(server, "DELETE", f"/workflow-runs/{run}")).status == 204
    assert (await call(server, "GET", f"/workflow-runs/{run}")).status == 404
    assert (await call(server, "DELETE", f"/workflows/{wanted}")).status == 204
    assert (await call(server, "GET", f"/workflows/{wanted}")).status == 404


async def test_steps_with_a_task_of_their_own_get_a_definition_that_goes_with_the_workflow(server: RunningServer) -> None:
    step = {"name": "report", "executor": "service", "targetKind": "service", "targetRef": "analyzeTask",
            "labels": {"servicePath": "/run"}, "definitionId": ""}  # fmt: skip
    wanted = (await call(server, "POST", "/workflows", {"name": "nightly", "steps": [step]})).json()["workflowId"]

    [shown] = (await call(server, "GET", f"/workflows/{wanted}")).json()["Steps"]
    assert (shown["Name"], shown["Executor"], shown["TargetKind"], shown["TargetRef"]) == (
        "report",
        "service",
        "service",
        "analyzeTask",
    )
    assert shown["Labels"] == {"servicePath": "/run"}
    definition = (await call(server, "GET", f"/task-defs/{shown['DefinitionID']}")).json()
    assert definition["Name"] == "report"
    await call(server, "DELETE", f"/workflows/{wanted}")
    async with asyncio.timeout(30):
        while (await call(server, "GET", f"/task-defs/{shown['DefinitionID']}")).status != 404:
            await asyncio.sleep(0.05)

    wrong = [{"name": "a", "executor": "embedded"}, {"name": "b", "executor": "robot"}]
    before = (await server.get(f"{OBJECTS}/workflows")).json()["items"]
    for body, words in [
        ({"steps": wrong}, "name required"),
        ({"name": "x", "steps": []}, "steps required"),
        ({"name": "x", "steps": wrong}, "steps[1]: executor is 'robot'"),
        ({"name": "x", "steps": [{"definitionId": "f" * 32}]}, "steps[0]: there is no task definition"),
    ]:
        answer = await call(server, "POST", "/workflows", body)
        assert (answer.status, words in answer.body.decode()) == (400, True), answer.body
    assert (await server.get(f"{OBJECTS}/workflows")).json()["items"] == before


async def area(server: RunningServer, zone: int) -> Json:
    """The example of the surface: a scan, a branch, two photos side by side or a loop, and a join."""
    task = await echo(server)
    nodes = {
        "scan": {"nodeId": "scan", "type": "task", "name": "scan", "triggerRule": "all_success", "taskDefId": task,
                 "payloadJson": f'{{"contacts":{zone}}}', "timeoutSec": 120, "maxRetries": 2, "posX": 100, "posY": 50},
        "hit": {"nodeId": "hit", "type": "branch", "name": "found?",
                "condition": {"sourceTask": "scan", "field": "contacts", "operator": ">", "value": "0"}},
        "fan": {"nodeId": "fan", "type": "parallel", "name": "fan", "waitPolicy": "all"},
        "photo": {"nodeId": "photo", "type": "task", "name": "photo", "taskDefId": task},
        "alert": {"nodeId": "alert", "type": "task", "name": "alert", "taskDefId": task},
        "again": {"nodeId": "again", "type": "loop", "name": "x3",
                  "loopCondition": {"type": "count", "count": 3, "loopVarName": "i"}},
        "sweep": {"nodeId": "sweep", "type": "task", "name": "sweep", "taskDefId": task},
        "close": {"nodeId": "close", "type": "task", "name": "close", "triggerRule": "none_failed", "taskDefId": task},
    }  # fmt: skip
    ends = [
        ("scan", "hit", "normal"), ("hit", "fan", "true"), ("hit", "again", "false"), ("fan", "photo", "normal"),
        ("fan", "alert", "normal"), ("again", "sweep", "normal"), ("photo", "close", "normal"), ("alert", "close", "normal"),
        ("sweep", "close", "normal"),
    ]  # fmt: skip
    edges = [{"from": start, "to": end, "edgeType": kind} for start, end, kind in ends]
    return {"name": "inspect-area", "nodes": nodes, "edges": edges, "startNodes": ["scan"]}


async def test_a_dag_is_made_read_back_and_run(server: RunningServer) -> None:
    body = await area(server, 4)
    wanted = (await call(server, "POST", "/dag/workflows", body)).json()["workflowId"]

    shown = (await call(server, "GET", f"/dag/workflows/{wanted}")).json()
    assert (shown["WorkflowID"], shown["Name"], shown["StartNodes"]) == (wanted, "inspect-area", ["scan"])
    assert set(shown["Nodes"]) == set(body["nodes"])
    scan, hit, again = (shown["Nodes"][name] for name in ("scan", "hit", "again"))
    assert scan == {"NodeID": "scan", "Type": "task", "Name": "scan", "TriggerRule": "all_success", "WaitPolicy": "",
                    "TaskDefID": body["nodes"]["scan"]["taskDefId"], "PayloadJSON": '{"contacts":4}', "TimeoutSec": 120,
                    "MaxRetries": 2, "PosX": 100, "PosY": 50}  # fmt: skip
    assert (hit["Name"], hit["condition"]) == ("found?", body["nodes"]["hit"]["condition"])
    assert again["loopCondition"] == body["nodes"]["again"]["loopCondition"]
    expected = {(edge["from"], edge["to"], edge["edgeType"]) for edge in body["edges"]}
    assert {(edge["From"], edge["To"], edge["EdgeType"]) for edge in shown["Edges"]} == expected

    payload = {"taskId": "T1", "stageControlBase": "http://shore:4000"}
    run = (await call(server, "POST", f"/dag/workflows/{wanted}/run", {"taskPayload": payload})).json()["runId"]
    done = await until(server, f"/dag/runs/{run}", lambda found: found["state"] == "Succeeded")
    assert done["nodes"] == {"scan": "Succeeded", "hit": "Succeeded", "fan": "Succeeded", "photo": "Succeeded",
                             "alert": "Succeeded", "again": "Skipped", "close": "Succeeded"}  # fmt: skip
    detail = (await call(server, "GET", f"/workflow-runs/{run}")).json()
    assert {one["StepID"] for one in detail["stepRuns"]} == set(done["nodes"])
    [run_object] = [one for one in (await server.get(f"{OBJECTS}/workflowruns")).json()["items"]
                    if one["metadata"]["uid"].replace("-", "") == run]  # fmt: skip
    rows = (await server.get(f"{OBJECTS}/workflowruns/{run_object['metadata']['name']}/nodes?node=scan")).json()["items"]
    assert rows[0]["output"] == {"contacts": 4, **payload}
    assert [one["RunID"] for one in (await call(server, "GET", f"/dag/workflows/{wanted}/runs")).json()] == [run]
    assert (await call(server, "GET", f"/dag/workflows/{wanted}/anything")).json() == shown
    assert (await call(server, "DELETE", f"/dag/workflows/{wanted}")).status == 204


async def test_the_other_way_through_the_dag_repeats_its_loop(server: RunningServer) -> None:
    wanted = (await call(server, "POST", "/dag/workflows", await area(server, 0))).json()["workflowId"]

    run = (await call(server, "POST", f"/dag/workflows/{wanted}/run")).json()["runId"]
    done = await until(server, f"/dag/runs/{run}", lambda found: found["state"] == "Succeeded")

    assert (done["nodes"]["sweep"], done["nodes"]["photo"], done["nodes"]["close"]) == ("Succeeded", "Skipped", "Succeeded")
    [stored] = [one for one in (await server.get(f"{OBJECTS}/workflows")).json()["items"]
                if one["metadata"]["uid"].replace("-", "") == wanted]  # fmt: skip
    loop = next(node for node in stored["spec"]["nodes"] if node["name"] == "again")
    assert (loop["count"], [node["name"] for node in loop["body"]["nodes"]]) == (3, ["sweep"])


async def test_loops_end_where_an_edge_leads_back_and_may_hold_loops(server: RunningServer) -> None:
    task = await echo(server)
    nodes = {name: {"type": "task", "taskDefId": task} for name in ("first", "second", "after", "leaf")}
    nodes["outer"] = {"type": "loop", "loopCondition": {"type": "count", "count": 2}}
    nodes["inner"] = {"type": "loop", "loopCondition": {"type": "condition", "sourceTask": "leaf", "field": "n", "operator": "==",
                                                        "value": "1", "maxIterations": 5}}  # fmt: skip
    nodes["leaf"]["payload"] = {"n": 2}  # type: ignore[assignment]
    ends = [("outer", "first"), ("first", "inner"), ("inner", "leaf"), ("leaf", "inner"), ("inner", "second"),
            ("second", "outer"), ("outer", "after")]  # fmt: skip
    body = {"name": "loops", "nodes": nodes, "edges": [{"from": start, "to": end} for start, end in ends]}

    answer = await call(server, "POST", "/dag/workflows", body)
    assert answer.status == 200, answer.body
    run = (await call(server, "POST", f"/dag/workflows/{answer.json()['workflowId']}/run")).json()["runId"]
    done = await until(server, f"/dag/runs/{run}", lambda found: found["state"] not in ("Pending", "Running"))

    assert (done["state"], set(done["nodes"].values()), set(done["nodes"])) == ("Succeeded", {"Succeeded"}, set(nodes))


async def test_wrong_dags_are_refused_with_their_place(server: RunningServer) -> None:
    task = {"type": "task", "taskDefId": await echo(server)}
    edge = {"from": "a", "to": "b"}
    for body, words in [
        ({"nodes": {"a": task}}, "name required"),
        ({"name": "x"}, "nodes required"),
        ({"name": "x", "nodes": {"a": {"type": "task"}}}, "nodes[a].taskDefId is missing"),
        ({"name": "x", "nodes": {"a": {"type": "task", "taskDefId": "nope"}}}, "nodes[a]: there is no task definition 'nope'"),
        ({"name": "x", "nodes": {"a": {"type": "robot"}}}, "nodes[a].type is 'robot'"),
        ({"name": "x", "nodes": {"a b": task}}, "'a b' cannot be the id of a node"),
        ({"name": "x", "nodes": {"a": task}, "edges": [edge]}, "edges[0].to is 'b'"),
        ({"name": "x", "nodes": {"a": task, "b": task}, "edges": [{**edge, "edgeType": "loud"}]}, "edges[0].edgeType is 'loud'"),
        ({"name": "x", "nodes": {"a": task, "b": task}, "edges": [edge, {"from": "b", "to": "a"}]}, "a cycle: a -> b -> a"),
        ({"name": "x", "nodes": {"a": {"type": "loop", "loopCondition": {"count": 2}}}}, "repeats nothing"),
        ({"name": "x", "nodes": {"a": {**task, "triggerRule": "sometimes"}}}, "triggerRule"),
        (
            {"name": "x", "nodes": {"a": {"type": "branch", "condition": {"operator": ">"}}}},
            "nodes[a].condition.field is missing",
        ),
    ]:
        answer = await call(server, "POST", "/dag/workflows", body)
        assert (answer.status, words in answer.body.decode()) == (400, True), (words, answer.body)
    unknown = await call(server, "POST", "/dag/workflows/nobody/run", {})
    assert (unknown.status, unknown.body) == (500, b"workflow not found\n")
    assert (await call(server, "GET", "/dag/runs/nobody")).status == 404
    assert (await call(server, "GET", "/dag/workflows/nobody")).status == 404


async def test_what_kubectl_made_is_seen_here(server: RunningServer) -> None:
    chain = [{"name": "a", "taskRef": "builtin.echo"}, {"name": "b", "taskRef": "builtin.echo", "dependsOn": ["a"]}]
    fork = [*chain, {"name": "c", "taskRef": "builtin.echo", "dependsOn": ["a"]}]
    for name, nodes in (("native-chain", chain), ("native-fork", fork)):
        manifest = {"apiVersion": "plum.dev/v1", "kind": "Workflow", "metadata": {"name": name}, "spec": {"nodes": nodes}}
        assert (await server.request("POST", f"{OBJECTS}/workflows", manifest)).status == 201

    sequences = {one["Name"] for one in (await call(server, "GET", "/workflows")).json()}
    dags = {one["Name"] for one in (await call(server, "GET", "/dag/workflows")).json()}
    assert ("native-chain" in sequences, "native-fork" in sequences) == (True, False)
    assert ("native-chain" in dags, "native-fork" in dags) == (False, True)
    run = (await call(server, "POST", "/workflows/native-chain?action=run")).json()["runId"]
    await until(server, f"/workflow-runs/{run}", lambda found: found["run"]["State"] == "Succeeded")
