"""Devices while things die: agents and controllers killed at any moment, a controller that is away, a disk that is full."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from plum_client.errors import ApiUnavailableError
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.operation import Operation
from plum_schemas.operation_states import is_final
from plum_schemas.resource import Resource, ResourceSpec

from tests.support.agent import NODE, running_site
from tests.support.devices import RawDevice, RefusedError, agent_address, ask_for, ended, operation_until, resource_until
from tests.support.programs import sandbox

pytestmark = pytest.mark.timeout(180)
LOST = (ApiUnavailableError, RefusedError)


async def until_said(say: object, seconds: float = 40.0) -> None:
    """Again and again until it is answered with a success."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await say()  # type: ignore[operator]
                return
            except LOST:
                await asyncio.sleep(0.05)


async def test_what_a_device_accepted_and_reported_survives_kill_9_of_its_agent(tmp_path: Path) -> None:
    async with running_site(tmp_path, "--engine", "none") as site:
        address = agent_address(site.data / NODE)
        device = RawDevice(address, "default", "press")
        await device.announce()
        await device.follow()
        first, second = await ask_for(site.api, "press"), await ask_for(site.api, "press")
        command = await device.next("operation")
        await operation_until(site.api, second, lambda status: status.phase == "Delivered")
        await device.move(command["id"], "Accepted")
        site.end_agent()

        site.start_agent("--engine", "none")

        assert agent_address(site.data / NODE) == address  # programs that run know it from their start
        await until_said(device.announce)
        await device.follow()
        await device.move(command["id"], "Accepted")  # its own session: it may go on
        await device.move(command["id"], "Succeeded", result=1)
        following = await device.next("operation")
        assert following["id"] == second.metadata.uid
        await device.move(following["id"], "Accepted")
        site.end_agent()
        site.start_agent("--engine", "none")
        other = RawDevice(address, "default", "press")  # the program died with the agent
        await until_said(other.announce)
        assert (await ended(site.api, first)).phase == "Succeeded"
        status = await ended(site.api, second)
        assert (status.phase, status.attempt) == ("Unknown", 1)
        with pytest.raises(RefusedError):
            await other.move(following["id"], "Accepted")
        await device.close()
        await other.close()


