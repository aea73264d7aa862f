"""Operators written with kopf, run by `kopf run` as on any cluster, through restarts and kills of both sides."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from kubernetes import client, config

from tests.support.kopf_operator import EXAMPLES, Operator, example_definition
from tests.support.kubernetes_clients import Cluster, until
from tests.support.server import started_server

LIBRARY = "kopf 1.45"
FINALIZER = "everything.example.com/finalizer"

Start = Callable[..., Operator]


class Site:
    """The objects of kopf's example kinds."""

    def __init__(self, api: client.ApiClient) -> None:
        self.core = client.CoreV1Api(api)
        self.objects = client.CustomObjectsApi(api)
        self.definitions = client.ApiextensionsV1Api(api)

    def define(self, *kinds: tuple[str, str, str]) -> None:
        for plural, kind, scope in kinds:
            self.definitions.create_custom_resource_definition(example_definition(plural, kind, scope))

            def established(plural: str = plural) -> bool:
                found = self.definitions.read_custom_resource_definition(f"{plural}.{EXAMPLES}")
                return "True" in [c.status for c in found.status.conditions or [] if c.type == "Established"]

            until(established)

    def create(self, plural: str, kind: str, name: str, spec: Any, namespace: str = "default", **metadata: Any) -> Any:
        body = {"apiVersion": f"{EXAMPLES}/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}
        return self.objects.create_namespaced_custom_object(EXAMPLES, "v1", namespace, plural, body)

    def job(self, name: str, spec: Any, namespace: str = "default", **metadata: Any) -> Any:
        return self.create("jobs", "Job", name, spec, namespace, **metadata)

    def get(self, plural: str, name: str, namespace: str = "default") -> Any:
        return self.objects.get_namespaced_custom_object(EXAMPLES, "v1", namespace, plural, name)

    def status(self, name: str, namespace: str = "default") -> Any:
        return self.get("jobs", name, namespace).get("status", {})

    def patch(self, plural: str, name: str, patch: Any, namespace: str = "default") -> Any:
        return self.objects.patch_namespaced_custom_object(EXAMPLES, "v1", namespace, plural, name, patch)

    def delete(self, plural: str, name: str, namespace: str = "default") -> None:
        self.objects.delete_namespaced_custom_object(EXAMPLES, "v1", namespace, plural, name)

    def is_gone(self, plural: str, name: str, namespace: str = "default") -> bool:
        selector = f"metadata.name={name}"
        listed = self.objects.list_namespaced_custom_object(EXAMPLES, "v1", namespace, plural, field_selector=selector)
        return not listed["items"]


JOBS = ("jobs", "Job", "Namespaced")


@pytest.fixture(scope="module")
def site(cluster: Cluster) -> Iterator[Site]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as api:
        found = Site(api)
        found.define(
            JOBS,
            ("ephemeralvolumeclaims", "EphemeralVolumeClaim", "Namespaced"),
            ("clusterkopfpeerings", "ClusterKopfPeering", "Cluster"),
            ("kopfpeerings", "KopfPeering", "Namespaced"),
        )
        yield found


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path) -> Iterator[Start]:
    """Starts operators, and kills those that a test leaves."""
    operators: list[Operator] = []

    def begin(script: str, *flags: str, name: str = "operator", at: Cluster = cluster) -> Operator:
        operators.append(Operator(at, script, tmp_path, name))
        return operators[-1].start(*flags)

    yield begin
    for operator in operators:
        operator.kill()


