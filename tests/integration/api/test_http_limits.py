"""What one client may not do to the others: sizes, rates, times, foreign hosts and origins, and bytes that are no HTTP."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.server import RunningServer, parse_answer, running_server

NO_CONTROLLERS = {"PLUM_CONTROLLERS_ENABLED": "false"}
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


async def test_foreign_hosts_and_origins_are_refused_with_a_sentence(server: RunningServer) -> None:
    own = f"127.0.0.1:{server.port}"
    for host in ("evil.example", "localhost.evil.example", "10.0.0.7:80", "[2001:db8::1]", ""):
        answer = await server.raw(f"GET /version HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert (host, answer.status) == (host, 403)
        assert "use 127.0.0.1 or localhost" in answer.json()["message"]
    for host in (own, "localhost", "localhost:1", "[::1]:8080", "127.0.0.2", "plum.localhost"):
        answer = await server.raw(f"GET /version HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert (host, answer.status) == (host, 200)
    for origin, status in ((f"http://{own}", 200), ("https://evil.example", 403), ("null", 403), ("http://localhost:3000", 403)):
        answer = await server.get("/version", origin=origin)
        assert (origin, answer.status) == (origin, status)
        assert "access-control-allow-origin" not in answer.headers


async def test_a_name_can_be_allowed(tmp_path: Path) -> None:
    async with running_server(tmp_path, env={**NO_CONTROLLERS, "PLUM_ALLOWED_HOSTS": "plum.test, other"}) as server:
        answer = await server.raw(
            b"GET /version HTTP/1.1\r\nHost: plum.test:80\r\nOrigin: http://plum.test\r\nConnection: close\r\n\r\n"
        )
        assert answer.status == 200


async def test_bodies_over_the_limit_are_413_announced_or_not(tmp_path: Path) -> None:
    async with running_server(tmp_path, env={**NO_CONTROLLERS, "PLUM_BODY_LIMIT_BYTES": "100000"}) as server:
        head = f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        announced = await server.raw(f"{head}Content-Length: 100001\r\n\r\n".encode())
        chunks = b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(8))
        chunked = await server.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks)
        alive = await server.get("/healthz")

    for answer in (announced, chunked):
        assert (answer.status, answer.json()["reason"]) == (413, "RequestEntityTooLarge")
    assert alive.status == 200


async def test_heads_over_the_limit_are_431(tmp_path: Path) -> None:
    async with running_server(tmp_path, env={**NO_CONTROLLERS, "PLUM_HEADER_LIMIT_BYTES": "8192"}) as server:
        long_line = await server.raw(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        many = await server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 2000 + b"\r\n")

    assert [long_line.status, many.status] == [431, 431]


async def test_clients_that_send_too_slowly_are_dropped_with_408(tmp_path: Path) -> None:
    async with running_server(tmp_path, env={**NO_CONTROLLERS, "PLUM_READ_TIMEOUT_SECONDS": "0.5"}) as server:
        silent_reader, silent_writer = await asyncio.open_connection(server.host, server.port)
        head = await server.raw(b"GET / HTTP/1.1\r\nHost: loc")
        body = await server.raw(f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc".encode())
        silent = await asyncio.wait_for(silent_reader.read(), 20)
        silent_writer.close()
        async with server.watch(f"{CONFIGMAPS}?watch=1&timeoutSeconds=3") as events:
            ended = await asyncio.wait_for(events.get(), 20)

    assert (head.status, body.status, silent) == (408, 408, b"")
    assert ended is None


async def test_a_client_over_its_rate_gets_429_and_recovers(tmp_path: Path) -> None:
    async with running_server(tmp_path, env={**NO_CONTROLLERS, "PLUM_PEER_RATE": "5"}) as server:
        answers = [await server.get("/version") for _ in range(20)]
        refused = [answer for answer in answers if answer.status == 429]
        assert 5 <= len(refused) <= 15
        assert refused[0].headers["retry-after"] == "1"
        assert refused[0].json()["details"] == {"retryAfterSeconds": 1}
        async with asyncio.timeout(10):
            while (await server.get("/version")).status != 200:
                await asyncio.sleep(0.1)


async def test_writes_over_the_number_in_flight_get_429(tmp_path: Path) -> None:
    async with running_server(tmp_path, env={**NO_CONTROLLERS, "PLUM_WRITES_IN_FLIGHT": "2"}) as server:
        held = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n".encode())
            held.append((reader, writer))
        async with asyncio.timeout(10):
            while (
                refused := await server.request("POST", CONFIGMAPS, {"metadata": {"generateName": "in-flight-"}})
            ).status == 201:
                await asyncio.sleep(0.02)
        read = await server.get(CONFIGMAPS)
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(10):
            while (await server.request("POST", CONFIGMAPS, {"metadata": {"generateName": "in-flight-"}})).status != 201:
                await asyncio.sleep(0.02)

    assert (refused.status, refused.json()["reason"], read.status) == (429, "TooManyRequests", 200)


async def test_connections_over_the_limit_get_503(tmp_path: Path) -> None:
    async with running_server(tmp_path, env={**NO_CONTROLLERS, "PLUM_CONNECTION_LIMIT": "3"}) as server:
        held = [await asyncio.open_connection(server.host, server.port) for _ in range(3)]
        answer = await server.get("/version")
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(10):
            while (await server.get("/version")).status != 200:
                await asyncio.sleep(0.02)

    assert answer.status == 503


PATHS = st.sampled_from(
    [
        "/",
        "/api",
        "/apis",
        "/apis/plum.dev/v1/namespaces/default/deployments",
        "/api/v1/namespaces/default/configmaps/x",
        "/openapi/v3",
        "/apis/plum.dev/v1/namespaces/default/deployments/x/status",
        "/api/v1/namespaces",
        "/plan",
        "/metrics",
        "/apis/plum.dev/v1/namespaces/default/instances/x/log",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    ]
)
PARAMETERS = st.sampled_from(
    [
        "watch",
        "limit",
        "continue",
        "labelSelector",
        "fieldSelector",
        "resourceVersion",
        "resourceVersionMatch",
        "timeoutSeconds",
        "dryRun",
        "fieldManager",
        "fieldValidation",
        "force",
        "at",
        "includeObject",
        "propagationPolicy",
        "gracePeriodSeconds",
        "tailLines",
        "hash",
    ]
)
VALUES = st.one_of(
    st.text(max_size=12), st.sampled_from(["true", "0", "1", "-1", "99999999999999999999", "All", "a=b", "Exact", "%", "a in (b"])
)
HEADERS = st.sampled_from(
    [
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/merge-patch+json",
        "text/plain",
        "*/*;q=x",
        "application/json-patch+json",
        "application/apply-patch+yaml",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        ",;=,",
        "",
    ]
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["apiVersion", "kind", "metadata", "spec", "name", "labels", "manifests", "op", "path", "x"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=40).map(lambda raw: b"k8s\x00" + raw),
)


async def test_no_request_makes_a_server_error(server: RunningServer) -> None:
    """Whatever the path, the parameters, the headers and the body: refused or answered, never 500."""
    loop = asyncio.get_running_loop()
    bad: list[str] = []

    async def ask(data: bytes) -> None:
        answer = await server.raw(data)
        if answer.status in (500, 502, 504) and b"Too large resource version" not in answer.body:
            bad.append(f"{answer.status} {answer.body[:300]!r} for {data!r}")

    @settings(
        max_examples=300,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        database=None,
    )
    @given(
        st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]), PATHS, st.text(max_size=5),
        st.dictionaries(PARAMETERS, VALUES, max_size=3), HEADERS, HEADERS, BODIES,
    )  # fmt: skip
    def try_one(method: str, path: str, tail: str, query: dict[str, str], accept: str, type_: str, body: bytes) -> None:
        from urllib.parse import quote, urlencode

        if query.get("watch", "0") not in ("0", "-1"):
            query["timeoutSeconds"] = "1"
        target = f"{path}{'/' + quote(tail, safe='') if tail else ''}?{urlencode(query)}"
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: {accept}\r\nContent-Type: {type_}\r\n"
        )
        data = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        asyncio.run_coroutine_threadsafe(ask(data), loop).result(30)
        assert not bad, bad[0]

    await asyncio.to_thread(try_one)
    assert (await server.get("/healthz")).status == 200


async def test_bytes_that_are_no_http_do_no_harm(server: RunningServer) -> None:
    chance = random.Random(4711)
    seeds = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode(),
        f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
        + b"2\r\n{}\r\n0\r\n\r\n",
    ]
    for _ in range(150):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(bytes(data))
        writer.write_eof()
        try:
            async with asyncio.timeout(1.0):
                received = await reader.read(-1)
        except (TimeoutError, ConnectionError):
            received = b""  # the server may wait for the rest of a request, until its read timeout
        finally:
            writer.close()
        if received:
            assert parse_answer(received).status != 500, bytes(data)
    assert (await server.get("/healthz")).status == 200
