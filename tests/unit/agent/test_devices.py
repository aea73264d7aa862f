"""Devices of a node: how they are announced, looked at, and given to the one that holds them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from plum_agent import devices, settings
from plum_agent.devices import Devices, parse
from plum_agent.environment import Place, environment_of
from plum_agent.errors import RefusedError
from plum_schemas.base import ObjectMeta
from plum_schemas.instance import Instance, InstanceSpec
from plum_schemas.template import Resources, Template


def test_devices_are_given_by_flag_or_environment() -> None:
    video, serial = Path("/dev/video0"), Path("/dev/serial/by-id/usb-1")

    assert parse(["camera=/dev/video0", " bus=/dev/serial/by-id/usb-1, camera=/dev/video0,"]) == {"camera": video, "bus": serial}
    assert settings.load([], {"PLUM_DEVICES": "camera=/dev/video0,bus=/dev/serial/by-id/usb-1"}).devices.keys() == {
        "camera",
        "bus",
    }
    assert settings.load(["--device", "bus=/dev/serial/by-id/usb-1"], {"PLUM_DEVICES": "camera=/dev/x"}).devices == {
        "bus": serial
    }


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("camera", "write NAME=PATH"),
        ("=/dev/video0", "write NAME=PATH"),
        ("a b=/dev/video0", "write NAME=PATH"),
        ("-a=/dev/video0", "write NAME=PATH"),
        ("camera=video0", "'video0' is not an absolute path"),
        ("camera=", "'' is not an absolute path"),
        ("camera=/dev/a,camera=/dev/b", "given twice, as /dev/a and as /dev/b"),
    ],
)
def test_a_wrong_device_is_named(word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings.load([f"--device={word}"], {})

    assert said in capsys.readouterr().err


async def test_who_comes_and_goes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "LOOK_SECONDS", 0.001)
    path = tmp_path / "bus"
    told, known = asyncio.Event(), Devices({"bus": path})
    assert known.status() == [{"name": "bus", "path": str(path), "healthy": False}]
    with pytest.raises(RefusedError, match=f"device bus is not there: {path} does not exist"):
        known.check(["bus"])

    following = asyncio.create_task(known.follow(told.set))
    await asyncio.sleep(0)
    path.touch()
    await asyncio.wait_for(told.wait(), 5)
    assert known.status()[0]["healthy"] is True
    known.check(["bus"])
    told.clear()
    path.unlink()
    await asyncio.wait_for(told.wait(), 5)
    following.cancel()

    with pytest.raises(RefusedError, match="this node has no device camera"):
        known.check(["camera"])


def test_its_holder_is_told_where_it_is() -> None:
    template = Template(command=["true"], resources=Resources(devices=["can-bus.0"]))
    instance = Instance(metadata=ObjectMeta(name="reader"), spec=InstanceSpec(node_name="n", template=template))
    place = Place("n", devices=Devices({"can-bus.0": Path("/dev/can0"), "camera": Path("/dev/video0")}))

    got = environment_of(instance, {}, place, {}, "/home")

    assert got["DEVICE_CAN_BUS_0"] == "/dev/can0"
    assert "DEVICE_CAMERA" not in got
