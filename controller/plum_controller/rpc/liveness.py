"""Which workers are still there: who was silent for too long is lost, who stays away is forgotten.

clock --tick--> connection whose token ended -> closed
                silent longer than its protocol allows -> lost: what it holds goes to others
                lost, and away for long -> forgotten     leases that ran out -> Leases
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from plum_client.clock import Clock
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration

from plum_controller.domain.task_dispatch import Dispatcher
from plum_controller.logs import fields
from plum_controller.rpc.leases import Leases
from plum_controller.rpc.sessions import Session, Timing
from plum_controller.rpc.worker_objects import FORGET_SECONDS, WorkerObjects

logger = logging.getLogger(__name__)


class Liveness:
    """Looks at all sessions again and again while there are any."""

    def __init__(
        self,
        sessions: Mapping[ObjectKey, Session],
        leases: Leases,
        objects: WorkerObjects,
        dispatcher: Dispatcher,
        clock: Clock,
        timing: Timing,
        changed: Callable[[Session], None],
        forget: Callable[[ObjectKey, str, str], None],
    ) -> None:
        """`changed`: its places are not what they were. `forget`: it is not coming back, with reason and words."""
        self._sessions = sessions
        self._leases = leases
        self._objects = objects
        self._dispatcher = dispatcher
        self._clock = clock
        self._timing = timing
        self._changed = changed
        self._forget = forget
        self._ticking: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """There is somebody to look at. Safe to repeat."""
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick_for_ever(), name="worker-leases")

    async def close(self) -> None:
        """Look no more."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)

    async def _tick_for_ever(self) -> None:
        seconds = self._timing.tick_seconds
        last = self._clock.monotonic()
        while self._sessions:
            await asyncio.sleep(seconds)
            now = self._clock.monotonic()
            late = now - last - seconds
            last = now
            for session in list(self._sessions.values()):
                if late > self._timing.heartbeat_seconds:  # we were stopped, not they: what they sent is still to be read
                    session.heard_at += late
                self._tick(session, now)
        self._ticking = None

    def _tick(self, session: Session, now: float) -> None:
        caller = session.hello.caller
        if session.link is not None and caller is not None and caller.expires and caller.expires <= time.time():
            session.link.close("the token has expired", unauthenticated=True)
        if session.draining and session.link is None and not session.leases and not session.lost:
            self._lose(session, "it has ended its work")
        limit = self._limit(session)
        silent = now - session.heard_at
        if limit and silent > limit and not session.lost:
            self._lose(session, f"it was not heard for {silent:.0f} s")
        elif session.lost and session.link is None and silent > FORGET_SECONDS:
            self._leases.spawn(self._objects.forget(session.key))
            self._forget(session.key, "WorkerLost", "did not come back")
            return
        self._leases.tick(session, now)
        if session.resting_until and session.resting_until <= now:
            session.resting_until = 0.0
            self._changed(session)

    def _limit(self, session: Session) -> float:
        """After how many silent seconds a worker is lost; 0: its connection says whether it is there."""
        match session.hello.protocol:
            case "grpc":
                return self._timing.lease_seconds
            case "classic":
                return self._timing.lease_seconds if session.link is None else 0.0
            case _:
                return parse_duration(session.hello.ttl) if session.hello.ttl else 0.0

    def _lose(self, session: Session, why: str) -> None:
        session.lost = True
        self._dispatcher.set_free(*session.key, 0)
        if session.hello.protocol != "http":  # a request under way has its own end
            self._leases.lose_all(session, "WorkerLost", f"worker {session.key.name} is lost: {why}")
        self._objects.touch(session)
        logger.info("worker lost", extra=fields(worker=str(session.key), why=why))
