"""A node whose disk is really full: what runs goes on, what waits says for how much, the agent stays whole, room alone helps."""

from __future__ import annotations

import io
import os
import random
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from plum_client.http_transport import HttpTransport
from plum_client.packages.transfer import Transfers
from plum_schemas.instance import Instance
from plum_schemas.node import Node

from tests.faults.test_controller_disk import needs_root
from tests.support.artifact_site import package
from tests.support.programs import Sandbox, is_running, sandbox

pytestmark = [pytest.mark.slow, needs_root]
NODE = "node-1"
DISK_MIB = 110


async def push(box: Sandbox, data: bytes) -> None:
    transport = HttpTransport(box.api().transport.url)  # type: ignore[attr-defined]
    try:
        await Transfers(transport, "default").push(io.BytesIO(data))
    finally:
        await transport.close()


async def waits_for(box: Sandbox, deployment: str, reason: str) -> Instance | None:
    """The instance whose condition Prepared gives this reason."""
    for instance in await box.instances(deployment):
        if any((one.type, one.status, one.reason) == ("Prepared", "False", reason) for one in instance.status.conditions):
            return instance
    return None


async def nothing(find: Callable[[str], Iterable[Path]]) -> bool:
    """Whether no zip is kept but that of what runs."""
    return len([*find("*.zip"), *find("*.part")]) <= 1


async def nothing_half(disk: Path) -> bool:
    """Whether only what runs is unpacked."""
    return all(path.parent.name.startswith("default_web") for path in (disk / NODE).glob("*/app*"))


async def under_pressure(box: Sandbox) -> bool:
    node = await box.api().get(Node, NODE)
    return node is not None and any((c.type, c.status) == ("DiskPressure", "True") for c in node.status.conditions)


async def explains(box: Sandbox, deployment: str, words: str) -> bool:
    return words in (await box.plum("explain", f"deployment/{deployment}")).out


def fill(disk: Path, keep_mib: int = 0) -> None:
    """Leave so much room and no more."""
    (disk / "ballast").unlink(missing_ok=True)
    stat = os.statvfs(disk)
    size, offset = stat.f_bavail * stat.f_frsize - (keep_mib << 20), 0
    with (disk / "ballast").open("wb") as file:
        while size >= stat.f_frsize:
            try:
                os.posix_fallocate(file.fileno(), offset, size)
            except OSError:  # the agent writes as well
                size //= 2
            else:
                offset += size
                size = 0 if keep_mib else size


async def test_a_full_node_goes_on_and_room_alone_brings_everything_back(tmp_path: Path) -> None:
    data = tmp_path / "agents"
    data.mkdir()
    mount = f'mount -t tmpfs -o size={DISK_MIB}m,mode=755 tmpfs {data} && exec "$@"'
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        agent = await box.node(NODE, controller, lease_seconds=3, prefix=["unshare", "-m", "sh", "-c", mount, "sh"])
        disk = Path(f"/proc/{agent.pid}/root{data}")
        for version, files in (
            ("1.0.0", {}),
            ("2.0.0", {"big.bin": random.Random(7).randbytes(12_000_000)}),
            ("3.0.0", {"zeros": bytes(60 << 20)}),
        ):
            await push(box, package(version, files=files))

        def runs(version: str) -> dict[str, object]:
            return {"artifact": {"name": "demo-app", "version": version}, "backoff": {"initial": "200ms", "max": "1s"}}

        await box.deploy("web", [], replicas=1, template=runs("1.0.0"))
        await box.deploy("one", ["sleep", "1000"], replicas=1, template={"exclusive": True})
        await box.until(lambda: box.available("web", 1))
        await box.until(lambda: box.available("one", 1))
        exclusive = (await box.instances("one"))[0].status
        first = (await box.instances("web"))[0].status.pid or 0

        # The zip would take what the ledger needs; the other one is small, and does not fit when it is unpacked.
        fill(disk, 42)
        await box.deploy("big", [], replicas=1, template=runs("2.0.0"))
        await box.deploy("wide", [], replicas=1, template=runs("3.0.0"))
        found = await box.until(lambda: waits_for(box, "big", "NodeStorageFull"), what="it says that there is no room")
        assert any("MiB are missing on the disk of" in one.message for one in found.status.conditions)
        await box.until(lambda: waits_for(box, "wide", "NodeStorageFailed"), what="it says that it could not be unpacked")
        explained = (await box.plum("explain", "deployment/wide")).out
        assert "No space left on device" in explained
        await box.until(lambda: nothing_half(disk), what="nothing half stays between two attempts")

        # Not a byte is free, and what runs dies: it cannot be started, because that could not be written down.
        fill(disk)
        kept = (disk / NODE / "artifacts").glob
        await box.until(lambda: nothing(kept), 30, what="what nobody runs is dropped first")
        fill(disk)
        os.kill(first, signal.SIGKILL)
        await box.until(lambda: waits_for(box, "web", "NodeStorageFailed"), 30, what="it says why it is not started again")
        assert await box.node_is(NODE, "True"), "the node is not lost for that"
        assert is_running(agent.pid)
        logs = await box.plum("logs", "deployment/web", ok=False)
        assert logs.code == 0, logs.err

        # The node says so of itself, and gets nothing new.
        await box.until(lambda: under_pressure(box), 40, what="the node says that its disk is full")
        assert "Ready,DiskPressure" in (await box.plum("get", "nodes")).out
        await box.deploy("late", ["sleep", "1000"], replicas=1)
        await box.until(lambda: explains(box, "late", "plum.dev/disk-pressure"), 20, what="it says why it has no place")
        now = (await box.instances("one"))[0].status
        assert (now.pid, now.restarts, now.ready) == (exclusive.pid, 0, True), "its deadline is written without room as well"

        (disk / "ballast").unlink()
        for name in ("web", "big", "wide", "late"):
            await box.until(lambda name=name: box.available(name, 1), 40, what=f"{name} runs")  # type: ignore[misc]
        after = (await box.instances("web"))[0]
        assert after.status.restarts == 1
        assert await box.node_is(NODE, "True")
        assert is_running(agent.pid)
        assert agent.process.poll() is None
