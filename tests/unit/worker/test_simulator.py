"""Simulated devices: the same seed gives the same values, and their physics stay within what is possible."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_worker.device_errors import DeviceError
from plum_worker.simulator.devices import SimulatedDevice
from plum_worker.simulator.faults import Faults
from plum_worker.simulator.models import MODELS, Radar, Thermostat, Valve


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_the_same_seed_gives_the_same_values(kind: str) -> None:
    def run(seed: int) -> list[object]:
        model = MODELS[kind](Random(seed))
        values: list[object] = []
        for _ in range(50):
            model.step(0.1)
            values.append(model.values())
        return values

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_a_simulated_device_has_a_model_for_everything_it_reports(kind: str) -> None:
    device = SimulatedDevice(kind, "one", address="http://127.0.0.1:1")

    assert set(device.model.values()) == set(device.device.properties)
    assert {"fault"} < set(device.device.operations)
    for value in device.model.values().values():
        assert value is not None
    device.device.report(device.model.values())


def test_a_radar_sees_what_is_within_its_range_once_it_turns() -> None:
    radar = Radar(Random(1))
    assert radar.values()["contacts"] == 0

    radar.mode = "scan"
    for _ in range(300):
        radar.step(0.1)
    near = radar.values()["contacts"]
    radar.range = 5000
    far = radar.values()["contacts"]

    assert abs(radar.rotation - Radar.FULL_SPEED) < 0.5
    assert 0 < near <= far <= 12
    assert sum(len(radar.look(sector)["contacts"]) for sector in range(1, 9)) == far
    radar.mode = "idle"
    for _ in range(600):
        radar.step(0.1)
    assert radar.rotation < 0.01


def test_a_thermostat_holds_its_room_near_the_setpoint() -> None:
    room = Thermostat(Random(1))
    for _ in range(6 * 3600):
        room.step(1.0)

    seen = []
    for _ in range(3600):
        room.step(1.0)
        seen.append(room.temperature)
    assert 19.0 < min(seen) < max(seen) < 21.0
    room.mode = "off"
    for _ in range(24 * 3600):
        room.step(1.0)
    assert room.temperature < 15


@given(st.floats(0.01, 600), st.integers(0, 5))
def test_the_length_of_a_step_hardly_matters(step: float, seed: int) -> None:
    rough, fine = Thermostat(Random(seed)), Thermostat(Random(seed))
    rough.mode = fine.mode = "off"

    rough.step(step)
    for _ in range(10):
        fine.step(step / 10)

    assert abs(rough.temperature - fine.temperature) < 0.05


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 5)), max_size=20))
def test_a_valve_moves_at_its_own_pace_and_never_beyond(moves: list[tuple[float, float]]) -> None:
    valve = Valve(Random(1))
    for target, seconds in moves:
        before = valve.position
        valve.target = target
        valve.step(seconds)
        assert abs(valve.position - before) <= Valve.TRAVEL * seconds + 1e-9
        assert min(before, target) - 1e-9 <= valve.position <= max(before, target) + 1e-9
        assert 0 <= valve.flow <= 2 * Valve.FULL_FLOW
        assert (valve.flow == 0) == (valve.position <= 0)


def test_a_jammed_valve_stays_where_it_is() -> None:
    valve = Valve(Random(1))
    valve.target, valve.jammed = 50, True
    valve.step(10)
    assert (valve.position, valve.is_moving) == (0, True)


def test_faults_end_by_themselves() -> None:
    now = [0.0]
    faults = Faults(Random(1), lambda: now[0])

    faults.begin("offline", 30)
    faults.begin("drop", 10, 1.0)
    faults.begin("slow", 20)
    assert (faults.is_offline, faults.drops(), faults.delay()) == (True, True, 2.0)
    now[0] = 15
    assert (faults.is_offline, faults.drops(), faults.delay()) == (True, False, 2.0)
    now[0] = 31
    assert (faults.is_offline, faults.drops(), faults.delay()) == (False, False, 0.0)


def test_faults_are_set_in_words() -> None:
    faults = Faults(Random(1), lambda: 0.0)
    for text in ("drop=0.5", "slow=2s", "offline=1m"):
        faults.set(text)

    assert (faults.drop_share, faults.delay(), faults.is_offline) == (0.5, 2.0, True)
    assert {faults.drops() for _ in range(50)} == {True, False}
    for text in ("drop=2", "slow", "offline=soon", "fire=1"):
        with pytest.raises(ValueError, match="is no fault"):
            faults.set(text)
    faults.begin("none", 0)
    assert (faults.is_offline, faults.drops(), faults.delay()) == (False, False, 0.0)


def test_a_kind_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match="use radar, thermostat, valve"):
        SimulatedDevice("oven", "one", address="http://127.0.0.1:1")
