"""Agents over TLS: one works with a token of its node, and reaches nothing that is not its node's."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.integration.security.conftest import Site

PLUM = "/apis/plum.dev/v1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/plum-node-lease/leases"
INSTANCES = f"{PLUM}/namespaces/default/instances"
RESTRICTED = "node-restriction.kubernetes.io/vault"
MERGE = {"Content_Type": "application/merge-patch+json"}


def until(holds: Any, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def instance(name: str, node: str, **template: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"nodeName": node, "template": {"command": ["sleep", "600"], **template}}}


def test_an_agent_runs_instances_with_nothing_but_its_nodes_token(site: Site, ca: Path, tmp_path: Path) -> None:
    token = site.node("edge-1").server.token
    log = tmp_path / "agent.log"
    command = [
        sys.executable, "-m", "plum_agent", "--node", "edge-1", "--controller", site.running.secure_url,
        "--ca-file", str(ca), "--data-dir", str(tmp_path / "agent"), "--on-stop", "stop",
    ]  # fmt: skip
    env = {"PLUM_TOKEN": token, "PATH": "/usr/bin:/bin"}
    with log.open("wb") as errors:
        agent = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        spec = {"replicas": 1, "template": {"command": ["sh", "-c", "echo over tls; exec sleep 600"], "nodeSelector": {}}}
        site.make(f"{PLUM}/namespaces/default/deployments", {"metadata": {"name": "edge"}, "spec": spec})

        def phases() -> list[str]:
            items = site.admin.get(f"{INSTANCES}?labelSelector=plum.dev%2Fdeployment%3Dedge")[1]["items"]
            return [(item.get("status") or {}).get("phase", "") for item in items]

        assert until(lambda: phases() == ["Running"]), log.read_text()[-3000:]
        name = site.admin.get(f"{INSTANCES}?labelSelector=plum.dev%2Fdeployment%3Dedge")[1]["items"][0]["metadata"]["name"]
        assert until(lambda: site.admin.get(f"{INSTANCES}/{name}/log") == (200, "over tls\n"))
        site.admin.call("DELETE", f"{PLUM}/namespaces/default/deployments/edge")
        assert until(lambda: phases() == [])
        assert "orbidden" not in log.read_text()
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0


def test_a_node_reads_and_writes_only_what_is_its_own(site: Site) -> None:
    site.make(f"{PLUM}/nodes", {"metadata": {"name": "mine"}})
    site.make(f"{PLUM}/nodes", {"metadata": {"name": "theirs"}})
    secret = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "ours", "key": "k"}}}
    site.make(INSTANCES, instance("own", "mine", env=[secret]))
    site.make(INSTANCES, instance("foreign", "theirs"))
    for name in ("ours", "other"):
        site.make("/api/v1/namespaces/default/secrets", {"metadata": {"name": name}, "stringData": {"k": "v"}})
    node = site.node("mine")

    def patch(path: str, body: Any) -> int:
        return node.call("PATCH", path, body, **MERGE)[0]

    allowed = [
        node.get(f"{PLUM}/nodes/mine")[0],
        node.get(f"{PLUM}/nodes?fieldSelector=metadata.name%3Dmine")[0],
        node.get(f"{PLUM}/instances?fieldSelector=spec.nodeName%3Dmine")[0],
        node.get(f"{INSTANCES}/own")[0],
        patch(f"{INSTANCES}/own/status", {"status": {"phase": "Running"}}),
        patch(f"{PLUM}/nodes/mine/status", {"status": {"os": "x"}}),
        node.get("/api/v1/namespaces/default/secrets/ours")[0],
        node.call("POST", LEASES, {"metadata": {"name": "mine"}, "spec": {"holderIdentity": "mine"}})[0],
        patch(f"{LEASES}/mine", {"spec": {"leaseDurationSeconds": 5}}),
    ]
    refused = {
        "list of all instances": node.get(f"{PLUM}/instances")[0],
        "instances of another": node.get(f"{PLUM}/instances?fieldSelector=spec.nodeName%3Dtheirs")[0],
        "instances of all but one": node.get(f"{PLUM}/instances?fieldSelector=spec.nodeName!%3Dtheirs")[0],
        "an instance of another": node.get(f"{INSTANCES}/foreign")[0],
        "its status": patch(f"{INSTANCES}/foreign/status", {"status": {"phase": "Failed"}}),
        "what is wanted of its own": patch(f"{INSTANCES}/own", {"spec": {"state": "Stopped"}}),
        "another node": node.get(f"{PLUM}/nodes/theirs")[0],
        "another node's status": patch(f"{PLUM}/nodes/theirs/status", {"status": {"os": "x"}}),
        "taints": patch(f"{PLUM}/nodes/mine", {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        "a label by which others decide": patch(f"{PLUM}/nodes/mine", {"metadata": {"labels": {RESTRICTED: "b"}}}),
        "a node of another name": node.call("POST", f"{PLUM}/nodes", {"metadata": {"name": "new"}})[0],
        "another's lease": patch(f"{LEASES}/theirs", {"spec": {}}),
        "a lease of another name": node.call("POST", LEASES, {"metadata": {"name": "theirs"}, "spec": {}})[0],
        "leases elsewhere": node.get("/apis/coordination.k8s.io/v1/namespaces/default/leases/mine")[0],
        "other secrets": node.get("/api/v1/namespaces/default/secrets/other")[0],
        "all secrets": node.get("/api/v1/secrets")[0],
        "deployments": node.get(f"{PLUM}/deployments")[0],
        "tokens": node.call("POST", f"{PLUM}/tokens", {"spec": {"user": "root"}})[0],
        "delete its node": node.call("DELETE", f"{PLUM}/nodes/mine")[0],
    }

    assert allowed == [200, 200, 200, 200, 200, 200, 200, 201, 200]
    assert set(refused.values()) == {403}, refused


async def test_nobody_opens_the_tunnel_of_another_node(site: Site) -> None:
    transport = site.node("mine").server.transport()
    codes = []
    for node in ("theirs", "mine"):
        try:
            socket = await transport.open_websocket(f"/agent/v1/connect?node={node}")
        except Exception as error:
            codes.append(getattr(error, "status", {}).get("code"))
        else:
            codes.append(101)
            await socket.close()
    await transport.close()

    assert codes == [403, 101]


def test_a_node_takes_and_reports_only_tasks_that_it_was_given(site: Site) -> None:
    runs = f"{PLUM}/namespaces/default/taskruns"
    for name in ("tasks-mine", "tasks-theirs"):
        site.make(f"{PLUM}/nodes", {"metadata": {"name": name}})
    site.make("/api/v1/namespaces/default/secrets", {"metadata": {"name": "task-key"}, "stringData": {"k": "v"}})
    env = [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "task-key", "key": "k"}}}]
    for name, wanted in (("given", "tasks-mine"), ("foreign-task", "tasks-theirs")):
        task = {"executor": "os_process", "process": {"command": ["true"], "env": env}, "nodeName": wanted}
        site.make(runs, {"metadata": {"name": name}, "spec": {"task": task}})
        assert until(lambda name=name: (site.admin.get(f"{runs}/{name}")[1].get("status") or {}).get("node"))  # type: ignore[misc]
    node, stranger = site.node("tasks-mine"), site.node("tasks-bystander")
    token = site.admin.get(f"{runs}/given")[1]["status"].get("fencingToken", 0) + 1
    taken = {"status": {"phase": "Running", "fencingToken": token}}

    def patch(path: str, body: Any) -> int:
        return node.call("PATCH", path, body, **MERGE)[0]

    assert node.get(f"{runs}?fieldSelector=status.node%3Dtasks-mine")[0] == 200
    assert node.get(f"{runs}?fieldSelector=status.node%3Dtasks-theirs")[0] == 403
    assert (node.get(f"{runs}/given")[0], node.get(f"{runs}/foreign-task")[0], node.get(runs)[0]) == (200, 403, 403)
    assert node.get("/api/v1/namespaces/default/secrets/task-key")[0] == 200
    assert stranger.get("/api/v1/namespaces/default/secrets/task-key")[0] == 403
    assert patch(f"{runs}/foreign-task/status", taken) == 403
    assert patch(f"{runs}/given/status", {"status": {"phase": "Canceled"}}) == 403
    assert patch(f"{runs}/given/status", {"status": {"node": "tasks-theirs"}}) == 403
    assert patch(f"{runs}/given", {"spec": {"canceled": True}}) == 403
    assert patch(f"{runs}/given/status", taken) == 200
    assert patch(f"{runs}/given/status", {"status": {"phase": "Succeeded"}}) == 403
    assert node.call("DELETE", f"{runs}/given")[0] == 403
