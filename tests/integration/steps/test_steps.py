"""The step types against real servers: HTTP, a language model's interface, MCP, a mail server, SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plum_client.outgoing import OutgoingClient
from plum_controller.domain.webhooks import verify
from plum_controller.tasks.steps.runners import Around, runners
from plum_controller.workflows.steps import Step
from plum_flow.calls import TaskFailedError

from tests.support import postgres
from tests.support.http_site import Asked, Reply, http_site
from tests.support.mail_server import mail_server


@pytest.fixture
def around(tmp_path: Path) -> Around:
    api: Any = None  # these steps ask nothing of it
    return Around(api, OutgoingClient("*"), tmp_path / "databases")


async def run(around: Around, type: str, payload: dict[str, Any] | None = None, **config: Any) -> Any:
    step = Step(type, config, payload or {}, "default", "run-1", "uid-1", "node", 1, "uid-1/node", None)
    return await runners(around)[type].run(step)


async def failure(around: Around, type: str, payload: dict[str, Any] | None = None, **config: Any) -> TaskFailedError:
    with pytest.raises(TaskFailedError) as caught:
        await run(around, type, payload, **config)
    return caught.value


# ---- http


async def test_http_sends_what_it_is_told_and_gives_back_what_comes(around: Around) -> None:
    async with http_site(lambda asked: Reply({"n": 3}, headers={"X-A": "b"})) as site:
        output = await run(
            around, "http", {"zone": 4}, method="post", url=f"{site.url}/a?x=1", query={"y": [2, 3]}, headers={"X-Key": "k"}
        )

    asked = site.asked[0]
    assert (asked.method, asked.path, asked.json()) == ("POST", "/a?x=1&y=2&y=3", {"zone": 4})
    assert (asked.headers["x-key"], asked.headers["idempotency-key"]) == ("k", "uid-1/node")
    assert (output["status"], output["body"], output["headers"]["x-a"]) == (200, {"n": 3}, "b")


async def test_addresses_may_hold_any_letters_and_headers_may_not(around: Around) -> None:
    async with http_site(lambda asked: Reply({"n": 3}, headers={"X-A": "b"})) as site:
        await run(around, "http", url=f"{site.url}/港口/a%20b?城=上海&x=%E4")
        error = await failure(around, "http", url=site.url, headers={"X-City": "上海"})

    assert [asked.path for asked in site.asked] == ["/%E6%B8%AF%E5%8F%A3/a%20b?%E5%9F%8E=%E4%B8%8A%E6%B5%B7&x=%E4"]
    assert (error.reason, error.retryable) == ("BadUrl", False)
    assert "the header 'X-City' holds characters that headers cannot carry" in error.message


async def test_http_fails_for_an_answer_that_is_not_expected(around: Around) -> None:
    async with http_site(lambda asked: Reply(b"busy", 503)) as site:
        error = await failure(around, "http", url=site.url)
        output = await run(around, "http", url=site.url, expect=[503])

    assert (error.reason, error.code, error.retryable) == ("HttpStatus", "503", True)
    assert "busy" in error.message
    assert output["body"] == "busy"


async def test_http_has_limits(around: Around) -> None:
    async with http_site(
        lambda asked: Reply(b"x" * 2_000_000 if asked.path == "/big" else b"", delay=5.0 * (asked.path == "/slow"))
    ) as site:
        assert (await failure(around, "http", url=f"{site.url}/big")).reason == "TooLarge"
        assert (await failure(around, "http", url=f"{site.url}/slow", timeout="200ms")).reason == "Timeout"
    assert (await failure(around, "http", url="http://169.254.169.254/latest")).reason == "NotAllowed"


@pytest.mark.parametrize(
    ("type", "config", "said"),
    [
        ("http", {}, "config.url is missing"),
        ("http", {"url": "http://x", "methd": "GET"}, "config.methd is not known"),
        ("http", {"url": "http://x", "method": "FETCH"}, "use one of GET"),
        ("http", {"url": "http://x", "timeout": "soon"}, "config.timeout"),
        ("http", {"url": "http://x", "expect": "404"}, "use a list of statuses"),
        ("llm", {"model": "m", "prompt": "p"}, "PLUM_LLM_URL"),
        ("llm", {"url": "http://x", "model": "m"}, "config.prompt is missing"),
        ("mcp", {"url": "http://x"}, "name one of tool"),
        ("mcp", {"url": "http://x", "list": "cats"}, "use one of tools"),
        ("email", {"to": "a@b.c", "subject": "s"}, "PLUM_SMTP_URL"),
        ("email", {"to": "nobody", "subject": "s", "server": "x:25"}, "use an address"),
        ("email", {"to": [], "subject": "s", "server": "x:25"}, "addresses"),
        ("email", {"to": "a@b.c", "subject": "s\nBcc: x@y.z", "server": "x:25"}, "config.subject"),
        ("email", {"to": "a@b.c\r\nBcc: x@y.z", "subject": "s", "server": "x:25"}, "config.to"),
        ("database", {"url": "what", "query": "select 1"}, "config.url"),
        ("database", {"url": "postgresql:///x", "query": "select 1"}, "name a host"),
        ("database", {"url": "postgresql://h/x?host=/run", "query": "select 1"}, "of the options only"),
        ("database", {"url": "sqlite:////etc/passwd", "query": "select 1"}, "SQLite files lie in"),
        ("database", {"url": "sqlite:///../plum.db", "query": "select 1"}, "SQLite files lie in"),
        ("database", {"url": "sqlite:///file:x?mode=rwc", "query": "select 1"}, "takes no options"),
        ("database", {"url": "sqlite://", "query": "select :a"}, "the statement wants a"),
        ("database", {"url": "sqlite://", "query": "select 1", "maxRows": 1e9}, "use a whole number"),
        ("script", {}, "name one of config.script"),
        ("agent", {}, "name one of config.agent"),
    ],
)
async def test_settings_that_can_never_work_are_told_and_not_tried_again(
    around: Around, type: str, config: dict[str, Any], said: str
) -> None:
    error = await failure(around, type, **config)

    assert said in error.message
    assert (error.reason, error.retryable) == ("InvalidConfig", False)


# ---- webhook


async def test_a_webhook_step_is_signed_as_we_ask_of_others(around: Around) -> None:
    async with http_site(lambda asked: Reply({"ok": True})) as site:
        output = await run(around, "webhook", {"zone": 4}, url=site.url, event="scanned", secret="s3cret")

    asked = site.asked[0]
    from datetime import timedelta

    assert verify(asked.headers, asked.body, b"s3cret", "X-Plum-Signature", timedelta(minutes=1), time.time()).nonce
    assert asked.json() == {"event": "scanned", "run": "run-1", "node": "node", "namespace": "default", "data": {"zone": 4}}
    assert output == {"status": 200, "body": {"ok": True}}


# ---- llm


async def test_llm_asks_a_chat_completion_endpoint(around: Around) -> None:
    def answer(asked: Asked) -> Reply:
        said = json.dumps({"sum": sum(json.loads(asked.json()["messages"][-1]["content"]))})
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        return Reply({"model": "tiny-1", "choices": [choice], "usage": {"total_tokens": 9}})

    async with http_site(answer) as site:
        output = await run(
            around,
            "llm",
            url=f"{site.url}/v1/",
            api_key="k",
            model="tiny",
            system="add",
            prompt="[1, 2]",
            max_tokens=50,
            json=True,
        )

    asked = site.asked[0]
    assert (asked.path, asked.headers["authorization"]) == ("/v1/chat/completions", "Bearer k")
    assert asked.json() == {
        "model": "tiny", "max_tokens": 50, "response_format": {"type": "json_object"},
        "messages": [{"role": "system", "content": "add"}, {"role": "user", "content": "[1, 2]"}],
    }  # fmt: skip
    assert (output["json"], output["model"], output["usage"]) == ({"sum": 3}, "tiny-1", {"total_tokens": 9})


@pytest.mark.parametrize(
    "body", [{}, {"choices": []}, {"choices": [{"message": "x"}]}, [1], b"no", {"choices": [{"message": {"content": "{"}}]}]
)
async def test_llm_says_when_the_answer_is_none(around: Around, body: Any) -> None:
    async with http_site(lambda asked: Reply(body)) as site:
        error = await failure(around, "llm", url=site.url, model="m", prompt="p", json=True)

    assert error.reason == "BadAnswer"


# ---- mcp


class McpServer:
    """Streamable HTTP: a session, a tool that adds, a resource; answers as JSON or as events."""

    def __init__(self, *, events: bool) -> None:
        self.events = events
        self.calls: list[tuple[str, str]] = []

    def __call__(self, asked: Asked) -> Reply:
        session = asked.headers.get("mcp-session-id", "")
        if asked.method == "DELETE":
            self.calls.append(("DELETE", session))
            return Reply()
        request = asked.json()
        method = request["method"]
        self.calls.append((method, session))
        if method == "initialize":
            return self._say(request, {"protocolVersion": "2025-03-26", "capabilities": {"tools": {}}}, {"Mcp-Session-Id": "s1"})
        if session != "s1" or asked.headers.get("mcp-protocol-version") != "2025-03-26":
            return Reply({"error": "no session"}, 400)
        if "id" not in request:
            return Reply(status=202)
        if method == "tools/call" and request["params"]["name"] == "add":
            total = sum(request["params"]["arguments"]["numbers"])
            content = [{"type": "text", "text": str(total)}]
            return self._say(request, {"content": content, "structuredContent": {"sum": total}})
        if method == "tools/call" and request["params"]["name"] == "break":
            return self._say(request, {"content": [{"type": "text", "text": "it broke"}], "isError": True})
        if method == "resources/read":
            return self._say(request, {"contents": [{"uri": request["params"]["uri"], "text": "hello"}]})
        if method == "tools/list":
            return self._say(request, {"tools": [{"name": "add"}]})
        return Reply({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "unknown"}})

    def _say(self, request: dict[str, Any], result: dict[str, Any], headers: dict[str, str] | None = None) -> Reply:
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
        if not self.events:
            return Reply(answer, headers=headers or {})
        note = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})
        text = f": hello\r\n\r\nevent: message\r\ndata: {note}\r\n\r\nid: 2\r\ndata: {json.dumps(answer)}\r\n\r\n"
        return Reply(text.encode(), headers={"Content-Type": "text/event-stream", **(headers or {})})


@pytest.mark.parametrize("events", [False, True])
async def test_mcp_calls_tools_and_reads_resources_in_a_session(around: Around, events: bool) -> None:
    server = McpServer(events=events)
    async with http_site(server) as site:
        added = await run(around, "mcp", url=f"{site.url}/mcp", tool="add", arguments={"numbers": [1, 2, 3]})
        read = await run(around, "mcp", url=f"{site.url}/mcp", resource="note://1")
        listed = await run(around, "mcp", url=f"{site.url}/mcp", list="tools")
        broken = await failure(around, "mcp", url=f"{site.url}/mcp", tool="break")
        unknown = await failure(around, "mcp", url=f"{site.url}/mcp", tool="fly")

    assert (added["structured"], added["text"]) == ({"sum": 6}, "6")
    assert read["text"] == "hello"
    assert listed["tools"] == [{"name": "add"}]
    assert (broken.reason, "it broke" in broken.message) == ("ToolFailed", True)
    assert (unknown.reason, unknown.code) == ("McpError", "-32602")
    assert server.calls[:4] == [("initialize", ""), ("notifications/initialized", "s1"), ("tools/call", "s1"), ("DELETE", "s1")]


# ---- email


async def test_email_hands_a_message_to_the_server(around: Around) -> None:
    async with mail_server(login=("robot", "pass")) as server:
        output = await run(
            around, "email", to=["Ann <ann@example.com>"], cc="bob@example.com", bcc=["eve@example.com"], subject="Zoné 4",
            text="All good.", html="<b>good</b>", **{"from": "Plum <plum@example.com>"}, server=f"127.0.0.1:{server.port}",
            security="none", username="robot", password="pass",
        )  # fmt: skip
        wrong = await failure(
            around, "email", to="ann@example.com", subject="s", server=f"127.0.0.1:{server.port}", security="none",
            username="robot", password="guess",
        )  # fmt: skip

    (mail,) = server.mails
    assert mail.recipients == ["ann@example.com", "bob@example.com", "eve@example.com"]
    assert (mail.sender, str(mail.message["Subject"]), mail.message["Bcc"]) == ("plum@example.com", "Zoné 4", None)
    body = mail.message.get_body(("plain",))
    assert body is not None
    assert body.get_content().strip() == "All good."
    assert mail.message["Message-ID"] == output["messageId"]
    assert output["accepted"] == ["Ann <ann@example.com>", "bob@example.com", "eve@example.com"]
    assert (wrong.reason, wrong.code, wrong.retryable) == ("MailRefused", "535", False)


async def test_email_tells_who_was_refused(around: Around) -> None:
    async with mail_server() as server:
        server.refuses = {"gone@example.com"}
        where = {"server": f"127.0.0.1:{server.port}", "security": "none", "subject": "s"}
        part = await run(around, "email", to=["ann@example.com", "gone@example.com"], **where)
        none = await failure(around, "email", to="gone@example.com", **where)
        plain = await failure(around, "email", to="ann@example.com", **{**where, "security": "starttls"})

    assert (part["accepted"], part["refused"]) == (["ann@example.com"], ["gone@example.com"])
    assert (none.reason, none.retryable) == ("RecipientsRefused", False)
    assert plain.reason == "MailRefused", "a server without STARTTLS gets no mail in the clear"
    assert (await failure(around, "email", to="a@b.c", **where)).reason == "Unreachable"


# ---- databases


async def test_sqlite_binds_values_and_does_all_or_nothing(around: Around) -> None:
    url = "sqlite:///plant.db"
    await run(around, "database", url=url, statements=["create table t (a integer, b text)", "insert into t values (1, 'x')"])
    await run(around, "database", url=url, query="insert into t values (:a, :b)", params={"a": 2, "b": "'); drop table t; --"})
    failed = await failure(around, "database", url=url, statements=["delete from t", "insert into missing values (1)"])
    rows = await run(around, "database", url=url, query="select a, b from t order by a")
    few = await run(around, "database", url=url, query="select a from t order by a", max_rows=1)

    assert rows["rows"] == [{"a": 1, "b": "x"}, {"a": 2, "b": "'); drop table t; --"}]
    assert (rows["columns"], rows["rowCount"], rows["truncated"]) == (["a", "b"], 2, False)
    assert (few["rows"], few["truncated"]) == ([{"a": 1}], True)
    assert "no such table" in failed.message


async def test_sqlite_opens_no_other_file_and_keeps_its_time(around: Around, tmp_path: Path) -> None:
    forever = "with recursive c(n) as (select 1 union all select n + 1 from c) select count(*) from c"
    attached = await failure(around, "database", url="sqlite:///a.db", query=f"attach '{tmp_path}/other.db' as other")
    vacuumed = await failure(around, "database", url="sqlite:///a.db", query=f"vacuum into '{tmp_path}/copy.db'")
    written = await failure(around, "database", url="sqlite:///a.db", query="create table t (a)", read_only=True)
    began = time.monotonic()
    slow = await failure(around, "database", url="sqlite://", query=forever, timeout="300ms")

    assert "too many attached databases" in attached.message
    assert vacuumed.message
    assert "readonly" in written.message.replace(" ", "").replace("-", "")
    assert slow.reason == "Timeout"
    assert time.monotonic() - began < 20
    assert sorted(path.name for path in tmp_path.rglob("*.db")) == ["a.db"]


async def test_large_answers_are_cut(around: Around) -> None:
    query = (
        "with recursive c(n) as (select 1 union all select n + 1 from c where n < 5000) select n, hex(zeroblob(500)) as x from c"
    )
    output = await run(around, "database", url="sqlite://", query=query, max_rows=5000)

    assert output["truncated"]
    assert 0 < output["rowCount"] < 5000
    assert len(json.dumps(output)) < 1_048_576


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not postgres.found():
        pytest.skip("needs PostgreSQL")
    with postgres.postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


async def test_postgresql_binds_values_of_all_sorts(around: Around, database: str) -> None:
    await run(
        around, "database", url=database, statements=["create table t (a int, at timestamptz, d numeric, j jsonb, b bytea)"]
    )
    insert = "insert into t values (:a, :at, :d, cast(:j as jsonb), :b)"
    params = {"a": 1, "at": "2026-03-29T01:30:00Z", "d": "1.50", "j": '{"x": [1]}', "b": "\\x0102"}
    done = await run(around, "database", url=database, query=insert, params=params)
    failed = await failure(around, "database", url=database, statements=["delete from t", "select 1/0"])
    rows = await run(around, "database", url=database, query="select a, at at time zone 'UTC' as at, d, j, b from t")
    again = await failure(around, "database", url=database, query="create table t (a int)")

    assert done["rowCount"] == 1
    assert rows["rows"] == [{"a": 1, "at": "2026-03-29T01:30:00", "d": "1.50", "j": {"x": [1]}, "b": "AQI="}]
    assert (failed.code, failed.retryable) == ("22012", False)
    assert again.code == "42P07"


async def test_postgresql_keeps_its_time_and_only_reads_when_told(around: Around, database: str) -> None:
    slow = await failure(around, "database", url=database, query="select pg_sleep(20)", timeout="500ms")
    reading = await failure(around, "database", url=database, query="create table r (a int)", read_only=True)
    task = asyncio.create_task(run(around, "database", url=database, query="select pg_sleep(20)"))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    left = await run(
        around, "database", url=database, query="select count(*) as n from pg_stat_activity where query like 'select pg_sleep%'"
    )

    assert slow.reason in ("Timeout", "QueryCanceled")
    assert reading.code == "25006"
    assert left["rows"] == [{"n": 0}], "nothing goes on in the database"


async def test_a_database_that_is_not_there_is_tried_again_and_a_missing_driver_is_not(around: Around, database: str) -> None:
    refused = await failure(around, "database", url="postgresql://u:p@127.0.0.1:1/x", query="select 1")
    wrong = await failure(around, "database", url=database.replace("pass%2Fword", "guess"), query="select 1")
    driver = await failure(around, "database", url="mysql://u:p@127.0.0.1/x", query="select 1")
    closed = Around(around.api, OutgoingClient("*.example.com"), around.databases)

    assert refused.retryable
    assert "guess" not in wrong.message
    assert (driver.reason, driver.retryable) == ("DriverMissing", False)
    assert (await failure(closed, "database", url=database, query="select 1")).reason == "NotAllowed"
