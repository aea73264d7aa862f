"""Drivers against a server of the device protocol: what they say, when, and what they never do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plum_worker import Device, DeviceError, DeviceRefusedError, OperationCall

from tests.support.device_server import DeviceServer


@pytest.fixture
def server() -> Iterator[DeviceServer]:
    server = DeviceServer().start()
    yield server
    server.stop()


def radar(server: DeviceServer, **options: Any) -> Device:
    device = Device("radar-07", type="Radar", address=server.url, **({"heartbeat": 5.0} | options))
    device.declare("range", float)
    return device


def test_a_device_announces_itself_and_reports_in_order(server: DeviceServer) -> None:
    device = radar(server)
    device.report(range=1.0)
    with device:
        device.report(range=2.0)
        device.report(range=3.0)
        server.until(lambda: server.values("range") == [1.0, 2.0, 3.0])

    [announced] = server.announced
    assert announced["type"] == "Radar"
    assert announced["heartbeat"] == "5s"
    assert announced["model"] == {"properties": [{"name": "range", "type": "double", "readOnly": True}]}
    assert all(report["session"] == announced["session"] for report in server.reports)
    assert datetime.fromisoformat(server.reports[0]["values"]["range"]["deviceTime"]) <= datetime.now(UTC)


def test_a_device_with_nothing_to_say_says_that_it_is_there(server: DeviceServer) -> None:
    with radar(server, heartbeat=0.2):
        server.until(lambda: len(server.reports) >= 3)
    assert server.reports[0]["values"] == {}


def test_properties_are_read_on_their_time_and_after_they_were_written(server: DeviceServer) -> None:
    oven = Device("oven", address=server.url)
    state = {"setpoint": 20.0}

    @oven.property(every=0.05)
    def temperature() -> float:
        return 21.5

    @oven.property()
    def setpoint() -> float:
        return state["setpoint"]

    @setpoint.setter
    def write(value: float) -> None:
        state["setpoint"] = round(value)

    server.desired = {"setpoint": 30.4}
    with oven:
        server.until(lambda: len(server.values("temperature")) >= 3 and server.values("setpoint")[-1:] == [30.0])
        server.send(type="desired", values={"setpoint": 40.0})
        server.until(lambda: server.values("setpoint")[-1:] == [40.0])


def test_a_desired_value_that_cannot_be_written_is_written_again(server: DeviceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plum_worker.device_executor.WRITE_PAUSE", 0.05)
    oven = Device("oven", address=server.url)
    attempts = []

    @oven.desired
    async def setpoint(value: float) -> None:
        attempts.append(value)
        if len(attempts) < 3:
            raise OSError("the line is noisy")

    server.desired = {"setpoint": 30.0}
    with oven:
        server.until(lambda: server.values("setpoint") == [30.0])
    assert attempts == [30.0] * 3


def test_operations_are_carried_out_one_after_the_other(server: DeviceServer) -> None:
    device = radar(server)
    running: list[str] = []

    @device.operation
    def scan(sector: int) -> dict[str, int]:
        running.append("begin")
        time.sleep(0.05)
        running.append("end")
        return {"targets": sector}

    @device.operation
    async def park() -> str:
        running.append("begin")
        await asyncio.sleep(0.05)
        running.append("end")
        return "parked"

    @device.operation
    def jam() -> None:
        raise DeviceError("it is jammed")

    with device:
        server.operate("a", "scan", arguments={"sector": 3})
        server.operate("b", "park")
        server.operate("c", "jam")
        server.operate("d", "sing")
        server.operate("e", "scan", arguments={"sector": "north"})
        assert server.end_of("a") | {"session": ""} == {"session": "", "phase": "Succeeded", "result": {"targets": 3}}
        assert server.end_of("b")["result"] == "parked"
        assert server.end_of("c")["error"] == "it is jammed"
        assert "it has scan, park, jam" in server.end_of("d")["error"]
        assert "sector" in server.end_of("e")["error"]
    assert running == ["begin", "end"] * 2
    assert server.phases("a") == ["Accepted", "Running", "Succeeded"]
    assert server.phases("e") == ["Accepted", "Failed"]


def test_what_was_refused_is_never_begun(server: DeviceServer) -> None:
    device = radar(server)
    done: list[int] = []

    @device.operation
    def scan(sector: int) -> None:
        done.append(sector)

    def refuse(path: str, body: dict[str, Any]) -> tuple[int, str] | None:
        return (409, "Conflict: it has expired") if path.endswith("/late") and body["phase"] == "Accepted" else None

    server.refuse = refuse
    with device:
        server.operate("late", "scan", arguments={"sector": 1})
        server.operate("past", "scan", arguments={"sector": 2}, notAfter=(datetime.now(UTC) - timedelta(seconds=5)).isoformat())
        server.operate("next", "scan", arguments={"sector": 3})
        assert server.end_of("next")["phase"] == "Succeeded"
        assert "time had passed" in server.end_of("past")["error"]
    assert done == [3]
    assert server.phases("late") == []


def test_an_operation_under_the_same_key_is_executed_once(server: DeviceServer, tmp_path: Path) -> None:
    done: list[int] = []

    def make() -> Device:
        device = radar(server, folder=str(tmp_path))

        @device.operation
        def scan() -> int:
            done.append(1)
            return len(done)

        return device

    with make():
        server.operate("a", "scan", idempotencyKey="k")
        server.operate("a", "scan", idempotencyKey="k")
        server.end_of("a")
        server.operate("b", "scan", idempotencyKey="k", attempt=2)
        assert server.end_of("b")["result"] == 1
    with make():
        server.until(lambda: len(server.announced) == 2)
        server.operate("c", "scan", idempotencyKey="k", attempt=3)
        assert server.end_of("c")["result"] == 1
    assert done == [1]


def test_what_happened_while_nobody_listened_is_told_later(server: DeviceServer) -> None:
    device = radar(server)
    begun, go = threading.Event(), threading.Event()

    @device.operation
    def scan() -> str:
        begun.set()
        assert go.wait(40)
        return "done"

    with device:
        server.operate("a", "scan")
        assert begun.wait(40)
        server.stop()
        for number in range(5):
            device.report(range=float(number))
        go.set()
        time.sleep(0.3)
        server.start()
        assert server.end_of("a")["result"] == "done"
        server.until(lambda: server.values("range") == [0.0, 1.0, 2.0, 3.0, 4.0])
    assert len(server.announced) >= 2
    assert len({announced["session"] for announced in server.announced}) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_an_operation_stops_when_it_is_cancelled_or_takes_too_long(server: DeviceServer, is_async: bool) -> None:
    device = radar(server)
    if is_async:

        @device.operation
        async def scan() -> None:
            await asyncio.sleep(60)
    else:

        @device.operation("scan")
        def scan_plainly(call: OperationCall) -> None:
            while not call.cancellation.wait(0.01):
                call.progress(0.5)
            call.cancellation.raise_if_set()

    with device:
        server.operate("a", "scan")
        server.until(lambda: "Running" in server.phases("a"))
        server.send(type="cancel", id="a")
        assert server.end_of("a")["error"] == "cancelled"
        server.operate("b", "scan", timeout="100ms")
        assert server.end_of("b")["error"] == "it took longer than 0.1 s"
        server.operate("c", "scan", timeout=0.1)
        assert "longer" in server.end_of("c")["error"]


def test_a_value_that_is_refused_holds_up_no_other(server: DeviceServer) -> None:
    device = radar(server)
    device.declare("active", bool)

    def refuse(path: str, body: dict[str, Any]) -> tuple[int, str] | None:
        wrong = body.get("values", {}).get("range", {}).get("value") == -1.0
        return (422, "range must be at least 0") if wrong else None

    server.refuse = refuse
    device.report(range=-1.0, active=True)
    with device:
        device.report(range=2.0)
        server.until(lambda: server.values("active") == [True] and server.values("range") == [2.0])


@pytest.mark.parametrize("refusal", [(404, "NotFound: no such device"), (409, "NotAnnounced: announce it first")])
def test_a_device_that_is_not_known_any_more_is_announced_again(server: DeviceServer, refusal: tuple[int, str]) -> None:
    device = radar(server)
    gone = threading.Event()
    server.refuse = lambda path, body: refusal if gone.is_set() and path.endswith("reports") else None
    with device:
        server.until(lambda: len(server.announced) == 1)
        gone.set()
        device.report(range=1.0)
        server.until(lambda: len(server.announced) >= 2)
        gone.clear()
        server.until(lambda: server.values("range") == [1.0])


async def test_a_device_that_is_not_taken_ends_with_the_reason(server: DeviceServer) -> None:
    server.refuse = lambda path, body: (403, "this token may not report for radar-07")

    with pytest.raises(DeviceRefusedError, match="may not report"):
        await radar(server).serve()


async def test_a_device_whose_session_was_taken_over_ends(server: DeviceServer) -> None:
    device = radar(server)
    server.refuse = lambda path, body: (
        (409, "OtherSession: another session reports for radar-07") if path.endswith("reports") else None
    )
    device.report(range=1.0)

    with pytest.raises(DeviceRefusedError, match="another session"):
        await device.serve()
