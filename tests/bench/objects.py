"""Writes and reads of 1 KB objects of a user-defined kind over HTTP, 16 connections, against the whole controller."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.load import Outcome, request_bytes, run_load
from tests.bench.programs import Program, controller, cpu_seconds
from tests.bench.table import Row

OBJECTS = 10_000
PREFIX = "/apis/bench.plum.dev/v1/namespaces/default/machines"
IDLE_SECONDS = 10.0
"""How long the idle controller is watched; long enough to see its periodic work."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer", "minimum": 0, "default": 1},
                "state": {"type": "string", "enum": ["Running", "Stopped"], "default": "Running"},
                "image": {"type": "string", "maxLength": 200},
                "note": {"type": "string"},
                "args": {"type": "array", "items": {"type": "string"}},
                "selector": {"type": "object", "additionalProperties": {"type": "string"}},
                "env": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
                    },
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                },
            },
            "required": ["image"],
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "machines.bench.plum.dev"},
    "spec": {
        "group": "bench.plum.dev",
        "scope": "Namespaced",
        "names": {"plural": "machines", "singular": "machine", "kind": "Machine"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}, "subresources": {"status": {}}}
        ],
    },
}


def machine(index: int, note: str = "first") -> dict[str, Any]:
    """An object of about 1 KB as stored, its field owners included."""
    return {
        "apiVersion": "bench.plum.dev/v1",
        "kind": "Machine",
        "metadata": {"name": name(index), "namespace": "default", "labels": {"app": f"app-{index % 100}", "site": "pier3"}},
        "spec": {
            "replicas": 3,
            "image": "registry.example/plant/controller:1.4.2",
            "note": note,
            "args": ["--port", "8080", "--level", "info"],
            "selector": {"app": f"app-{index % 100}"},
            "env": [{"name": "MODE", "value": "demo"}, {"name": "LEVEL", "value": "info"}],
        },
    }


def name(index: int) -> str:
    return f"machine-{index:05}"


def creates(count: int) -> Iterator[bytes]:
    """One POST per object."""
    return iter([request_bytes("POST", PREFIX, json.dumps(machine(index)).encode()) for index in range(count)])


def updates(count: int, revisions: dict[str, str]) -> Iterator[bytes]:
    """One PUT per object, each with the revision it was read at."""
    requests = []
    for index in range(count):
        body = machine(index, "second")
        body["metadata"]["resourceVersion"] = revisions[name(index)]
        requests.append(request_bytes("PUT", f"{PREFIX}/{name(index)}", json.dumps(body).encode()))
    return iter(requests)


def merge_patches(count: int) -> Iterator[bytes]:
    """One merge patch of one field per object."""
    body = json.dumps({"spec": {"note": "third"}}).encode()
    return iter(
        [request_bytes("PATCH", f"{PREFIX}/{name(index)}", body, "application/merge-patch+json") for index in range(count)]
    )


def applies(count: int) -> Iterator[bytes]:
    """One server-side apply per object, of the whole object, by a manager of its own."""
    return iter(
        [
            request_bytes(
                "PATCH",
                f"{PREFIX}/{name(index)}?fieldManager=bench&force=true",
                json.dumps(machine(index, "fourth")).encode(),
                "application/apply-patch+yaml",
            )
            for index in range(count)
        ]
    )


def gets(count: int) -> Iterator[bytes]:
    """GETs spread over all objects."""
    return iter([request_bytes("GET", f"{PREFIX}/{name(index % OBJECTS)}") for index in range(count)])


def call(program: Program, method: str, path: str, body: object = None) -> bytes:
    """One plain request, for setting a measurement up."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(program.url + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
    return content


async def define_machines(program: Program) -> None:
    """Create the user-defined kind that the measurements use."""
    await asyncio.to_thread(call, program, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION)


async def load(program: Program, requests: Iterator[bytes], connections: int = 16) -> Outcome:
    """One load against a running controller."""
    return await run_load(program.host, program.port, requests, connections)


async def measure(data_dir: Path) -> list[Row]:
    """Every row about objects, on one controller that holds 10,000 of them."""
    async with controller(data_dir) as program:
        rows = [Row("start of the controller to ready", program.start_seconds, "s", 1.5, more_is_better=False)]
        await define_machines(program)
        created = await load(program, creates(OBJECTS))
        rows.append(Row("create of a 1 KB object, 16 connections", created.rate, "/s", 6000, reference="675 (2,182)"))
        items = json.loads(await asyncio.to_thread(call, program, "GET", PREFIX))["items"]
        revisions = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}
        size = sum(len(json.dumps(item, separators=(",", ":"))) for item in items) / len(items)
        del items
        rows.append(Row("size of the object as stored", size, "bytes", 800))
        rows.append(
            Row(
                "update with a revision check",
                (await load(program, updates(OBJECTS, revisions))).rate,
                "/s",
                6000,
                reference="497 (1,497)",
            )
        )
        rows.append(Row("merge patch", (await load(program, merge_patches(OBJECTS))).rate, "/s", 4500, reference="577 (1,959)"))
        rows.append(Row("server-side apply", (await load(program, applies(OBJECTS))).rate, "/s", 2000))
        rows.append(
            Row("GET, 16 connections", (await load(program, gets(3 * OBJECTS))).rate, "/s", 20_000, reference="2,681 (5,360)")
        )
        rows.append(
            Row(
                "LIST of 10,000 objects, best of 5", min([await _list_once(program) for _ in range(5)]), "ms", 40, False, "525 ms"
            )
        )
        await asyncio.sleep(3)
        rows.append(Row("controller with 10,000 objects: resident", program.resident_mb, "MiB", 150, False, "812 MB and 293 MB"))
        before = cpu_seconds(program.process.pid)
        await asyncio.sleep(IDLE_SECONDS)
        idle = (cpu_seconds(program.process.pid) - before) / IDLE_SECONDS * 100
        rows.append(Row("controller with 10,000 objects: idle CPU", idle, "% of a core", 1, False))
        return rows


async def _list_once(program: Program) -> float:
    """Milliseconds from the request to the last byte of the answer."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(program.host, program.port, limit=1 << 24)
    writer.write(request_bytes("GET", PREFIX))
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r")[0])
    body = await reader.readexactly(length)
    seconds = time.perf_counter() - started
    writer.close()
    if body.count(b'"name":"machine-') < OBJECTS:
        raise RuntimeError(f"the list is not whole: {body[:300]!r}")
    return seconds * 1000
