"""`plum explain KIND/NAME` in good sentences: what is waited for, and since when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from plum_client.explaining.findings import Situation
from plum_client.explaining.objects import explain

NOW = datetime(2025, 1, 31, 12, 0, tzinfo=UTC)
T = "2025-01-31T11:58:00Z"


def instance(name: str = "web-abc-0", *, node: str = "node-1", **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Instance",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "creationTimestamp": T},
        "spec": {"nodeName": node, "state": "Running", "template": {}},
        "status": status,
    }


def deployment(spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "uid-web", "generation": 1},
        "spec": {"replicas": 2, "template": {}, **(spec or {})},
        "status": {"observedGeneration": 1, **status},
    }


def node(name: str, ready: str = "True", **spec: Any) -> dict[str, Any]:
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": "LeaseExpired",
        "message": "the lease ran out",
        "lastTransitionTime": T,
    }
    return {
        "kind": "Node",
        "metadata": {"name": name, "uid": name},
        "spec": spec,
        "status": {"conditions": [condition], "lastSeen": T},
    }


def ready(status: str = "True", **more: str) -> dict[str, str]:
    return {"type": "Ready", "status": status, "lastTransitionTime": T, **more}


def lines(item: dict[str, Any], **around: Any) -> list[str]:
    return list(explain(item, Situation(NOW, **around)).lines())


def test_an_object_that_is_where_it_should_be_gets_one_sentence() -> None:
    item = deployment(
        replicas=2,
        updatedReplicas=2,
        availableReplicas=2,
        conditions=[{"type": "Available", "status": "True", "lastTransitionTime": T}],
    )

    assert lines(item) == ["Deployment web is where it should be: 2 of 2 instances are available since 2m."]


def test_a_running_instance_says_where_and_since_when() -> None:
    assert lines(instance(phase="Running", ready=True, startedAt=T, conditions=[ready()]), nodes={"node-1": node("node-1")}) == [
        "Instance web-abc-0 runs on node-1 and is ready since 2m."
    ]


def test_refusals_of_nodes_are_grouped_by_reason() -> None:
    refusals = [
        {"nodeName": "node-1", "reason": "InsufficientCpu", "message": "needs 4, 1 is free"},
        {"nodeName": "node-2", "reason": "InsufficientCpu", "message": "needs 4, 1 is free"},
        {"nodeName": "node-3", "reason": "NodeUnschedulable", "message": "it is cordoned"},
    ]

    assert lines(instance(node="", phase="Pending", scheduling={"refusals": refusals})) == [
        "Instance web-abc-0 waits for a node since 2m.",
        "  node-1 and node-2: InsufficientCpu: needs 4, 1 is free.",
        "  node-3: NodeUnschedulable: it is cordoned.",
    ]


def test_an_instance_without_any_node_says_how_to_get_one() -> None:
    assert lines(instance(node=""))[1] == "  There is no node. Start an agent: plum agent --node node-1 --controller URL"


def test_a_crash_loop_names_wait_restarts_and_last_exit() -> None:
    exit_ = {"code": 3, "reason": "Error", "startedAt": "2025-01-31T11:59:48Z", "finishedAt": "2025-01-31T11:59:50Z"}
    item = instance(phase="Starting", restarts=4, nextStartAt="2025-01-31T12:00:08Z", lastExit=exit_)

    assert lines(item) == [
        "Instance web-abc-0 waits on node-1 before it is started again, in 8s, after 4 restarts.",
        "  Its last run ended: with exit code 3, 10s ago, after 2s.",
    ]


def test_exits_by_signal_and_unknown_exits_are_said_as_they_are() -> None:
    killed = instance(phase="Failed", exit={"signal": "SIGKILL", "reason": "OutOfMemory", "finishedAt": T})
    unknown = instance(phase="Failed", exit={"reason": "Unknown", "message": "the machine was restarted"})

    assert lines(killed) == ["Instance web-abc-0 has failed for good: by SIGKILL (OutOfMemory), 2m ago."]
    assert "in a way that nobody could observe (Unknown: the machine was restarted)." in lines(unknown)[0]


def test_a_probe_that_fails_is_the_reason() -> None:
    item = instance(
        phase="Running",
        conditions=[{"type": "Started", "status": "True"}, ready("False", reason="ProbeFailed", message="GET / gave 500")],
    )

    assert lines(item) == ["Instance web-abc-0 runs and is not ready on node-1, since 2m: ProbeFailed: GET / gave 500."]


def test_a_lost_node_is_the_reason_of_its_instances() -> None:
    found = lines(instance(phase="Unknown"), nodes={"node-1": node("node-1", "Unknown")})

    assert found == [
        "What Instance web-abc-0 does is unknown, because node-1 does not report.",
        "  Its node node-1 is not ready since 2m: LeaseExpired: the lease ran out. It was last seen 2m ago.",
    ]
    assert lines(instance(phase="Running", ready=True), nodes={"other": node("other")})[1] == "  Its node node-1 does not exist."


def test_a_deployment_walks_what_it_owns() -> None:
    item = deployment(
        replicas=2,
        updatedReplicas=1,
        availableReplicas=1,
        conditions=[
            {
                "type": "Progressing",
                "status": "False",
                "reason": "ProgressDeadlineExceeded",
                "message": "no progress for 60 s",
                "lastTransitionTime": T,
            }
        ],
    )
    good = instance("web-old-0", phase="Running", ready=True, conditions=[ready()])
    bad = instance(
        "web-new-0",
        phase="Preparing",
        conditions=[
            {"type": "Prepared", "status": "False", "reason": "ArtifactMissing", "message": "404", "lastTransitionTime": T}
        ],
    )

    assert lines(item, owned=[good, bad]) == [
        "Deployment web is not where it should be: 1 of 2 instances are available.",
        "  The rollout failed 2m ago: ProgressDeadlineExceeded: no progress for 60 s.",
        "  1 of 2 instances have the current template.",
        "  Instance web-new-0 is being prepared on node-1, since 2m: ArtifactMissing: 404.",
    ]


def test_instances_that_wait_for_the_same_reason_are_said_once() -> None:
    waiting = [
        instance(f"web-abc-{number}", node="", scheduling={"refusals": [{"nodeName": "n", "reason": "R"}]}) for number in range(5)
    ]

    found = lines(deployment({"replicas": 5}, replicas=5, updatedReplicas=5), owned=waiting)

    assert found[1:] == [
        "  Instance web-abc-0 waits for a node since 2m.",
        "    n: R.",
        "    The same holds for 4 more instances (web-abc-1, web-abc-2, web-abc-3, ...).",
    ]


def test_many_troubled_instances_are_counted() -> None:
    many = [instance(f"web-abc-{number}", phase="Starting", message=f"step {number}") for number in range(9)]

    assert (
        lines(deployment({"replicas": 9}, replicas=9, updatedReplicas=9), owned=many)[-1]
        == "  4 more instances are not ready: 4 Starting."
    )


def test_paused_stopped_and_unseen_deployments_say_so() -> None:
    paused = lines(deployment({"paused": True}, replicas=2, updatedReplicas=0))
    stopped = lines(deployment({"state": "Stopped"}))
    unseen = lines({**deployment(), "metadata": {"name": "web", "generation": 3}, "status": {"observedGeneration": 2}})

    assert any("plum rollout resume deployment/web" in line for line in paused)
    assert stopped == ["Deployment web is stopped, as spec.state says."]
    assert unseen[0] == "Deployment web is at generation 3, and its controller acted on generation 2 so far."


def test_a_deletion_names_who_holds_it() -> None:
    item = instance(phase="Stopping")
    item["metadata"] |= {"deletionTimestamp": T, "finalizers": ["plum.dev/instance", "example.com/x"]}

    assert lines(item) == [
        "Instance web-abc-0 is being deleted since 2m and waits for the agent of its node, which stops it first "
        "and whoever set the finalizer example.com/x."
    ]


def test_nodes_say_why_they_take_nothing() -> None:
    cordoned = lines(node("node-1", unschedulable=True))
    drained = lines(node("node-1", unschedulable=True, drain={"requestedAt": T}), bound=[instance()])
    silent = lines(node("node-1", "Unknown"))

    assert cordoned[1].endswith("until `plum node uncordon node-1`.")
    assert drained[1] == "  A drain was asked for 2m ago; 1 instance is left."
    assert "LeaseExpired" in silent[1]
    short = node("node-1")
    pressure = {
        "type": "DiskPressure",
        "status": "True",
        "reason": "ShortDisk",
        "message": "3 of 100 MiB",
        "lastTransitionTime": T,
    }
    short["status"]["conditions"].append(pressure)
    assert lines(short)[1] == "  It runs short since 2m and takes nothing new: ShortDisk: 3 of 100 MiB."
    assert lines(node("node-1")) == ["Node node-1 is ready and takes instances; 0 are on it."]


def test_any_kind_is_explained_by_its_conditions() -> None:
    item = {
        "kind": "Thing",
        "metadata": {"name": "a", "uid": "u", "generation": 1},
        "status": {"observedGeneration": 1, "conditions": [ready("False", reason="NoSensor", message="plug it in")]},
    }

    assert lines(item) == ["Thing a is not where it should be.", "  Ready is False since 2m: NoSensor: plug it in."]
    assert lines({"kind": "ConfigMap", "metadata": {"name": "a"}}) == [
        "ConfigMap a is there; its kind has no status, so it is what was written."
    ]


def test_what_is_ready_says_what_it_waits_for() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "Waiting", "message": "it fires when its time comes"}
    trigger = {
        "kind": "Trigger",
        "metadata": {"name": "nightly", "generation": 1},
        "status": {"observedGeneration": 1, "conditions": [ready]},
    }

    finding = explain(trigger, Situation(NOW))

    assert list(finding.lines()) == ["Trigger nightly is there.", "  it fires when its time comes."]
    assert finding.settled


def test_recent_warnings_are_added_once() -> None:
    def event(reason: str, message: str, time: str = "2025-01-31T11:59:30Z") -> dict[str, Any]:
        involved = {"kind": "Deployment", "name": "web", "uid": "uid-web"}
        return {
            "type": "Warning",
            "reason": reason,
            "message": message,
            "count": 3,
            "lastTimestamp": time,
            "involvedObject": involved,
            "metadata": {},
        }

    item = deployment(replicas=2, updatedReplicas=2, availableReplicas=0)
    found = lines(item, events=[event("Old", "long ago", "2025-01-31T10:00:00Z"), event("QuotaExceeded", "no more ports")])

    assert found[-1] == "  Event 30s ago, 3 times: QuotaExceeded: no more ports."
    assert not any("long ago" in line for line in found)


def test_an_older_warning_of_a_sort_is_not_told_when_the_newest_was_said() -> None:
    def event(message: str, time: str) -> dict[str, Any]:
        involved = {"kind": "Node", "name": "node-1", "uid": "node-1"}
        return {
            "type": "Warning", "reason": "NodeNotReady", "message": message, "lastTimestamp": time,
            "involvedObject": involved, "metadata": {},
        }  # fmt: skip

    events = [event("no agent yet", "2025-01-31T11:58:30Z"), event("the lease ran out", "2025-01-31T11:59:30Z")]

    assert not any("Event" in line for line in lines(node("node-1", "Unknown"), events=events))


def test_what_became_of_instances_on_a_lost_node_is_told() -> None:
    complete = [{"type": "Progressing", "status": "True", "reason": "RolloutComplete", "message": "revision 1 runs everywhere"}]
    lost = {"type": "Lost", "status": "True", "message": "node-1 is lost; nothing replaces it, as disconnect.replace says"}
    silent = instance("web-abc-1", phase="Unknown", conditions=[lost])
    nodes = {"node-1": node("node-1", "Unknown")}
    replaced = deployment(replicas=2, updatedReplicas=2, availableReplicas=2)
    missing = deployment({"replicas": 1}, replicas=1, updatedReplicas=1, availableReplicas=0, conditions=complete)

    assert lines(replaced, owned=[silent], nodes=nodes)[0].endswith("available. 1 more is on nodes that do not report.")
    found = lines(missing, owned=[silent], nodes=nodes)
    assert not any("rollout goes on" in line for line in found)
    assert "    node-1 is lost; nothing replaces it, as disconnect.replace says." in found
