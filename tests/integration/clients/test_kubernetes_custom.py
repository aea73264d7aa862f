"""User-defined kinds with the `kubernetes` library: CustomObjectsApi method by method, and the DynamicClient."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, dynamic
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, ResourceNotFoundError

from tests.support.kubernetes_clients import GROUP, Cluster, definition, until, widget

LIBRARY = "kubernetes 37"
WHERE = (GROUP, "v1", "default", "widgets")
GLOBAL = (GROUP, "v1", "globes")


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as found:
        definitions = client.ApiextensionsV1Api(found)
        definitions.create_custom_resource_definition(definition())
        definitions.create_custom_resource_definition(definition("globes", "Globe", scope="Cluster"))

        def served() -> bool:
            resources = client.CustomObjectsApi(found).get_api_resources(GROUP, "v1").resources
            return {"widgets", "globes"} <= {resource.name for resource in resources}

        until(lambda: _quiet(served), what="both kinds are served")
        yield found


def _quiet(check: Any) -> bool:
    try:
        return bool(check())
    except client.ApiException as error:
        assert error.status == 404
        return False


@pytest.fixture
def objects(api: client.ApiClient) -> client.CustomObjectsApi:
    return client.CustomObjectsApi(api)


@pytest.mark.client(LIBRARY, "CustomObjectsApi: namespaced create, get, list, patch, replace, delete")
def test_namespaced_objects(objects: client.CustomObjectsApi) -> None:
    made = objects.create_namespaced_custom_object(*WHERE, widget("one", labels={"a": "b"}, color="red"))
    assert made["spec"] == {"color": "red", "replicas": 1}
    assert objects.get_namespaced_custom_object(*WHERE, "one") == made

    patched = objects.patch_namespaced_custom_object(*WHERE, "one", {"spec": {"color": "blue"}})
    assert (patched["spec"]["color"], patched["metadata"]["generation"]) == ("blue", 2)
    replaced = objects.replace_namespaced_custom_object(*WHERE, "one", {**patched, "spec": {"sizes": [1]}})
    assert replaced["spec"] == {"sizes": [1], "replicas": 1}
    with pytest.raises(client.ApiException) as stale:
        objects.replace_namespaced_custom_object(*WHERE, "one", patched)
    assert stale.value.status == 409

    listed = objects.list_namespaced_custom_object(*WHERE, label_selector="a=b")
    assert (listed["kind"], [item["metadata"]["name"] for item in listed["items"]]) == ("WidgetList", ["one"])
    everywhere = objects.list_custom_object_for_all_namespaces(GROUP, "v1", "widgets", field_selector="metadata.name=one")
    assert len(everywhere["items"]) == 1
    assert objects.delete_namespaced_custom_object(*WHERE, "one", propagation_policy="Foreground")["kind"] in ("Status", "Widget")
    until(lambda: not objects.list_namespaced_custom_object(*WHERE, label_selector="a=b")["items"])


@pytest.mark.client(LIBRARY, "CustomObjectsApi: status and scale, namespaced")
def test_status_and_scale(objects: client.CustomObjectsApi) -> None:
    objects.create_namespaced_custom_object(*WHERE, widget("parts", color="red"))

    status = {"status": {"replicas": 1, "ready": True}}
    patched = objects.patch_namespaced_custom_object_status(*WHERE, "parts", {**status, "spec": {"color": "no"}})
    assert (patched["status"], patched["spec"]["color"]) == (status["status"], "red")
    assert patched["metadata"]["generation"] == 1
    assert objects.get_namespaced_custom_object_status(*WHERE, "parts")["status"] == status["status"]
    patched["status"] = {"replicas": 2}
    assert objects.replace_namespaced_custom_object_status(*WHERE, "parts", patched)["status"] == {"replicas": 2}

    scale = objects.get_namespaced_custom_object_scale(*WHERE, "parts")
    assert (scale["kind"], scale["spec"], scale["status"]["replicas"]) == ("Scale", {"replicas": 1}, 2)
    assert objects.patch_namespaced_custom_object_scale(*WHERE, "parts", {"spec": {"replicas": 4}})["spec"] == {"replicas": 4}
    scale = objects.get_namespaced_custom_object_scale(*WHERE, "parts")
    scale["spec"]["replicas"] = 5
    assert objects.replace_namespaced_custom_object_scale(*WHERE, "parts", scale)["spec"] == {"replicas": 5}
    assert objects.get_namespaced_custom_object(*WHERE, "parts")["spec"]["replicas"] == 5
    with pytest.raises(client.ApiException) as negative:
        objects.patch_namespaced_custom_object_scale(*WHERE, "parts", {"spec": {"replicas": -1}})
    assert negative.value.status == 422


@pytest.mark.client(LIBRARY, "CustomObjectsApi: cluster-scoped kinds, status and scale included")
def test_cluster_scoped_objects(objects: client.CustomObjectsApi) -> None:
    made = objects.create_cluster_custom_object(*GLOBAL, widget("earth", kind="Globe"))
    assert "namespace" not in made["metadata"]
    assert objects.get_cluster_custom_object(*GLOBAL, "earth") == made
    objects.patch_cluster_custom_object(*GLOBAL, "earth", {"spec": {"color": "blue"}})
    objects.patch_cluster_custom_object_status(*GLOBAL, "earth", {"status": {"replicas": 3}})
    objects.patch_cluster_custom_object_scale(*GLOBAL, "earth", {"spec": {"replicas": 3}})
    assert objects.get_cluster_custom_object_scale(*GLOBAL, "earth")["status"]["replicas"] == 3
    found = objects.get_cluster_custom_object_status(*GLOBAL, "earth")
    assert objects.replace_cluster_custom_object_status(*GLOBAL, "earth", {**found, "status": {"replicas": 4}})["status"] == {
        "replicas": 4
    }
    scale = objects.get_cluster_custom_object_scale(*GLOBAL, "earth")
    assert objects.replace_cluster_custom_object_scale(*GLOBAL, "earth", {**scale, "spec": {"replicas": 2}})["spec"] == {
        "replicas": 2
    }
    found = objects.get_cluster_custom_object(*GLOBAL, "earth")
    assert objects.replace_cluster_custom_object(*GLOBAL, "earth", {**found, "spec": {}})["spec"] == {"replicas": 1}
    assert objects.list_cluster_custom_object(*GLOBAL)["kind"] == "GlobeList"
    objects.delete_cluster_custom_object(*GLOBAL, "earth")
    objects.create_cluster_custom_object(*GLOBAL, widget("mars", kind="Globe"))
    objects.delete_collection_cluster_custom_object(*GLOBAL)
    assert not objects.list_cluster_custom_object(*GLOBAL)["items"]


@pytest.mark.client(LIBRARY, "CustomObjectsApi: deletecollection, refusals as Status")
def test_collections_and_refusals(objects: client.CustomObjectsApi) -> None:
    for name in ("red", "blue"):
        objects.create_namespaced_custom_object(*WHERE, widget(name, labels={"heap": name}))

    objects.delete_collection_namespaced_custom_object(*WHERE, label_selector="heap=red")

    left = objects.list_namespaced_custom_object(*WHERE, label_selector="heap")["items"]
    assert [item["metadata"]["name"] for item in left] == ["blue"]
    with pytest.raises(client.ApiException) as wrong:
        objects.create_namespaced_custom_object(*WHERE, widget("wrong", replicas="many"))
    status = json.loads(wrong.value.body)
    assert (status["code"], status["reason"], status["details"]["causes"][0]["field"]) == (422, "Invalid", "spec.replicas")
    with pytest.raises(client.ApiException) as twice:
        objects.create_namespaced_custom_object(*WHERE, widget("blue"))
    assert json.loads(twice.value.body)["reason"] == "AlreadyExists"
    with pytest.raises(client.ApiException) as unknown:
        objects.list_namespaced_custom_object(GROUP, "v1", "default", "gadgets")
    assert unknown.value.status == 404
    objects.delete_namespaced_custom_object(*WHERE, "blue")


@pytest.fixture
def found(api: client.ApiClient, tmp_path: Path) -> dynamic.DynamicClient:
    return dynamic.DynamicClient(api, cache_file=str(tmp_path / "discovery.json"))


@pytest.mark.client(LIBRARY, "DynamicClient: discovery with its cache, create, get, patch, replace, delete")
def test_dynamic_client(found: dynamic.DynamicClient, api: client.ApiClient, tmp_path: Path) -> None:
    widgets = found.resources.get(api_version=f"{GROUP}/v1", kind="Widget")
    made = widgets.create(body=widget("dynamic", color="red"), namespace="default")
    assert (made.spec.color, made.kind) == ("red", "Widget")
    merged = widgets.patch(
        name="dynamic", namespace="default", body={"spec": {"color": None}}, content_type="application/merge-patch+json"
    )
    assert merged.spec.color is None
    replaced = widgets.replace(body={**merged.to_dict(), "spec": {"color": "green"}}, namespace="default")
    assert widgets.get(name="dynamic", namespace="default").spec.to_dict() == replaced.spec.to_dict()
    with pytest.raises(ConflictError):
        widgets.replace(body=merged.to_dict(), namespace="default")
    assert [item.metadata.name for item in widgets.get(namespace="default", field_selector="metadata.name=dynamic").items] == [
        "dynamic"
    ]
    widgets.status.patch(
        name="dynamic", namespace="default", body={"status": {"ready": 1}}, content_type="application/merge-patch+json"
    )
    assert widgets.get(name="dynamic", namespace="default").status.ready == 1
    widgets.delete(name="dynamic", namespace="default")
    with pytest.raises(NotFoundError):
        widgets.get(name="dynamic", namespace="default")

    cached = dynamic.DynamicClient(api, cache_file=str(tmp_path / "discovery.json"))
    assert cached.resources.get(api_version="v1", kind="ConfigMap").namespaced
    with pytest.raises(ResourceNotFoundError):
        cached.resources.get(api_version=f"{GROUP}/v1", kind="Gadget")


@pytest.mark.client(LIBRARY, "DynamicClient: server_side_apply with conflicts, strategic patch refused for own kinds")
def test_dynamic_apply(found: dynamic.DynamicClient) -> None:
    widgets = found.resources.get(api_version=f"{GROUP}/v1", kind="Widget")
    applied = widgets.server_side_apply(body=widget("applied", color="red"), namespace="default", field_manager="ann")
    assert applied.metadata.managedFields[0].manager == "ann"

    with pytest.raises(ConflictError) as conflict:
        widgets.server_side_apply(body=widget("applied", color="blue"), namespace="default", field_manager="bob")
    assert '"ann"' in json.loads(conflict.value.body)["message"]
    forced = widgets.server_side_apply(
        body=widget("applied", color="blue"), namespace="default", field_manager="bob", force_conflicts=True
    )
    assert forced.spec.color == "blue"
    with pytest.raises(dynamic.exceptions.DynamicApiError) as strategic:
        widgets.patch(name="applied", namespace="default", body={"spec": {"color": "red"}})
    assert strategic.value.status == 415

    configmaps = found.resources.get(api_version="v1", kind="ConfigMap")
    configmaps.create(body={"metadata": {"name": "strategic"}, "data": {"a": "1"}}, namespace="default")
    assert configmaps.patch(name="strategic", namespace="default", body={"data": {"b": "2"}}).data.to_dict() == {
        "a": "1",
        "b": "2",
    }


@pytest.mark.client(LIBRARY, "DynamicClient: watch, with sendInitialEvents")
def test_dynamic_watch(found: dynamic.DynamicClient) -> None:
    widgets = found.resources.get(api_version=f"{GROUP}/v1", kind="Widget")
    widgets.create(body=widget("watched", labels={"seen": "yes"}), namespace="default")

    events = widgets.watch(
        namespace="default",
        label_selector="seen",
        timeout=10,
        send_initial_events=True,
        resource_version_match="NotOlderThan",
        allow_watch_bookmarks=True,
    )
    first, mark = next(events), next(events)
    widgets.delete(name="watched", namespace="default")
    gone = next(event for event in events if event["type"] != "BOOKMARK")
    events.close()

    assert (first["type"], first["object"].metadata.name) == ("ADDED", "watched")
    assert mark["type"] == "BOOKMARK"
    assert mark["raw_object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert (gone["type"], gone["object"].metadata.name) == ("DELETED", "watched")