async def test_operations_go_on_and_reports_wait_while_the_controller_is_away_and_the_agent_dies(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        await box.node("node-1", controller)
        api, folder = box.api(controller.url), tmp_path / "agents" / "node-1"
        device = RawDevice(agent_address(folder), "default", "press")
        await until_said(device.announce)
        await device.follow()
        operations = [await ask_for(api, "press") for _ in range(3)]
        late = await ask_for(api, "press", not_after="2s")
        for operation in (*operations, late):
            await operation_until(api, operation, lambda status: status.phase == "Delivered")
        controller.kill()

        for number, operation in enumerate(operations):
            command = await device.next("operation")
            assert command["id"] == operation.metadata.uid
            await device.move(command["id"], "Accepted")
            await asyncio.sleep(1.0)
            await device.move(command["id"], "Succeeded", result=number)
            assert (await device.report(position=number, pressure=number / 2))["stored"]
        agent = box.programs[-1]
        agent.kill()
        controller = await box.restarted(controller)
        await box.agent("node-1", controller.url)

        for number, operation in enumerate(operations):
            status = await ended(api, operation)
            assert (status.phase, status.result) == ("Succeeded", number)
        assert (await ended(api, late)).phase == "Expired"
        status = await resource_until(api, "press", lambda status: status.reported.get("position") is not None)
        status = await resource_until(api, "press", lambda status: status.reported["position"].value == 2)
        assert status.reported["pressure"].value == 1.0
        await device.close()


async def test_the_controller_is_killed_and_its_own_devices_lose_nothing(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        api = box.api(controller.url)
        device = RawDevice(controller.url, "default", "press")
        await device.announce(heartbeat="1s")
        await device.follow()
        under_way, waiting = await ask_for(api, "press"), await ask_for(api, "press")
        command = await device.next("operation")
        await device.move(command["id"], "Accepted")
        controller.kill()

        await box.restarted(controller)

        await until_said(device.announce)
        await device.follow()
        await until_said(lambda: device.move(command["id"], "Succeeded", result="kept"))
        following = await device.next("operation")
        assert following["id"] == waiting.metadata.uid
        status = await ended(api, under_way)
        assert (status.phase, status.result, status.attempt) == ("Succeeded", "kept", 1)
        device.leave()
        await resource_until(api, "press", lambda status: not status.connection.online)
        await device.close()


async def test_a_step_that_cannot_be_written_down_is_refused_and_nothing_is_executed(tmp_path: Path) -> None:
    async with running_site(tmp_path, "--engine", "none") as site:
        device = RawDevice(agent_address(site.data / NODE), "default", "press")
        await device.announce()
        await device.follow()
        operation = await ask_for(site.api, "press")
        command = await device.next("operation")
        pid = site.agent.pid if site.agent is not None else 0
        limits = await asyncio.create_subprocess_exec("prlimit", f"--pid={pid}", "--fsize=1:")
        assert await limits.wait() == 0

        with pytest.raises(RefusedError) as refused:
            await device.move(command["id"], "Accepted")

        assert refused.value.code == 503
        assert "do not go on" in refused.value.message
        back = await asyncio.create_subprocess_exec("prlimit", f"--pid={pid}", "--fsize=unlimited:")
        assert await back.wait() == 0
        await until_said(lambda: device.move(command["id"], "Accepted"))
        await device.move(command["id"], "Succeeded")
        status = await ended(site.api, operation)
        assert (status.phase, status.attempt) == ("Succeeded", 1)
        await device.close()


async def _program(address: str, journal: Path, seed: int, stop: asyncio.Event) -> None:
    """A device program that dies now and then, and writes a line before it executes."""
    dice, life = Random(seed), 0
    while not stop.is_set():
        life += 1
        device = RawDevice(address, "default", "press", f"life-{seed}-{life}")
        with suppress(*LOST, TimeoutError, ConnectionError):
            await device.announce()
            await device.follow()
            told: set[str] = set()
            for _ in range(dice.randrange(5, 30)):
                command = await device.next("operation", 2.0)
                if command["id"] in told:
                    continue
                told.add(command["id"])
                await device.move(command["id"], "Accepted")
                with journal.open("a") as file:
                    file.write(json.dumps({"id": command["id"], "life": life}) + "\n")
                if dice.random() < 0.1:
                    break  # it dies in the middle
                await device.move(command["id"], "Succeeded")
        await device.close()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("rounds", [1, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
async def test_kill_9_of_agent_and_program_at_any_moment_executes_nothing_twice(tmp_path: Path, rounds: int) -> None:
    dice, journal, stop = Random(rounds), tmp_path / "executed", asyncio.Event()
    journal.touch()
    async with running_site(tmp_path, "--engine", "none") as site:
        await site.api.create(
            Resource(
                metadata=ObjectMeta(name="press", namespace="default"), spec=ResourceSpec(node_name=NODE, operations_at_once=3)
            )
        )
        program = asyncio.create_task(_program(agent_address(site.data / NODE), journal, 7, stop))
        operations = []
        for _ in range(rounds):
            operations += [await ask_for(site.api, "press") for _ in range(10)]
            await asyncio.sleep(dice.random())
            site.end_agent()
            site.start_agent("--engine", "none")
        for operation in operations:
            await ended(site.api, operation, 60.0)
        stop.set()
        await program
        executed = [json.loads(line)["id"] for line in journal.read_text().splitlines()]
        assert len(executed) == len(set(executed))
        for operation in operations:
            live = await site.api.get(Operation, ObjectKey("default", operation.metadata.name))
            assert live is not None
            assert is_final(live.status.phase)
            if live.status.phase == "Succeeded":
                assert operation.metadata.uid in executed
            assert live.status.phase in ("Succeeded", "Unknown")
