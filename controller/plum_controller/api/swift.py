"""The short way of a request: no ASGI messages, and no task where nothing has to be waited for but the disk.

    Protocol --Plain, body--> Swift.begin -- read out of memory ------------------------> tell(answer), at once
                                          -- put of an entry --> store --callback-------> tell(answer), when it is on disk
                                          -- any other write --> a task, Api.answer ----> tell(answer)
                                          -- stream, watch, list: False, it is the long way's

It passes the same entrance and gives the same answers as the long way (`asgi.py`); only what lies between is left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from plum_controller.api.access import STREAMED
from plum_controller.api.encodings import compressed, inflated, wants_compressed
from plum_controller.api.entrance import Entrance
from plum_controller.api.heads import Head, Plain
from plum_controller.api.identity import Identity
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.resources.errors import ApiStatusError
from plum_controller.settings import Settings
from plum_controller.store.errors import PreconditionError

HOT = (b"/kv/", b"/api")
"""What the paths begin with that are answered here."""
_STREAMED = frozenset(name.encode() for name in STREAMED)

Tell = Callable[[Answer], None]
Tasks = set["asyncio.Task[Any]"]


class Swift:
    """Answers requests that came as a whole."""

    def __init__(self, entrance: Entrance, settings: Settings) -> None:
        self._entrance = entrance
        self._api = entrance.api
        self._body_limit = settings.body_limit_bytes

    def enter(self, method: str) -> int:
        """Count a request in whose body is still on its way; -1 when there are too many."""
        try:
            return self._entrance.in_flight.enter(method)
        except ApiStatusError:  # the long way will say so
            return -1

    def leave(self, place: int) -> None:
        self._entrance.in_flight.leave(place)

    def answer_now(self, raw_path: bytes, head: Head, peer: str, shown: Identity | None) -> Answer | None:
        """The answer to a read that needs no waiting; None when the long way has to be taken. Never raises."""
        started = time.perf_counter()
        request = None
        try:
            request = self._entrance.read("GET", raw_path, b"", head, peer, secure=shown is not None)
            self._entrance.judge(request, head, shown)
            routes = self._api.kv if request.path[0] == "kv" else self._api.objects
            answer = routes.answer_now(request)
            if answer is None or wants_compressed(head.rest, len(answer.body)):
                return None
        except Exception as error:
            answer = self._entrance.refusal(error, "GET", raw_path.decode("ascii", "replace"))
            self._entrance.note(request, answer, error)
        self._api.metrics.observe("GET", answer.status, time.perf_counter() - started)
        return answer

    def begin(self, plain: Plain, body: bytes, peer: str, shown: Identity | None, place: int, tasks: Tasks, tell: Tell) -> bool:
        """Answer a request through `tell`, at once or later. False: it has to take the long way, and nothing has happened.

        `place` is one that `enter` gave, or -1. `tasks` holds what still goes on.
        """
        method, raw_path, query_string, head, _, _ = plain
        if method == "GET":
            answer = None if query_string or body else self.answer_now(raw_path, head, peer, shown)
            if answer is None:
                return False
            tell(answer)
            return True
        if len(body) > self._body_limit or raw_path[raw_path.rfind(b"/") + 1 :] in _STREAMED:
            return False
        started = time.perf_counter()
        request = None
        try:
            request = self._entrance.read(method, raw_path, query_string, head, peer, secure=shown is not None)
            self._entrance.judge(request, head, shown)
            if place < 0:
                place = self._entrance.in_flight.enter(method)
            request.body = inflated(body, head.rest.get(b"content-encoding"), self._body_limit)
            ended = partial(self._put_ended, request, started, place, tasks, tell)
            if method == "PUT" and request.path[0] == "kv" and self._api.kv.begin(request, ended):
                return True
        except Exception as error:
            self._finish(request or ApiRequest(method, [""]), started, place, tell, error)
            return True
        self._spawn(request, started, place, tasks, tell)
        return True

    def _spawn(self, request: ApiRequest, started: float, place: int, tasks: Tasks, tell: Tell) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(request, started, place, tell))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _answer(self, request: ApiRequest, started: float, place: int, tell: Tell) -> None:
        result: Answer | Exception
        try:
            answer = await self._api.answer(request)
            if not isinstance(answer, Answer):
                raise TypeError(f"{request.method} is answered by a stream")
            result = await compressed(answer) if wants_compressed(request.headers, len(answer.body)) else answer
        except Exception as error:
            result = error
        except BaseException:
            self.leave(place)
            raise
        self._finish(request, started, place, tell, result)

    def _put_ended(
        self, request: ApiRequest, started: float, place: int, tasks: Tasks, tell: Tell, result: Answer | Exception
    ) -> None:
        if isinstance(result, PreconditionError):  # somebody was faster: once more, and this time it may take longer
            self._spawn(request, started, place, tasks, tell)
        else:
            self._finish(request, started, place, tell, result)

    def _finish(self, request: ApiRequest, started: float, place: int, tell: Tell, result: Answer | Exception) -> None:
        if place >= 0:
            self._entrance.in_flight.leave(place)
        if isinstance(result, Answer):
            answer, error = result, None
        else:
            answer, error = self._entrance.refusal(result, request.method, "/" + "/".join(request.path)), result
        self._entrance.note(request if request.raw_path else None, answer, error)
        self._api.metrics.observe(request.method, answer.status, time.perf_counter() - started)
        tell(answer)