@pytest.mark.client(LIBRARY, "walkthrough: create, update, field and event handlers, adopt, kopf.info, status results")
def test_the_walkthrough_of_its_documentation(site: Site, start: Start) -> None:
    operator = start("claims.py", "--standalone", "-n", "default")
    kind = ("ephemeralvolumeclaims", "EphemeralVolumeClaim")
    site.create(*kind, "mine", {"size": "1G"}, labels={"app": "a"})
    site.create(*kind, "wrong", {})

    def volume() -> client.V1ConfigMap:
        return site.core.read_namespaced_config_map("mine-volume", "default")

    until(lambda: site.get(kind[0], "mine").get("status", {}).get("create_fn"), what="the result is in the status")
    assert site.get(kind[0], "mine")["status"]["create_fn"] == {"volume": "mine-volume"}
    assert volume().metadata.owner_references[0].name == "mine"
    site.patch(kind[0], "mine", {"spec": {"size": "2G"}})
    until(lambda: volume().data == {"size": "2G"}, what="the update reaches the child")
    site.patch(kind[0], "mine", {"metadata": {"labels": {"watched": "yes"}}})
    until(lambda: (volume().metadata.labels or {}).get("watched") == "yes", what="labels reach the child")
    operator.until_said("child event: MODIFIED mine-volume")
    operator.until_said("Size must be set")
    selector = "involvedObject.name=mine,reason=Provisioned"
    until(lambda: site.core.list_namespaced_event("default", field_selector=selector).items, what="the event is posted")

    site.delete(kind[0], "mine")
    until(lambda: site.is_gone(kind[0], "mine"), what="the claim is gone")
    until(
        lambda: not site.core.list_namespaced_config_map("default", field_selector="metadata.name=mine-volume").items,
        what="the volume goes with its claim",
    )
    operator.until_said("child event: DELETED mine-volume")
    operator.stop()


@pytest.mark.parametrize("streaming", [False, True], ids=["lists", "streams"])
@pytest.mark.client(LIBRARY, "initial lists by streaming (sendInitialEvents)")
@pytest.mark.client(LIBRARY, "retries, PermanentError, sub-handlers, daemons, timers, indexes, finalizers, deletion")
def test_everything_else_it_offers(site: Site, start: Start, streaming: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if streaming:
        monkeypatch.setenv("STREAMING", "yes")
    site.job("already", {"site": "nowhere"})
    operator = start("everything.py", "--standalone", "-A")
    site.job("many", {"site": "here", "parts": ["left", "right"]}, labels={"daemon": "yes", "timer": "yes"})
    site.job("hopeless", {"site": "there"}, annotations={"example.com/hopeless": "1"})

    until(lambda: site.status("many").get("retried"), what="the create handler has come through")
    assert site.status("many")["retried"] == "done after 2 retries"
    until(lambda: site.status("many").get("parts/left"), what="sub-handlers have run")
    assert site.status("many")["parts/right"] == "right is made"
    operator.until_said("daemon starts many")
    until(lambda: site.status("many").get("ticks") == 3, what="the timer has ticked")
    assert site.status("many")["neighbours"] == 3
    operator.until_said("this can never work")
    assert site.get("jobs", "many")["metadata"]["finalizers"] == [FINALIZER]

    site.patch("jobs", "many", {"spec": {"site": "there", "stubborn": True}})
    until(lambda: site.status("many").get("moves") == "here -> there", what="the field handler has run")
    site.delete("jobs", "many")
    operator.until_said("still busy")
    until(lambda: site.is_gone("jobs", "many"), what="deletion ends when the operator lets go")
    operator.until_said("daemon ends many")
    assert operator.said("cleaned many")
    selector = "involvedObject.name=hopeless,type=Error"
    until(lambda: site.core.list_namespaced_event("default", field_selector=selector).items, what="failures become events")
    until(lambda: site.status("already").get("retried"), what="what was there before it is handled")
    for name in ("hopeless", "already"):
        site.delete("jobs", name)
        until(lambda name=name: site.is_gone("jobs", name))  # type: ignore[misc]
    operator.stop()


@pytest.mark.slow
@pytest.mark.client(LIBRARY, "-A over namespaces that come and go; restart after kill -9 resumes, and misses nothing")
def test_a_killed_operator_resumes_in_all_namespaces(site: Site, start: Start) -> None:
    operator = start("everything.py", "--standalone", "-A")
    site.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="elsewhere")))
    site.job("kept", {"site": "a"}, "elsewhere")
    site.job("doomed", {"site": "a"}, "elsewhere")
    for name in ("kept", "doomed"):
        until(lambda name=name: site.status(name, "elsewhere").get("retried"), what=f"{name} is handled")  # type: ignore[misc]
    site.patch("jobs", "kept", {"spec": {"slow": 30}}, "elsewhere")
    operator.until_said("slow begins kept")
    operator.kill()

    site.patch("jobs", "kept", {"spec": {"slow": 0.1}}, "elsewhere")
    site.job("late", {"site": "b"}, "elsewhere")
    site.delete("jobs", "doomed", "elsewhere")
    assert not site.is_gone("jobs", "doomed", "elsewhere"), "its finalizer holds it"
    operator.start("--standalone", "-A")

    operator.until_said("resumed kept")
    until(
        lambda: site.status("kept", "elsewhere").get("slow/spec.slow") == "slept 0.1", what="the change made meanwhile is handled"
    )
    until(lambda: site.status("late", "elsewhere").get("retried"), what="what was created meanwhile is handled")
    until(lambda: site.is_gone("jobs", "doomed", "elsewhere"), what="what was deleted meanwhile goes")
    assert operator.said("cleaned doomed")
    for name in ("kept", "late"):
        site.delete("jobs", name, "elsewhere")
        until(lambda name=name: site.is_gone("jobs", name, "elsewhere"))  # type: ignore[misc]
    site.core.delete_namespace("elsewhere")
    operator.stop()


