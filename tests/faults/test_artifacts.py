"""Packages when things break: kill -9 in the middle, links that break, full disks, damage, and no controller."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from plum_client.errors import ApiError
from plum_client.http_transport import HttpTransport
from plum_client.packages.transfer import Transfers
from plum_schemas.artifact import Artifact
from plum_schemas.base import ObjectKey

from tests.faults.test_controller_disk import needs_root, on_a_small_disk
from tests.support.agent import NODE, Site, running_site, until
from tests.support.artifact_links import breaking_link
from tests.support.artifact_site import create, package, push, refused
from tests.support.packages import BASE, META, good_zip
from tests.support.programs import sandbox
from tests.support.server import running_server

BIG = good_zip({**BASE, "big.bin": random.Random(11).randbytes(6_000_000)})


def checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files(data_dir: Path) -> list[str]:
    return sorted(str(path.relative_to(data_dir)) for path in (data_dir / "artifacts").rglob("*") if path.is_file())


@pytest.mark.slow
async def test_kill_9_in_the_middle_of_an_upload_leaves_no_half_artifact_and_the_upload_goes_on(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        memory = tmp_path / "memory"
        offsets: list[int] = []

        async def once(kill_at: int) -> Any:
            transport = HttpTransport(controller.url)

            def progress(done: int, total: int) -> None:
                offsets.append(done)
                if kill_at <= done < total and controller.process.poll() is None:
                    controller.kill()

            try:
                return await Transfers(transport, "default", memory).push(io.BytesIO(BIG), progress=progress)
            finally:
                await transport.close()

        for kill_at in (1_000_000, 4_000_000):
            pushing = asyncio.create_task(once(kill_at))
            await asyncio.to_thread(controller.process.wait, 20)
            assert not list((controller.data_dir / "artifacts").glob("blobs/??/*"))
            if kill_at == 4_000_000:
                pushing.cancel()  # the program that pushes ends, too; another one goes on
                await asyncio.gather(pushing, return_exceptions=True)
            controller = await box.restarted(controller)
            if kill_at == 1_000_000:
                pushing.cancel()
                await asyncio.gather(pushing, return_exceptions=True)
        before = len(offsets)
        made, is_new, _ = await once(10**9)

        assert is_new
        assert offsets[before] >= 3_000_000, "it begins where it was, not from the beginning"
        assert made["spec"]["sha256"] == checksum(BIG)
        assert files(controller.data_dir) == [f"artifacts/blobs/{checksum(BIG)[:2]}/{checksum(BIG)}"]


@pytest.mark.slow
async def test_pushes_and_pulls_pass_a_link_that_breaks_again_and_again(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, breaking_link(server.url, 400_000) as link:
        transport = HttpTransport(link.url)
        transfers = Transfers(transport, "default")

        made, is_new, _ = await transfers.push(io.BytesIO(BIG))
        pushed_over = link.broken
        await transfers.pull(made, tmp_path / "copy.zip")
        await transport.close()

        assert is_new
        assert (tmp_path / "copy.zip").read_bytes() == BIG
        assert pushed_over > 3
        assert link.broken > pushed_over + 3


@needs_root
@pytest.mark.slow
async def test_a_full_store_refuses_with_a_sentence_and_takes_packages_again_once_there_is_room(tmp_path: Path) -> None:
    async with on_a_small_disk(tmp_path, 90) as (box, disk):
        transport = HttpTransport(box.api().transport.url)  # type: ignore[attr-defined]
        transfers = Transfers(transport, "default")
        await transfers.push(io.BytesIO(BIG))
        (disk / "ballast").write_bytes(bytes(18 << 20))

        other = good_zip({**BASE, "meta.ini": META + b"# 2\n", "big.bin": random.Random(12).randbytes(6_000_000)})
        with pytest.raises(ApiError, match="the artifact store is full") as error:
            await transfers.push(io.BytesIO(other), version="2")
        assert error.value.status["code"] == 507
        assert await box.api().get(Artifact, "demo-app-1.0.0", "default") is not None

        (disk / "ballast").unlink()
        await transfers.push(io.BytesIO(other), version="2")
        await transport.close()


async def started(site: Site, name: str) -> None:
    await site.running(name)


def zips(site: Site) -> list[str]:
    return sorted(path.name for path in (site.data / NODE / "artifacts").glob("*"))


@pytest.mark.slow
async def test_an_agent_killed_in_the_middle_of_a_download_goes_on_where_it_was(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site, breaking_link(site.url, 0) as link:
        data = package(files={"big.bin": random.Random(4).randbytes(4_000_000)})
        await push(site, data)
        site.end_agent()
        direct, site.url = site.url, link.url
        site.start_agent()
        link.bytes_per_second = 800_000
        await create(site, "slow")

        def part() -> Path | None:
            return next(iter((site.data / NODE / "artifacts").glob("*.part")), None)

        await until(lambda: (path := part()) is not None and path.stat().st_size > 1_000_000, 20)
        status = await site.wait("slow", lambda status: status.reason == "Downloading" and "%" in status.message)
        assert status.phase == "Preparing"
        site.end_agent(signal.SIGKILL)
        found = part()
        assert found is not None
        have = found.stat().st_size
        link.bytes_per_second, before = 0, link.passed
        site.start_agent()
        await started(site, "slow")

        assert link.passed - before < len(data) - have + 500_000, "what was there is not fetched again"
        assert zips(site) == [f"{checksum(data)}.zip"]
        site.url = direct


@pytest.mark.slow
async def test_a_node_without_its_controller_starts_its_packages_again(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        await box.node("node-1", controller)
        agent = next(program for program in box.programs if program.name == "agent-node-1")
        transport = HttpTransport(controller.url)
        data = package(start='echo "$TOKEN" > token.txt; cat conf/app.ini >> token.txt; exec sleep 1000')
        await Transfers(transport, "default").push(io.BytesIO(data))
        await transport.close()
        await box.plum("apply", "-f", "-", stdin=DEPLOYMENT)
        await box.until(lambda: box.available("web", 1))
        (instance,) = await box.instances("web")
        folder = tmp_path / "agents" / "node-1" / f"default_{instance.metadata.name}" / "app"
        pid = instance.status.pid or 0

        controller.kill()
        agent.kill()
        (folder / "token.txt").unlink()
        os.killpg(pid, signal.SIGKILL)
        await box.agent("node-1", controller.url)

        await until(lambda: (folder / "token.txt").exists() and "b=1" in (folder / "token.txt").read_text(), 20)
        assert (folder / "token.txt").read_text() == "s3cret\n[a]\nb=1\n"


DEPLOYMENT = b"""
apiVersion: v1
kind: Secret
metadata: {name: web, namespace: default}
stringData: {token: s3cret}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: default}
data: {app.ini: "[a]\\nb=1\\n"}
---
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 1
  template:
    artifact: {name: demo-app, version: 1.0.0}
    backoff: {initial: 100ms}
    env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: web, key: token}}}]
    files: [{path: conf/app.ini, valueFrom: {configMapKeyRef: {name: web, key: app.ini}}}]
