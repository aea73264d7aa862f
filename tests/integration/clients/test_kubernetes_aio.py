"""The asyncio half of the `kubernetes` library."""

from __future__ import annotations

import asyncio

import pytest
from kubernetes.aio import client, config, watch

from tests.support.kubernetes_clients import Cluster


@pytest.mark.client("kubernetes 37", "aio: typed create, patch, list, delete; watch while writing")
async def test_typed_calls_and_a_watch(cluster: Cluster) -> None:
    await config.load_kube_config(config_file=str(cluster.kubeconfig))
    async with client.ApiClient() as api, asyncio.timeout(30):
        core = client.CoreV1Api(api)
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="aio"), data={"a": "1"})
        made = await core.create_namespaced_config_map("default", body)
        watcher = watch.Watch()
        seen = []
        async for event in watcher.stream(core.list_namespaced_config_map, "default", field_selector="metadata.name=aio"):
            seen.append((event["type"], event["object"].data))
            if event["type"] == "ADDED":
                await core.patch_namespaced_config_map("aio", "default", {"data": {"b": "2"}})
            elif event["type"] == "MODIFIED":
                await core.delete_namespaced_config_map("aio", "default")
            else:
                break
        await watcher.close()
        listed = await core.list_namespaced_config_map("default", field_selector="metadata.name=aio")

    assert made.data == {"a": "1"}
    assert seen == [("ADDED", {"a": "1"}), ("MODIFIED", {"a": "1", "b": "2"}), ("DELETED", {"a": "1", "b": "2"})]
    assert listed.items == []
