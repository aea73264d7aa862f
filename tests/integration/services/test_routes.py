"""`/v1/services` and `/v1/discovery` as programs of the system before use them, over the same objects as everything else."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from plum_client.client import ApiClient
from plum_schemas.base import ObjectMeta
from plum_schemas.endpoint import Endpoint, EndpointSpec
from plum_schemas.instance import Instance, InstanceSpec
from plum_schemas.service import Service, ServiceSpec
from plum_schemas.template import Template

from tests.support.agent import until_async
from tests.support.server import RunningServer, running_server


class Classic:
    """The routes in one namespace."""

    def __init__(self, server: RunningServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = await self.server.request(method, f"{path}{'&' if '?' in path else '?'}namespace={self.namespace}", body)
        text = answer.body.decode()
        return answer.status, json.loads(text) if text.startswith(("[", "{", '"')) else text.strip()

    async def register(self, instance: str, *ports: int, ip: str = "10.0.0.1", query: str = "", **fields: Any) -> tuple[int, Any]:
        endpoints = [{"serviceName": "sonar", "port": port, "protocol": "http", "version": "1", **fields} for port in ports]
        body = {"instanceId": instance, "nodeId": "boat1", "ip": ip, "endpoints": endpoints}
        return await self.call("POST", f"/v1/services/register{query}", body)

    async def ports(self, query: str = "") -> list[int]:
        status, found = await self.call("GET", f"/v1/discovery?service=sonar{query}")
        assert status == 200
        return sorted(item["port"] for item in found)


@pytest.fixture
def classic(server: RunningServer, namespace: str) -> Classic:
    return Classic(server, namespace)


async def test_what_registers_is_found_by_everybody(classic: Classic, api: ApiClient) -> None:
    assert await classic.register("sim-1", 3300, labels={"kind": "towed"}) == (204, "")

    status, found = await classic.call("GET", "/v1/discovery?service=sonar")

    assert status == 200
    assert abs(found[0].pop("lastSeen") - time.time()) < 5
    assert found == [
        {
            "serviceName": "sonar", "instanceId": "sim-1", "nodeId": "boat1", "ip": "10.0.0.1", "port": 3300, "protocol": "http",
            "version": "1", "labels": {"kind": "towed"}, "healthy": True,
        }
    ]  # fmt: skip
    assert await classic.call("GET", "/v1/services/list") == (200, ["sonar"])
    (stored,) = await api.list(Endpoint, classic.namespace)
    assert (stored.spec.service, stored.spec.ttl, stored.spec.instance_name) == ("sonar", "1s500ms", "sim-1")


async def test_without_heartbeats_it_is_critical_and_a_heartbeat_brings_it_back(classic: Classic) -> None:
    await classic.register("sim-1", 3300)

    await until_async(classic.ports, lambda ports: ports == [], 10)
    assert await classic.ports("&all=true") == [3300]
    assert (await classic.call("GET", "/v1/discovery?service=sonar&all=true"))[1][0]["healthy"] is False

    assert await classic.call("POST", "/v1/services/heartbeat", {"instanceId": "sim-1"}) == (204, "")
    await until_async(classic.ports, lambda ports: ports == [3300], 10)


async def test_health_that_is_reported_counts(classic: Classic) -> None:
    await classic.register("sim-1", 3300, 3301)
    ill = {"serviceName": "sonar", "ip": "10.0.0.1", "port": 3301, "protocol": "http", "healthy": False}

    await classic.call("POST", "/v1/services/heartbeat", {"instanceId": "sim-1", "health": [ill]})

    await until_async(classic.ports, lambda ports: ports == [3300], 1.4)


async def test_what_an_instance_registers_belongs_to_it(classic: Classic, api: ApiClient) -> None:
    metadata = ObjectMeta(name="sim-1", namespace=classic.namespace)
    instance = await api.create(Instance(metadata=metadata, spec=InstanceSpec(template=Template(command=["sim"]))))
    await classic.register("sim-1", 3300)

    (stored,) = await api.list(Endpoint, classic.namespace)
    assert stored.metadata.owner_references[0].uid == stored.spec.instance_uid == instance.metadata.uid
    assert await classic.call("POST", "/v1/services/heartbeat", {"instanceId": "sim-1"}) == (204, "")
    await until_async(classic.ports, lambda ports: ports == [], 5)

    await api.delete(Instance, instance.key)
    await until_async(lambda: api.list(Endpoint, classic.namespace), lambda found: not found.items, 5)
    assert (await classic.call("POST", "/v1/services/heartbeat", {"instanceId": "sim-1"}))[0] == 404


async def test_replace_removes_what_is_not_named_again_and_only_of_that_instance(classic: Classic) -> None:
    await classic.register("sim-1", 3300, 3301)
    await classic.register("sim-2", 3300, ip="10.0.0.2")

    await classic.register("sim-1", 3302)
    assert await classic.ports("&all=true") == [3300, 3300, 3301, 3302]
    await classic.register("sim-1", 3302, query="?replace=true")
    assert await classic.ports("&all=true") == [3300, 3302]


async def test_endpoints_are_changed_and_forgotten(classic: Classic) -> None:
    await classic.register("sim-1", 3300, 3301)
    one = "/v1/services/endpoint?serviceName=sonar&instanceId=sim-1&ip=10.0.0.1&port=3300&protocol=http"

    assert await classic.call("PATCH", one, {"version": "2", "labels": {"a": "b"}}) == (204, "")
    found = (await classic.call("GET", "/v1/discovery?service=sonar&version=2&all=true"))[1]
    assert {item["port"]: (item["version"], item["labels"]) for item in found}[3300] == ("2", {"a": "b"})
    assert await classic.ports("&version=2") == [3300]

    assert (await classic.call("DELETE", one))[0] == 204
    assert (await classic.call("DELETE", one))[0] == 204
    assert await classic.ports("&all=true") == [3301]
    assert (await classic.call("DELETE", "/v1/services?instanceId=sim-1"))[0] == 204
    assert await classic.ports("&all=true") == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/v1/services/register", {"ip": "10.0.0.1"}, 400, "missing instanceId"),
        ("POST", "/v1/services/register", {"instanceId": "x"}, 400, "missing ip"),
        ("POST", "/v1/services/heartbeat", {"instanceId": "ghost"}, 404, "instance 'ghost' has registered no services"),
        ("DELETE", "/v1/services", None, 400, "missing instanceId"),
        ("DELETE", "/v1/services/endpoint?serviceName=a&instanceId=b&ip=c&port=x&protocol=http", None, 400, "invalid port"),
        ("PATCH", "/v1/services/endpoint?serviceName=a&instanceId=b&ip=c&port=1&protocol=http", {}, 404, "no such endpoint"),
        ("GET", "/v1/discovery", None, 400, "service required"),
        ("GET", "/v1/discovery/random?service=nobody", None, 404, "no endpoints found"),
        ("GET", "/v1/discovery/one?service=a&strategy=best", None, 400, "invalid strategy"),
        ("GET", "/v1/discovery/one?service=a&strategy=sticky", None, 400, "invalid strategy 'sticky' without key"),
        ("GET", "/v1/discovery/stream", None, 400, "service required"),
        ("POST", "/v1/discovery", {}, 405, "method not allowed"),
    ],
)
async def test_refusals(classic: Classic, method: str, path: str, body: Any, status: int, text: str) -> None:
    code, answer = await classic.call(method, path, body)

    assert code == status
    said = answer["message"] if isinstance(answer, dict) else answer
    assert said.startswith(text), said


async def test_one_is_chosen_by_the_strategy_of_the_service_or_of_the_request(classic: Classic, api: ApiClient) -> None:
    for number in (1, 2, 3):
        spec = EndpointSpec(service="sonar", address=f"10.0.0.{number}", port=80)
        await api.create(Endpoint(metadata=ObjectMeta(name=f"e{number}", namespace=classic.namespace), spec=spec))
    await until_async(classic.ports, lambda ports: len(ports) == 3)

    async def chosen(query: str = "") -> str:
        status, found = await classic.call("GET", f"/v1/discovery/one?service=sonar{query}")
        assert status == 200, found
        return str(found["ip"])

    assert set(Counter([await chosen() for _ in range(6)]).values()) == {2}, "in turn where nothing is said"
    assert len({await chosen("&strategy=lazy") for _ in range(4)}) == 1
    assert len({await chosen("&strategy=consistentHash&key=ann") for _ in range(4)}) == 1
    assert len({await chosen("&strategy=random") for _ in range(40)}) == 3

    hashed = ServiceSpec(strategy="consistentHash", hash_key="header:X-User")
    await api.create(Service(metadata=ObjectMeta(name="sonar", namespace=classic.namespace), spec=hashed))
    assert len({await chosen("&key=bob") for _ in range(4)}) == 1
    assert len({await chosen() for _ in range(6)}) == 3, "without a key there is nothing to follow"


async def test_long_lists_come_in_pages_with_a_link(classic: Classic) -> None:
    await classic.register("sim-1", *range(4000, 4005))

    first = await classic.server.get(f"/v1/discovery?service=sonar&all=true&limit=2&namespace={classic.namespace}")
    link = first.headers["link"]
    pages = [first.json()]
    while link:
        answer = await classic.server.get(link.partition(">")[0].lstrip("<"))
        pages.append(answer.json())
        link = answer.headers.get("link", "")

    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(item["port"] for page in pages for item in page) == list(range(4000, 4005))


async def test_changes_are_streamed_as_complete_lists(classic: Classic, api: ApiClient) -> None:
    reader, writer = await asyncio.open_connection(classic.server.host, classic.server.port)
    path = f"/v1/discovery/stream?service=sonar&namespace={classic.namespace}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {classic.server.host}:{classic.server.port}\r\n\r\n".encode())

    async def event() -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while not (line := await reader.readline()).startswith(b"data: "):
                assert line
        found: list[dict[str, Any]] = json.loads(line.removeprefix(b"data: "))
        return found

    assert await event() == []
    await classic.register("sim-1", 3300)
    assert [item["port"] for item in await event()] == [3300]
    await classic.call("DELETE", "/v1/services?instanceId=sim-1")
    assert await event() == []
    writer.close()


async def test_the_server_stops_with_readers_of_streams_connected(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(f"GET /v1/discovery/stream?service=x HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n\r\n".encode())
        assert b"200" in await reader.readline()
        began = time.monotonic()

        assert await server.stop() == 0

        assert time.monotonic() - began < 5
        writer.close()