"""


async def test_what_was_damaged_in_the_store_is_never_unpacked(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        made = await push(site, package("1.0.0", files={"big.bin": bytes(100)}))
        blob = next((tmp_path / "controller/artifacts/blobs").glob("??/*"))
        data = bytearray(blob.read_bytes())
        data[40] ^= 1
        blob.write_bytes(bytes(data))
        await create(site, "damaged")

        status = await refused(site, "damaged", "ArtifactCorrupt")

        assert f"not {made['spec']['sha256'][:12]}" in status.message
        assert not (site.data / NODE / "default_damaged" / "app").exists()
        assert zips(site) == []
        blob.write_bytes(package("1.0.0", files={"big.bin": bytes(100)}))
        await started(site, "damaged")


async def test_a_zip_that_was_damaged_on_the_node_is_fetched_again(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await push(site, package("1.0.0", files={"note": b"x" * 500}))
        await create(site, "first")
        await started(site, "first")
        kept = next((site.data / NODE / "artifacts").glob("*.zip"))
        data = bytearray(kept.read_bytes())
        data[60:70] = bytes(10)
        kept.write_bytes(bytes(data))

        await create(site, "second")

        await started(site, "second")
        assert kept.read_bytes() == package("1.0.0", files={"note": b"x" * 500})


async def test_an_artifact_deleted_by_force_of_its_namespace_does_not_stop_what_runs(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        made = await push(site, package())
        await create(site, "stays")
        pid = (await site.running("stays")).pid
        site.end_agent()
        (tmp_path / "controller/artifacts").rename(tmp_path / "gone")

        site.start_agent()

        await site.wait("stays", lambda status: status.ready and status.pid == pid)
        assert await site.api.get(Artifact, ObjectKey("default", made["metadata"]["name"])) is not None
