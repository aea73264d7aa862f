"""One engine for the tests of a file, and a driver with launches of its own."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from plum_agent.drivers.base import Container, Exit, Launch, Run
from plum_agent.drivers.container import ContainerDriver
from plum_agent.engine.client import EngineClient

from tests.support.docker_engine import IMAGE, Engine, shared_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with shared_engine() as running:
        yield running


@dataclass
class Bench:
    """A driver as one agent has it, and launches with its markers."""

    engine: Engine
    folder: Path
    agent: str
    driver: ContainerDriver
    count: int = 0
    drivers: list[ContainerDriver] = field(default_factory=list)

    def launch(
        self, script: str = "exec sleep 100", *, uid: str = "u", environment: dict[str, str] | None = None, **more: Any
    ) -> Launch:
        """More of it by field names of `Launch`; `container` by those of `Container`."""
        self.count += 1
        folder = self.folder / self.agent / str(self.count)
        folder.mkdir(parents=True)
        container = replace(Container(IMAGE, name=f"{self.agent}-web"), **more.pop("container", {}))
        run = Run(f"{self.agent}.{uid}.{self.count}.{self.count:06x}", folder)
        return Launch(run, ("sh", "-c", script), environment or {}, self.folder, container=container, **more)

    async def output(self, script: str, **more: Any) -> str:
        """What a run that ends says, both outputs together."""
        launch, _ = await self.ended(script, **more)
        return (launch.run.directory / "stdout.log").read_text() + (launch.run.directory / "stderr.log").read_text()

    async def ended(self, script: str, **more: Any) -> tuple[Launch, Exit]:
        launch = self.launch(script, **more)
        started = await self.driver.start(launch)
        return launch, await self.driver.wait(launch.run, started.handle)

    def another(self) -> ContainerDriver:
        """The driver of the next agent on the same data."""
        self.drivers.append(ContainerDriver(EngineClient(self.engine.socket), self.folder))
        return self.drivers[-1]

    async def close(self) -> None:
        for marker in await self.driver.list_markers(f"{self.agent}."):
            await self.driver.kill(Run(marker, self.folder / "nowhere"), None)
        await self.driver.clean(f"{self.agent}.", lambda marker: False)
        for one in (self.driver, *self.drivers):
            await one.close()


@pytest.fixture
async def bench(engine: Engine, tmp_path: Path) -> AsyncIterator[Bench]:
    agent = f"a{os.getpid()}x{time.monotonic_ns()}"
    made = Bench(engine, tmp_path, agent, ContainerDriver(EngineClient(engine.socket), tmp_path))
    yield made
    await made.close()
