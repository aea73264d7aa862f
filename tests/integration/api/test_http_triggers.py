"""Firing over HTTP: by hand, back-fill, and webhooks with all that makes them safe to leave open."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from plum_flow.signing import sign

from tests.support.server import HttpAnswer, RunningServer

TRIGGERS = "/apis/plum.dev/v1/namespaces/default/triggers"
RUNS = "/apis/plum.dev/v1/namespaces/default/workflowruns"
WORKFLOWS = "/apis/plum.dev/v1/namespaces/default/workflows"
SECRET = b"a very secret key"


@pytest.fixture(scope="module", autouse=True)
def workflow(server: RunningServer) -> None:
    async def make() -> None:
        nodes = [{"name": "a", "taskRef": "builtin.echo"}]
        params = [{"name": "ref", "default": ""}, {"name": "who", "default": ""}, {"name": "n", "type": "integer", "default": 0}]
        for name, state in (("work", "Active"), ("paused", "Paused")):
            body = {"apiVersion": "plum.dev/v1", "kind": "Workflow", "metadata": {"name": name}}
            answer = await server.request("POST", WORKFLOWS, {**body, "spec": {"state": state, "nodes": nodes, "params": params}})
            assert answer.status == 201, answer.body
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hooks"}, "stringData": {"key": SECRET.decode()}}
        assert (await server.request("POST", "/api/v1/namespaces/default/secrets", secret)).status == 201

    asyncio.run(make())


async def create(server: RunningServer, name: str, **spec: Any) -> HttpAnswer:
    body = {"apiVersion": "plum.dev/v1", "kind": "Trigger", "metadata": {"name": name}, "spec": {"workflowRef": "work", **spec}}
    return await server.request("POST", TRIGGERS, body)


async def runs_of(server: RunningServer, trigger: str) -> list[dict[str, Any]]:
    found = (await server.get(f"{RUNS}?labelSelector=plum.dev/trigger%3D{trigger}")).json()["items"]
    return sorted(found, key=lambda run: run["metadata"]["name"])


def signed(body: bytes, *, at: float | None = None, delivery: str = "1", secret: bytes = SECRET) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    return {"X-Plum-Timestamp": stamp, "X-Plum-Delivery": delivery, "X-Plum-Signature": sign(secret, stamp, delivery, body)}


async def test_a_trigger_fires_by_hand_once_for_each_key(server: RunningServer) -> None:
    await create(server, "hand", params={"ref": "${{ event.data.ref }}"})
    body = {"params": {"n": 4}, "data": {"ref": "main"}, "key": "Order 7"}

    first = await server.request("POST", f"{TRIGGERS}/hand/fire", body)
    again = await server.request("POST", f"{TRIGGERS}/hand/fire", body)
    other = await server.request("POST", f"{TRIGGERS}/hand/fire", {"data": {"ref": "dev"}})

    assert (first.status, again.status, other.status) == (200, 200, 200), first.body
    assert again.json() == {"runs": [], "known": first.json()["runs"], "refusals": []}
    runs = await runs_of(server, "hand")
    assert sorted((run["spec"]["params"]["ref"], run["spec"]["params"].get("n")) for run in runs) == [("dev", None), ("main", 4)]
    assert runs[0]["metadata"]["annotations"]["plum.dev/requested-by"] == "system:admin"
    status = (await server.get(f"{TRIGGERS}/hand")).json()["status"]
    assert status["fired"] == 2
    assert [firing["source"] for firing in status["firings"]] == ["manual", "manual"]


async def test_many_who_fire_at_once_start_as_many_runs(server: RunningServer) -> None:
    await create(server, "crowd")

    answers = await asyncio.gather(*(server.request("POST", f"{TRIGGERS}/crowd/fire", {"key": f"k{n % 8}"}) for n in range(24)))

    assert {answer.status for answer in answers} == {200}
    assert len(await runs_of(server, "crowd")) == 8
    assert (await server.get(f"{TRIGGERS}/crowd")).json()["status"]["fired"] == 8


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"cron": {"schedule": "0 0 31 2 *"}}, "spec.cron.schedule"),
        ({"cron": {"schedule": "* * * *"}}, "spec.cron.schedule"),
        ({"cron": {"schedule": "@daily", "timezone": "Mars/Olympus"}}, "spec.cron.timezone"),
        ({"cron": {"schedule": "@daily", "jitter": "2d"}}, "spec.cron.jitter"),
        ({"event": {"kind": "Node", "when": "object.spec."}}, "spec.event.when"),
        ({"event": {"kind": "Node", "type": "x"}}, "spec.event.type"),
        ({"event": {"apiVersion": "v1", "kind": "Secret"}}, "spec.event.kind"),
        ({"condition": {"expression": 'object("Secret", "x") != null'}}, "spec.condition.expression"),
        ({"condition": {"expression": "1 > 0"}}, "spec.condition.expression"),
        ({"condition": {"expression": 'kv("one") > 0'}}, "spec.condition.expression"),
        ({"params": {"a": ["${{ nodes.x }}"]}}, "spec.params.a[0]"),
        ({"run": {"workflowRef": "work"}}, "spec.run.workflowRef"),
        ({"run": {"workflowRef": "other", "phases": ["Failed", "Running"]}}, "spec.run.phases[1]"),
    ],
)
async def test_what_can_never_work_is_refused_with_its_place(server: RunningServer, spec: dict[str, Any], field: str) -> None:
    answer = await create(server, "wrong", **spec)

    assert answer.status == 422, answer.body
    assert field in [cause["field"] for cause in answer.json()["details"]["causes"]]
    assert (await server.get(f"{TRIGGERS}/wrong")).status == 404


async def test_a_back_fill_starts_what_is_missing_and_nothing_twice(server: RunningServer) -> None:
    await create(server, "nightly", cron={"schedule": "30 2 * * *", "timezone": "Europe/Berlin"})
    span = {"from": "2026-03-27T00:00:00Z", "to": "2026-03-31T00:00:00Z"}

    tried = await server.request("POST", f"{TRIGGERS}/nightly/backfill", {**span, "dryRun": True})
    assert not await runs_of(server, "nightly")
    few = await server.request("POST", f"{TRIGGERS}/nightly/backfill", {**span, "max": 2})
    done = await server.request("POST", f"{TRIGGERS}/nightly/backfill", span)
    again = await server.request("POST", f"{TRIGGERS}/nightly/backfill", {**span, "from": "2026-03-26T00:00:00Z"})

    assert (few.status, done.status) == (422, 200)
    assert tried.json()["runs"] == done.json()["runs"]
    assert done.json()["runs"] == [
        "nightly-20260327-0130", "nightly-20260328-0130", "nightly-20260329-0100", "nightly-20260330-0030",
    ]  # fmt: skip
    assert (again.json()["runs"], again.json()["known"]) == (["nightly-20260326-0130"], done.json()["runs"])
    runs = await runs_of(server, "nightly")
    assert [run["spec"]["scheduledFor"] for run in runs][2:4] == ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"from": "2026-03-27", "to": "2026-03-31T00:00:00Z"}, 400),
        ({"from": "x", "to": "2026-03-31T00:00:00Z"}, 400),
        ({"from": "2026-03-27T00:00:00Z", "to": "2026-03-31T00:00:00Z", "max": 0}, 400),
        ({"until": 3}, 400),
        ([], 400),
    ],
)
async def test_a_back_fill_that_makes_no_sense_is_refused(server: RunningServer, body: Any, status: int) -> None:
    await create(server, "odd", cron={"schedule": "@daily"})

    assert (await server.request("POST", f"{TRIGGERS}/odd/backfill", body)).status == status


async def test_firing_what_cannot_run_says_why(server: RunningServer) -> None:
    await create(server, "stuck", workflowRef="paused")

    answer = await server.request("POST", f"{TRIGGERS}/stuck/fire")
    missing = await server.request("POST", f"{TRIGGERS}/nowhere/fire")
    wrong = await server.get(f"{TRIGGERS}/stuck/fire")

    assert answer.status == 409
    assert answer.json()["details"]["causes"] == [{"reason": "WorkflowPaused", "message": "workflow paused is Paused"}]
    assert (missing.status, wrong.status) == (404, 405)

    await create(server, "unfit", params={"nobody": "wants it"})
    refused = (await server.request("POST", f"{TRIGGERS}/unfit/fire")).json()
    assert "spec.params.nobody" in refused["message"]
    assert "then[" not in refused["message"]
    assert "nothing was written" not in refused["message"]


async def hook(
    server: RunningServer, path: str, body: bytes, headers: Mapping[str, str] = {}, method: str = "POST"
) -> HttpAnswer:
    return await server.request(method, f"/hooks/default/{path}", body, headers=headers)


async def test_a_signed_request_starts_one_run_however_often_it_comes(server: RunningServer) -> None:
    await create(
        server, "deploy", webhook={"path": "/deploy/web", "secretRef": {"name": "hooks", "key": "key"}},
        params={"ref": "${{ event.body.ref }}", "n": "${{ int(event.query.n) }}", "who": "${{ event.headers['x-who'] }}"},
    )  # fmt: skip
    body = json.dumps({"ref": "main"}).encode()
    headers = {**signed(body), "X-Who": "ci"}

    first = await hook(server, "deploy/web?n=3", body, headers)
    again = await asyncio.gather(*(hook(server, "deploy/web?n=3", body, headers) for _ in range(5)))
    other = await hook(server, "deploy/web?n=4", body, {**signed(body, delivery="2"), "X-Who": "ci"})

    assert (first.status, other.status) == (202, 202), first.body
    (name,) = first.json()["runs"]
    assert [answer.json()["known"] for answer in again] == [[name]] * 5
    runs = await runs_of(server, "deploy")
    assert sorted(run["spec"]["params"]["n"] for run in runs) == [3, 4]
    assert runs[0]["spec"]["params"]["ref"] == "main"
    assert runs[0]["spec"]["params"]["who"] == "ci"

    # Also when the run is no longer there: the memory is an entry of its own, which ends by itself.
    assert (await server.request("DELETE", f"{RUNS}/{name}")).status == 200
    assert (await hook(server, "deploy/web?n=3", body, headers)).json()["known"] == [name]
    entries = (await server.get("/apis/plum.dev/v1/namespaces/default/kvs")).json()["items"]
    assert {entry["spec"]["ttl"] for entry in entries if entry["spec"]["key"].startswith("plum.dev/webhooks/")} == {"11m"}


async def test_a_request_that_is_not_genuine_starts_nothing(server: RunningServer) -> None:
    spec = {"path": "closed", "secretRef": {"name": "hooks", "key": "key"}, "tolerance": "1m", "maxBodyBytes": 100}
    await create(server, "closed", webhook=spec)
    body = b"{}"
    good = signed(body)

    answers = {
        "no signature": await hook(server, "closed", body),
        "another key": await hook(server, "closed", body, signed(body, secret=b"guess")),
        "another body": await hook(server, "closed", b"[]", good),
        "another delivery": await hook(server, "closed", body, {**good, "X-Plum-Delivery": "9"}),
        "another time": await hook(server, "closed", body, {**good, "X-Plum-Timestamp": str(int(time.time()) + 1)}),
        "too old": await hook(server, "closed", body, signed(body, at=time.time() - 120)),
        "too new": await hook(server, "closed", body, signed(body, at=time.time() + 120)),
        "no time": await hook(server, "closed", body, {**good, "X-Plum-Timestamp": "soon"}),
        "github's": await hook(server, "closed", body, {"X-Hub-Signature-256": good["X-Plum-Signature"]}),
    }

    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(answers, 401)
    assert (await hook(server, "closed", b"x" * 101, signed(b"x" * 101))).status == 413
    assert (await hook(server, "closed", body, good, "PUT")).status == 405
    assert (await hook(server, "elsewhere", body, good)).status == 404
    assert not await runs_of(server, "closed")
    text = str([answer.body for answer in answers.values()])
    assert SECRET.decode() not in text
    assert good["X-Plum-Signature"] not in text


async def test_github_signs_the_body_alone(server: RunningServer) -> None:
    spec = {
        "path": "github", "secretRef": {"name": "hooks", "key": "key"}, "signatureHeader": "X-Hub-Signature-256",
        "when": "event.headers['x-github-event'] == 'push'",
    }  # fmt: skip
    await create(server, "github", webhook=spec, params={"ref": "${{ event.body.ref }}"})
    body = b'{"ref": "refs/heads/main"}'
    headers = {"X-Hub-Signature-256": "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest(), "X-GitHub-Delivery": "a"}

    ping = await hook(server, "github", body, {**headers, "X-GitHub-Event": "ping"})
    push = await hook(server, "github", body, {**headers, "X-GitHub-Event": "push"})
    replay = await hook(server, "github", body, {**headers, "X-GitHub-Event": "push", "X-GitHub-Delivery": "b"})

    assert (ping.status, push.status) == (204, 202)
    assert replay.json()["known"] == push.json()["runs"], "what is not signed makes it no other request"
    (run,) = await runs_of(server, "github")
    assert run["spec"]["params"] == {"ref": "refs/heads/main"}


async def test_an_address_exists_once(server: RunningServer) -> None:
    await create(server, "one", webhook={"path": "same"})

    answer = await create(server, "two", webhook={"path": "/same/"})

    assert answer.status == 422
    assert "trigger one has it" in answer.json()["message"]


async def test_a_webhook_without_a_secret_asks_for_the_right_to_fire(server: RunningServer) -> None:
    await create(server, "open", webhook={"path": "open", "method": "GET"})

    local = await hook(server, "open", b"", method="GET")
    stranger = await hook(server, "open", b"", {"Impersonate-User": "eve"}, method="GET")

    assert local.status == 202
    assert stranger.status == 403
    assert "triggers" in stranger.json()["message"]


async def test_a_disabled_webhook_and_a_missing_secret_are_told(server: RunningServer) -> None:
    await create(server, "off", enabled=False, webhook={"path": "off"})
    await create(server, "keyless", webhook={"path": "keyless", "secretRef": {"name": "nowhere", "key": "key"}})

    assert (await hook(server, "off", b"{}")).status == 409
    assert (await hook(server, "keyless", b"{}", signed(b"{}"))).status == 503


async def test_a_trigger_does_only_what_its_writer_may_do(server: RunningServer) -> None:
    rules = [
        {"apiGroups": ["plum.dev"], "resources": ["triggers"], "verbs": ["create"]},
        {"apiGroups": ["plum.dev"], "resources": ["workflowruns"], "verbs": ["create"]},
        {"apiGroups": ["plum.dev"], "resources": ["deployments", "kvs"], "verbs": ["list"]},
    ]
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    group = "rbac.authorization.k8s.io"
    await server.request("POST", f"{rbac}/roles", {"metadata": {"name": "trig"}, "rules": rules})
    await server.request("POST", f"{rbac}/rolebindings", {
        "metadata": {"name": "trig"}, "roleRef": {"apiGroup": group, "kind": "Role", "name": "trig"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "tess"}],
    })  # fmt: skip

    async def as_tess(name: str, **spec: Any) -> int:
        body = {
            "apiVersion": "plum.dev/v1",
            "kind": "Trigger",
            "metadata": {"name": name},
            "spec": {"workflowRef": "work", **spec},
        }
        return (await server.request("POST", TRIGGERS, body, headers={"Impersonate-User": "tess"})).status

    assert await as_tess("t1", event={"kind": "Deployment"}) == 201
    assert await as_tess("t2", event={"kind": "Deployment", "namespace": "*"}) == 403
    assert await as_tess("t3", event={"apiVersion": "v1", "kind": "ConfigMap"}) == 403
    assert await as_tess("t4", condition={"expression": 'kv("default", "x") > 1'}) == 201
    assert await as_tess("t5", condition={"expression": 'kv("other", "x") > 1'}) == 403
    assert await as_tess("t6", condition={"expression": 'object("ConfigMap", "x") != null'}) == 403
    assert (await server.request("POST", f"{TRIGGERS}/t1/fire", headers={"Impersonate-User": "tess"})).status == 403
