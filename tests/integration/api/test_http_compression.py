"""Compressed bodies, both ways, and what a compressed body may not do."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pytest

from tests.support.programs import resident_mb
from tests.support.server import HttpAnswer, RunningServer, running_server

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


async def post(server: RunningServer, body: bytes, encoding: str = "gzip") -> HttpAnswer:
    return await server.request("POST", CONFIGMAPS, body, headers={"Content-Encoding": encoding})


async def test_a_compressed_body_is_read_like_any_other(server: RunningServer) -> None:
    body = json.dumps({"metadata": {"name": "packed"}, "data": {"a": "x" * 10_000}}).encode()

    answer = await post(server, gzip.compress(body))

    assert answer.status == 201, answer.body
    assert answer.json()["data"]["a"] == "x" * 10_000
    assert (await post(server, body, "identity")).status == 409, "the same, not compressed"


@pytest.mark.parametrize(
    ("body", "encoding", "status", "words"),
    [
        (b"{}", "gzip", 400, "is not"),
        (gzip.compress(b'{"metadata":{"name":"cut"}}')[:-4], "gzip", 400, "cut off"),
        (gzip.compress(b'{"metadata":{"name":"more"}}') + b"{}", "gzip", 400, "behind its end"),
        (zlib.compress(b"{}"), "deflate", 415, "use gzip"),
        (b"{}", "br", 415, "use gzip"),
        (b"", "gzip", 400, "cut off"),
    ],
    ids=["plain", "cut", "more", "deflate", "br", "empty"],
)
async def test_what_is_no_gzip_is_refused_in_words(
    server: RunningServer, body: bytes, encoding: str, status: int, words: str
) -> None:
    answer = await post(server, body, encoding)

    assert (answer.status, words in answer.json()["message"]) == (status, True), answer.body


async def test_a_bomb_is_refused_and_costs_no_memory(tmp_path: Path) -> None:
    env = {"PLUM_CONTROLLERS_ENABLED": "false", "PLUM_BODY_LIMIT_BYTES": "1000000"}
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(500)) + packer.flush()
    assert len(bomb) < 1_000_000
    async with running_server(tmp_path, env=env) as server:
        assert (await post(server, gzip.compress(b"{}"))).status == 422
        before = resident_mb(server.process.pid)

        answers = [await post(server, bomb) for _ in range(5)]

        assert {answer.status for answer in answers} == {413}
        assert resident_mb(server.process.pid) - before < 20, "half a gigabyte each"


async def test_answers_are_compressed_from_where_it_pays(server: RunningServer) -> None:
    for number in range(4):
        body = {"metadata": {"name": f"answers-{number}"}, "data": {"a": "y" * 2_000}}
        assert (await server.request("POST", CONFIGMAPS, body)).status == 201
    plain = await server.get(CONFIGMAPS)
    local = await server.get(CONFIGMAPS, accept_encoding="gzip")
    remote = await server.get(CONFIGMAPS, accept_encoding="gzip", save_data="on")
    careless = await server.get(CONFIGMAPS, save_data="on")
    short = await server.get(f"{CONFIGMAPS}?limit=1&labelSelector=none%3Dx", accept_encoding="gzip", save_data="on")

    assert "content-encoding" not in local.headers, "beside the controller, work costs more than bytes"
    assert remote.headers["content-encoding"] == "gzip"
    assert len(remote.body) * 5 < len(plain.body)
    assert json.loads(gzip.decompress(remote.body))["items"] == plain.json()["items"]
    assert "content-encoding" not in careless.headers
    assert "content-encoding" not in short.headers