@pytest.mark.slow
@pytest.mark.client(LIBRARY, "server killed and restarted, history compacted: 410, list again, nothing lost")
def test_an_operator_survives_the_server_and_the_loss_of_history(tmp_path: Path, start: Start) -> None:
    data = tmp_path / "server"
    with started_server(data, secure=True) as server:
        cluster = Cluster(server, server.kubeconfig)
        with config.new_client_from_config(str(cluster.kubeconfig)) as api:
            site = Site(api)
            site.define(JOBS)
            operator = start("everything.py", "--standalone", "-n", "default", "--verbose", at=cluster)
            site.job("before", {"site": "a"})
            site.job("busy", {"site": "a"})
            until(lambda: site.status("before").get("retried") and site.status("busy").get("retried"))
            site.patch("jobs", "busy", {"spec": {"slow": 1}})
            operator.until_said("slow begins busy")
        server.process.kill()
        server.process.wait()

    address = urlsplit(server.secure_url).netloc
    with started_server(data, "--secure-listen", address, secure=True):
        with config.new_client_from_config(str(cluster.kubeconfig)) as api:
            site = Site(api)
            until(lambda: site.status("busy").get("slow/spec.slow") == "slept 1", 30, what="the handler's result arrives")
            site.patch("jobs", "before", {"spec": {"site": "b"}})
            until(lambda: site.status("before").get("moves") == "a -> b", 30, what="changes are seen again")
            operator.signal(signal.SIGSTOP)

    with started_server(data, "--secure-listen", address, secure=True) as again:
        with config.new_client_from_config(str(cluster.kubeconfig)) as api:
            site = Site(api)
            site.job("unseen", {"site": "c"})
            site.patch("jobs", "before", {"spec": {"site": "d"}})
            assert asyncio.run(again.request("POST", "/docs/store/compact", {})).status == 200
            assert not operator.said("Restarting the watch-stream for jobs")
            operator.signal(signal.SIGCONT)
            operator.until_said("Restarting the watch-stream for jobs")
            until(lambda: site.status("unseen").get("retried"), 30, what="what was created meanwhile is handled")
            until(lambda: site.status("before").get("moves") == "b -> d", what="what was changed meanwhile is handled")
            operator.stop()


@pytest.mark.slow
@pytest.mark.client(LIBRARY, "peering: priorities, standby, takeover; ClusterKopfPeering and KopfPeering")
@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_peers_agree_who_works(site: Site, start: Start, scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"apiVersion": f"{EXAMPLES}/v1", "metadata": {"name": "default"}}
    if scope == "cluster":
        flags = ["-A"]
        site.objects.create_cluster_custom_object(EXAMPLES, "v1", "clusterkopfpeerings", {**body, "kind": "ClusterKopfPeering"})
    else:
        flags = ["-n", "default"]
        site.create("kopfpeerings", "KopfPeering", "default", {})
    monkeypatch.setenv("PEER", "low")
    low = start("peered.py", *flags, "--peering", "default", "--priority", "10", name="low")
    name = f"job-{scope}"
    site.job(name, {"round": 1})
    until(lambda: site.status(name).get("served") == "low 1", what="alone it works")

    monkeypatch.setenv("PEER", "high")
    high = start("peered.py", *flags, "--peering", "default", "--priority", "20", name="high")
    low.until_said("Pausing operations")
    site.patch("jobs", name, {"spec": {"round": 2}})
    until(lambda: site.status(name).get("served") == "high 2", what="the one with the higher priority works")

    high.kill()
    site.patch("jobs", name, {"spec": {"round": 3}})
    until(lambda: site.status(name).get("served") == "low 3", what="the other takes over when the peer is dead")
    low.stop()
    site.delete("jobs", name)
