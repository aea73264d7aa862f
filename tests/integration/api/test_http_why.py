"""`.../why` over real HTTP: the sentences of `plum explain`, for built-in kinds and for those of users."""

from __future__ import annotations

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
