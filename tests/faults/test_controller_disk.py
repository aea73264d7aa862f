"""The controller on a disk that is really full: writes are refused with a sentence, reads go on, room alone brings it back."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from plum_client.client import ApiClient
from plum_client.errors import ApiError, ApiUnavailableError
from plum_schemas.base import ObjectMeta
from plum_schemas.core import ConfigMap

from tests.support.programs import Sandbox, sandbox

LOAD = 20_000
LEVEL = "/kv/default/level"


def private_mounts() -> bool:
    """May this process have a mount table of its own?"""
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


needs_root = pytest.mark.skipif(not private_mounts(), reason="a really full disk needs root, to mount a small tmpfs")


@asynccontextmanager
async def on_a_small_disk(root: Path, megabytes: int) -> AsyncIterator[tuple[Sandbox, Path]]:
    """A controller whose data is on a tmpfs that only it and its children see: it is gone with the process, whatever happens."""
    data = root / "small"
    data.mkdir()
    mount = f'mount -t tmpfs -o size={megabytes}m tmpfs {data} && exec "$@"'
    async with sandbox(root) as box:
        controller = await box.controller(prefix=["unshare", "-m", "sh", "-c", mount, "sh"], data_dir=data)
        yield box, Path(f"/proc/{controller.pid}/root{data}")


def map_of(name: str, size: int = LOAD) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data={"load": "x" * size})


async def write_until_full(api: ApiClient) -> tuple[list[str], ApiError]:
    """Names of what was acknowledged, and the refusal."""
    done: list[str] = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        name = f"load-{len(done):05}"
        try:
            await api.create(map_of(name))
        except ApiError as error:
            return done, error
        done.append(name)
    raise AssertionError(f"{len(done)} writes of {LOAD} bytes did not fill the disk")


@needs_root
@pytest.mark.slow
async def test_a_full_disk_refuses_writes_serves_reads_and_recovers_without_a_restart(tmp_path: Path) -> None:
    async with on_a_small_disk(tmp_path, 24) as (box, disk):
        api = box.api()
        ask = api.transport.request  # type: ignore[attr-defined]
        assert (await ask("PUT", LEVEL, {"content-type": "text/plain"}, b"before")).status == 201
        (disk / "ballast").write_bytes(bytes(16 << 20))

        written, refusal = await write_until_full(api)

        put = await ask("PUT", LEVEL, {"content-type": "text/plain"}, b"x" * 60_000)
        assert (put.status, b"full; nothing was written" in put.body) == (503, True), put.body
        assert (await ask("GET", LEVEL)).body == b"before"
        assert refusal.status["code"] == 503, refusal.status
        assert refusal.status["reason"] == "ServiceUnavailable"
        assert refusal.retry_after > 0, "clients that wait and retry succeed once there is room"
        assert "full" in refusal.message, refusal.message
        assert len(written) > 10
        listed = {item.metadata.name for item in await api.list(ConfigMap, "default")}
        assert listed == set(written), "reads go on, and what was refused is not there"
        healthy = await ask("GET", "/livez")
        assert healthy.status == 200
        for attempt in range(20):
            with pytest.raises(ApiUnavailableError):
                await api.create(map_of(f"more-{attempt}", 100_000))

        pid = next(p.pid for p in box.programs)
        (disk / "ballast").unlink()

        await box.until(lambda: _accepted(api), 40, what="writes are accepted again")
        assert next(p.process for p in box.programs).poll() is None
        assert next(p.pid for p in box.programs) == pid
        names = {item.metadata.name for item in await api.list(ConfigMap, "default")}
        assert names == {*written, "after"}
        assert (await ask("PUT", LEVEL, {"content-type": "text/plain"}, b"after")).status == 200


async def _accepted(api: ApiClient) -> bool:
    await api.create(map_of("after"))
    return True


@needs_root
@pytest.mark.slow
async def test_a_controller_that_was_killed_on_a_full_disk_starts_on_it_and_has_everything(tmp_path: Path) -> None:
    """Starting needs no room: who has a full disk needs the controller to look what is there, and to delete it."""
    data = tmp_path / "small"
    data.mkdir()
    # The first program in the mount namespace stays, so the disk outlives the controller.
    holder = f"mount -t tmpfs -o size=24m tmpfs {data} && exec sleep 1000"
    async with sandbox(tmp_path) as box:
        keeper = box.start("disk", ["unshare", "-m", "sh", "-c", holder])
        disk = Path(f"/proc/{keeper.pid}/root{data}")
        await box.until(lambda: _mounted(disk), what="the small disk is there")
        enter = ["nsenter", "-t", str(keeper.pid), "-m", "--"]
        controller = await box.controller(prefix=enter, data_dir=data)
        (disk / "ballast").write_bytes(bytes(16 << 20))
        written, _ = await write_until_full(box.api())

        controller.kill()
        again = await box.restarted(controller, prefix=enter)

        listed = {item.metadata.name for item in await box.api().list(ConfigMap, "default")}
        assert set(written) <= listed
        assert len(listed) <= len(written) + 1, "at most the write that was refused"
        (disk / "ballast").unlink()
        await box.until(lambda: _accepted(box.api()), 40, what="writes are accepted again")
        assert again.process.poll() is None


async def _mounted(disk: Path) -> bool:
    return disk.exists() and os.stat(disk).st_dev != os.stat(disk.parent).st_dev
