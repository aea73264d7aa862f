"""The heartbeat: renews the leases of the nodes of this agent, from a thread and a connection of its own.

    LeaseThread (own thread, own event loop, own connection)
       every third of the lease -> PATCH Lease -> acknowledged -> deadline = when it was SENT + lease - margin
                                                              -> fence file: the shims of exclusive runs read it
       held, held again or lost -> on_change, on the agent's event loop

Nothing the agent does can delay a renewal: no disk, no probe, no reconcile shares this thread. The deadline counts from
the moment of sending, so it is always earlier than the one the controller counts from the moment of receiving.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.errors import AlreadyExistsError, ApiError, NotFoundError, UnauthorizedError
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.core import Namespace
from plum_schemas.lease import Lease, LeaseSpec
from plum_schemas.node import NODE_LEASE_NAMESPACE

from plum_agent.drivers.procfs import uptime_centiseconds
from plum_agent.unit import Fence

logger = logging.getLogger(__name__)

RENEWALS = 3
"""Renewals in one lease."""
MOST_FENCE_SECONDS = 3.0
"""An exclusive run gets at most this long to stop by itself before the lease ends. Every second more is work lost to a
short cut of the network."""


AGAIN_SECONDS = 1.0
JITTER = 0.3
"""Share of a pause after a failure that is random, so that nodes that lost the same controller do not return in step."""


class NodeLease:
    """The lease of one node. Written by the lease thread, read by the agent: single numbers, so no lock is needed."""

    def __init__(self, node: str, seconds: float, clock: Clock, fence_file: Path | None) -> None:
        self.node = node
        self.seconds = seconds
        """How long one renewal holds."""
        self.wake: Callable[[], None] = lambda: None
        """Renew now instead of after the pause; set by the keeper, called from any thread."""
        self.deadline = 0.0
        """Monotonic seconds until which the last acknowledged renewal lets exclusive runs live."""
        self.held = False
        self.fence_file = fence_file
        self._clock = clock
        self._is_written = True
        self._load()

    def change(self, seconds: float) -> None:
        """`Node.spec.leaseSeconds` has a new value: renew by it from now on."""
        self.seconds = seconds
        self.wake()

    def acknowledged(self, sent_at: float) -> None:
        """A renewal that was sent at this monotonic time has been acknowledged. Where that cannot be written down, exclusive
        runs end when the deadline that is written says, and the node goes on."""
        deadline = sent_at + self.seconds - max(0.1, self.seconds / 20)
        self.held = True
        if self.fence_file is not None:
            left = deadline - self._clock.monotonic()
            try:
                _replace(self.fence_file, f"{uptime_centiseconds() + int(left * 100)}\n")
            except OSError as error:
                if self._is_written:
                    logger.warning(
                        "deadline of exclusive runs cannot be written; they end by the last one",
                        extra={"node": self.node, "error": str(error)},
                    )
                self._is_written = False
                return
            self._is_written = True
        self.deadline = deadline

    def fence(self) -> Fence:
        """What exclusive runs may do now."""
        left = self.deadline - self._clock.monotonic()
        stop_at = self.deadline - min(MOST_FENCE_SECONDS, self.seconds / 4)
        return Fence(stop_at=stop_at, kill_at=self.deadline, may_start=self.held and left > self.seconds / 2)

    def _load(self) -> None:
        """An agent before this one may have left a deadline that still holds: its exclusive runs live until then."""
        if self.fence_file is None:
            return
        with suppress(OSError, ValueError):
            left = int(self.fence_file.read_text(encoding="ascii")) - uptime_centiseconds()
            self.deadline = self._clock.monotonic() + min(left / 100, self.seconds)


class LeaseKeeper:
    """Renews until cancelled."""

    def __init__(
        self,
        leases: Iterable[NodeLease],
        clock: Clock,
        on_change: Callable[[str, bool], None],
        random: Random | None = None,
    ) -> None:
        """`on_change` is called with True when a lease is held again, also after failures that did not lose it."""
        self._leases = list(leases)
        self._random = random or Random()  # noqa: S311 -- spreads retries
        self._clock = clock
        self._on_change = on_change

    async def run(self, api: ApiClient) -> None:
        await asyncio.gather(*(self._keep(api, lease) for lease in self._leases))

    async def _keep(self, api: ApiClient, lease: NodeLease) -> None:
        failures, refused = 0, False
        changed, loop = asyncio.Event(), asyncio.get_running_loop()
        lease.wake = lambda: _call_soon(loop, changed.set)
        while True:
            sent_at = self._clock.monotonic()
            interval = lease.seconds / RENEWALS
            try:
                async with asyncio.timeout(max(0.5, interval)):
                    await self._renew(api, lease)
            except (ApiError, TimeoutError) as error:
                failures += 1
                pause = min(interval, max(0.1, lease.seconds / 15) * failures) * (1 - JITTER * self._random.random())
                if isinstance(error, UnauthorizedError) and not refused:
                    refused = True
                    logger.error(
                        "controller does not take this node's credential; what runs goes on, exclusive instances end",
                        extra={"node": lease.node, "error": str(error)},
                    )
                elif failures == 1:
                    logger.warning(
                        "lease was not renewed", extra={"node": lease.node, "error": str(error) or "no answer in time"}
                    )
                if lease.held and self._clock.monotonic() >= lease.deadline:
                    lease.held = False
                    logger.warning("lease is lost", extra={"node": lease.node})
                    self._on_change(lease.node, False)
            else:
                pause = interval
                if failures:
                    logger.info("lease is renewed again", extra={"node": lease.node, "failures": failures})
                came_back = failures > 0 or not lease.held
                failures, refused = 0, False
                before = lease.deadline
                lease.acknowledged(sent_at)
                # A shorter lease moves the deadline back: those who wait for the old one would be late.
                if came_back or lease.deadline < before:
                    self._on_change(lease.node, True)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, sent_at + pause - self._clock.monotonic())):
                    await changed.wait()
            changed.clear()

    async def _renew(self, api: ApiClient, lease: NodeLease) -> None:
        spec = {
            "holderIdentity": lease.node,
            "leaseDurationSeconds": max(1, round(lease.seconds)),
            "renewTime": self._clock.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        try:
            await api.patch(Lease.info, ObjectKey(NODE_LEASE_NAMESPACE, lease.node), {"spec": spec})
        except NotFoundError:
            await self._create(api, lease)

    async def _create(self, api: ApiClient, lease: NodeLease) -> None:
        now: datetime = self._clock.now()
        spec = LeaseSpec(
            holder_identity=lease.node, lease_duration_seconds=max(1, round(lease.seconds)), renew_time=now, acquire_time=now
        )
        obj = Lease(metadata=ObjectMeta(name=lease.node, namespace=NODE_LEASE_NAMESPACE), spec=spec)
        try:
            await api.create(obj)
        except NotFoundError:
            with suppress(AlreadyExistsError):
                await api.create(Namespace(metadata=ObjectMeta(name=NODE_LEASE_NAMESPACE)))
            await api.create(obj)


class LeaseThread:
    """Runs a keeper in a thread of its own."""

    def __init__(self, keeper: LeaseKeeper, make_api: Callable[[], ApiClient]) -> None:
        self._keeper = keeper
        self._make_api = make_api
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._main, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the lease is left to run out. Safe to repeat."""
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(timeout=2.0)

    def _main(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        api = self._make_api()
        try:
            while True:
                try:
                    await self._keeper.run(api)
                except Exception:  # without renewals the node would be lost, whatever else of the agent works
                    logger.exception("renewing the lease failed, and begins again")
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            await api.close()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the keeper has ended
        loop.call_soon_threadsafe(callback)


def _replace(path: Path, text: str) -> None:
    """Readers see the old or the new deadline, never half of one. Not flushed to the disk: a reboot ends what it guards.
    Raises `OSError`."""
    temporary = path.with_suffix(".new")
    try:
        temporary.write_text(text, encoding="ascii")
        temporary.rename(path)
    except OSError:
        # A full disk has no room for a second file. The first is written over in its place: one short line, read at once.
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, text.encode("ascii"), 0)
            os.ftruncate(descriptor, len(text))
        finally:
            os.close(descriptor)
