"""The ceiling: the least that a durable object server in Python can do, and what it reaches on this machine.

    POST /machines -> Starlette -> decode -> JSON schema -> queue -> writer thread: one transaction per batch, flushed -> 201
    GET /machines/NAME -> Starlette -> the stored bytes

No defaults, no field owners, no history, no watches, no limits. The goals were set where it reached 8,700 creates and
29,000 GETs per second; a whole API should keep more than half of it.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.bench.objects import SCHEMA

_decode = msgspec.json.Decoder().decode
_is_valid = jsonschema_rs.validator_for(SCHEMA).is_valid

Waiting = tuple[str, bytes, asyncio.Future[int], asyncio.AbstractEventLoop]


class Objects:
    """Objects in memory and in a file; `put` returns when they are on disk."""

    def __init__(self, path: Path) -> None:
        self.values: dict[str, bytes] = {}
        self._waiting: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self._path = path
        threading.Thread(target=self._write, daemon=True).start()

    async def put(self, name: str, value: bytes) -> int:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        self._waiting.put((name, value, done, loop))
        revision = await done
        self.values[name] = value
        return revision

    def _write(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE objects (revision INTEGER PRIMARY KEY, name TEXT UNIQUE, value BLOB)")
        revision = 0
        while True:
            batch = [self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get())
            first = revision + 1
            revision += len(batch)
            database.execute("BEGIN IMMEDIATE")
            rows = [(first + number, name, value) for number, (name, value, _, _) in enumerate(batch)]
            database.executemany("INSERT INTO objects VALUES (?, ?, ?)", rows)
            database.execute("COMMIT")
            batch[0][3].call_soon_threadsafe(self._answer, batch, first)

    @staticmethod
    def _answer(batch: list[Waiting], first: int) -> None:
        for number, (_, _, done, _) in enumerate(batch):
            done.set_result(first + number)


def application(path: Path) -> Starlette:
    """The server, with its objects in a new file."""
    objects = Objects(path)

    async def create(request: Request) -> Response:
        body = await request.body()
        value: Any = _decode(body)
        if not _is_valid(value):
            return Response(status_code=422)
        await objects.put(value["metadata"]["name"], body)
        return Response(body, 201, media_type="application/json")

    async def get(request: Request) -> Response:
        return Response(objects.values[request.path_params["name"]], media_type="application/json")

    return Starlette(routes=[Route("/machines", create, methods=["POST"]), Route("/machines/{name}", get)])
