"""`/v1/resources`: devices of the system before, unchanged, over Resources and Operations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from plum_worker import Device, DeviceError

from tests.support.http_site import Asked, Reply, http_site
from tests.support.server import RunningServer, started_server

BASE = "/apis/plum.dev/v1/namespaces/default"
STATE_DESC = [
    {"type": "DOUBLE", "name": "range", "value": "0", "unit": "m"},
    {"type": "BOOL", "name": "active", "value": "false", "unit": ""},
    {"type": "INT", "name": "contacts", "value": "0", "unit": ""},
    {"type": "ENUM", "name": "mode", "value": "idle", "unit": ""},
]
OP_DESC = [
    {"type": "DOUBLE", "name": "range", "value": "1000", "unit": "m", "min": "100", "max": "5000"},
    {"type": "ENUM", "name": "mode", "value": "idle", "unit": "", "min": "", "max": ""},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with started_server(tmp_path_factory.mktemp("server")) as running:
        yield running


async def register(server: RunningServer, resource_id: str, **more: Any) -> None:
    body = {"resourceId": resource_id, "nodeId": "boat1", "type": "Radar", "stateDesc": STATE_DESC, "opDesc": OP_DESC, **more}
    answer = await server.request("POST", "/v1/resources/register", body)
    assert answer.status == 204, answer.body


async def test_a_device_registers_reports_and_is_shown(server: RunningServer) -> None:
    await register(server, "Radar 07", url="http://10.0.0.21:45001/resource/op")
    state = {"resourceId": "Radar 07", "timestamp": 1795210000, "states": {"range": "812.5", "active": "true", "contacts": "3"}}
    assert (await server.request("POST", "/v1/resources/state", state)).status == 204
    assert (await server.request("POST", "/v1/resources/heartbeat", {"resourceId": "Radar 07"})).status == 204

    shown = (await server.get("/v1/resources/Radar%2007")).json()
    assert {name: shown[name] for name in ("ResourceID", "NodeID", "Type", "URL")} == {
        "ResourceID": "Radar 07",
        "NodeID": "boat1",
        "Type": "Radar",
        "URL": "http://10.0.0.21:45001/resource/op",
    }
    assert shown["OpDesc"][0] == {"Type": "DOUBLE", "Name": "range", "Value": "1000", "Unit": "m", "Min": "100", "Max": "5000"}
    assert shown["LastSeen"] > 0
    assert [one["ResourceID"] for one in (await server.get("/v1/resources")).json()] == ["Radar 07"]
    [states] = (await server.get("/v1/resources/states?resourceId=Radar%2007")).json()
    assert states["ResourceID"] == "Radar 07"
    assert states["States"] == {"range": "812.5", "active": "true", "contacts": "3"}
    [found] = (await server.get(f"{BASE}/resources?fieldSelector=spec.type%3DRadar")).json()["items"]
    reported = found["status"]["reported"]
    assert {name: one["value"] for name, one in reported.items()} == {"range": 812.5, "active": True, "contacts": 3}
    assert reported["range"]["deviceTime"].startswith("2026-11-20")
    assert found["status"]["connection"]["online"] is True
    assert found["spec"]["model"]["operations"][0]["arguments"][0]["max"] == 5000
    assert (await server.request("DELETE", "/v1/resources/Radar%2007")).status == 204
    assert (await server.get("/v1/resources/Radar%2007")).status == 404
    assert (await server.get("/v1/resources")).json() == []


async def test_the_newest_states_come_first(server: RunningServer) -> None:
    await register(server, "many")
    for number in range(5):
        state = {"resourceId": "many", "timestamp": 1795210000 + number, "states": {"contacts": str(number)}}
        assert (await server.request("POST", "/v1/resources/state", state)).status == 204
        await asyncio.sleep(0.002)

    states = (await server.get("/v1/resources/states?resourceId=many&limit=3")).json()

    assert [one["States"]["contacts"] for one in states] == ["4", "3", "2"]
    await server.request("DELETE", "/v1/resources/many")


async def test_operations_are_sent_on_to_the_device(server: RunningServer) -> None:
    asked: list[Any] = []

    def answer(request: Asked) -> Reply:
        asked.append(request.json())
        return Reply(status=200 if len(asked) == 1 else 503)

    body = {"operations": [{"name": "range", "value": "1500"}]}
    async with http_site(answer) as site:
        await register(server, "radar-07", url=f"{site.url}/resource/op")
        assert (await server.request("POST", "/v1/resources/operation?resourceId=radar-07", body)).status == 204
        failed = await server.request("POST", "/v1/resources/operation?resourceId=radar-07", body)
    away = await server.request("POST", "/v1/resources/operation?resourceId=radar-07", body)

    assert asked[0] == body
    assert failed.status == 502 and failed.body.startswith(b"resource operation failed")
    assert away.status == 500 and away.body.startswith(b"failed to forward operation")
    assert (await server.request("POST", "/v1/resources/operation?resourceId=none", body)).status == 404
    await server.request("DELETE", "/v1/resources/radar-07")


async def test_devices_with_a_driver_are_operated_by_the_same_route(server: RunningServer) -> None:
    device = Device("oven", address=server.url)
    done: list[float] = []

    @device.operation
    def heat(value: float) -> None:
        if value > 300:
            raise DeviceError("too hot")
        done.append(value)

    with device:
        async with asyncio.timeout(40):
            while (await server.get(f"{BASE}/resources/oven")).status != 200:
                await asyncio.sleep(0.05)
        path = "/v1/resources/operation?resourceId=oven"
        body = {"operations": [{"name": "heat", "value": "180"}, {"name": "heat", "value": "200"}]}
        assert (await server.request("POST", path, body)).status == 204
        failed = await server.request("POST", path, {"operations": [{"name": "heat", "value": "999"}]})
        wrong = await server.request("POST", path, {"operations": [{"name": "heat", "value": "warm"}]})

    assert done == [180.0, 200.0]
    assert failed.status == 502 and b"too hot" in failed.body
    assert wrong.status == 400 and b"'warm'" in wrong.body
    assert (await server.get("/v1/resources/oven")).json()["OpDesc"][0]["Name"] == "heat"


@pytest.mark.parametrize(
    ("route", "body", "status", "words"),
    [
        ("register", {"type": "Radar"}, 400, "resourceId required"),
        ("register", {"resourceId": "a", "url": "ftp://x"}, 400, "url is 'ftp://x'"),
        ("register", {"resourceId": "a", "stateDesc": [{"type": "COLOR", "name": "x"}]}, 400, "stateDesc[0].type is 'COLOR'"),
        ("register", {"resourceId": "a", "opDesc": [{"type": "INT"}]}, 400, "opDesc[0] has no name"),
        ("heartbeat", {}, 400, "resourceId required"),
        ("heartbeat", {"resourceId": "none"}, 404, "register again"),
        ("state", {"resourceId": "none", "states": {}}, 404, "register again"),
        ("operation", {"operations": []}, 400, "resourceId required"),
    ],
)
async def test_what_is_wrong_is_one_line_of_text(server: RunningServer, route: str, body: Any, status: int, words: str) -> None:
    answer = await server.request("POST", f"/v1/resources/{route}", body)

    assert answer.status == status, answer.body
    assert words in answer.body.decode()
    assert answer.body.count(b"\n") == 1


async def test_a_state_that_was_not_registered_changes_nothing(server: RunningServer) -> None:
    await register(server, "strict")
    wrong = await server.request("POST", "/v1/resources/state", {"resourceId": "strict", "states": {"range": "1", "speed": "2"}})
    mistyped = await server.request("POST", "/v1/resources/state", {"resourceId": "strict", "states": {"range": "far"}})

    assert wrong.status == 400 and b"no 'speed'" in wrong.body
    assert mistyped.status == 400 and b"states.range is 'far'" in mistyped.body
    assert (await server.get("/v1/resources/states?resourceId=strict")).json() == []
