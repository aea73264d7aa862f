"""Watch, informer and leader election of the `kubernetes` library."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, informer, watch

from tests.support.kubernetes_clients import Cluster, until

LIBRARY = "kubernetes 37"


@pytest.fixture(scope="module")
def core(cluster: Cluster) -> Iterator[client.CoreV1Api]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as api:
        yield client.CoreV1Api(api)


def create(core: client.CoreV1Api, name: str, label: str, **data: str) -> client.V1ConfigMap:
    metadata = client.V1ObjectMeta(name=name, labels={"watch": label})
    return core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=metadata, data=data))


def compact(cluster: Cluster) -> None:
    answer = asyncio.run(cluster.server.request("POST", "/docs/store/compact", {}))
    assert answer.status == 200, answer.body


@pytest.mark.client(LIBRARY, "Watch: synthetic ADDED, then changes, typed")
def test_a_watch_from_nothing(core: client.CoreV1Api) -> None:
    create(core, "plain", "plain")
    stream = watch.Watch().stream(core.list_namespaced_config_map, "default", label_selector="watch=plain", timeout_seconds=20)

    first = next(stream)
    core.patch_namespaced_config_map("plain", "default", {"data": {"k": "v"}})
    second = next(stream)
    core.delete_namespaced_config_map("plain", "default")
    third = next(stream)
    stream.close()

    assert [event["type"] for event in (first, second, third)] == ["ADDED", "MODIFIED", "DELETED"]
    assert isinstance(second["object"], client.V1ConfigMap)
    assert third["object"].data == {"k": "v"}


@pytest.mark.client(LIBRARY, "Watch: list then watch from its resourceVersion, resume after timeoutSeconds")
def test_list_then_watch_and_resume(core: client.CoreV1Api) -> None:
    listed = core.list_namespaced_config_map("default", label_selector="watch=resumed")
    create(core, "resumed-a", "resumed")
    watcher = watch.Watch()
    options = {"label_selector": "watch=resumed", "timeout_seconds": 1, "allow_watch_bookmarks": True}

    seen = [
        event["object"].metadata.name
        for event in watcher.stream(
            core.list_namespaced_config_map, "default", resource_version=listed.metadata.resource_version, **options
        )
        if event["type"] != "BOOKMARK"
    ]
    create(core, "resumed-b", "resumed")
    again = [
        event["object"].metadata.name
        for event in watcher.stream(
            core.list_namespaced_config_map, "default", resource_version=watcher.resource_version, **options
        )
        if event["type"] != "BOOKMARK"
    ]

    assert (seen, again) == (["resumed-a"], ["resumed-b"])


@pytest.mark.client(LIBRARY, "Watch: 410 raises ApiException, a new list recovers")
def test_an_expired_watch_says_so(cluster: Cluster, core: client.CoreV1Api) -> None:
    old = create(core, "expired", "expired").metadata.resource_version
    core.patch_namespaced_config_map("expired", "default", {"data": {"k": "1"}})
    compact(cluster)

    with pytest.raises(client.ApiException) as error:
        next(watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version=old))
    assert error.value.status == 410
    assert "Expired: too old resource version" in error.value.reason

    listed = core.list_namespaced_config_map("default", label_selector="watch=expired")
    stream = watch.Watch().stream(
        core.list_namespaced_config_map,
        "default",
        resource_version=listed.metadata.resource_version,
        label_selector="watch=expired",
    )
    core.patch_namespaced_config_map("expired", "default", {"data": {"k": "2"}})
    assert next(stream)["object"].data == {"k": "2"}
    stream.close()


@pytest.mark.client(LIBRARY, "Watch: bookmarks move the position of a quiet watch")
def test_bookmarks_let_a_quiet_watch_resume_after_compaction(cluster: Cluster, core: client.CoreV1Api) -> None:
    listed = core.list_namespaced_config_map("default", label_selector="watch=quiet")
    other = create(core, "noise", "noise")
    watcher = watch.Watch()
    start = listed.metadata.resource_version
    for event in watcher.stream(
        core.list_namespaced_config_map,
        "default",
        label_selector="watch=quiet",
        resource_version=start,
        allow_watch_bookmarks=True,
    ):
        if event["type"] == "BOOKMARK" and int(watcher.resource_version) >= int(other.metadata.resource_version):
            watcher.stop()
    compact(cluster)

    stream = watcher.stream(
        core.list_namespaced_config_map, "default", label_selector="watch=quiet", resource_version=watcher.resource_version
    )
    create(core, "quiet", "quiet")
    assert next(stream)["object"].metadata.name == "quiet"
    stream.close()


@pytest.mark.client(LIBRARY, "SharedInformer: cache, handlers, relist after 410")
def test_the_informer_keeps_its_cache_true(cluster: Cluster, core: client.CoreV1Api) -> None:
    create(core, "informed-a", "informed", k="1")
    events: list[tuple[str, str]] = []
    follower = informer.SharedInformer(core.list_namespaced_config_map, namespace="default", label_selector="watch=informed")
    for type_ in ("ADDED", "MODIFIED", "DELETED"):
        follower.add_event_handler(type_, lambda found, type_=type_: events.append((type_, found.metadata.name)))
    follower.start()
    try:
        until(lambda: follower.cache.list_keys() == ["default/informed-a"], what="the first list")
        create(core, "informed-b", "informed")
        core.patch_namespaced_config_map("informed-a", "default", {"data": {"k": "2"}})
        core.delete_namespaced_config_map("informed-b", "default")
        until(lambda: ("DELETED", "informed-b") in events, what="all changes")
        compact(cluster)
        create(core, "informed-c", "informed")
        until(lambda: sorted(follower.cache.list_keys()) == ["default/informed-a", "default/informed-c"])
        assert follower.cache.get_by_key("default/informed-a").data == {"k": "2"}
    finally:
        _stop(follower)
    assert events[:4] == [
        ("ADDED", "informed-a"),
        ("ADDED", "informed-b"),
        ("MODIFIED", "informed-a"),
        ("DELETED", "informed-b"),
    ]


def _stop(follower: Any) -> None:
    """The library's `stop` waits for the watch to end, which a quiet one does when its connection is closed."""
    stopper = threading.Thread(target=follower.stop)
    stopper.start()
    stopper.join(20)
    assert not stopper.is_alive()


