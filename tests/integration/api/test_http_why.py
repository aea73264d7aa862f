"""`.../why` over real HTTP: the sentences of `plum explain`, for built-in kinds and for those of users."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.server import RunningServer

DEPLOYMENTS = "/apis/plum.dev/v1/namespaces/default/deployments"


def texts(finding: dict[str, Any]) -> list[str]:
    return [finding["text"], *(text for reason in finding["because"] for text in texts(reason))]


async def test_say_why_a_deployment_is_not_where_it_should_be(server: RunningServer) -> None:
    body = {
        "apiVersion": "plum.dev/v1", "kind": "Deployment", "metadata": {"name": "asked"},
        "spec": {"replicas": 2, "template": {"command": ["sleep", "60"]}},
    }  # fmt: skip
    assert (await server.request("POST", DEPLOYMENTS, body)).status == 201

    answer = await server.get(f"{DEPLOYMENTS}/asked/why")

    assert answer.status == 200, answer.body
    said = answer.json()
    assert (said["kind"], said["settled"]) == ("Explanation", False)
    assert "Deployment asked" in said["text"]


async def test_say_that_an_object_without_conditions_is_where_it_should_be(server: RunningServer) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {"a": "b"}}
    assert (await server.request("POST", "/api/v1/namespaces/default/configmaps", body)).status == 201

    said = (await server.get("/api/v1/namespaces/default/configmaps/plain/why")).json()

    assert said["settled"] is True
    assert "plain" in said["text"]


async def test_refuse_what_is_not_there_in_the_words_of_the_api(server: RunningServer) -> None:
    answer = await server.get(f"{DEPLOYMENTS}/nobody/why")

    assert answer.status == 404
    assert answer.json()["reason"] == "NotFound"


async def test_a_watch_says_why_again_when_it_says_something_else(server: RunningServer) -> None:
    body = {
        "apiVersion": "plum.dev/v1", "kind": "Deployment", "metadata": {"name": "watched"},
        "spec": {"replicas": 2, "template": {"command": ["sleep", "60"]}},
    }  # fmt: skip
    assert (await server.request("POST", DEPLOYMENTS, body)).status == 201
    said = (await server.get(f"{DEPLOYMENTS}/watched/why")).json()

    async with server.watch(f"{DEPLOYMENTS}/watched/why?watch=true") as events:
        first = await asyncio.wait_for(events.get(), 20)
        change = {"spec": {"state": "Stopped"}}
        path = f"{DEPLOYMENTS}/watched"
        assert (await server.request("PATCH", path, change, content_type="application/merge-patch+json")).status == 200
        told = first
        async with asyncio.timeout(20):
            while told["object"]["text"] == first["object"]["text"]:
                told = await events.get()
        assert (await server.request("DELETE", path)).status == 200
        async with asyncio.timeout(20):
            while told is not None and told["type"] != "ERROR":
                last, told = told, await events.get()

    assert first["type"] == "ADDED"
    assert first["object"]["text"].partition(" since ")[0] == said["text"].partition(" since ")[0]
    assert last["type"] == "MODIFIED"
    assert told["object"]["code"] == 404


async def test_a_watch_of_why_refuses_what_is_not_there(server: RunningServer) -> None:
    assert (await server.get(f"{DEPLOYMENTS}/nobody/why?watch=true")).status == 404
