"""`kubectl logs`, `plum logs` and the `kubernetes` library read the output of instances through the agents of their nodes."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time

import pytest
from kubernetes import client, watch

from tests.support.kubectl import Kubectl, deployment, does
from tests.support.view_site import COUNTING, ViewSite

LIBRARY = "kubernetes 37"


@pytest.fixture(scope="module", autouse=True)
def workloads(two_nodes: ViewSite) -> None:
    labelled = {"command": COUNTING, "metadata": {"labels": {"app": "web"}}}
    again = {"command": ["sh", "-c", "echo boom; exit 3"]}
    two_nodes.apply(deployment("web", 2, spec={"template": labelled}), deployment("crash", 1, spec={"template": again}))
    two_nodes.pods("web", 2)


def name_of(two_nodes: ViewSite, which: str) -> str:
    found = two_nodes.core.list_namespaced_pod("default", label_selector=f"plum.dev/deployment={which}").items
    return str(found[0].metadata.name)


@does("logs: --tail, --since, --since-time, --timestamps, --limit-bytes, -c, -l, --prefix, deployments.apps/NAME")
def test_output_is_read_in_every_form(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    name = name_of(two_nodes, "web")
    two_nodes.until(lambda: kubectl.run("logs", name).count("line"), lambda count: count >= 3)

    assert kubectl.run("logs", name).startswith("line 1\nline 2\n")
    assert re.fullmatch(r"line \d+\nline \d+\n", kubectl.run("logs", name, "--tail=2"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[0-9:.]+Z line \d+\n", kubectl.run("logs", name, "--tail=1", "--timestamps"))
    assert kubectl.run("logs", name, "-c", "main", "--limit-bytes=9") == "line 1\nli"
    assert "line" in kubectl.run("logs", name, "--since=1h") and "line" in kubectl.run(
        "logs", name, "--since-time=2020-01-01T00:00:00Z"
    )
    prefixed = kubectl.run("logs", "-l", "app=web", "--prefix", "--tail=1").splitlines()
    assert len(prefixed) == 2 and all(re.fullmatch(r"\[pod/web-\S+/main\] line \d+", line) for line in prefixed)
    assert re.search(r"^line \d+$", kubectl.run("logs", "deployments.apps/web", "--tail=1"), re.MULTILINE)
    assert "container other is not valid" in kubectl.refused("logs", name, "-c", "other")


@does("logs --previous")
def test_the_run_before_is_read(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    name = name_of(two_nodes, "crash")
    two_nodes.until(lambda: two_nodes.core.read_namespaced_pod(name, "default").status.container_statuses[0].restart_count, bool)

    assert kubectl.run("logs", name, "--previous") == "boom\n"
    refused = kubectl.refused("logs", name_of(two_nodes, "web"), "--previous")
    assert re.search(r'previous terminated container "main" in pod "web-\S+" not found', refused)


@does("logs -f: goes on until the run has ended")
def test_following_ends_with_the_run(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    script = "echo one; sleep 0.5; echo two"
    two_nodes.apply(deployment("job", 1, spec={"template": {"command": ["sh", "-c", script], "restartPolicy": "Never"}}))
    name = two_nodes.until(
        lambda: two_nodes.core.list_namespaced_pod("default", label_selector="plum.dev/deployment=job").items, bool
    )[0].metadata.name

    assert kubectl.run("logs", "-f", name) == "one\ntwo\n"


@does("logs -f of a pod that waits for a node: waits; without -f: says what it waits for")
def test_following_waits_for_a_run_that_has_not_begun(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    template = {"command": ["sh", "-c", "echo hello"], "nodeSelector": {"disk": "ssd"}, "restartPolicy": "Never"}
    two_nodes.apply(deployment("late", 1, spec={"template": template}))
    name = two_nodes.pods("late", 1, "Pending")[0].metadata.name
    two_nodes.until(lambda: two_nodes.core.read_namespaced_pod(name, "default").status.message, bool)
    refused = kubectl.refused("logs", name)

    follower = kubectl.start("logs", "-f", name)
    command = [sys.executable, "-m", "plum_cli", "logs", "-f", name, "--server", two_nodes.server.url]
    plum = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    gone = threading.Thread(target=_leave_early, args=(two_nodes, name))
    gone.start()
    time.sleep(1)
    gone.join()
    assert follower.poll() is None and plum.poll() is None
    kubectl.run("label", "node", "node-1", "disk=ssd")

    assert f'container "main" in pod "{name}" is waiting to start: NoNodeFits: 0 of 2 nodes fit' in refused
    assert follower.communicate(timeout=20) == ("hello\n", "")
    assert plum.communicate(timeout=20) == ("hello\n", "")


def _leave_early(two_nodes: ViewSite, name: str) -> None:
    """A reader that goes away while it waits must not keep anything."""
    with pytest.raises(Exception, match=r"timed out|Timeout"):
        two_nodes.core.read_namespaced_pod_log(name, "default", follow=True, _request_timeout=0.3)


@pytest.mark.client(LIBRARY, "CoreV1Api.read_namespaced_pod_log, Watch over a log")
def test_the_library_reads_logs(two_nodes: ViewSite) -> None:
    name = name_of(two_nodes, "web")

    assert two_nodes.core.read_namespaced_pod_log(name, "default", tail_lines=1).startswith("line ")
    stream = watch.Watch().stream(two_nodes.core.read_namespaced_pod_log, name, "default", tail_lines=1)
    lines = [next(stream) for _ in range(3)]
    stream.close()
    assert [int(line.split()[1]) - int(lines[0].split()[1]) for line in lines] == [0, 1, 2]
    with pytest.raises(client.ApiException) as missing:
        two_nodes.core.read_namespaced_pod_log("nobody", "default")
    assert (missing.value.status, '"pods \\"nobody\\" not found"' in missing.value.body) == (404, True)
