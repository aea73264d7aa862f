"""Notify hooks: requests that tell other programs how a run goes.

    Told(RunStarted | NodeStarted | NodeFinished | RunFinished) --hooks that want it--> POST, in order, tried again for half a
    minute

They tell of what is on disk already and hold nothing up. What waits is in memory and bounded: a hook that never answers loses
what comes after, and a controller that dies loses what waits. Each delivery has an id, the same for every attempt.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.errors import ApiError
from plum_client.events import EventRecorder
from plum_client.outgoing import OutgoingClient, OutgoingError
from plum_flow.expressions import ExpressionError, UnresolvedError, compile_value, secret_values
from plum_flow.expressions.secret_values import secret_names
from plum_flow.running.actor import Actor
from plum_flow.workflow.messages import Told
from plum_flow.workflow.rows import shown
from plum_schemas.core import Secret
from plum_schemas.workflow import NotifyHook
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.domain.webhooks import DELIVERY_HEADER

logger = logging.getLogger(__name__)

ATTEMPTS = 5
FIRST_WAIT, LONGEST_WAIT = 1.0, 10.0
"""Seconds between attempts: 1, 2, 4, 8."""
CALL_SECONDS = 10.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_WAITING = 1000
"""Deliveries of one hook of one run that wait."""
NAMES = frozenset({"run", "secrets", "event"})
TRIED_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class Hooks:
    """Delivers for all runs. Close it at the end."""

    def __init__(self, api: ApiClient, outgoing: OutgoingClient, clock: Clock, recorder: EventRecorder) -> None:
        self._api = api
        self._outgoing = outgoing
        self._clock = clock
        self._recorder = recorder
        self._waiting: dict[tuple[str, str], deque[dict[str, Any]]] = {}
        """By uid of the run and name of the hook."""
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.dropped = 0
        """Deliveries that were given up, or never begun because too many waited."""

    def tell(self, actor: Actor, told: Told) -> None:
        """Something happened in a run. Never waits."""
        for hook in actor.run.plan.spec.hooks:
            if told.what in hook.on:
                self._add(actor, hook, self._event(actor, told))

    async def close(self) -> None:
        """Give up what waits."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _add(self, actor: Actor, hook: NotifyHook, event: dict[str, Any]) -> None:
        place = (actor.run.uid, hook.name)
        waiting = self._waiting.setdefault(place, deque())
        if len(waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        waiting.append(event)
        if place not in self._tasks:
            reference = {
                "apiVersion": WorkflowRun.info.api_version,
                "kind": "WorkflowRun",
                "metadata": {"name": actor.key.name, "namespace": actor.key.namespace, "uid": actor.run.uid},
            }
            self._tasks[place] = asyncio.create_task(self._work(place, hook, reference), name=f"hook-{hook.name}")

    def _event(self, actor: Actor, told: Told) -> dict[str, Any]:
        run = {
            "name": actor.key.name,
            "namespace": actor.key.namespace,
            "uid": actor.run.uid,
            "workflow": actor.spec.workflow_ref,
            "phase": told.phase if told.what == "RunFinished" else "Running",
        }
        event: dict[str, Any] = {"event": told.what, "time": _text(self._clock.now()), "run": run}
        attempt = 0
        if told.key:
            node: dict[str, Any] = {"name": shown(told.key), "phase": told.phase}
            found = actor.run.find(told.key)
            row = found[0].rows.get(found[1]) if found is not None else None
            if row is not None:
                attempt = row.attempt
                node |= {"type": row.type, "attempt": row.attempt, "reason": row.reason, "message": row.message}
            event["node"] = node
        elif told.what == "RunFinished":
            run |= {"reason": actor.run.row.reason, "message": actor.run.row.message}
        identity = f"{actor.run.uid}/{told.what}/{told.key}/{attempt}/{told.phase}"
        event["id"] = hashlib.sha256(identity.encode()).hexdigest()[:32]
        return event

    # ---- delivering

    async def _work(self, place: tuple[str, str], hook: NotifyHook, reference: dict[str, Any]) -> None:
        waiting = self._waiting[place]
        try:
            while waiting:
                event = waiting.popleft()
                problem = await self._deliver(hook, event)
                if problem:
                    self.dropped += 1
                    text = f"hook {hook.name} was not told of {event['event']}: {problem}"
                    self._recorder.event(reference, "Warning", "HookFailed", text[:1000])
        finally:
            del self._waiting[place], self._tasks[place]

    async def _deliver(self, hook: NotifyHook, event: dict[str, Any]) -> str:
        """Why it was given up; empty when it arrived."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)))
            try:
                url, headers = await self._place(hook, event)
                answer = await self._outgoing.request(
                    "POST", url, headers, msgspec.json.encode(event), timeout=CALL_SECONDS, max_bytes=MAX_ANSWER_BYTES
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
        return f"{problem} ({ATTEMPTS} attempts)"

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


def _text(moment: Any) -> str:
    return str(moment.isoformat(timespec="milliseconds")).replace("+00:00", "Z")
