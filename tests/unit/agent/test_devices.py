"""Devices of a node: how they are announced, looked at, and given to the one that holds them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plum_agent import devices, settings
from plum_agent.devices import Devices, parse
from plum_agent.environment import Place, environment_of
from plum_agent.errors import RefusedError
from plum_agent.operations.address import DeviceAddress
from plum_agent.operations.listener import DeviceListener
from plum_client.devices.protocol import DeviceError
from plum_schemas.base import ObjectKey, ObjectMeta
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


# ---- where programs speak for devices of their own


class Door:
    """Stands for a desk: everybody who got so far is refused in the same words."""

    async def announce(self, key: ObjectKey, announcement: object) -> None:
        raise DeviceError(409, "Here", f"{key} got through")


async def ask(address: DeviceAddress, namespace: str, path: str, headers: str = "Host: x") -> str:
    """What is answered at the socket of a namespace."""
    folder = os.open(address.folder_of(namespace), os.O_RDONLY)
    try:
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/agent.sock")
    finally:
        os.close(folder)
    writer.write(f'PUT {path} HTTP/1.1\r\n{headers}\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{{"session":"s"}}'.encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def test_containers_of_a_namespace_have_a_socket_that_the_next_agent_has_too(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90) / "devices"  # deeper than the path of a socket may be
    for life in range(2):
        address = DeviceAddress(deep)
        serving = asyncio.create_task(DeviceListener(Door(), address).run())  # type: ignore[arg-type]
        if life == 0:
            folder = address.folder_of("plant")
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        assert (folder.stat().st_mode & 0o777, (folder / "agent.sock").stat().st_mode & 0o777) == (0o755, 0o666)
        answers = {
            "its own": await ask(address, "plant", "/devices/plant/pump"),
            "of another": await ask(address, "plant", "/devices/other/pump"),
            "of a page": await ask(address, "plant", "/devices/plant/pump", "Host: x\r\nOrigin: http://evil.example"),
            "anything": await ask(address, "plant", "/"),
        }
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        address.close()
        codes = {who: int(answer.split()[1]) for who, answer in answers.items()}
        assert codes == {"its own": 409, "of another": 403, "of a page": 403, "anything": 404}, answers


def test_only_containers_with_a_network_of_their_own_get_the_socket(tmp_path: Path) -> None:
    place = Place("n", device_address=lambda namespace: f"http://here/{namespace}", device_folder=lambda namespace: tmp_path)

    def told(**template: Any) -> str:
        made = msgspec.convert({"command": ["x"], **template}, Template)
        instance = Instance(metadata=ObjectMeta(name="i", namespace="plant"), spec=InstanceSpec(node_name="n", template=made))
        return environment_of(instance, {}, place, {}, "/")["PLUM_DEVICES"]

    assert told() == told(runtime="container", image="x", network="host") == "http://here/plant"
    for network in ("private", "none"):
        assert told(runtime="container", image="x", network=network) == "unix:/.plum/devices/agent.sock"
