"""Finding kinds by the words people use, and what discovery documents of a real server look like."""

from __future__ import annotations

import pytest
from plum_client.discovery import kinds_of
from plum_client.errors import BadRequestError, NotFoundError
from plum_client.fake import FakeApi
from plum_schemas.core import ConfigMap
from plum_schemas.deployment import Deployment
from plum_schemas.lease import Lease


@pytest.mark.parametrize("word", ["deploy", "deployment", "Deployments", "deployments.plum.dev", "deployments.v1.plum.dev"])
async def test_words_for_a_kind(word: str) -> None:
    info = await FakeApi(kinds=[ConfigMap, Deployment, Lease]).client().resolve(word)

    assert (info.kind, info.api_version, info.plural) == ("Deployment", "plum.dev/v1", "deployments")
    assert info.has_status
    assert info.scale is not None


async def test_a_wrong_word_gets_a_hint() -> None:
    api = FakeApi(kinds=[ConfigMap, Deployment]).client()

    with pytest.raises(NotFoundError, match="did you mean deployments"):
        await api.resolve("deplyoments")
    with pytest.raises(NotFoundError):
        await api.resolve("deployments.apps")


async def test_a_kind_that_came_later_is_found() -> None:
    fake = FakeApi(kinds=[ConfigMap])
    api = fake.client()
    await api.discover()
    await fake.client().list(Deployment)

    assert (await api.resolve("deploy")).kind == "Deployment"


async def test_dictionaries_of_discovered_kinds_need_no_kind() -> None:
    api = FakeApi(kinds=[ConfigMap]).client()
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}

    with pytest.raises(BadRequestError, match="discover"):
        await api.create(body)
    await api.discover()
    assert (await api.create(body))["metadata"]["namespace"] == "default"


def test_subresources_are_no_kinds() -> None:
    resources = [
        {"name": "deployments", "kind": "Deployment", "namespaced": True, "shortNames": ["deploy"]},
        {"name": "deployments/status", "kind": "Deployment", "namespaced": True},
        {"name": "deployments/scale", "kind": "Scale", "group": "autoscaling", "version": "v1"},
        {"name": "nodes", "kind": "Node", "namespaced": False},
    ]

    deployment, node = kinds_of("plum.dev", "v1", {"resources": resources})

    assert (deployment.has_status, deployment.scale is not None, deployment.namespaced) == (True, True, True)
    assert (node.has_status, node.scale, node.namespaced) == (False, None, False)
