"""`kill -9` of a driver and of the controller while operations run: none at-most-once twice, all others done, reports told."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from plum_client.errors import ApiError
from plum_schemas.base import ObjectMeta
from plum_schemas.operation import TERMINAL_OPERATION_PHASES, Operation, OperationSpec
from plum_schemas.resource import Driver, Resource, ResourceSpec, WorkerDriver

from tests.support.programs import Sandbox, sandbox

FULL_ROUNDS = int(os.environ.get("PLUM_DRIVER_KILLS", "200"))
DRIVER = """
import os, sys, time
from plum_worker import Device, OperationCall
device = Device("press", type="Press", heartbeat=1, address=sys.argv[1], folder=sys.argv[2])
device.declare("strokes", int)
done = os.open(sys.argv[2] + "/done", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def lines():
    return open(sys.argv[2] + "/done").read().count("\\n")
@device.operation
def press(number: int, call: OperationCall) -> int:
    os.write(done, f"{number}\\n".encode())
    time.sleep(0.02)
    device.report(strokes=lines())
    return number
device.report(strokes=lines())
device.run()
"""


async def play(folder: Path, rounds: int, seed: int) -> None:
    """Every round: some operations, and the end of the driver, the controller or both, whatever they do."""
    chance = random.Random(seed)
    async with sandbox(folder) as box:
        controller = await box.controller()
        own = folder / "driver"
        own.mkdir(parents=True)
        (own / "driver.py").write_text(DRIVER)
        driver = await started(controller.url, own)
        names: dict[str, OperationSpec] = {}
        try:
            await box.until(lambda: there(box), 60, what="the press is there")
            for number in range(rounds):
                for index in range(4):
                    delivery = "AtLeastOnce" if chance.random() < 0.5 else "AtMostOnce"
                    arguments = {"number": number * 4 + index}
                    spec = OperationSpec(resource_ref="press", method="press", arguments=arguments, delivery=delivery)
                    name = f"p{number}-{index}"
                    await box.api().create(Operation(metadata=ObjectMeta(name=name, namespace="default"), spec=spec))
                    names[name] = spec
                await asyncio.sleep(chance.uniform(0, 0.3))
                if chance.random() < 0.7:
                    driver.send_signal(signal.SIGKILL)
                    await driver.wait()
                    driver = await started(controller.url, own)
                if chance.random() < 0.4:
                    controller.kill()
                    controller = await box.restarted(controller)

            async def all_ended() -> bool:
                try:
                    found = {one.metadata.name: one for one in await box.api().list(Operation, "default")}
                except ApiError:
                    return False
                open_ones = [found[name] for name in names if found[name].status.phase not in TERMINAL_OPERATION_PHASES]
                waiting[:] = [f"{one.metadata.name}: {one.spec} {one.status}" for one in open_ones]
                return not open_ones

            waiting: list[str] = []
            try:
                await box.until(all_ended, 120, what=f"seed {seed}: every operation has ended")
            except AssertionError as error:
                raise AssertionError("\n".join([*waiting, str(error)])) from None
            ended = {one.metadata.name: one for one in await box.api().list(Operation, "default")}
            done = [int(line) for line in (own / "done").read_text().split()]
            for name, spec in names.items():
                phase, times = ended[name].status.phase, done.count(spec.arguments["number"])
                told = f"seed {seed}: {name} ({spec.delivery}) ended as {phase} and was executed {times} times"
                if spec.delivery == "AtMostOnce":
                    assert times <= 1, told
                    assert phase in ("Succeeded", "Unknown", "Failed"), told
                else:
                    assert phase == "Succeeded" and times >= 1, told
                assert phase != "Succeeded" or times >= 1, told

            async def last_report() -> bool:
                found = await box.api().get(Resource, "press", "default")
                strokes = found.status.reported.get("strokes") if found is not None else None
                return strokes is not None and strokes.value == len(done)

            await box.until(last_report, 60, what=f"seed {seed}: the press told all {len(done)} strokes")
        finally:
            if driver.returncode is None:
                driver.kill()
                await driver.wait()


async def there(box: Sandbox) -> bool:
    found = await box.api().get(Resource, "press", "default")
    return found is not None and found.status.connection.online


async def started(url: str, own: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, str(own / "driver.py"), url, str(own))


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_no_operation_is_executed_twice_whatever_is_killed(tmp_path: Path) -> None:
    await play(tmp_path, 6, random.SystemRandom().randrange(1 << 32))


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_no_operation_is_executed_twice_whatever_is_killed_often(tmp_path: Path) -> None:
    for batch in range(max(1, FULL_ROUNDS // 40)):
        await play(tmp_path / str(batch), 40, batch)


WORKER = """
import os, sys, time
from plum_worker import Worker
worker = Worker()
@worker.task("press")
def press(payload):
    done = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(done, b"x")
    while not os.path.exists(sys.argv[1] + ".go"):
        time.sleep(0.02)
    return "pressed"
worker.run()
"""


async def test_an_operation_that_a_worker_carries_out_survives_the_controller(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        (tmp_path / "worker.py").write_text(WORKER)
        done = tmp_path / "done"
        env = {"CONTROLLER_GRPC_ADDR": controller.workers, "CONTROLLER_BASE": controller.url}
        box.start("worker", [sys.executable, str(tmp_path / "worker.py"), str(done)], env=env)
        spec = ResourceSpec(driver=Driver(worker=WorkerDriver(task="press")))
        await box.api().create(Resource(metadata=ObjectMeta(name="press", namespace="default"), spec=spec))
        await box.until(lambda: there(box), 60, what="a worker is there")
        asked = OperationSpec(resource_ref="press", method="press")
        await box.api().create(Operation(metadata=ObjectMeta(name="one", namespace="default"), spec=asked))

        async def begun() -> bool:
            return done.exists()

        await box.until(begun, 60, what="the worker has begun")
        controller.kill()
        env = {"CONTROLLER_GRPC_ADDR": controller.workers}
        controller = await box.restarted(controller, env=env)
        (tmp_path / "done.go").touch()

        async def over() -> str:
            found = await box.api().get(Operation, "one", "default")
            phase = found.status.phase if found is not None else ""
            return phase if phase in TERMINAL_OPERATION_PHASES else ""

        assert await box.until(over, 90, what="the operation has ended") == "Succeeded"
        assert done.read_text() == "x"
