"""Tokens: shown once, stored as hashes, and worth nothing from the moment they are revoked."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plum_client import kubeconfig

from tests.integration.security.conftest import Site

TOKENS = "/apis/plum.dev/v1/tokens"
NAMESPACES = "/api/v1/namespaces"


def plum(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plum_cli", *arguments, "--kubeconfig", str(site.running.kubeconfig)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_token_is_shown_once_and_never_stored(site: Site) -> None:
    made = site.make(TOKENS, {"metadata": {"name": "once"}, "spec": {"user": "olga", "groups": ["ops"]}})
    token = made["status"]["token"]
    stored = site.admin.get(f"{TOKENS}/once")[1]

    assert "status" not in stored and token not in json.dumps(stored)
    assert site.bearer(token).get("/apis")[0] == 200
    data = b"".join(path.read_bytes() for path in site.running.data_dir.glob("plum.db*"))
    assert token.encode() not in data
    assert stored["spec"]["hash"].encode() in data


def test_a_revoked_token_is_refused_at_once(site: Site) -> None:
    made = site.make(TOKENS, {"metadata": {"name": "short"}, "spec": {"user": "rita"}})
    rita = site.bearer(made["status"]["token"])
    assert rita.get("/apis")[0] == 200

    site.admin.call("DELETE", f"{TOKENS}/short")

    assert rita.get("/apis")[0] == 401


def test_an_expired_token_is_refused_and_cleared_away(site: Site) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = site.make(TOKENS, {"metadata": {"name": "brief"}, "spec": {"user": "paul", "expiresAt": soon}})
    paul = site.bearer(made["status"]["token"])

    assert wait_until(lambda: paul.get("/apis")[0] == 401)
    assert wait_until(lambda: site.admin.get(f"{TOKENS}/brief")[0] == 404)


def wait_until(holds: Any, seconds: float = 20.0) -> bool:
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    while not holds():
        if datetime.now(UTC) > end:
            return False
    return True


async def test_watches_end_with_their_token(site: Site) -> None:
    made = await asyncio.to_thread(
        site.make, TOKENS, {"metadata": {"name": "watching"}, "spec": {"user": "wanda", "groups": ["system:masters"]}}
    )
    server = site.bearer(made["status"]["token"]).server
    host, port = server.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=server.ssl_context())
    writer.write(f"GET {NAMESPACES}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode())
    await reader.readuntil(b'"ADDED"')

    await asyncio.to_thread(site.admin.call, "DELETE", f"{TOKENS}/watching")

    rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)
    assert b'"code":401' in rest
    writer.close()


def test_what_a_token_says_cannot_be_changed(site: Site) -> None:
    site.make(TOKENS, {"metadata": {"name": "fixed"}, "spec": {"user": "fay"}})
    merge = {"Content_Type": "application/merge-patch+json"}

    for spec in ({"user": "root"}, {"groups": ["system:masters"]}, {"hash": "0" * 64}):
        status, answer = site.admin.call("PATCH", f"{TOKENS}/fixed", {"spec": spec}, **merge)
        assert status == 422 and "make another token" in answer["message"]


def test_a_new_account_of_the_same_name_is_somebody_else(site: Site) -> None:
    accounts = f"{NAMESPACES}/default/serviceaccounts"
    site.make(accounts, {"metadata": {"name": "bot"}})
    status, made = site.admin.call("POST", f"{accounts}/bot/token", {"spec": {"expirationSeconds": 900}})
    assert status == 201 and made["kind"] == "TokenRequest"
    bot = site.bearer(made["status"]["token"])
    assert bot.get("/apis")[0] == 200

    site.admin.call("DELETE", f"{accounts}/bot")
    assert bot.get("/apis")[0] == 401
    site.make(accounts, {"metadata": {"name": "bot"}})
    assert bot.get("/apis")[0] == 401


@pytest.mark.parametrize("seconds", [1, 599, 10**9, "3600", True])
def test_impossible_lifetimes_are_refused(site: Site, seconds: object) -> None:
    accounts = f"{NAMESPACES}/default/serviceaccounts"
    site.admin.call("POST", accounts, {"metadata": {"name": "limits"}})

    status, answer = site.admin.call("POST", f"{accounts}/limits/token", {"spec": {"expirationSeconds": seconds}})

    assert status == 422 and "spec.expirationSeconds" in answer["message"]


def test_token_reviews_say_whose_a_token_is(site: Site) -> None:
    tina = site.user("tina", "ops")
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"

    good = site.admin.call("POST", reviews, {"spec": {"token": tina.server.token}})[1]["status"]
    bad = site.admin.call("POST", reviews, {"spec": {"token": "plum_nonsense"}})[1]["status"]

    assert good == {"authenticated": True, "user": {"username": "tina", "groups": ["ops", "system:authenticated"]}}
    assert bad["authenticated"] is False


def test_guessing_is_slowed_down(site: Site) -> None:
    guesser = site.bearer("plum_guess")
    answers = [guesser.get("/apis")[0] for _ in range(40)]

    assert set(answers) == {401, 429}
    assert site.admin.get("/apis")[0] == 200


def test_the_command_makes_lists_and_revokes_tokens(site: Site, tmp_path: Path) -> None:
    made = plum(site, "token", "create", "--user", "carla", "--group", "ops", "--name", "carla-1", "--ttl", "1h")
    token = made.stdout.strip()
    listed = plum(site, "token", "list").stdout

    assert token.startswith("plum_"), made.stderr
    assert [line.split()[:3] for line in listed.split("\n") if "carla" in line] == [["carla-1", "carla", "ops"]]
    assert site.bearer(token).get("/apis")[0] == 200
    assert plum(site, "token", "revoke", "carla-1").returncode == 0
    assert site.bearer(token).get("/apis")[0] == 401

    config = tmp_path / "dora.kubeconfig"
    assert plum(site, "kubeconfig", "--user", "dora", "--group", "system:masters", "--write", str(config)).returncode == 0
    dora = kubeconfig.load(config)
    assert (dora.client_certificate, dora.token[:5]) == (b"", "plum_")
    assert site.bearer(dora.token).get(f"{NAMESPACES}/default")[0] == 200
    refused = plum(site, "token", "create", "--node", "n", "--group", "ops")
    assert refused.returncode != 0 and "leave --group away" in refused.stderr
