"""Stages of a run under a main-control application: it feeds each task its input, hears of its begin and gets its result.

    run with taskPayload {taskId, stageControlBase}
      task node starts --> GET BASE/api/task/ID/stage/STAGE/input -> payload, or 409: skip     POST .../begin {}
      task node ends ----> POST .../result {..., status, message}, kept until it is taken

STAGE is the name of the task definition. Without `stageControlBase` the base is `STAGE_CONTROL_BASE`. What may be called is what
`PLUM_OUTGOING_ALLOW` says. The result is stored with the end of the node, so none is lost; the others are asked again by a start
that was interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from plum_client.outgoing import OutgoingAnswer, OutgoingClient, OutgoingError
from plum_flow.calls import TaskFailedError
from plum_flow.running.actor import Actor
from plum_flow.workflow import phases
from plum_flow.workflow.messages import Changes
from plum_flow.workflow.rows import NodeRow

CALL_SECONDS = 10.0
ATTEMPTS = 6
FIRST_WAIT = 0.5
"""Seconds before the second attempt; doubles each time: half a minute in all."""
MAX_INPUT_BYTES = 1 << 20
SKIP = 409
_ENDED = {phases.SUCCEEDED: "success", phases.FAILED: "error", phases.CANCELED: "error"}


class StageControl:
    """Speaks to main-control applications, for all runs."""

    def __init__(self, outgoing: OutgoingClient, base: str) -> None:
        """`base`: for runs that name none; empty: such runs have no main control."""
        self._outgoing = outgoing
        self._base = base
        self._stages: dict[tuple[str, str], str] = {}
        """Addresses of stages under way, by uid of the run and key of the node."""

    def applies(self, actor: Actor) -> bool:
        """Whether the run has a main control."""
        return bool(actor.spec.task_payload.get("taskId") and self._base_of(actor))

    def _base_of(self, actor: Actor) -> str:
        return str(actor.spec.task_payload.get("stageControlBase") or self._base).rstrip("/")

    def know(self, actor: Actor, key: str, stage: str) -> str:
        """The address of a stage; its result goes there."""
        task = quote(str(actor.spec.task_payload["taskId"]), safe="")
        url = f"{self._base_of(actor)}/api/task/{task}/stage/{quote(stage, safe='')}"
        self._stages[actor.run.uid, key] = url
        return url

    async def begin(self, actor: Actor, key: str, stage: str, payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The payload with the input of the stage; None: it is to be skipped. Raises `TaskFailedError`."""
        url = self.know(actor, key, stage)
        answer = await self._ask("GET", f"{url}/input", b"")
        if answer.status == SKIP:
            del self._stages[actor.run.uid, key]
            return None
        try:
            given = msgspec.json.decode(answer.body) if answer.body.strip() else {}
        except msgspec.DecodeError as error:
            raise TaskFailedError(f"the input of stage {stage} is no JSON: {error}", "StageInput") from error
        await self._ask("POST", f"{url}/begin", b"{}")
        return {**payload, **given} if isinstance(given, dict) else {**payload, "input": given}

    def results(self, actor: Actor, changes: Changes) -> list[tuple[str, dict[str, Any]]]:
        """Addresses and bodies of what is to be told of a step."""
        found = []
        for key, row in changes.rows.items():
            if isinstance(row, NodeRow) and row.phase in _ENDED and (url := self._stages.pop((actor.run.uid, key), None)):
                output = row.output if isinstance(row.output, dict) else {} if row.output is None else {"result": row.output}
                body = {**output, "status": _ENDED[row.phase], "message": row.message}
                found.append((f"{url}/result", body))
        return found

    async def _ask(self, method: str, url: str, body: bytes) -> OutgoingAnswer:
        """An answer below 400, or 409. Raises `TaskFailedError` when there is none after several attempts."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(FIRST_WAIT * 2 ** (attempt - 1))
            try:
                headers = {"Content-Type": "application/json"} if body else {}
                answer = await self._outgoing.request(method, url, headers, body, timeout=CALL_SECONDS, max_bytes=MAX_INPUT_BYTES)
            except OutgoingError as error:
                problem = error.message
                if error.reason in ("NotAllowed", "BadUrl"):
                    break
                continue
            if answer.status < 400 or answer.status == SKIP:
                return answer
            problem = f"it answered {answer.status}"
            if answer.status < 500 and answer.status not in (408, 425, 429):
                break
        raise TaskFailedError(f"main control, {method} {url}: {problem}", "StageControl")
