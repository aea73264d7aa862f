"""lightkube: typed core kinds, kinds of one's own, apply, watch and wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from lightkube import ApiError, AsyncClient, Client, KubeConfig, codecs
from lightkube import operators as op
from lightkube.generic_resource import (
    create_global_resource,
    create_namespaced_resource,
    get_generic_resource,
    load_in_cluster_generic_resources,
)
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap, Namespace, Secret
from lightkube.types import CascadeType, PatchType

from tests.support.kubernetes_clients import GROUP, Cluster, definition, until, widget

LIBRARY = "lightkube 1.0"

Widget = create_namespaced_resource(GROUP, "v1", "Widget", "widgets")
Globe = create_global_resource(GROUP, "v1", "Globe", "globes")


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Iterator[Client]:
    with Client(config=KubeConfig.from_file(str(cluster.kubeconfig)), field_manager="tests") as found:
        found.create(codecs.from_dict(definition()))  # type: ignore[arg-type]
        found.create(codecs.from_dict(definition("globes", "Globe", scope="Cluster")))  # type: ignore[arg-type]
        for name in ("widgets", "globes"):
            found.wait(CustomResourceDefinition, f"{name}.{GROUP}", for_conditions=["Established"])
        yield found


def configmap(name: str, labels: dict[str, str] | None = None, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels=labels), data=data)


@pytest.mark.client(LIBRARY, "create, get, replace, patch, set, delete; typed")
def test_typed_objects(client: Client) -> None:
    made = client.create(configmap("one", k="v"))
    assert made.metadata and made.metadata.creationTimestamp and made.metadata.creationTimestamp.tzinfo
    assert client.get(ConfigMap, "one") == made
    made.data = {"n": "1"}
    assert client.replace(made).data == {"n": "1"}
    with pytest.raises(ApiError) as stale:
        client.replace(made)
    assert (stale.value.status.code, stale.value.status.reason) == (409, "Conflict")

    assert client.patch(ConfigMap, "one", {"data": {"m": "2"}}).data == {"n": "1", "m": "2"}, "strategic is its default"
    assert client.patch(ConfigMap, "one", {"data": {"m": None}}, patch_type=PatchType.MERGE).data == {"n": "1"}
    add: Any = [{"op": "add", "path": "/data/j", "value": "3"}]
    assert client.patch(ConfigMap, "one", add, patch_type=PatchType.JSON).data == {"n": "1", "j": "3"}
    labelled = client.set(ConfigMap, "one", labels={"a": "b"}, annotations={"example.com/c": "d"})
    assert labelled.metadata and labelled.metadata.labels == {"a": "b"}
    client.delete(ConfigMap, "one", cascade=CascadeType.FOREGROUND)
    until(lambda: not list(client.list(ConfigMap, fields={"metadata.name": "one"})))
    with pytest.raises(ApiError) as gone:
        client.get(ConfigMap, "one")
    assert gone.value.status.code == 404


@pytest.mark.client(LIBRARY, "list in chunks, label and field operators, all namespaces, deletecollection")
def test_lists(client: Client) -> None:
    for number in range(5):
        client.create(configmap(f"list-{number}", {"n": str(number), "list": "yes"}))

    names = [item.metadata.name for item in client.list(ConfigMap, chunk_size=2, labels={"list": "yes"}) if item.metadata]
    assert names == [f"list-{number}" for number in range(5)]
    some = client.list(ConfigMap, labels={"n": op.in_(["1", "2"]), "list": op.exists(), "gone": op.not_exists()})
    assert len(list(some)) == 2
    others = client.list(ConfigMap, namespace="*", labels={"list": "yes", "n": op.not_equal("1")})
    assert len(list(others)) == 4
    assert others.resourceVersion
    client.deletecollection(ConfigMap)
    assert not list(client.list(ConfigMap, labels={"list": "yes"}))


@pytest.mark.client(LIBRARY, "apply with conflicts and force; dry run")
def test_apply(client: Client) -> None:
    assert client.apply(configmap("applied", k="v")).data == {"k": "v"}
    with pytest.raises(ApiError) as conflict:
        client.apply(configmap("applied", k="w"), field_manager="other")
    assert conflict.value.status.code == 409
    assert conflict.value.status.details and conflict.value.status.details.causes
    assert conflict.value.status.details.causes[0].field == ".data.k"
    assert client.apply(configmap("applied", k="w"), field_manager="other", force=True, dry_run=True).data == {"k": "w"}
    assert client.get(ConfigMap, "applied").data == {"k": "v"}
    assert client.apply(configmap("applied", k="w"), field_manager="other", force=True).data == {"k": "w"}


@pytest.mark.client(LIBRARY, "watch, and resume by itself")
def test_watch(client: Client) -> None:
    client.create(configmap("watched", {"watched": "yes"}))
    seen = []
    for type_, found in client.watch(ConfigMap, labels={"watched": "yes"}, server_timeout=1):
        seen.append((type_, found.data))
        if type_ == "ADDED":
            # Written after the server has ended the first watch, or before: both are seen.
            threading.Timer(1.2, client.patch, [ConfigMap, "watched", {"data": {"k": "2"}}]).start()
        elif type_ == "MODIFIED":
            client.delete(ConfigMap, "watched")
        else:
            break

    assert [type_ for type_, _ in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert seen[1][1] == {"k": "2"}


@pytest.mark.client(LIBRARY, "generic resources: status, scale, wait, cluster scope, load_in_cluster_generic_resources")
def test_own_kinds(client: Client) -> None:
    made = client.create(Widget.from_dict(widget("own", color="red")))
    assert made.spec == {"color": "red", "replicas": 1}
    assert client.get(Widget.Scale, "own").spec == ScaleSpec(replicas=1)
    scaled = client.patch(Widget.Scale, "own", {"spec": {"replicas": 3}}, patch_type=PatchType.MERGE)
    assert scaled.spec == ScaleSpec(replicas=3)
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    client.patch(Widget.Status, "own", status, patch_type=PatchType.MERGE)
    assert client.wait(Widget, "own", for_conditions=["Ready"]).spec["replicas"] == 3  # type: ignore[index]
    assert client.apply(Widget.from_dict({**widget("own"), "spec": {"sizes": [1]}})).spec["sizes"] == [1]  # type: ignore[index]
    with pytest.raises(ApiError) as strategic:
        client.patch(Widget, "own", {"spec": {"color": "blue"}})
    assert strategic.value.response.status_code == 415

    client.create(Globe.from_dict(widget("earth", kind="Globe")))
    assert [item.metadata.name for item in client.list(Globe) if item.metadata] == ["earth"]
    load_in_cluster_generic_resources(client)
    loaded = get_generic_resource(f"{GROUP}/v1", "Globe")
    assert loaded is not None
    assert client.get(loaded, "earth").spec == {"replicas": 1}


@pytest.mark.client(LIBRARY, "Namespace, Secret, Lease; AsyncClient")
async def test_other_core_kinds(cluster: Cluster) -> None:
    async with AsyncClient(config=KubeConfig.from_file(str(cluster.kubeconfig))) as client:
        await client.create(Namespace(metadata=ObjectMeta(name="light")))
        secret = await client.create(Secret(metadata=ObjectMeta(name="s", namespace="light"), stringData={"k": "v"}))
        assert secret.data == {"k": "dg=="}
        spec = LeaseSpec(holderIdentity="me", leaseDurationSeconds=5)
        lease = await client.create(Lease(metadata=ObjectMeta(name="l", namespace="light"), spec=spec))
        assert lease.spec == spec
        await client.delete(Namespace, "light")
        async for type_, found in client.watch(Namespace, fields={"metadata.name": "light"}):
            if type_ == "DELETED":
                assert found.metadata and found.metadata.name == "light"
                break
        assert [item async for item in client.list(Secret, namespace="*", fields={"metadata.name": "s"})] == []
