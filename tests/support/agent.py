"""A real agent for tests: a process of its own against a real controller, with Instances made directly on its node.

async with running_site(tmp_path) as site:
    await site.create("web", ["sleep", "100"])
    status = await site.wait("web", lambda status: status.phase == "Running")
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from plum_agent.drivers.procfs import uptime_centiseconds
from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.instance import INSTANCE_FINALIZER, Instance, InstanceSpec, InstanceStatus
from plum_schemas.lease import Lease
from plum_schemas.node import NODE_LEASE_NAMESPACE, Node, NodeSpec
from plum_schemas.template import Template

from tests.support.server import running_server

NODE = "node-1"


class Site:
    """One controller, one agent, and what a test does with them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self.data = folder / "agent"
        self.log = folder / "agent.log"
        self.api = ApiClient(HttpTransport(url), field_manager="test")
        self.agent: subprocess.Popen[bytes] | None = None
        self.controller_pid = 0
        """0 where the controller is somebody else's."""
        self.prefix: tuple[str, ...] = ()
        """Words before the agent's command: what puts it into other surroundings, and becomes it."""

    def start_agent(self, *flags: str) -> subprocess.Popen[bytes]:
        """Start an agent on the same data directory; returns when it reports that it is ready."""
        command = [
            *self.prefix,
            sys.executable,
            "-m",
            "plum_agent",
            "--node",
            NODE,
            "--controller",
            self.url,
            "--data-dir",
            str(self.data),
            *flags,
        ]
        with self.log.open("ab") as log:
            self.agent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=self.log.parent)
        assert self.agent.stdout is not None
        line = self.agent.stdout.readline()
        self.agent.stdout.close()
        assert b"ready" in line, self.log.read_text()[-3000:]
        return self.agent

    def end_agent(self, number: int = signal.SIGKILL) -> None:
        """Send a signal and wait for the end of the agent."""
        assert self.agent is not None
        self.agent.send_signal(signal.SIGCONT)
        self.agent.send_signal(number)
        self.agent.wait(20)
        self.agent = None

    async def registered(self) -> None:
        """Return when the node is there and ready: instances of unknown nodes are cleared away."""

        def is_ready(node: Node | None) -> bool:
            return node is not None and any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)

        await until_async(lambda: self.api.get(Node, NODE), is_ready)

    async def create(self, name: str, command: list[str], node: str = NODE, **template: Any) -> Instance:
        """An Instance that is bound to the node."""
        made = msgspec.convert({"command": command, **template}, Template)
        metadata = ObjectMeta(name=name, namespace="default", finalizers=[INSTANCE_FINALIZER])
        return await self.api.create(Instance(metadata=metadata, spec=InstanceSpec(node_name=node, template=made)))

    async def get(self, name: str) -> Instance | None:
        return await self.api.get(Instance, name, "default")

    async def patch(self, name: str, spec: dict[str, Any]) -> None:
        await self.api.patch(Instance, ObjectKey("default", name), {"spec": spec})

    async def delete(self, name: str) -> None:
        await self.api.delete(Instance, ObjectKey("default", name))

    async def wait(self, name: str, condition: Callable[[InstanceStatus], Any], seconds: float = 40.0) -> InstanceStatus:
        """The status once the condition holds."""
        deadline = time.monotonic() + seconds
        while True:
            instance = await self.get(name)
            if instance is not None and condition(instance.status):
                return instance.status
            assert time.monotonic() < deadline, (
                f"{name}: {instance and msgspec.to_builtins(instance.status)}\n{self.log.read_text()[-3000:]}"
            )
            await asyncio.sleep(0.02)

    async def running(self, name: str) -> InstanceStatus:
        return await self.wait(name, lambda status: status.phase == "Running" and status.pid)

    async def gone(self, name: str, seconds: float = 40.0) -> None:
        await until_async(lambda: self.get(name), lambda found: found is None, seconds)

    async def set_lease(self, seconds: int) -> None:
        """Give the node a lease of that length and wait until the agent renews by it."""
        if await self.api.get(Node, NODE) is None:
            await self.api.create(Node(metadata=ObjectMeta(name=NODE), spec=NodeSpec(lease_seconds=seconds)))
        else:
            await self.api.patch(Node, NODE, {"spec": {"leaseSeconds": seconds}})
        fence = self.data / NODE / "fence"
        await until(lambda: fence.exists() and int(fence.read_text() or 0) < uptime_centiseconds() + seconds * 100, 30)

    async def lease(self) -> Lease | None:
        return await self.api.get(Lease, NODE, NODE_LEASE_NAMESPACE)

    def processes(self) -> dict[int, str]:
        """Living processes with a marker of this site's agent: pid -> marker. Shims are not in it."""
        identity = self.data / NODE / "agent-id"
        if not identity.exists():
            return {}
        return marked(identity.read_text().strip())

    def run_folder(self, name: str, number: int = 1) -> Path:
        return self.data / NODE / f"default_{name}" / "runs" / str(number)

    def shim_of(self, name: str, number: int = 1) -> int:
        return int((self.run_folder(name, number) / "shim").read_text().split()[0])

    async def close(self) -> None:
        """End everything this site started, workloads included."""
        if self.agent is not None:
            self.end_agent()
        for _ in range(3):
            for pid in self.processes():
                kill(pid)
            await asyncio.sleep(0.02)
        await self.api.close()


def marked(prefix: str) -> dict[int, str]:
    """Living processes whose `PLUM_RUN` begins so."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                match = re.search(rb"(?:^|\0)PLUM_RUN=([^\0]*)", (folder / "environ").read_bytes())
                state = (folder / "stat").read_text().rpartition(") ")[2][:1]
            except OSError:
                continue
            if match and match[1].decode().startswith(prefix) and state not in ("Z", "X"):
                found[int(folder.name)] = match[1].decode()
    return found


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] not in ("Z", "X")
    except OSError:
        return False


async def until(condition: Callable[[], Any], seconds: float = 40.0, what: str = "the condition") -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        await asyncio.sleep(0.02)


async def until_async(read: Callable[[], Any], condition: Callable[[Any], Any], seconds: float = 40.0) -> Any:
    """Read again and again until the answer is as wanted."""
    deadline = time.monotonic() + seconds
    while True:
        value = await read()
        if condition(value):
            return value
        assert time.monotonic() < deadline, f"{value!r} within {seconds} s"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running_site(folder: Path, *flags: str, prefix: tuple[str, ...] = ()) -> AsyncIterator[Site]:
    """A controller and an agent."""
    async with running_server(folder / "controller") as server:
        site = Site(folder, server.url)
        site.controller_pid = server.process.pid
        site.prefix = prefix
        try:
            site.start_agent(*flags)
            await site.registered()
            yield site
        finally:
            await site.close()
