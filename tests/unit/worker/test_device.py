"""Drivers of devices: what their signatures say, and what waits to be told."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_worker import Device, DeviceError, OperationCall, Value
from plum_worker.device_outcomes import KEPT, Outcome, Outcomes
from plum_worker.device_reports import MAX_WAITING, Reports

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


class Mode(enum.Enum):
    IDLE = "idle"
    SCAN = "scan"


def device() -> Device:
    return Device("radar-07", type="Radar", address="http://127.0.0.1:1")


def test_the_model_follows_from_signatures() -> None:
    radar = device()

    @radar.property(unit="m", every=1.0)
    def range() -> float:
        return 1.0

    @radar.desired
    def mode(value: Mode) -> None: ...

    @radar.desired("power", unit="W", min=0, max=100)
    def set_power(value: int) -> None: ...

    @radar.operation
    def scan(sector: int, speed: Annotated[float, Value(unit="rpm", max=60)] = 1.0, *, call: OperationCall) -> dict[str, int]:
        """Look around.

        Not part of the model.
        """
        return {}

    radar.declare("state", Literal["off", "on"])

    assert radar.model == {
        "properties": [
            {"name": "range", "type": "double", "unit": "m", "readOnly": True},
            {"name": "mode", "type": "enum", "enum": ["idle", "scan"]},
            {"name": "power", "type": "integer", "unit": "W", "min": 0, "max": 100},
            {"name": "state", "type": "enum", "enum": ["off", "on"], "readOnly": True},
        ],
        "operations": [
            {
                "name": "scan",
                "arguments": [
                    {"name": "sector", "type": "integer", "required": True},
                    {"name": "speed", "type": "double", "unit": "rpm", "max": 60, "default": 1.0},
                ],
                "description": "Look around.",
            }
        ],
    }
    assert radar.operations["scan"].call_name == "call"


def test_a_property_with_a_setter_can_be_desired() -> None:
    oven = device()

    @oven.property(every=1)
    def setpoint() -> float:
        return 1.0

    @setpoint.setter
    def write(value: float) -> None: ...

    assert oven.model == {"properties": [{"name": "setpoint", "type": "double"}]}
    assert setpoint() == 1.0


def test_arguments_are_given_as_their_types() -> None:
    radar = device()

    @radar.operation
    def scan(mode: Mode, speed: float = 1.0) -> None: ...

    found = radar.operations["scan"]
    assert found.fill({"mode": "scan", "speed": 2}, None) == {"mode": Mode.SCAN, "speed": 2.0}
    with pytest.raises(ValueError, match="argument mode"):
        found.fill({"mode": "sing"}, None)
    with pytest.raises(ValueError, match="it has mode, speed"):
        found.fill({"tempo": 1}, None)


def test_what_cannot_be_a_model_says_where() -> None:
    radar = device()

    def unknown(value: Any) -> None: ...

    def positional(value: int, /) -> None: ...

    with pytest.raises(TypeError, match=r"operation 'unknown'.*'value'"):
        radar.operation(unknown)
    with pytest.raises(TypeError, match="'value'"):
        radar.operation(positional)
    with pytest.raises(TypeError, match="property 'x'"):
        radar.property("x")(lambda: None)
    radar.declare("x", int)
    with pytest.raises(ValueError, match="'x' is there already"):
        radar.declare("x", int)
    with pytest.raises(ValueError, match=r"no property 'y'; it has x"):
        radar.report(y=1)
    with pytest.raises(ValueError, match="quality"):
        radar.report(x=1, quality="fine")


def test_a_device_needs_a_name_and_an_address_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESOURCE_ID", "PLUM_INSTANCE_ID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DeviceError, match="name"):
        Device()
    with pytest.raises(DeviceError, match="ftp://x"):
        Device("a", address="ftp://x")
    with pytest.raises(DeviceError, match="heartbeat"):
        Device("a", heartbeat=0)
    monkeypatch.setenv("RESOURCE_ID", "radar-07")
    monkeypatch.setenv("PLUM_DEVICES", "unix:/run/plum/devices.sock")
    assert (Device().name, Device().link.address) == ("radar-07", "unix:/run/plum/devices.sock")


@given(st.lists(st.one_of(st.sampled_from("abc"), st.none(), st.just("back")), max_size=60))
def test_values_are_told_in_order_and_none_twice(steps: list[str | None]) -> None:
    reports = Reports()
    told: dict[str, list[int]] = {name: [] for name in "abc"}
    added: dict[str, list[int]] = {name: [] for name in "abc"}
    for number, step in enumerate(steps):
        if step in ("a", "b", "c"):
            reports.add({step: number}, NOW)
            added[step].append(number)
        else:
            taken = reports.take()
            if step == "back":
                reports.give_back(taken)
            else:
                for name, report in taken.items():
                    told[name].append(report.value)
    while taken := reports.take():
        for name, report in taken.items():
            told[name].append(report.value)

    assert told == added
    assert reports.newest == {name: values[-1] for name, values in added.items() if values}


def test_when_too_much_waits_the_newest_value_of_each_property_stays() -> None:
    reports = Reports()
    reports.add({"once": 1}, NOW)
    for number in range(3 * MAX_WAITING):
        reports.add({"often": number}, NOW)

    assert len(reports) <= MAX_WAITING
    waiting = []
    while taken := reports.take():
        waiting += [(name, report.value) for name, report in taken.items()]
    assert ("once", 1) in waiting
    assert waiting[-1] == ("often", 3 * MAX_WAITING - 1)
    assert reports.dropped + len(waiting) == 3 * MAX_WAITING + 1


def test_ends_are_known_after_a_restart_even_if_the_last_line_is_cut_off(tmp_path: Any) -> None:
    outcomes = Outcomes(str(tmp_path), "default.radar/07")
    for number in range(KEPT + 20):
        outcomes.record(Outcome(f"op{number}", f"key{number}", "Succeeded", {"n": number}))
        outcomes.confirm(f"op{number}")
    outcomes.close()
    [path] = tmp_path.glob("*.outcomes")
    path.write_bytes(path.read_bytes() + b'{"id":"op9999","key"')

    again = Outcomes(str(tmp_path), "default.radar/07")

    assert again.find("key3") is None
    assert again.find("key19") is None
    assert again.find("key20") == Outcome("op20", "key20", "Succeeded", {"n": 20}, told=True)
    assert not again.untold
    again.record(Outcome("last", "last", "Failed", error="jammed"))
    again.close()
    assert list(Outcomes(str(tmp_path), "default.radar/07").untold) == ["last"], "whoever was not told is told after a restart"
