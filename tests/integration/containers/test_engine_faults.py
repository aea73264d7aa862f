"""Images while things go wrong: a full disk, an engine that dies in the middle of a pull, a registry that goes away."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from plum_agent.drivers.base import Container, Launch, Run
from plum_agent.drivers.container import ContainerDriver
from plum_agent.engine.client import EngineClient
from plum_agent.engine.images import Images
from plum_agent.engine.logins import Login
from plum_agent.errors import RefusedError, StartError

from tests.support.docker_engine import IMAGE, own_engine, own_folder, shared_engine

pytestmark = pytest.mark.slow


async def nobody() -> Sequence[Login]:
    return ()


@pytest.fixture
def folder() -> Iterator[Path]:
    with own_folder() as made:
        yield made


async def test_a_full_disk_of_the_engine_is_told_as_such(folder: Path, tmp_path: Path) -> None:
    with shared_engine() as engine:
        engine.make_image("plum-test/large:1", files={"large": os.urandom(40_000_000)})
        (tmp_path / "images").mkdir()
        engine.docker("save", "-o", str(tmp_path / "images" / "large.tar"), "plum-test/large:1")
        engine.docker("rmi", "plum-test/large:1")
    data = folder / "e" / "data"
    data.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "plum-test", str(data)], check=True)
    try:
        with own_engine(folder) as small:
            client = EngineClient(small.socket)
            with pytest.raises(RefusedError) as refused:
                await Images(client, tmp_path / "images").ensure("plum-test/large:1", "Never", nobody, lambda *_: None)
            assert refused.value.reason == "ImageUnavailable"
            assert "the disk of the container engine is full; free some room" in refused.value.message

            with (data / "fill").open("wb") as file, pytest.raises(OSError, match="No space left"):
                while True:
                    file.write(bytes(65536))
                    file.flush()
            driver = ContainerDriver(client, tmp_path)
            run = Run("full.u.1.a", tmp_path / "run")
            run.directory.mkdir()
            with pytest.raises(StartError, match="the disk of the container engine is full"):
                await driver.start(Launch(run, ("true",), {}, tmp_path, container=Container(IMAGE)))
            (data / "fill").unlink()
            started = await driver.start(Launch(run, ("true",), {}, tmp_path, container=Container(IMAGE)))
            assert (await driver.wait(run, started.handle)).code == 0
            await driver.close()
    finally:
        subprocess.run(["umount", "-l", str(data)], check=False)


async def test_an_engine_that_dies_in_the_middle_of_a_pull(folder: Path, tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    image = f"127.0.0.1:{server.sockets[0].getsockname()[1]}/app:1"
    with own_engine(folder) as engine:
        client = EngineClient(engine.socket)
        images = Images(client, tmp_path)
        pulling = asyncio.create_task(images.ensure(image, "IfNotPresent", nobody, lambda *_: None))
        async with asyncio.timeout(10):
            await asked.wait()

        await asyncio.to_thread(engine.kill)
        with pytest.raises(RefusedError) as refused:
            await pulling
        assert refused.value.reason == "EngineUnavailable"

        await asyncio.to_thread(engine.start)
        await images.ensure(IMAGE, "IfNotPresent", nobody, lambda *_: None)
        server.close()
        with pytest.raises(RefusedError) as refused:
            await images.ensure(image, "IfNotPresent", nobody, lambda *_: None)
        assert refused.value.reason == "ImagePullFailed"
        client.close()
