"""Logins of browsers: one-time links, sessions, what they may do, and how they end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.security.conftest import Site
from tests.support.command import eventually
from tests.support.server import started_server
from tests.support.sessions import Visitor

TOKENS = "/apis/plum.dev/v1/tokens"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def visitor(site: Site, ca: Path) -> Visitor:
    return Visitor(site.running.secure_url, ca)


def token_of(site: Site, name: str, *groups: str, **spec: Any) -> tuple[str, str]:
    """A token and the name of its object."""
    made = site.make(TOKENS, {"metadata": {"generateName": "t-"}, "spec": {"user": name, "groups": list(groups), **spec}})
    return made["status"]["token"], made["metadata"]["name"]


def link_of(site: Site, **body: Any) -> str:
    status, made = site.admin.call("POST", "/session/links", body)
    assert status == 201, made
    link: str = made["link"]
    assert made["url"] == f"{site.running.secure_url}/ui/login#link={link}"
    return link


def test_a_token_opens_a_session_with_the_rights_of_its_user(site: Site, visitor: Visitor) -> None:
    token, _ = token_of(site, "sara", "system:masters")

    assert visitor.ask("GET", "/session").status == 401
    made = visitor.log_in(token=token)

    assert (made.status, made.json()["user"]) == (201, "sara")
    assert "system:masters" in made.json()["groups"]
    assert visitor.ask("GET", "/session").json() == made.json()
    assert visitor.ask("GET", CONFIGMAPS).status == 200
    assert visitor.ask("POST", CONFIGMAPS, {"metadata": {"name": "by-session"}}).status == 201


def test_the_cookie_is_for_this_server_and_for_no_script(site: Site, visitor: Visitor) -> None:
    visitor.log_in(token=token_of(site, "carl")[0])

    name, _, attributes = visitor.cookies[0].partition("=")
    value, *rest = [part.strip() for part in attributes.split(";")]
    assert name == "__Host-plum-session"
    assert len(value) > 40
    assert {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"} <= set(rest)
    assert not any(part.startswith("Domain") for part in rest)
    life = next(int(part.removeprefix("Max-Age=")) for part in rest if part.startswith("Max-Age="))
    assert 0 < life <= 12 * 3600


def test_only_hashes_of_sessions_and_links_are_kept(site: Site, visitor: Visitor) -> None:
    link = link_of(site)
    visitor.log_in(token=token_of(site, "hanna")[0])

    secret = visitor.cookie.partition("=")[2]
    data = b"".join(path.read_bytes() for path in site.running.data_dir.glob("plum.db*"))
    log = site.running.log.read_bytes()
    for text in (secret, link, visitor.csrf):
        assert text.encode() not in data
        assert text.encode() not in log


def test_a_login_gives_a_cookie_of_its_own_whatever_came_with_it(site: Site, visitor: Visitor) -> None:
    planted = "__Host-plum-session=planted-by-somebody-else-0123456789012345678901234567"
    visitor.cookie = planted
    token = token_of(site, "nora")[0]
    assert visitor.log_in(token=token).status == 201
    first = visitor.cookie
    assert visitor.log_in(token=token).status == 201

    assert len({planted, first, visitor.cookie}) == 3
    assert visitor.ask("GET", "/session", Cookie=planted).status == 401


def test_a_token_in_an_address_is_no_login_and_in_no_log(site: Site, visitor: Visitor) -> None:
    token = token_of(site, "petra", "system:masters")[0]

    for path in (
        f"/apis?token={token}",
        f"{CONFIGMAPS}?access_token={token}",
        f"/session?link={token}",
        f"/ui/login?link={token}",
    ):
        answer = visitor.ask("GET", path)
        assert answer.status in (401, 429) or (answer.status == 200 and b"<html" in answer.body), path
    visitor.ask("POST", f"{CONFIGMAPS}?token={token}", {"metadata": {"name": "x"}}, X_Plum_CSRF="1")

    kept = [path for path in site.running.data_dir.rglob("*") if path.is_file()] + [site.running.log]
    assert not [path for path in kept if token.encode() in path.read_bytes()]


def test_a_link_is_good_once(site: Site, visitor: Visitor, ca: Path) -> None:
    link = link_of(site)

    first = visitor.log_in(link=link)
    second = Visitor(visitor.url, ca).log_in(link=link)

    assert (first.status, first.json()["user"]) == (201, "plum-admin")
    assert second.status == 401
    assert "good once" in second.json()["message"]


def test_of_many_that_come_with_one_link_one_gets_in(site: Site, visitor: Visitor, ca: Path) -> None:
    link = link_of(site)
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(Visitor(visitor.url, ca).log_in(link=link).status)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results.count(201) == 1
    assert set(results) <= {201, 401, 429}


def test_a_link_ends_after_its_time(site: Site, visitor: Visitor) -> None:
    link = link_of(site, seconds=1)

    soon = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def over() -> bool:
        """No link is left that was to end by now or soon."""
        logins = [item["spec"] for item in site.admin.get(TOKENS)[1]["items"] if item["spec"].get("login", {}).get("link")]
        return all(spec["expiresAt"] > soon for spec in logins)

    assert eventually(over, 30)
    assert visitor.log_in(link=link).status == 401


@pytest.mark.parametrize("seconds", [0, -1, 90_000, "soon", True, 1.5])
def test_a_link_for_an_impossible_time_is_refused(site: Site, seconds: Any) -> None:
    status, refused = site.admin.call("POST", "/session/links", {"seconds": seconds})

    assert status == 422
    assert refused["details"]["causes"][0]["field"] == "seconds"
    assert "use 1 to 86400 seconds" in refused["message"]


def test_a_link_for_somebody_else_needs_the_right_to_be_them(site: Site, visitor: Visitor) -> None:
    status, made = site.admin.call("POST", "/session/links", {}, Impersonate_User="lena", Impersonate_Group="ops")
    refused = site.user("ordinary").call("POST", "/session/links", {}, Impersonate_User="lena")[0]
    own, link = site.user("ordinary").call("POST", "/session/links", {})

    assert (status, made["user"], refused) == (201, "lena", 403)
    assert (own, link["user"]) == (201, "ordinary")
    told = visitor.log_in(link=made["link"]).json()
    assert (told["user"], "ops" in told["groups"], "system:masters" in told["groups"]) == ("lena", True, False)


def test_strangers_nodes_and_joiners_get_no_link_and_no_session(site: Site, visitor: Visitor) -> None:
    node, _ = token_of(site, "system:node:n9", "system:nodes")
    soon = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    joiner, _ = token_of(site, "system:bootstrap:j9", "system:bootstrappers", join={}, expiresAt=soon)

    assert site.nobody.call("POST", "/session/links", {})[0] == 401
    assert site.bearer(node).call("POST", "/session/links", {})[0] == 403
    assert visitor.log_in(token=node).status == 401
    assert visitor.log_in(token=joiner).status in (401, 429)
    assert visitor.log_in(token="plum_made-up").status in (401, 429)


def test_what_changes_something_must_carry_the_value_of_the_session(site: Site, visitor: Visitor, ca: Path) -> None:
    token, _ = token_of(site, "cora", "system:masters")
    visitor.log_in(token=token)
    other = Visitor(visitor.url, ca)
    other.log_in(token=token)

    missing = visitor.ask("POST", CONFIGMAPS, {"metadata": {"name": "x"}}, X_Plum_CSRF="")
    foreign = visitor.ask("POST", CONFIGMAPS, {"metadata": {"name": "x"}}, X_Plum_CSRF=other.csrf)
    deletion = visitor.ask("DELETE", f"{CONFIGMAPS}/x", X_Plum_CSRF="")
    logout = visitor.ask("DELETE", "/session", X_Plum_CSRF="1")
    elsewhere = visitor.ask("POST", CONFIGMAPS, {"metadata": {"name": "x"}}, Origin="https://evil.example")
    reading = visitor.ask("GET", f"{CONFIGMAPS}/x", X_Plum_CSRF="")

    assert [reply.status for reply in (missing, foreign, deletion, logout, elsewhere)] == [403] * 5
    assert "X-Plum-CSRF" in missing.json()["message"]
    assert reading.status == 404  # nothing was created
    assert visitor.ask("GET", "/session").status == 200


def test_forms_of_other_pages_log_nobody_in(site: Site, visitor: Visitor) -> None:
    token, _ = token_of(site, "fritz")

    form = visitor.ask("POST", "/session", {"token": token}, Content_Type="text/plain", X_Plum_CSRF="")
    foreign = visitor.ask("POST", "/session", {"token": token}, Origin="https://evil.example", X_Plum_CSRF="1")

    assert (form.status, foreign.status) == (403, 403)
    assert visitor.cookie == ""


def test_a_session_ends_by_logging_out(site: Site, visitor: Visitor) -> None:
    visitor.log_in(token=token_of(site, "otto")[0])
    session = visitor.ask("GET", "/session").json()["session"]
    before = visitor.cookie

    out = visitor.ask("DELETE", "/session")

    assert out.status == 200
    assert "Max-Age=0" in visitor.cookies[-1]
    assert visitor.ask("GET", "/session", Cookie=before).status == 401
    assert site.admin.get(f"{TOKENS}/{session}")[0] == 404


def test_a_session_ends_with_its_token_and_so_do_its_watches(site: Site, visitor: Visitor) -> None:
    token, name = token_of(site, "paula", "system:masters")
    visitor.log_in(token=token)
    session = visitor.ask("GET", "/session").json()["session"]

    async def watch() -> bytes:
        host, port = visitor.url.removeprefix("https://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=site.admin.server.ssl_context())
        head = f"GET /api/v1/namespaces?watch=true HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {visitor.cookie}\r\n\r\n"
        writer.write(head.encode())
        await reader.readuntil(b'"ADDED"')
        await asyncio.to_thread(site.admin.call, "DELETE", f"{TOKENS}/{name}")
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 30)
        writer.close()
        return rest

    assert b'"code":401' in asyncio.run(watch())
    assert visitor.ask("GET", "/session").status == 401
    assert eventually(lambda: site.admin.get(f"{TOKENS}/{session}")[0] == 404, 30)


def test_revoking_a_session_ends_it_at_once(site: Site, visitor: Visitor) -> None:
    visitor.log_in(token=token_of(site, "rosa")[0])
    session = visitor.ask("GET", "/session").json()["session"]

    assert site.admin.call("DELETE", f"{TOKENS}/{session}")[0] == 200

    assert visitor.ask("GET", "/apis").status == 401


def test_a_session_outlives_neither_its_token_nor_its_time(site: Site, visitor: Visitor) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")

    told = visitor.log_in(token=token_of(site, "kurt", expiresAt=soon)[0]).json()

    assert told["expiresAt"] == soon


def test_a_cookie_is_no_token_and_a_token_no_cookie(site: Site, visitor: Visitor, ca: Path) -> None:
    token, _ = token_of(site, "mia", "system:masters")
    visitor.log_in(token=token)
    secret = visitor.cookie.partition("=")[2]

    assert site.bearer(secret).get("/apis")[0] in (401, 429)
    assert Visitor(visitor.url, ca, cookie=f"__Host-plum-session={token}").ask("GET", "/apis").status == 401


async def test_a_websocket_with_a_session_must_come_from_our_own_pages(site: Site, visitor: Visitor) -> None:
    await asyncio.to_thread(visitor.log_in, token=(await asyncio.to_thread(token_of, site, "wim", "system:masters"))[0])
    host, port = visitor.url.removeprefix("https://").split(":")

    async def opened(origin: str) -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port), ssl=site.admin.server.ssl_context())
        lines = [
            "GET /api/v1/namespaces?watch=true HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", f"Cookie: {visitor.cookie}",
            *([f"Origin: {origin}"] if origin else []),
        ]  # fmt: skip
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        line = await asyncio.wait_for(reader.readline(), 30)
        writer.close()
        return line

    assert b" 101 " in await opened(visitor.url)
    assert b" 403 " in await opened("")
    assert b" 403 " in await opened("https://evil.example")


def test_sessions_survive_a_restart_of_the_controller(tmp_path: Path) -> None:
    with started_server(tmp_path / "data") as first:
        visitor = Visitor(first.url)
        made = visitor.ask("POST", "/session/links", {}, Impersonate_User="resi", Impersonate_Group="ops")
        assert visitor.log_in(link=made.json()["link"]).status == 201
        port = first.port
    with started_server(tmp_path / "data", "--listen", f"127.0.0.1:{port}") as second:
        assert second.port == port
        assert visitor.ask("GET", "/session").json()["user"] == "resi"
        assert visitor.ask("POST", "/session/links", {}).status == 201


@pytest.fixture
def local(site: Site) -> Iterator[Visitor]:
    yield Visitor(site.running.url)


def test_on_loopback_nobody_has_to_log_in_and_a_session_counts(site: Site, local: Visitor) -> None:
    assert local.ask("GET", "/session").json() == {
        "user": "system:admin", "groups": ["system:masters", "system:authenticated"], "local": True,
    }  # fmt: skip
    assert local.ask("GET", CONFIGMAPS).status == 200

    local.log_in(token=token_of(site, "luisa")[0])

    assert local.cookie.startswith(f"plum-session-{site.running.port}=")
    assert local.ask("GET", "/session").json()["user"] == "luisa"
    assert local.ask("GET", CONFIGMAPS).status == 403
    site.admin.call("DELETE", f"{TOKENS}/{local.ask('GET', '/session').json()['session']}")
    assert local.ask("GET", CONFIGMAPS).status == 401  # never more than before, without a word
    assert local.ask("DELETE", "/session").status == 200
    assert local.ask("GET", CONFIGMAPS, Cookie="").status == 200


@pytest.mark.parametrize(
    ("body", "word"), [({}, "a token, or a link"), ({"token": 7}, "a token"), ({"token": "a", "link": "b"}, "a token")]
)
def test_a_login_with_nothing_or_too_much_is_refused(visitor: Visitor, body: Any, word: str) -> None:
    refused = visitor.ask("POST", "/session", body, X_Plum_CSRF="1")

    assert refused.status == 422
    assert word in json.dumps(refused.json())


def test_sessions_shown_to_those_who_see_tokens_have_no_secret(site: Site, visitor: Visitor) -> None:
    visitor.log_in(token=token_of(site, "tine")[0])
    session = visitor.ask("GET", "/session").json()["session"]

    stored = site.admin.get(f"{TOKENS}/{session}")[1]

    assert stored["spec"]["login"]["address"] == "127.0.0.1"
    assert visitor.cookie.partition("=")[2] not in json.dumps(stored)
    assert "status" not in stored or not stored["status"].get("token")
