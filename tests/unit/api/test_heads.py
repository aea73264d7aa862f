"""Heads of requests, read once: only plain ones, and never anything else than httptools would say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_controller.api.heads import MAX_HEADS, Heads, read_head

HOST = b"Host: localhost\r\n"


def test_a_plain_request_is_read_with_its_path_its_query_and_where_its_body_lies() -> None:
    data = b"PUT /kv/plant/level?type=int HTTP/1.1\r\n" + HOST + b"User-Agent: a/1\r\nX-Odd: 7\r\nContent-Length: 3\r\n\r\n123"

    plain = Heads().read(data)

    assert plain is not None
    assert (plain.method, plain.raw_path, plain.query_string) == ("PUT", b"/kv/plant/level", b"type=int")
    assert (plain.head.host, plain.head.user_agent, plain.head.rest[b"x-odd"]) == (b"localhost", "a/1", b"7")
    assert (data[plain.body_start :], plain.end) == (b"123", len(data))


def test_the_same_lines_are_read_once_and_other_lines_are_others() -> None:
    heads = Heads()
    first = heads.read(b"GET /kv/a/b HTTP/1.1\r\n" + HOST + b"\r\n")
    again = heads.read(b"GET /kv/a/c HTTP/1.1\r\n" + HOST + b"\r\n")
    other = heads.read(b"GET /kv/a/c HTTP/1.1\r\n" + HOST + b"Authorization: Bearer plum_x\r\n\r\n")

    assert first is not None and again is not None and other is not None
    assert first.head is again.head and again.raw_path == b"/kv/a/c"
    assert other.head is not first.head and other.head.rest[b"authorization"] == b"Bearer plum_x"
    for number in range(5 * MAX_HEADS):
        assert heads.read(b"GET /kv/a/b HTTP/1.1\r\n" + HOST + b"X-N: %d\r\n\r\n" % number) is not None
    assert len(heads._known) <= MAX_HEADS


@pytest.mark.parametrize(
    "lines",
    [
        b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Expect: 100-continue\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\nContent-Length: 4\r\n", b"Content-Length: x\r\n",
        b"Content-Length: -1\r\n", b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"No colon\r\n", b"A\0: b\r\n",
        b"A : b\r\n", b" folded: x\r\n", b"A: b\n\nGET /kv/x/y HTTP/1.1\r\n",
    ],
)  # fmt: skip
def test_heads_that_need_the_protocol_are_left_to_it(lines: bytes) -> None:
    assert Heads().read(b"GET /kv/a/b HTTP/1.1\r\n" + HOST + lines + b"\r\n") is None


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n", b"GET /kv/a/b HTTP/1.0\r\n", b"HEAD /kv/a/b HTTP/1.1\r\n", b"GET /kv/a/b#c HTTP/1.1\r\n",
        b"GET http://x/kv/a/b HTTP/1.1\r\n", b"GET  /kv/a/b HTTP/1.1\r\n", b"GET /kv/a b HTTP/1.1\r\n",
        b"\r\nGET /kv/a/b HTTP/1.1\r\n",
        b"GET /kv/\xc3\xa4/b HTTP/1.1\r\n", b"get /kv/a/b HTTP/1.1\r\n", b"GET /kv/a/b HTTP/1.1\n",
    ],
)  # fmt: skip
def test_request_lines_that_are_not_plain_are_left_to_the_protocol(line: bytes) -> None:
    assert Heads().read(line + HOST + b"\r\n") is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([b"Host", b"content-length", b"Connection", b"X", b"\t", b"a b", b""]), st.binary(max_size=6))
    )
)
def test_lines_that_are_taken_mean_what_httptools_says(lines: list[tuple[bytes, bytes]]) -> None:
    """Whatever the bytes: taken lines have a body length, no other framing, and names in lower case."""
    head = read_head(b"".join(name + b":" + value + b"\r\n" for name, value in lines) + b"\r\n")
    if head is not None:
        assert head.body_length >= 0
        assert b"transfer-encoding" not in head.rest and all(name == name.lower() for name in head.rest)
        assert head.rest.get(b"connection", b"keep-alive").lower() == b"keep-alive"
