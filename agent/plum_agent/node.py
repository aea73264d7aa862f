"""This machine as a Node object: facts, capacity, addresses; written when they differ, read for `leaseSeconds`.

The lease says that the node lives; this says what it is. Only the node controller writes the condition Ready and taints.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import ApiError
from plum_client.informer import Informer
from plum_client.merge_patch import replacing
from plum_schemas.base import Condition, ObjectKey
from plum_schemas.node import ARCH_LABEL, ENGINE_LABEL, HOSTNAME_LABEL, OS_LABEL, Link, Node

from plum_agent.devices import Devices
from plum_agent.drain import end_drain
from plum_agent.link_figures import LOOK_SECONDS, worth_telling
from plum_agent.pressure import Pressure, disk_of

if TYPE_CHECKING:
    from plum_agent.container_runtime import ContainerRuntime
    from plum_agent.identity import NodeIdentity

logger = logging.getLogger(__name__)

RELIST_SECONDS = 10.0
"""Without the controller, after which the Node is read again instead of resuming its watch."""
MIN_RETRY_SECONDS = 0.2
MAX_RETRY_SECONDS = 5.0
MAX_INSTANCES = 1000
"""Instances a node offers to take when it does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about this machine."""

    arch: str
    hostname: str
    os: str
    kernel: str
    cpu: str
    memory: str
    address: str
    boot_id: str
    agent_version: str
    runtimes: tuple[str, ...]
    disk: str = ""
    """Size of the disk of the agent's data; empty where no data is kept."""

    def labels(self, node: str) -> dict[str, str]:
        return {ARCH_LABEL: self.arch, OS_LABEL: "linux", HOSTNAME_LABEL: node}

    def status(self) -> dict[str, Any]:
        """The agent's fields of the status, as a merge patch."""
        disk = {"disk": self.disk} if self.disk else {}
        capacity = {"cpu": self.cpu, "memory": self.memory, **disk, "instances": str(MAX_INSTANCES)}
        return {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [{"type": "InternalIP", "address": self.address}, {"type": "Hostname", "address": self.hostname}],
            "agentVersion": self.agent_version,
            "bootId": self.boot_id,
            "runtimes": list(self.runtimes),
            "os": self.os,
            "arch": self.arch,
            "kernel": self.kernel,
        }


def read_facts(boot_id: str, controller: str, runtimes: Sequence[str], address: str = "", folder: Path | None = None) -> Facts:
    """Look at the machine. `address` overrides the one that leads to the controller. `folder` is that of the agent's data."""
    names = os.uname()
    return Facts(
        arch=names.machine,
        hostname=names.nodename,
        os=_distribution(),
        kernel=names.release,
        cpu=str(len(os.sched_getaffinity(0))),
        memory=f"{_memory_kib()}Ki",
        address=address or own_address(controller),
        boot_id=boot_id,
        agent_version=_version(),
        runtimes=tuple(runtimes),
        disk=disk_of(folder) if folder is not None else "",
    )


def own_address(controller: str) -> str:
    """The address of the interface that leads to the controller. Sends nothing."""
    parts = urlsplit(controller)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((parts.hostname or "127.0.0.1", parts.port or 80))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def _memory_kib() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _version() -> str:
    try:
        return version("plum-agent")
    except PackageNotFoundError:
        return "0"


