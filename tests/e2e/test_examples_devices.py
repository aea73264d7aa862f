"""The numbered examples of devices, as their READMEs tell them: drivers as instances on a node, and as programs."""

from __future__ import annotations

import os
import threading
import tty
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from plum_schemas.operation import Operation
from plum_schemas.resource import Resource
from plum_schemas.workflowrun import WorkflowRun

from tests.support.examples import MANIFESTS, OF_DEVICES, Site, commands_of
from tests.support.programs import sandbox

pytestmark = [pytest.mark.slow]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        await box.agent("node-1", controller.url)
        await box.until(lambda: box.node_is("node-1", "True"))
        yield Site(box, "default")


async def online(site: Site, name: str) -> Resource:
    async def there() -> Resource | None:
        found = await site.box.api().get(Resource, name, "default")
        return found if found is not None and found.status.connection.online else None

    found: Resource = await site.until(there, 60, what=f"{name} is online")
    return found


async def devices(site: Site) -> None:
    apply, operate, patrol = commands_of("75-devices")

    await site.run(apply, {}, 90)
    radar = await online(site, "radar-1")
    await online(site, "valve-1")
    assert radar.spec.node_name == "node-1", "the agent of its node serves it"
    shown = await site.run(operate, {}, 90)
    assert "radar-1 is there" in shown
    assert '{"sector": 3, "contacts": [' in shown
    assert "rotation" in shown
    ended = await site.run(patrol, {}, 150)
    assert "flush" in ended
    [run] = await site.box.api().list(WorkflowRun, "default")
    assert run.status.phase == "Succeeded", run.status.message
    outputs: Any = run.status.outputs
    assert len(outputs["seen"]) == 3 and outputs["litres"] > 0
    asked = [one for one in await site.box.api().list(Operation, "default") if one.spec.method == "scan"]
    assert sorted(one.spec.arguments["sector"] for one in asked) == [1, 3, 4, 7]
    assert {one.status.phase for one in asked} == {"Succeeded"}


async def http_device(site: Site, folder: Path) -> None:
    start, use, stop = (block.replace("/tmp/", f"{folder}/") for block in commands_of("76-http-device"))

    await site.run(start, {})
    try:
        shown = await site.run(use, {}, 90)
    finally:
        await site.run(stop, {})
    assert "plug-1 is there" in shown
    assert '{"on": true, "power": 42.5}' in shown
    found = await site.box.api().get(Resource, "plug-1", "default")
    assert found is not None
    assert [one.name for one in found.spec.model.properties] == ["power", "on"]


class Scale:
    """A scale at the other end of a serial line."""

    def __init__(self) -> None:
        self.own, other = os.openpty()
        tty.setraw(self.own)
        self.path = os.ttyname(other)
        self._other = other
        self.weight, self.zero = 12.5, 0.0
        self.asked: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        rest = b""
        while True:
            try:
                rest += os.read(self.own, 100)
            except OSError:
                return
            *commands, rest = rest.split(b"\r\n")
            for command in commands:
                self.asked.append(command.decode())
                if command == b"T":
                    self.zero = self.weight
                answer = {b"S": f"{self.weight - self.zero:.3f} kg", b"T": "OK"}.get(command, "ERR")
                os.write(self.own, f"{answer}\r\n".encode())


@pytest.fixture
def scale() -> Iterator[Scale]:
    yield Scale()


async def serial_device(site: Site, scale: Scale) -> None:
    start, use = commands_of("77-serial-device")

    await site.run(start, {"LINE": scale.path}, 90)
    shown = await site.run(use, {}, 90)
    assert (
        shown.splitlines()[shown.splitlines().index("PROPERTY   REPORTED   DESIRED   UNIT   QUALITY   AGE") + 1].split()[0]
        == "weight"
    )
    assert "0.0\n" in shown, "the result of tare"
    assert set(scale.asked) == {"S", "T"}
    found = await site.box.api().get(Resource, "scale-1", "default")
    assert found is not None
    assert found.spec.node_name == "node-1"


@pytest.mark.timeout(400)
async def test_the_examples_of_devices_do_what_their_readmes_say(site: Site, scale: Scale, tmp_path: Path) -> None:
    await devices(site)
    await http_device(site, tmp_path)
    await serial_device(site, scale)


def test_all_of_them_are_tested_and_their_drivers_are_short() -> None:
    assert sorted(OF_DEVICES) == sorted(path.name for path in MANIFESTS.glob("7[5-9]-*"))
    for path in MANIFESTS.glob("7[5-9]-*/driver.py"):
        assert len(path.read_text().splitlines()) < 60, path
