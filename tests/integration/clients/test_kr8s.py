"""kr8s, blocking and asyncio: what its documentation shows, on core kinds and on a kind of one's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import kr8s
import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import new_class as new_async_class
from kr8s.objects import ConfigMap, Namespace, new_class

from tests.support.kubernetes_clients import GROUP, WIDGETS, Cluster, definition, kr8s_api, until, widget

LIBRARY = "kr8s 0.20"

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""kr8s leaves the connections of watches to the garbage collector."""


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Any]:
    with kr8s_api(cluster) as found:
        created = kr8s.objects.CustomResourceDefinition(definition(), api=found)
        created.create()
        created.wait("condition=Established", timeout=20)
        yield found


@pytest.fixture(scope="module")
def widgets(api: Any) -> Any:
    return new_class("Widget", f"{GROUP}/v1", namespaced=True, scalable=True)


def configmap(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"k": "v"}}


@pytest.mark.client(LIBRARY, "api.version, whoami, api_resources, api_versions, lookup_kind")
def test_the_api(api: Any) -> None:
    assert api.version()["gitVersion"].startswith("v1.")
    assert api.whoami() == "plum-admin"
    assert "configmaps" in [found["name"] for found in api.api_resources()]
    assert {"v1", "plum.dev/v1"} <= set(api.api_versions())
    assert api.lookup_kind("cm")[1] == "configmaps" or api.lookup_kind("configmap")[1] == "configmaps"


@pytest.mark.client(LIBRARY, "create, get, list, patch, label, annotate, refresh, delete")
def test_objects(api: Any) -> None:
    made = ConfigMap(configmap("one", a="b"), api=api)
    made.create()
    assert made.exists()
    assert ConfigMap.get("one", api=api).data == {"k": "v"}
    made.patch({"data": {"k": None, "n": "1"}})
    made.patch([{"op": "add", "path": "/data/m", "value": "2"}], type="json")
    assert made.data == {"n": "1", "m": "2"}
    made.label({"tier": "web"})
    made.label(done="yes")
    made.annotate({"example.com/note": "x"})
    made.remove_label("a")
    made.refresh()
    assert dict(made.labels) == {"tier": "web", "done": "yes"}
    assert made.annotations["example.com/note"] == "x"

    (found,) = api.get("configmaps", namespace="default", label_selector={"tier": "web"})
    assert found.name == "one"
    assert [item.name for item in ConfigMap.list(namespace=kr8s.ALL, field_selector="metadata.name=one", api=api)] == ["one"]

    made.delete(propagation_policy="Background")
    made.wait("delete", timeout=10)
    with pytest.raises(kr8s.NotFoundError):
        ConfigMap.get("one", api=api, timeout=1)


@pytest.mark.client(LIBRARY, "Namespace create, wait, delete")
def test_namespaces(api: Any) -> None:
    made = Namespace({"metadata": {"name": "kr"}}, api=api)
    made.create()
    made.wait("jsonpath='{.status.phase}'=Active", timeout=10)
    ConfigMap({**configmap("inside"), "metadata": {"name": "inside", "namespace": "kr"}}, api=api).create()
    made.delete()
    made.wait("delete", timeout=20)
    assert not list(api.get("configmaps", namespace=kr8s.ALL, field_selector="metadata.name=inside"))


@pytest.mark.client(LIBRARY, "new_class: create, patch, status, scale, wait for a condition")
def test_own_kinds(cluster: Cluster, api: Any, widgets: Any) -> None:
    made = widgets(widget("own", color="red"), api=api)
    made.create()
    made.patch({"spec": {"color": "blue"}})
    made.scale(3)
    assert (made.replicas, made.spec.color) == (3, "blue")

    made.patch({"status": {"conditions": [condition("False")]}}, subresource="status")
    timer = threading.Timer(0.3, _say_ready, [cluster])
    timer.start()
    made.wait("condition=Ready", timeout=15)
    timer.join()
    assert made.status.conditions[0].status == "True"
    with pytest.raises(kr8s.ServerError) as error:
        made.patch({"spec": {"replicas": -1}})
    assert error.value.response.status_code == 422
    made.delete()


def condition(status: str) -> dict[str, str]:
    return {"type": "Ready", "status": status, "reason": "Told", "message": ""}


def _say_ready(cluster: Cluster) -> None:
    body = {"status": {"conditions": [condition("True")]}}
    asyncio.run(cluster.server.request("PATCH", f"{WIDGETS}/own/status", body, content_type="application/merge-patch+json"))


@pytest.mark.client(LIBRARY, "owner references: set_owner, adopt, garbage collection")
def test_owners(api: Any, widgets: Any) -> None:
    owner = widgets(widget("owner"), api=api)
    owner.create()
    child = ConfigMap(configmap("child"), api=api)
    child.create()
    child.set_owner(owner)
    assert child.metadata.ownerReferences[0].uid == owner.metadata.uid

    owner.delete()

    until(lambda: not child.exists(), what="the child goes with its owner")


@pytest.mark.client(LIBRARY, "watch: ADDED, MODIFIED, DELETED")
def test_watch(api: Any) -> None:
    made = ConfigMap(configmap("watched", watched="yes"), api=api)
    made.create()
    seen = []
    for type_, found in kr8s.watch("configmaps", namespace="default", label_selector={"watched": "yes"}, api=api):
        seen.append((type_, found.name))
        if len(seen) == 1:
            made.patch({"data": {"k": "2"}})
        elif len(seen) == 2:
            made.delete()
        else:
            break

    assert seen == [("ADDED", "watched"), ("MODIFIED", "watched"), ("DELETED", "watched")]


@pytest.mark.client(LIBRARY, "asyncio: get, create, watch, wait, scale, delete")
async def test_asyncio(cluster: Cluster, widgets: Any) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(cluster.kubeconfig))
    assert (await api.version())["major"] == "1"
    kind = new_async_class("Widget", f"{GROUP}/v1", namespaced=True, scalable=True)
    made = await kind(widget("async", labels={"mode": "async"}), api=api)  # type: ignore[misc]
    await made.create()

    async def watched() -> list[str]:
        types = []
        async for type_, _ in api.watch(kind, namespace="default", label_selector="mode=async"):
            types.append(type_)
            if type_ == "ADDED":
                await made.scale(2)
            elif type_ == "MODIFIED":
                await made.delete()
            else:
                break
        return types

    async with asyncio.timeout(20):
        assert await watched() == ["ADDED", "MODIFIED", "DELETED"]
        await made.wait("delete", timeout=10)
    assert [found async for found in api.get(kind, namespace="default", label_selector="mode=async")] == []
    await api._session.aclose()