CANDIDATE = """
import sys, time
from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

kubeconfig, kind, name = sys.argv[1:]
config.load_kube_config(config_file=kubeconfig)
lock = {"lease": LeaseLock, "configmap": ConfigMapLock}[kind]("elected-" + kind, "default", name)


def lead():
    print("leading", flush=True)
    time.sleep(3600)


times = {"lease_duration": 2, "renew_deadline": 1.5, "retry_period": 1}
leaderelection.LeaderElection(electionconfig.Config(lock, onstarted_leading=lead, onstopped_leading=None, **times)).run()
"""


@pytest.mark.client(LIBRARY, "leader election with LeaseLock and ConfigMapLock, takeover after kill -9")
def test_leader_election(cluster: Cluster, core: client.CoreV1Api, tmp_path: Path) -> None:
    script = tmp_path / "candidate.py"
    script.write_text(CANDIDATE)
    started: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

    def start(kind: str, name: str) -> None:
        output = (tmp_path / f"{kind}-{name}").open("wb")
        command = [sys.executable, str(script), str(cluster.kubeconfig), kind, name]
        started[kind, name] = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        output.close()

    def leads(kind: str, name: str) -> bool:
        return "leading" in (tmp_path / f"{kind}-{name}").read_text()

    try:
        for kind in ("lease", "configmap"):
            start(kind, "first")
        for kind in ("lease", "configmap"):
            until(lambda kind=kind: leads(kind, "first"), what=f"the first one leads by {kind}")  # type: ignore[misc]
            start(kind, "second")
        lease = client.CoordinationV1Api(core.api_client).read_namespaced_lease("elected-lease", "default")
        assert lease.spec.holder_identity == "first"
        renewed = lease.spec.renew_time
        leases = client.CoordinationV1Api(core.api_client)
        until(lambda: leases.read_namespaced_lease("elected-lease", "default").spec.renew_time > renewed, what="a renewal")
        assert not leads("lease", "second") and not leads("configmap", "second")

        for kind in ("lease", "configmap"):
            started[kind, "first"].send_signal(signal.SIGKILL)
        for kind in ("lease", "configmap"):
            until(lambda kind=kind: leads(kind, "second"), what=f"the second one takes over by {kind}")  # type: ignore[misc]
        assert leases.read_namespaced_lease("elected-lease", "default").spec.holder_identity == "second"
    finally:
        for process in started.values():
            process.kill()
            process.wait()
