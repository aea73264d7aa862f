"""The simulator as a driver: operations, desired values and faults over the device protocol."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from plum_worker.simulator.devices import SimulatedDevice
from plum_worker.simulator.program import main

from tests.support.device_server import DeviceServer


@pytest.fixture
def server() -> Iterator[DeviceServer]:
    server = DeviceServer().start()
    yield server
    server.stop()


@contextmanager
def running(server: DeviceServer, kind: str, **options: float) -> Iterator[SimulatedDevice]:
    device = SimulatedDevice(kind, "one", address=server.url, interval=0.1, **options)  # type: ignore[arg-type]
    thread = threading.Thread(target=lambda: asyncio.run(device.serve()))
    thread.start()
    yield device
    device.device.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_a_radar_scans_and_takes_its_range(server: DeviceServer) -> None:
    server.desired = {"range": 4500.0, "mode": "scan"}
    with running(server, "radar", speed=20):
        server.until(lambda: 4500.0 in server.values("range") and (server.values("contacts") or [0])[-1] > 0)
        server.operate("a", "scan", arguments={"sector": 3})
        found = server.end_of("a")["result"]
        server.operate("b", "track", arguments={"target": 99})
        assert "no target 99" in server.end_of("b")["error"]
    assert found["sector"] == 3
    assert all(contact["bearing"] + 2 >= 90 and contact["bearing"] - 2 <= 135 for contact in found["contacts"])


def test_a_valve_moves_when_it_is_asked_and_fails_when_it_is_jammed(server: DeviceServer) -> None:
    with running(server, "valve", speed=50):
        server.send(type="desired", values={"position": 40.0})
        server.until(lambda: server.values("position")[-1:] == [40.0])
        server.operate("a", "flush", arguments={"seconds": 5})
        assert server.end_of("a")["result"]["litres"] > 0
        server.operate("b", "jam")
        server.operate("c", "home")
        assert "jammed at" in server.end_of("c")["error"]


def test_a_device_that_is_offline_is_silent_and_tells_the_rest_later(server: DeviceServer) -> None:
    with running(server, "thermostat") as device:
        server.until(lambda: len(server.values("temperature")) >= 2)
        server.operate("a", "fault", arguments={"kind": "offline", "seconds": 1.5})
        assert server.end_of("a")["phase"] == "Succeeded"
        server.until(lambda: not device.device.online and device.faults.is_offline)
        announced = len(server.announced)
        server.until(lambda: len(server.announced) > announced)
        told = len(server.reports)
        server.until(lambda: len(server.reports) > told + 2)


def test_the_program_names_arguments_that_cannot_be_used(capsys: pytest.CaptureFixture[str], server: DeviceServer) -> None:
    assert main(["valve", "--fault", "fire=1", "--address", server.url]) == 2
    assert "--fault 'fire=1' is no fault" in capsys.readouterr().err
    assert main(["valve", "--count", "0"]) == 2
    assert "--count is 0" in capsys.readouterr().err
    server.refuse = lambda path, body: (403, "Forbidden: not yours")
    assert main(["valve", "--address", server.url]) == 1
    assert "not yours" in capsys.readouterr().err
