"""Notify hooks: requests that tell other programs how a run goes.

    Told(RunStarted | NodeStarted | NodeFinished | RunFinished) --outgoing--> rows, in the transaction of the step itself
    rows --send--> POST, in order for each run and hook, tried again for a day --> the row goes

They tell of what is on disk already and hold nothing up. A controller that dies loses none: the next one finds the rows. What
was taken just before may be told twice; each delivery has an id, the same for every attempt. A hook that never answers loses
what comes after `MAX_WAITING` of one run.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import msgspec
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.errors import ApiError
from plum_client.events import EventRecorder
from plum_client.outgoing import OutgoingClient, OutgoingError
from plum_flow.expressions import ExpressionError, UnresolvedError, compile_value, secret_values
from plum_flow.expressions.secret_values import secret_names
from plum_flow.running.actor import Actor
from plum_flow.running.journal import Journal
from plum_flow.signing import DELIVERY_HEADER
from plum_flow.workflow.messages import Changes, Told
from plum_flow.workflow.rows import NodeRow, RunRow, shown
from plum_schemas.base import ObjectKey
from plum_schemas.core import Secret
from plum_schemas.workflow import NotifyHook
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.domain.delegation import Telling
from plum_controller.workflows.stage_control import StageControl

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
"""Seconds between attempts: 1, 2, 4, ... 300."""
GIVEN_UP_SECONDS = 86_400.0
"""After the event. Who is away for longer asks for the run."""
CALL_SECONDS = 10.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_WAITING = 1000
"""Deliveries of one hook of one run that wait."""
NAMES = frozenset({"run", "secrets", "event"})
TRIED_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
NOTHING: Mapping[str, bytes] = {}
Place = tuple[str, str]
"""Uid of a run, name of a hook as in an address: deliveries of one place go out one after the other."""


class OutboxJournal(Journal, Protocol):
    """A journal that also keeps what is to go out."""

    async def commit(
        self, space: str, rows: Mapping[str, bytes], folds: Sequence[str] = (), outgoing: Mapping[str, bytes] = NOTHING
    ) -> None:
        """Rows, folds and what is to go out, all or nothing, on disk when this returns."""

    async def waiting(self, after: str = "", limit: int = 2000) -> Sequence[tuple[str, bytes]]:
        """What is to go out, in key order."""

    async def sent(self, keys: Sequence[str]) -> None:
        """Forget what has gone out, or was given up."""


class Outbox(Protocol):
    """What the engine needs of hooks."""

    def outgoing(self, actor: Actor, changes: Changes) -> Mapping[str, bytes]:
        """What is to be told of a step, to be stored with it."""

    def merged(self, run: WorkflowRun, hooks: Sequence[NotifyHook], row: RunRow, told: Sequence[Telling]) -> Mapping[str, bytes]:
        """What is to be told of a run that a node carries out, to be stored with its rows."""

    def send(self, outgoing: Mapping[str, bytes]) -> None:
        """It is on disk: tell it. Never waits."""


class About(NamedTuple):
    """The run that is told of."""

    uid: str
    key: ObjectKey
    workflow: str
    row: RunRow


class Delivery(msgspec.Struct, rename="camel"):
    """One row of the outbox."""

    hook: NotifyHook
    event: dict[str, Any]
    since: float
    """Unix seconds."""
    body: Any = None
    """What is sent instead of the event."""


class Hooks:
    """Delivers for all runs. Start it once, close it at the end."""

    def __init__(
        self, api: ApiClient, outgoing: OutgoingClient, clock: Clock, recorder: EventRecorder, journal: OutboxJournal
    ) -> None:
        self._api = api
        self._outgoing = outgoing
        self._clock = clock
        self._recorder = recorder
        self._journal = journal
        self.stages: StageControl | None = None
        self._waiting: dict[Place, deque[str]] = {}
        """Keys of rows."""
        self._rows: dict[str, bytes] = {}
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._full: set[Place] = set()
        """Places that lost something since they were last empty: people were told."""
        self._last = 0
        self.dropped = 0
        """Deliveries that were given up, or never begun because too many waited."""

    async def start(self) -> None:
        """Take up what an earlier process left."""
        after = ""
        while piece := await self._journal.waiting(after):
            after = piece[-1][0]
            self.send(dict(piece))

    async def close(self) -> None:
        """Let go of what waits; the rows say how to go on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def outgoing(self, actor: Actor, changes: Changes) -> Mapping[str, bytes]:
        """What is to be told of a step, to be stored with it."""
        found: dict[str, bytes] = {}
        about = About(actor.run.uid, actor.key, actor.spec.workflow_ref, actor.run.row)
        for told in changes.effects:
            if isinstance(told, Told):
                for hook in actor.run.plan.spec.hooks:
                    if told.what in hook.on:
                        place = actor.run.find(told.key) if told.key else None
                        row = place[0].rows.get(place[1]) if place is not None else None
                        self._add(found, about.uid, hook, self._event(about, told, row, self._clock.now()))
        if self.stages is not None:
            for number, (url, body) in enumerate(self.stages.results(actor, changes)):
                hook = NotifyHook(name=f"stage {number}", on=[], url=url.replace("${{", "$${{"))
                self._add(found, about.uid, hook, self._event(about, Told("StageResult"), None, self._clock.now()), body)
        return found

    def merged(self, run: WorkflowRun, hooks: Sequence[NotifyHook], row: RunRow, told: Sequence[Telling]) -> Mapping[str, bytes]:
        """What is to be told of a run that a node carries out, to be stored with its rows."""
        found: dict[str, bytes] = {}
        about = About(run.metadata.uid, run.key, run.spec.workflow_ref, row)
        for one in told:
            for hook in hooks:
                if one.told.what in hook.on:
                    self._add(found, about.uid, hook, self._event(about, one.told, one.row, one.at or self._clock.now()))
        return found

    def send(self, outgoing: Mapping[str, bytes]) -> None:
        """It is on disk: tell it. Never waits."""
        for key, row in outgoing.items():
            uid, hook, _ = key.split("/")
            place = (uid, hook)
            self._rows[key] = row
            self._waiting.setdefault(place, deque()).append(key)
            if place not in self._tasks:
                self._tasks[place] = asyncio.create_task(self._work(place), name=f"hook-{hook}")

    def _add(self, found: dict[str, bytes], uid: str, hook: NotifyHook, event: dict[str, Any], body: Any = None) -> None:
        place = (uid, quote(hook.name, safe=""))
        if len(self._waiting.get(place, ())) + len(found) >= MAX_WAITING:
            self.dropped += 1
            if place not in self._full:
                self._full.add(place)
                text = (
                    f"hook {hook.name} is not told of {event['event']} and what follows: {MAX_WAITING} deliveries wait before it"
                )
                self._complain(event, text)
            return
        now = self._clock.now().timestamp()
        self._last = max(self._last + 1, int(now * 1e6))  # sorts as it happened, over restarts too
        found[f"{place[0]}/{place[1]}/{self._last:020d}"] = _encode(Delivery(hook=hook, event=event, since=now, body=body))

    def _complain(self, event: Mapping[str, Any], text: str) -> None:
        run = event["run"]
        metadata = {name: run[name] for name in ("name", "namespace", "uid")}
        reference = {"apiVersion": WorkflowRun.info.api_version, "kind": "WorkflowRun", "metadata": metadata}
        self._recorder.event(reference, "Warning", "HookFailed", text[:1000])

    def _event(self, about: About, told: Told, row: NodeRow | None, at: datetime) -> dict[str, Any]:
        run = {
            "name": about.key.name,
            "namespace": about.key.namespace,
            "uid": about.uid,
            "workflow": about.workflow,
            "phase": told.phase if told.what == "RunFinished" else "Running",
        }
        event: dict[str, Any] = {"event": told.what, "time": _text(at), "run": run}
        attempt = 0
        if told.key:
            node: dict[str, Any] = {"name": shown(told.key), "phase": told.phase}
            if row is not None:
                attempt = row.attempt
                node |= {"type": row.type, "attempt": row.attempt, "reason": row.reason, "message": row.message}
            event["node"] = node
        elif told.what == "RunFinished":
            run |= {"reason": about.row.reason, "message": about.row.message}
        identity = f"{about.uid}/{told.what}/{told.key}/{attempt}/{told.phase}"
        event["id"] = hashlib.sha256(identity.encode()).hexdigest()[:32]
        return event

    # ---- delivering

    async def _work(self, place: Place) -> None:
        waiting = self._waiting[place]
        try:
            while waiting:
                key = waiting[0]
                await self._tell(_decode(self._rows[key]))
                await self._forget(key)
                waiting.popleft()
                del self._rows[key]
        finally:
            del self._waiting[place], self._tasks[place]
            self._full.discard(place)

    async def _tell(self, delivery: Delivery) -> None:
        problem = await self._deliver(delivery)
        if problem:
            self.dropped += 1
            self._complain(delivery.event, f"hook {delivery.hook.name} was not told of {delivery.event['event']}: {problem}")

    async def _forget(self, key: str) -> None:
        try:
            await self._journal.sent([key])
        except Exception as error:  # it is told once more after the next start, under the same id
            logger.warning("a delivery could not be forgotten", extra={"key": key, "error": str(error)})

    async def _deliver(self, delivery: Delivery) -> str:
        """Why it was given up; empty when it arrived."""
        hook, event, attempt = delivery.hook, delivery.event, 0
        sent = msgspec.json.encode(event if delivery.body is None else delivery.body)
        while True:
            attempt += 1
            try:
                url, headers = await self._place(hook, event)
                answer = await self._outgoing.request(
                    "POST", url, headers, sent, timeout=CALL_SECONDS, max_bytes=MAX_ANSWER_BYTES
                )
            except (ExpressionError, UnresolvedError) as error:
                return str(error)
            except ApiError as error:
                problem = error.message
            except OutgoingError as error:
                problem = error.message
                if error.reason in ("NotAllowed", "BadUrl"):
                    return problem
            else:
                if answer.status < 400:
                    return ""
                problem = f"it answered {answer.status}"
                if answer.status not in TRIED_AGAIN:
                    return problem
            logger.debug("hook did not take it", extra={"hook": hook.name, "error": problem})
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt - 1, 20))
            if self._clock.now().timestamp() + wait > delivery.since + GIVEN_UP_SECONDS:
                return f"{problem} ({attempt} attempts since this start)"
            await asyncio.sleep(wait)

    async def _place(self, hook: NotifyHook, event: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        template = compile_value({"url": hook.url, "headers": dict(hook.headers)}, NAMES)
        secrets = {}
        for name in secret_names(template.references):
            secret = await self._api.get(Secret, name, str(event["run"]["namespace"]))
            if secret is not None:
                secrets[name] = {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in secret.data.items()}
        values = {"run": event["run"], "event": event, "secrets": secret_values(template.references, secrets)}
        given = template.evaluate(values)
        headers = {name: str(value) for name, value in given["headers"].items()}
        return str(given["url"]), {"Content-Type": "application/json", DELIVERY_HEADER: str(event["id"]), **headers}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Delivery).decode


def _text(moment: Any) -> str:
    return str(moment.isoformat(timespec="milliseconds")).replace("+00:00", "Z")
