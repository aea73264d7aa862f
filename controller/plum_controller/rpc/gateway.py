r"""The gateway: pending runs on one side, workers on the other, leases between them.

    watch TaskRuns, Workers, Nodes --\
    register, disconnect, heartbeat --+-> Dispatcher.take() -> write Running with worker, token, lease -> Link.assign
    places that become free ---------/

A worker gets a run only after the store says so; what it then says about it is judged by `leases.py`. After a restart the
gateway knows from the store who held what, and gives everybody a full lease to come back. It knows no gRPC: protocols call it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random

from plum_client.clock import Clock, SystemClock
from plum_flow import task_states
from plum_flow.task_states import TransitionError
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TaskRun, TaskRunStatus

from plum_controller.domain.task_dispatch import Dispatcher, place_of, waiting_of
from plum_controller.logs import fields
from plum_controller.resources.encode import decode
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.service import ResourceService
from plum_controller.rpc.leases import Leases
from plum_controller.rpc.liveness import Liveness
from plum_controller.rpc.registering import AlreadyConnectedError, Welcome, hand_over, hello_of, take_over
from plum_controller.rpc.runs import TASKRUNS, Runs, run_of
from plum_controller.rpc.sessions import Hello, Link, Session, Timing
from plum_controller.rpc.waiting import WaitingRuns
from plum_controller.rpc.worker_objects import WORKERS, WorkerObjects, decode_worker
from plum_controller.store.cache import Watcher, WatchEvent

logger = logging.getLogger(__name__)

NODES = "nodes.plum.dev"
RETURN_SECONDS = 5.0
"""On top of a lease, for workers to find this controller again after its start."""
AGAIN_SECONDS = 1.0
"""Before a run is offered again that could not be written as taken."""


class Gateway:
    """One per store, from `start` to `stop`. All methods are for the event loop."""

    def __init__(
        self, service: ResourceService, timing: Timing | None = None, clock: Clock | None = None, random: Random | None = None
    ) -> None:
        self.timing = timing or Timing()
        self._service = service
        self._clock = clock or SystemClock()
        self.runs = Runs(service)
        self.objects = WorkerObjects(service, self._clock)
        self.leases = Leases(self.runs, self._clock, self.timing, self._changed, random or Random())  # noqa: S311  jitter
        self.sessions: dict[ObjectKey, Session] = {}
        self._dispatcher = Dispatcher()
        self._waiting = WaitingRuns(self._dispatcher, self.runs, self._clock, self.leases.gave_back, self._pump_soon)
        self._nodes: dict[str, dict[str, str]] = {}
        self._watchers: list[Watcher] = []
        self._locks: dict[ObjectKey, asyncio.Lock] = {}
        self._pumping = False
        self._liveness = Liveness(
            self.sessions, self.leases, self.objects, self._dispatcher, self._clock, self.timing, self._changed, self.forget
        )
        self.is_stopping = False

    # ---- starting and stopping

    async def start(self) -> None:
        """Know what waits, who was connected, and who holds what."""
        cache = self._service.cache
        self._watchers.append(cache.watch(NODES, "", None, None, None, self._nodes_changed))
        self._remember_workers()
        self._watchers.append(cache.watch(TASKRUNS, "", None, None, None, self._runs_changed))
        self._watchers.append(cache.watch(WORKERS, "", None, None, None, self._workers_changed))
        await self._remember_leases()

    async def stop(self) -> None:
        """Say goodbye to everybody. What they hold goes on, and they come back with it."""
        self.is_stopping = True
        for watcher in self._watchers:
            watcher.close()
        self._waiting.close()
        for session in self.sessions.values():
            if session.link is not None:
                session.link.go_away("the controller stops", 0.5)
                session.link.close("the controller stops")
        await self._liveness.close()
        await self.leases.close()
        await self.objects.close()

    def _remember_workers(self) -> None:
        for entry in self._service.cache.list(WORKERS):
            worker = decode_worker(entry.value)
            if worker.spec.protocol == "http":
                continue  # its connections ended with the controller before
            spec, hello = worker.spec, hello_of(worker)
            session = self._put(self._session(worker.status.session, hello, unschedulable=spec.unschedulable))
            session.heard_at += RETURN_SECONDS
            session.lost = worker.status.phase == "Lost"

    async def _remember_leases(self) -> None:
        soon = self._clock.now() + timedelta(seconds=2 * self.timing.lease_seconds)
        late = []
        for entry in self._service.cache.list(TASKRUNS):
            if entry.field("status.phase") != "Running" or not (name := entry.field("status.worker")) or "/" in name:
                continue
            run = run_of(entry.value)
            if place_of(run) is None:
                continue
            key = ObjectKey(run.metadata.namespace, name)
            session = self.sessions.get(key)
            if session is None:  # its object is gone, or it is an http worker: nobody will tell how it ended
                session = self._put(self._session("", Hello(key, (), 1, {}, "grpc")))
                session.heard_at += RETURN_SECONDS
            lease = self.leases.add(session, run, acknowledged=True)
            lease.written_until = 0.0  # the first sign of life writes it
            if run.status.lease_expires_at is None or run.status.lease_expires_at < soon:
                late.append(self.leases.renew(session, lease))
            self.leases.run_changed(run.key, run)
        await asyncio.gather(*late)

    def _session(self, session_id: str, hello: Hello, *, unschedulable: bool = False) -> Session:
        return Session(
            session_id or secrets.token_hex(8),
            hello,
            None,
            self._clock.now(),
            self._clock.monotonic(),
            unschedulable=unschedulable,
            node_labels=self._nodes.get(hello.node, {}),
        )

    def _put(self, session: Session) -> Session:
        self.sessions[session.key] = session
        self._liveness.begin()
        return session

    # ---- workers come and go

    async def register(self, hello: Hello, link: Link) -> Welcome:
        """A worker has connected. It gets runs after `activate`. Raises `AlreadyConnectedError`, `ApiStatusError`."""
        lock = self._locks.setdefault(hello.key, asyncio.Lock())
        async with lock:
            session = self._take_up(hello, link)
            resumed, lost = take_over(self.leases, session, hello, self._clock.monotonic())
            try:
                await self.objects.register(session)
            except ApiStatusError:
                self.disconnect(session, link)
                raise
            return Welcome(session, resumed, lost)

    def _take_up(self, hello: Hello, link: Link) -> Session:
        known = self.sessions.get(hello.key)
        now = self._clock.monotonic()
        is_same = known is not None and (hello.protocol != "grpc" or hello.session_id == known.id)
        if known is not None and known.link is not None:
            if not is_same and not known.lost:
                raise AlreadyConnectedError(
                    f"worker {hello.key} is connected from another process, heard {now - known.heard_at:.0f} s ago; "
                    "give each process a WORKER_ID of its own"
                )
            known.link.close("this worker has connected again")
            known.link = None
        if known is not None and is_same:
            known.hello = hello
            session = known
        else:
            if known is not None:
                self.leases.lose_all(known, "WorkerRestarted", f"worker {hello.key.name} came back as another process")
            session = self._put(self._session("", hello))
        worker = self.objects.get(hello.key)
        session.unschedulable = worker is not None and worker.spec.unschedulable
        session.node_labels = self._nodes.get(hello.node, {})
        session.link, session.heard_at, session.connected_at = link, now, self._clock.now()
        session.draining = session.lost = False
        session.resting_until, session.failures = float("inf"), 0  # until it is told that it is registered
        return session

    def activate(self, session: Session) -> None:
        """The worker knows that it is registered: it may get runs."""
        session.resting_until = 0.0
        self._dispatcher.set_worker(session.offer(), session.free(self._clock.monotonic()))
        self._pump_soon()
        hello = session.hello
        logger.info(
            "worker registered",
            extra=fields(worker=str(session.key), protocol=hello.protocol, tasks=len(hello.tasks), capacity=hello.capacity),
        )

    def disconnect(self, session: Session, link: Link) -> None:
        """A connection has ended. What the worker holds goes on until its lease runs out."""
        if session.link is not link:
            return
        session.link = None
        if session.hello.protocol != "grpc":
            session.heard_at = self._clock.monotonic()
        self._changed(session)
        logger.info("worker disconnected", extra=fields(worker=str(session.key), holds=len(session.leases)))

    def heard(self, session: Session) -> None:
        """A sign of life."""
        session.heard_at = self._clock.monotonic()
        if session.lost:
            session.lost = False
            self.objects.touch(session)
            self._changed(session)

    def heard_of(self, key: ObjectKey) -> bool:
        """A sign of life from outside a connection. False: it is not known."""
        session = self.sessions.get(key)
        if session is None:
            return False
        if session.hello.protocol == "http" or session.link is not None:
            self.heard(session)
        return True

    def last_heard(self, key: ObjectKey) -> float:
        """Unix seconds; 0 for one that is not known."""
        session = self.sessions.get(key)
        if session is None:
            return 0.0
        return self._clock.now().timestamp() - (self._clock.monotonic() - session.heard_at)

    def attach(self, hello: Hello, link: Link, *, unschedulable: bool) -> Session:
        """A worker that is known by its object, and needs no connection."""
        session = self._put(self._session("", hello, unschedulable=unschedulable))
        session.link = link
        self.objects.touch(session)
        self.activate(session)
        return session

    def drain(self, session: Session) -> None:
        """The worker wants nothing new."""
        session.draining = True
        self._changed(session)
        self.objects.touch(session)

    def forget(self, key: ObjectKey, reason: str = "WorkerDeleted", why: str = "was deleted") -> None:
        """A worker is not coming back: what it holds is given to others."""
        session = self.sessions.pop(key, None)
        if session is None:
            return
        if session.link is not None:
            session.link.go_away(f"the worker {why}", 1.0)
            session.link.close(f"the worker {why}")
            session.link = None
        self._dispatcher.remove_worker(key.namespace, key.name)
        self.leases.lose_all(session, reason, f"worker {key.name} {why}")

    def revoke(self, credential: str) -> None:
        """A token is worth nothing any more: whoever came with it has to go."""
        for session in list(self.sessions.values()):
            caller = session.hello.caller
            if session.link is not None and caller is not None and caller.credential == credential:
                session.link.close("the token was revoked", unauthenticated=True)

    # ---- what changed

    def _runs_changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            entry, is_gone = event.entry, event.type == "DELETED"
            key = ObjectKey(entry.key.namespace, entry.key.name)
            if not is_gone and entry.field("status.phase") == "Pending":
                self._waiting.put(run_of(entry.value))
            else:
                self._waiting.gone(key)
            if self.leases.holds(key):
                self.leases.run_changed(key, None if is_gone else run_of(entry.value))
        self._pump_soon()

    def _workers_changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            key = ObjectKey(event.entry.key.namespace, event.entry.key.name)
            session = self.sessions.get(key)
            if session is None:
                continue
            if event.type == "DELETED":
                self.forget(key)
                continue
            worker = decode_worker(event.entry.value)
            if worker.spec.unschedulable != session.unschedulable:
                session.unschedulable = worker.spec.unschedulable
                self._changed(session)
                self.objects.touch(session)

    def _nodes_changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            name = event.entry.key.name
            labels = {} if event.type == "DELETED" else decode(event.entry.value)["metadata"].get("labels") or {}
            if self._nodes.get(name) == labels:
                continue
            self._nodes[name] = labels
            for session in self.sessions.values():
                if session.hello.node == name:
                    session.node_labels = labels
                    if session.link is not None:
                        self._dispatcher.set_worker(session.offer(), session.free(self._clock.monotonic()))

    def _changed(self, session: Session) -> None:
        """Places of a worker, or what it does, are not what they were."""
        if self.sessions.get(session.key) is not session:
            return  # another process has taken its place
        self._dispatcher.set_free(*session.key, session.free(self._clock.monotonic()))
        self._pump_soon()
        self.objects.touch(session, at_once=False)

    # ---- giving runs to workers

    def _pump_soon(self) -> None:
        if not self._pumping and not self.is_stopping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if self.is_stopping:
            return
        for uid, name in self._dispatcher.assignments():
            key = self._waiting.keys[uid]
            session = self.sessions[ObjectKey(key.namespace, name)]
            session.reserved += 1
            self.leases.spawn(self._assign(session, uid, key))

    async def _assign(self, session: Session, uid: str, key: ObjectKey) -> None:
        def step(run: TaskRun) -> TaskRunStatus:
            if waiting_of(run) is None:
                raise TransitionError(f"taskrun {key} does not wait any more")
            return task_states.take(run.status, session.holder, self._clock.now(), self.leases.lease_until())

        try:
            run = await self.runs.step(key, uid, step)
        except TransitionError as error:
            logger.debug("run was not given to a worker", extra=fields(key=str(key), error=error.message))
            return
        except ApiStatusError as error:
            logger.warning("run was not given to a worker, again later", extra=fields(key=str(key), error=error.message))
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._waiting.look_again, key)
            return
        else:
            self.leases.gave_back.pop(uid, None)
            lease = self.leases.add(session, run, acknowledged=session.hello.protocol != "grpc")
            hand_over(self.leases, self.runs, session, lease, run)
            self.leases.run_changed(key, self.runs.get(key))
            if self.sessions.get(session.key) is not session:  # it was forgotten meanwhile
                self.leases.lose_all(session, "WorkerLost", f"worker {session.key.name} has gone")
        finally:
            session.reserved -= 1
            self._changed(session)

    def change(self, session: Session, hello: Hello) -> None:
        """A worker that is known by its object has changed."""
        if session.hello.url != hello.url:
            session.failures, session.resting_until = 0, 0.0
            self.objects.touch(session)
        session.hello = replace(hello, caller=session.hello.caller)
        self._dispatcher.set_worker(session.offer(), session.free(self._clock.monotonic()))
        self._pump_soon()


__all__ = ["AlreadyConnectedError", "Gateway", "Welcome"]
