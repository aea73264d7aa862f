"""All runs that were delegated to one node, and the way to them.

DelegationSwitch (`switch.py`: always there, nothing loaded) --> NodeRuns
NodeRuns: watch WorkflowRun (status.node is this node, not ended)
    Pending                -> get what it needs, write it down, take it -> Delegated
    ours, spec changed     -> steer
    gone, ended, new token -> everything of it is ended and forgotten
nodes of type subworkflow  -> a run inside of the run (`inner.py`), on this node, as if it had been delegated
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from plum_client.backoff import Backoff
from plum_client.client import ApiClient
from plum_client.errors import ApiError, error_of
from plum_client.informer import Informer
from plum_client.outgoing import OutgoingClient
from plum_client.transport import Request
from plum_flow.calls import Executor
from plum_flow.delegation import Bundle
from plum_flow.http_call import HttpExecutor
from plum_flow.running.made import place_of
from plum_schemas.base import ObjectKey
from plum_schemas.core import ConfigMap, Secret
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from plum_agent.tasks.record import TaskLedger
from plum_agent.tasks.runner import NodeTasks
from plum_agent.tasks.surroundings import Surroundings
from plum_agent.workflows.delegated import Around, Delegated, GivenUpError
from plum_agent.workflows.inner import Plans, bundle_inside
from plum_agent.workflows.store import Ending, Head, RunStore
from plum_agent.workflows.tasks import LocalTasks

logger = logging.getLogger(__name__)

RELIST_SECONDS = 10.0
RETRY = Backoff(initial=0.2, maximum=15.0)
_decode_bundle = msgspec.json.Decoder(Bundle).decode


class BundledApi(ApiClient):
    """Secrets and ConfigMaps of delegated runs, as they were given; everything else is asked of the controller."""

    def __init__(self, api: ApiClient) -> None:
        super().__init__(api.transport, api.field_manager)
        self._found: dict[str, dict[tuple[str, str, str], Secret | ConfigMap]] = {}

    def add(self, head: Head) -> None:
        """Know what a run was given."""
        given: list[Secret | ConfigMap] = [*head.bundle.secrets, *head.bundle.config_maps]
        self._found[head.uid] = {(one.kind, head.key.namespace, one.metadata.name): one for one in given}

    def forget(self, uid: str) -> None:
        self._found.pop(uid, None)

    async def get(self, kind: Any, name: Any, namespace: str = "") -> Any:
        """One object by name or key, None if there is none."""
        key = name if isinstance(name, ObjectKey) else ObjectKey(namespace, name)
        if kind in (Secret, ConfigMap):
            for given in self._found.values():
                found = given.get((kind.info.kind, key.namespace, key.name))
                if found is not None:
                    return found
        return await super().get(kind, key)


class NodeRuns:
    """Runs until `run` is cancelled; then everything runs on, and the next agent finds it."""

    def __init__(
        self, around: Surroundings, api: ApiClient, directory: Path, prefix: str, at_once: int, outgoing: OutgoingClient
    ) -> None:
        self._node = around.node
        self._api = api
        self._clock = around.clock
        simulated = not around.driver.keeps_runs
        self._store = RunStore(directory, inline=simulated, pause=lambda: around.random.random() / 50)
        self._bundled = BundledApi(api)
        self._outgoing = outgoing
        self._local = LocalTasks(around.node, self._store, around.clock, around.random, self._http, self._secret)
        self._local.on_ended = self._task_ended
        ledger = TaskLedger(None if simulated else directory)
        launcher = replace(around.launcher, api=self._bundled, ledger=ledger)
        own = replace(around, api=self._local, ledger=ledger, launcher=launcher, events=None)
        self.tasks = NodeTasks(own, prefix, at_once, self._local.watched)
        endings = ",".join(f"status.phase!={phase}" for phase in sorted(TERMINAL_RUN_PHASES))
        self._informer: Informer[WorkflowRun] = Informer(
            api, WorkflowRun, fields=f"status.node={around.node},{endings}", random=around.random, relist_after=RELIST_SECONDS
        )
        self._around = Around(
            around.node, api, around.clock, self._store, self._local, around.random,
            lambda run: self._informer.get(run.key), Plans(), self, outgoing, around.events,
        )  # fmt: skip
        self._runs: dict[str, Delegated] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._taking: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        """Runs that go on here."""
        return len(self._runs) + len(self._taking)

    async def run(self) -> None:
        """Go on with what is on disk, then follow the controller."""
        await self._open_store()
        await self._local.load()
        heads = {head.uid: head for head in await self._store.heads()}
        for head in heads.values():
            if _linked(head, heads):
                self._start(head)
            else:
                await self._forget(head.uid)
        told = {uid for uid, head in heads.items() if head.taken or not head.parent}
        working = asyncio.ensure_future(self.tasks.run())
        self._informer.add_handler(self._changed)
        following = asyncio.ensure_future(self._informer.run())
        try:
            await self._informer.wait_synced()
            for uid, delegated in list(self._runs.items()):
                known = self._informer.get(delegated.head.key)
                if uid in told and (known is None or known.metadata.uid != uid):
                    delegated.give_up()
            await asyncio.gather(working, following)
        finally:
            tasks = [working, following, *self._taking.values(), *self._tasks.values(), *self._local.close()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._store.close()

    async def _open_store(self) -> None:
        failures = 0
        while True:
            try:
                await self._store.open()
                return
            except (sqlite3.Error, OSError) as error:
                failures += 1
                logger.warning("memory of delegated runs cannot be opened", extra={"node": self._node, "error": str(error)})
                await asyncio.sleep(RETRY.delay(failures, self._around.random))

    def try_now(self) -> None:
        """The controller answers again."""
        self._informer.try_now()
        for delegated in self._runs.values():
            delegated.try_now()

    def _http(self, uid: str) -> Executor:
        return HttpExecutor(self._outgoing, self._bundled)

    async def _secret(self, namespace: str, name: str) -> Secret | None:
        found: Secret | None = await self._bundled.get(Secret, name, namespace)
        return found

    def _task_ended(self, run: TaskRun) -> None:
        for owner in run.metadata.owner_references:
            if owner.uid in self._runs:
                self._runs[owner.uid].task_ended(run)

    # ---- what the controller says

    def _changed(self, old: WorkflowRun | None, new: WorkflowRun | None) -> None:
        found = new or old
        assert found is not None  # noqa: S101
        uid = found.metadata.uid
        delegated = self._runs.get(uid)
        if new is None or (old is not None and old.metadata.uid != uid):
            gone = self._runs.get((old or found).metadata.uid)
            if gone is not None:
                gone.give_up()
            if new is None:
                return
        if delegated is not None:
            delegated.steer(new)
        elif new.status.phase == "Pending" and uid not in self._taking:
            self._spawn_taking(new, self._fetch(new))
        elif new.status.phase in ("Running", "Paused") and uid not in self._taking:
            self._spawn_taking(new, self._report_lost(new))

    def _spawn_taking(self, run: WorkflowRun, work: Any) -> None:
        uid = run.metadata.uid
        task = self._taking[uid] = asyncio.get_running_loop().create_task(work, name=f"take {run.key}")
        task.add_done_callback(lambda done: self._taken(uid, done))

    def _taken(self, uid: str, done: asyncio.Task[None]) -> None:
        self._taking.pop(uid, None)
        if not done.cancelled() and (error := done.exception()) is not None:
            logger.error("delegated run cannot be taken", extra={"uid": uid, "error": str(error)}, exc_info=error)

    async def _fetch(self, run: WorkflowRun) -> None:
        """Get what the run needs and write it down; then it can be taken."""
        failures = 0
        while True:
            known = self._informer.get(run.key)
            if known is None or known.metadata.uid != run.metadata.uid or known.status.phase != "Pending":
                return
            try:
                request = Request("GET", WorkflowRun.info, run.metadata.namespace, run.metadata.name, "delegation")
                response = await self._api.transport.send(request)
                if response.status >= 400:
                    raise error_of(response.status, response.body, f"get what workflowrun {run.key} needs")
                bundle = _decode_bundle(response.body)
                head = Head(run=_plain(known), bundle=bundle, token=known.status.fencing_token + 1)
                await self._store.put_head(head, {key: msgspec.json.encode(value) for key, value in bundle.rows.items()})
                self._start(head)
                return
            except (ApiError, sqlite3.Error, msgspec.MsgspecError) as error:
                failures += 1
                logger.info("delegated run is not taken yet", extra={"key": str(run.key), "error": str(error)})
                await asyncio.sleep(RETRY.delay(failures, self._around.random))

    async def _report_lost(self, run: WorkflowRun) -> None:
        """A run that was taken here, of which nothing is known here: its memory is gone."""
        text = f"node {self._node} knows nothing of it; its data directory may be a new one"
        failures = 0
        while True:
            known = self._informer.get(run.key)
            if known is None or known.metadata.uid != run.metadata.uid or run.metadata.uid in self._runs:
                return
            status = msgspec.structs.replace(
                known.status, phase="Failed", reason="RecordLost", message=text, current=[],
                finished_at=self._clock.now().replace(microsecond=0),
            )  # fmt: skip
            try:
                await self._api.write_status(msgspec.structs.replace(known, status=status))
                logger.warning("delegated run has no record here", extra={"key": str(run.key)})
                return
            except ApiError as error:
                failures += 1
                logger.info("lost run is not told yet", extra={"key": str(run.key), "error": error.message})
                await asyncio.sleep(RETRY.delay(failures, self._around.random))

    # ---- runs

    def _start(self, head: Head) -> None:
        if not head.parent:
            self._bundled.add(head)
        delegated = self._runs[head.uid] = Delegated(head, self._around)
        task = self._tasks[head.uid] = asyncio.get_running_loop().create_task(delegated.run(), name=f"run {head.key}")
        task.add_done_callback(lambda done: self._ended(delegated, done))

    def _ended(self, delegated: Delegated, done: asyncio.Task[None]) -> None:
        uid = delegated.head.uid
        if done.cancelled():
            return
        error = done.exception()
        if error is not None and not isinstance(error, GivenUpError):
            logger.error("delegated run broke off", extra={"key": str(delegated.head.key), "error": str(error)}, exc_info=error)
            loop = asyncio.get_running_loop()
            loop.call_later(RETRY.maximum, lambda: self._start(delegated.head) if self._runs.get(uid) is delegated else None)
            return
        if error is not None:
            logger.warning(
                "delegated run is not this node's any more, what runs of it is ended",
                extra={"key": str(delegated.head.key), "reason": str(error)},
            )
        del self._runs[uid]
        self._tasks.pop(uid, None)
        self._local.forget(uid)
        self._bundled.forget(uid)
        for inside in [one for one in self._runs.values() if one.head.parent == uid]:
            inside.give_up()
        outer = self._runs.get(delegated.head.parent)
        if outer is not None and not outer.given_up:
            gone = Ending(phase="Failed", reason="Deleted", message="it was deleted")
            ending = delegated.ending or gone
            outer.run_ended(delegated.head, ending)
            forgetting = asyncio.get_running_loop().create_task(self._keep_ending(uid, ending))
        else:
            forgetting = asyncio.get_running_loop().create_task(self._forget(uid))
        self._taking[uid] = forgetting
        forgetting.add_done_callback(lambda _: self._taking.pop(uid, None))
        if outer is not None:
            outer.look()
        if not delegated.head.parent:
            gc.collect()  # a run and those inside of it leave cycles, for which nobody looks by himself in days

    async def _keep_ending(self, uid: str, ending: Ending) -> None:
        """Of a run inside that has ended, so that none is begun again for the same node."""
        failures = 0
        while True:
            try:
                await self._store.end_inner(uid, ending)
                return
            except sqlite3.Error as error:
                failures += 1
                logger.warning("end of a run inside cannot be written down", extra={"uid": uid, "error": str(error)})
                await asyncio.sleep(RETRY.delay(failures, self._around.random))

    async def _forget(self, uid: str) -> None:
        with suppress(sqlite3.Error):
            await self._store.forget(uid)

    # ---- runs inside of others

    async def ending_of(self, uid: str) -> tuple[bool, Ending | None]:
        """Whether a run inside was ever begun, and how it ended. Raises `sqlite3.Error`."""
        while True:
            if uid in self._runs:
                return True, self._runs[uid].ending
            known, ending = await self._store.inner(uid)
            if not known or ending is not None:
                return known, ending
            await asyncio.sleep(0.05)  # its end is being written down

    async def begin(self, head: Head, rows: Mapping[str, bytes]) -> None:
        """Write a run inside down, and begin it. Raises `sqlite3.Error`."""
        await self._store.put_head(head, rows)
        if head.parent in self._runs and head.uid not in self._runs:
            self._start(head)

    def cancel_of(self, parent: str, key: str, attempt: int) -> bool:
        """End the run of an attempt of a node. False: there is none that goes on."""
        found = [one for one in self._runs.values() if one.head.parent == parent and place_of(one.head.run) == (key, attempt)]
        for delegated in found:
            delegated.cancel()
        return any(delegated.ending is None for delegated in found)

    def around(self, head: Head) -> Head | None:
        """The run that one is inside of; None if that does not go on any more."""
        outer = self._runs.get(head.parent)
        return outer.head if outer is not None else None

    def has(self, uid: str) -> bool:
        """Whether runs inside of this one are still to be told of."""
        return any(one.head.parent == uid for one in self._runs.values())

    def ended(self, head: Head, ending: Ending) -> None:
        """A run inside has ended, which is on disk."""
        outer = self._runs.get(head.parent)
        if outer is not None:
            outer.run_ended(head, ending)


def _linked(head: Head, heads: Mapping[str, Head]) -> bool:
    """Give a run inside back what the outermost one was given. False: that is not there any more."""
    if not head.parent:
        return True
    outer = heads.get(head.parent)
    if outer is None or not _linked(outer, heads) or head.run.spec.workflow_ref not in outer.bundle.workflows:
        return False
    head.bundle = bundle_inside(outer, head.run.spec.workflow_ref)
    return True


def _plain(run: WorkflowRun) -> WorkflowRun:
    return msgspec.structs.replace(run, metadata=msgspec.structs.replace(run.metadata, managed_fields=[]))