class NodeReporter:
    """Keeps one Node object true, until cancelled: watches it, and writes only what differs."""

    def __init__(
        self,
        api: ApiClient,
        name: str,
        facts: Facts,
        on_lease_seconds: Callable[[float], None],
        containers: ContainerRuntime | None = None,
        link: Callable[[], Link] | None = None,
        identity: NodeIdentity | None = None,
        devices: Devices | None = None,
        pressure: Pressure | None = None,
    ) -> None:
        """`link` gives the figures of the way to the controller; without it none are told. `pressure`: the same of shortages."""
        self._api = api
        self._name = name
        self._facts = facts
        self._on_lease_seconds = on_lease_seconds
        self._containers = containers
        self._link = link
        self._identity = identity
        self._devices = devices or Devices()
        self._pressure = pressure
        self._informer: Informer[Node] = Informer(api, Node, fields=f"metadata.name={name}", relist_after=RELIST_SECONDS)
        self._informer.add_raw_handler(lambda key, old, new: self.check_soon())
        self._wake = asyncio.Event()
        self._first = True
        self.on_node: Callable[[Node], None] = lambda node: None
        """Told of the Node as it is now."""

    def check_soon(self) -> None:
        """Look again now: the object changed, or the connection came back."""
        self._wake.set()

    def try_now(self) -> None:
        """The controller can be reached again."""
        self._informer.try_now()
        self.check_soon()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        following = loop.create_task(self._informer.run()), loop.create_task(self._devices.follow(self.check_soon))
        try:
            await self._informer.wait_synced()
            await self._keep()
        finally:
            for task in following:
                task.cancel()

    async def _keep(self) -> None:
        pause = MIN_RETRY_SECONDS
        while True:
            self._wake.clear()
            try:
                await self.ensure(self._informer.get(ObjectKey("", self._name)))
                pause = MIN_RETRY_SECONDS
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if self._link is None else LOOK_SECONDS):
                        await self._wake.wait()
            except ApiError as error:
                logger.debug("node was not reported", extra={"node": self._name, "error": str(error)})
                await asyncio.sleep(pause)
                pause = min(MAX_RETRY_SECONDS, pause * 2)

    async def ensure(self, node: Node | None) -> None:
        """Create the Node, or correct what differs. Safe to repeat."""
        if node is None:
            await self._register()
            node = await self._api.get(Node, self._name)
        if node is None:
            return
        self._on_lease_seconds(float(node.spec.lease_seconds))
        self.on_node(node)
        if self._first:
            await end_drain(self._api, node)
            self._first = False
        labels = self._labels()
        if not labels.items() <= node.metadata.labels.items():
            await self._api.patch(Node, self._name, {"metadata": {"labels": labels}})
        engine = self._containers.node_status() if self._containers is not None else {}
        seen = {"devices": self._devices.status(), "observedGeneration": node.metadata.generation}
        wanted = self._facts.status() | engine | seen | self._link_status(node)
        if differs(node, wanted):
            await self._api.patch(Node, self._name, {"status": wanted}, subresource="status")
        conditions = list(node.status.conditions)
        if self._identity is not None:
            conditions = self._identity.conditions(conditions)
        if self._pressure is not None:
            conditions = self._pressure.conditions(conditions, datetime.now(UTC))
        await self._tell_conditions(node, conditions)

    async def _tell_conditions(self, node: Node, conditions: list[Condition]) -> None:
        """Others have conditions in the same list: written only over the version that was read."""
        if conditions != node.status.conditions:
            now = await self._api.get(Node, self._name)
            if now is not None and now.status.conditions == node.status.conditions:
                version = {"resourceVersion": now.metadata.resource_version}
                patch = {"metadata": version, "status": {"conditions": msgspec.to_builtins(conditions)}}
                await self._api.patch(Node, self._name, patch, subresource="status")

    def _labels(self) -> dict[str, str]:
        """One that was set stays: an engine that is restarted must not move anything."""
        seen = self._containers is not None and self._containers.monitor.was_seen
        return self._facts.labels(self._name) | ({ENGINE_LABEL: "docker"} if seen else {})

    def _link_status(self, node: Node) -> dict[str, Any]:
        """The figures of the link, if they are worth telling."""
        if self._link is None:
            return {}
        now = self._link()
        return {"link": replacing(now)} if worth_telling(node.status.link, now) else {}

    async def _register(self) -> None:
        """Apply only our labels: with a create the defaults of the spec would be ours, and nobody could apply `leaseSeconds`."""
        metadata = {"name": self._name, "labels": self._labels()}
        body = {"apiVersion": Node.info.api_version, "kind": Node.info.kind, "metadata": metadata}
        await self._api.apply(body, kind=Node.info, force=True)
        logger.info("node registered", extra={"node": self._name})


def differs(node: Node, wanted: dict[str, Any]) -> bool:
    """Would writing these fields change the status?"""
    known: dict[str, Any] = msgspec.to_builtins(node.status)
    return any(known.get(name) != value for name, value in wanted.items() if value or known.get(name))
