"""`/v1/kv`: the routes and forms of the system before, over the same entries."""

from __future__ import annotations

import base64
import time

import pytest

from tests.support.server import HttpAnswer, RunningServer


async def call(server: RunningServer, method: str, path: str, body: object = None) -> HttpAnswer:
    return await server.request(method, f"/v1/kv{path}", body)


async def test_a_value_is_put_read_listed_and_deleted(server: RunningServer) -> None:
    put = await call(server, "PUT", "/kv-demo/task.progress", {"value": "40", "type": "int"})

    assert put.status == 200
    assert put.json() == {"namespace": "kv-demo", "key": "task.progress", "value": "40", "type": "int"}
    got = (await call(server, "GET", "/kv-demo/task.progress")).json()
    assert abs(got.pop("updatedAt") - time.time()) < 30
    assert got == put.json()
    assert (await server.get("/kv/kv-demo/task.progress")).body == b"40"
    assert "kv-demo" in (await call(server, "GET", "")).json()["namespaces"]
    assert (await call(server, "GET", "/kv-demo/keys")).json() == {"namespace": "kv-demo", "keys": ["task.progress"]}
    for _ in range(2):
        assert (await call(server, "DELETE", "/kv-demo/task.progress")).status == 204
    gone = await call(server, "GET", "/kv-demo/task.progress")
    assert (gone.status, gone.body) == (404, b"not found\n")


async def test_a_batch_takes_every_type_and_counts_bytes_in_lists(server: RunningServer) -> None:
    items = [
        {"key": "a", "value": "x"},
        {"key": "blob", "value": "AAEC", "type": "bytes"},
        {"key": "dir/on", "value": "true", "type": "bool"},
        {"key": "half", "value": "0.5", "type": "double"},
        {"key": "json", "value": '{"a":1}', "type": "json"},
    ]

    done = await call(server, "POST", "/batched/batch", {"items": items})

    assert done.json() == {"namespace": "batched", "count": 5}
    listed = {item["key"]: (item["value"], item["type"]) for item in (await call(server, "GET", "/batched")).json()}
    assert listed == {
        "a": ("x", "string"),
        "blob": ("3", "bytes"),
        "dir/on": ("true", "bool"),
        "half": ("0.5", "double"),
        "json": ('{"a":1}', "json"),
    }
    assert (await call(server, "GET", "/batched/blob")).json()["value"] == "AAEC"
    assert (await server.get("/kv/batched/blob")).body == base64.b64decode("AAEC")
    assert [item["key"] for item in (await call(server, "GET", "/batched?prefix=dir/")).json()] == ["dir/on"]
    page = await call(server, "GET", "/batched?limit=2")
    assert len(page.json()) == 2 and 'rel="next"' in page.headers["link"]


async def test_the_name_of_an_application_may_be_any_text(server: RunningServer) -> None:
    await call(server, "PUT", "/Sonar_App%201/state", {"value": "on"})
    await call(server, "PUT", "/sonar-app-1/state", {"value": "other"})

    assert (await call(server, "GET", "/Sonar_App%201/state")).json()["namespace"] == "Sonar_App 1"
    assert (await call(server, "GET", "/Sonar_App%201/state")).json()["value"] == "on"
    assert (await call(server, "GET", "/sonar-app-1/state")).json()["value"] == "other"
    assert {"Sonar_App 1", "sonar-app-1"} <= set((await call(server, "GET", "")).json()["namespaces"])


@pytest.mark.parametrize(
    ("method", "path", "body", "part"),
    [
        ("PUT", "/x/k", {"value": "1", "type": "integer"}, "invalid type 'integer'"),
        ("PUT", "/x/k", {"value": "one", "type": "int"}, "'one' is not of type int"),
        ("PUT", "/x/k", {"value": "***", "type": "bytes"}, "not base64"),
        ("PUT", "/x/k", {"value": 1}, "bad json"),
        ("POST", "/x/batch", {"items": [{"value": "1"}]}, "items[0] has no key"),
        (
            "POST",
            "/x/batch",
            {"items": [{"key": "a", "value": "1"}, {"key": "b", "value": "x", "type": "int"}]},
            "not of type int",
        ),
    ],
)
async def test_refusals_are_one_line_and_change_nothing(
    server: RunningServer, method: str, path: str, body: object, part: str
) -> None:
    answer = await call(server, method, path, body)

    assert answer.status == 400
    assert part in answer.body.decode() and answer.body.count(b"\n") == 1
    assert (await call(server, "GET", "/x")).json() == []


async def test_an_empty_namespace_lists_nothing_and_other_methods_are_refused(server: RunningServer) -> None:
    assert (await call(server, "GET", "/nothing")).json() == []
    assert (await call(server, "GET", "/nothing/keys")).json() == {"namespace": "nothing", "keys": []}
    assert (await call(server, "PATCH", "/x/k", {"value": "1"})).status == 405
    assert (await call(server, "DELETE", "/x")).status == 405
