"""The demo as `make run` starts it: all becomes available, `kill -9` ends Plum and nothing else, the next start adopts all."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import pytest
from plum_schemas.base import ObjectMeta
from plum_schemas.deployment import Deployment
from plum_schemas.instance import Instance
from plum_schemas.operation import Operation, OperationSpec

from tests.support.programs import PROJECT, Program, Sandbox, is_running, sandbox, start_ticks


def demo_on_free_ports(folder: Path) -> Path:
    """The demo's manifests; only the ports are others, because somebody may look at the real demo on this machine right now."""
    copy = folder / "demo"
    shutil.copytree(PROJECT / "manifests/demo", copy)
    ports: dict[str, str] = {}
    for path in copy.glob("*.yaml"):
        text = path.read_text()
        for port in set(re.findall(r"\b18\d{3}\b", text)):
            ports.setdefault(port, free_port())
            text = text.replace(port, ports[port])
        path.write_text(text)
    assert ports
    return copy


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


class Dev:
    """`plum dev` on a folder, and the address it has said."""

    def __init__(self, box: Sandbox, manifests: Path) -> None:
        self.box = box
        self.manifests = manifests
        self.data = box.root / "plum"
        self.url = ""

    async def start(self) -> Program:
        """Start it and wait until it says that it is ready."""
        out = self.box.root / "dev.out"
        out.unlink(missing_ok=True)
        command = [
            "sh", "-c", f'exec "$@" >{out}', "sh",
            str(PROJECT / ".venv/bin/plum"), "dev", "--listen", "127.0.0.1:0", "--data-dir", str(self.data),
            "--manifests", str(self.manifests),
        ]  # fmt: skip
        program = self.box.start("dev", command)

        async def ready() -> str:
            found = re.search(r"UI +(http://[\d.:]+)/", out.read_text() if out.exists() else "")
            assert program.process.poll() is None, self.box.logs()
            return found[1] if found else ""

        self.url = await self.box.until(ready, 40, what="plum dev is ready")
        self.box.api(self.url)
        return program

    async def instances(self) -> list[Instance]:
        return list(await self.box.api(self.url).list(Instance, "default"))

    async def all_available(self) -> list[Deployment]:
        """The Deployments, once all their instances are available."""
        found = (await self.box.api(self.url).list(Deployment, "default")).items
        settled = [
            d.status.observed_generation == d.metadata.generation and d.status.available_replicas == d.spec.replicas
            for d in found
        ]
        return list(found) if found and all(settled) else []

    def parts(self) -> list[int]:
        """Controllers and agents that use the data folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            program = "plum_controller" in words or "plum_agent" in words
            if program and any(word.startswith(str(self.data)) for word in words) and is_running(int(entry.name)):
                found.append(int(entry.name))
        return found


@pytest.mark.slow
async def test_the_demo_becomes_available_and_outlives_plum(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        dev = Dev(box, demo_on_free_ports(tmp_path))
        program = await dev.start()

        deployments = await box.until(dev.all_available, 30, what="the whole demo is available")

        names = {d.metadata.name for d in deployments}
        assert len(names) == len(list(dev.manifests.glob("*.yaml")))
        assert (dev.data / "kubeconfig").exists()
        before = {i.metadata.uid: (i.status.pid, start_ticks(i.status.pid or 0)) for i in await dev.instances()}
        assert len(dev.parts()) == 2

        program.kill()

        async def gone() -> bool:
            return not dev.parts()

        await box.until(gone, what="controller and agent end with plum dev")
        assert all(start_ticks(pid or 0) == ticks for pid, ticks in before.values()), "the workloads go on"

        await dev.start()
        await box.until(dev.all_available, 30, what="the demo is available again")

        async def adopted() -> bool:
            now = await dev.instances()
            return {i.metadata.uid: i.status.pid for i in now} == {uid: pid for uid, (pid, _) in before.items()} and all(
                i.status.ready and i.status.restarts == 0 for i in now
            )

        await box.until(adopted, what="the same processes are adopted")

        async def operated() -> bool:
            found = await box.api(dev.url).get(Operation, "warm", "default")
            return found is not None and found.status.phase == "Succeeded"

        asked = OperationSpec(resource_ref="thermostat-1", method="boost", arguments={"degrees": 1}, not_after="30s")
        await box.api(dev.url).create(Operation(metadata=ObjectMeta(name="warm", namespace="default"), spec=asked))
        await box.until(operated, what="the thermostat of the demo is operated")
        assert all(start_ticks(pid or 0) == ticks for pid, ticks in before.values())
