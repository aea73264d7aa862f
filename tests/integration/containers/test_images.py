"""Images from a real registry, from files, and from nowhere."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from plum_agent.engine.client import EngineClient
from plum_agent.engine.images import Images, ReadLogins
from plum_agent.engine.logins import Login, logins_of
from plum_agent.errors import RefusedError

from tests.support.docker_engine import IMAGE, Engine, shared_engine
from tests.support.image_registry import USERS, Registry, registry

Told = list[tuple[str, str]]


def given(*logins: Login) -> ReadLogins:
    async def read() -> Sequence[Login]:
        return logins

    return read


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with shared_engine() as running:
        yield running


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry") / "r", USERS) as running:
        yield running


@pytest.fixture
async def images(engine: Engine, tmp_path: Path) -> AsyncIterator[Images]:
    client = EngineClient(engine.socket)
    yield Images(client, tmp_path / "images")
    client.close()


async def refused(images: Images, image: str, policy: str = "IfNotPresent", logins: tuple[Login, ...] = ()) -> RefusedError:
    with pytest.raises(RefusedError) as error:
        await images.ensure(image, policy, given(*logins), lambda reason, message: None)
    return error.value


async def test_an_image_that_is_here_is_not_asked_for_elsewhere(images: Images) -> None:
    told: Told = []
    await images.ensure(IMAGE, "IfNotPresent", given(), lambda *one: told.append(one))
    await images.ensure(IMAGE, "Never", given(), lambda *one: told.append(one))

    assert told == []


async def test_a_private_image_needs_the_credentials_of_its_registry(images: Images, engine: Engine, private: Registry) -> None:
    image = private.push(engine, IMAGE, "team/app:7", ("someone", "secret"))
    config = {"auths": {private.address: {"auth": base64.b64encode(b"someone:secret").decode()}}}
    logins = logins_of({".dockerconfigjson": json.dumps(config).encode()})
    told: Told = []

    anonymous = await refused(images, image)
    wrong = await refused(images, image, logins=(Login(private.address, "someone", "guess"),))
    await asyncio.gather(*(images.ensure(image, "IfNotPresent", given(*logins), lambda *one: told.append(one)) for _ in range(3)))

    assert anonymous.reason == wrong.reason == "ImagePullFailed"
    assert "no basic auth credentials" in anonymous.message or "unauthorized" in anonymous.message
    assert told[0][0] == "PullingImage"
    assert engine.docker("image", "inspect", image).returncode == 0
    engine.docker("rmi", image)


async def test_always_asks_the_registry_though_the_image_is_here(images: Images, engine: Engine, private: Registry) -> None:
    logins = (Login("", "someone", "secret"),)
    image = private.push(engine, IMAGE, "team/app:moving", ("someone", "secret"))
    await images.ensure(image, "Always", given(*logins), lambda *one: None)
    before = engine.docker("image", "inspect", "-f", "{{.Id}}", image).stdout
    engine.make_image("plum-test/other:1", 'CMD ["other"]')
    engine.docker("rmi", image)
    private.push(engine, "plum-test/other:1", "team/app:moving", ("someone", "secret"))
    engine.docker("tag", IMAGE, image)

    await images.ensure(image, "IfNotPresent", given(*logins), lambda *one: None)
    assert engine.docker("image", "inspect", "-f", "{{.Id}}", image).stdout == before
    await images.ensure(image, "Always", given(*logins), lambda *one: None)

    assert engine.docker("image", "inspect", "-f", "{{.Id}}", image).stdout != before
    engine.docker("rmi", image, "plum-test/other:1")


async def test_a_missing_image_says_what_to_do(images: Images, private: Registry) -> None:
    never = await refused(images, "nobody/knows:1", "Never")
    logins = (Login("", "someone", "secret"),)
    unknown = await refused(images, f"{private.address}/nobody/knows:1", logins=logins)
    closed = await refused(images, "127.0.0.1:1/nobody/knows:1")

    assert (never.reason, never.message.partition("; ")[0]) == (
        "ImageMissing", "image nobody/knows:1 is not on this node and must not be pulled",
    )  # fmt: skip
    assert unknown.reason == closed.reason == "ImagePullFailed"
    assert "manifest unknown" in unknown.message or "not found" in unknown.message
    assert "refused" in closed.message


async def test_a_name_that_is_none_is_refused_and_not_sent_as_a_path(images: Images) -> None:
    for name in ("Bad Name", "a/../../containers/create", "x?y=z", "demo:1\r\nX-Evil: 1"):
        assert (await refused(images, name)).reason == "ImageInvalid"


async def test_an_image_comes_from_a_file_where_there_is_no_registry(images: Images, engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "broken.tar").write_bytes(b"this is no archive")
    engine.docker("tag", IMAGE, "site/app:3")
    engine.docker("save", "-o", str(folder / "app.tar"), "site/app:3")
    engine.docker("rmi", "site/app:3")
    told: Told = []

    await images.ensure("docker.io/site/app:3", "Never", given(), lambda *one: told.append(one))

    assert told == [("LoadingImage", f"docker.io/site/app:3 from {folder / 'app.tar'}")]
    assert engine.docker("image", "inspect", "site/app:3").returncode == 0
    engine.docker("rmi", "site/app:3")


async def test_a_pull_that_nobody_waits_for_is_given_up(images: Images) -> None:
    """A registry that never answers: the engine waits, and so do we, until we are not interested any more."""

    asked = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        asked.set()
        await reader.read()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    waiting = asyncio.create_task(images.ensure(f"127.0.0.1:{port}/slow:1", "IfNotPresent", given(), lambda *one: None))
    async with asyncio.timeout(10):
        await asked.wait()
    assert images._pulls

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert not images._pulls
    server.close()
    for writer in writers:  # the engine waits longer than the test
        writer.close()
        await writer.wait_closed()
