"""`plum kv` against a real controller: values in and out, conditions, changes, transactions, locks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from plum_cli.errors import CONFLICT, FAILED, INVALID, NOT_FOUND, USAGE

from tests.support.command import Plum
from tests.support.server import started_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started_server(tmp_path_factory.mktemp("cli") / "data") as running:
        yield running.url


@pytest.fixture
def plum(server: str, tmp_path: Path) -> Plum:
    return Plum(server, tmp_path)


def test_values_go_in_and_come_out(plum: Plum) -> None:
    kv = ("-n", "values")
    plum.write("data.bin", "from a file\n")

    assert "created at revision" in plum.ok("kv", "put", *kv, "level", "80", "--type", "int").out
    assert plum.ok("kv", "put", *kv, "level", "80").out.startswith("level unchanged")
    plum.ok("kv", "put", *kv, "dir/odd key", "-", stdin="text")
    plum.ok("kv", "put", *kv, "data", "--file", "data.bin", "--type", "bytes", "--ttl", "1h")

    assert plum.ok("kv", "get", *kv, "level").out == "80\n"
    assert plum.ok("kv", "get", *kv, "data").out == "from a file\n"
    assert plum.ok("kv", "get", *kv, "dir/odd key", "-o", "json").json()["value"] == "text"
    assert plum.ok("kv", "add", *kv, "level", "--", "-3").out == "77\n"
    listed = plum.ok("kv", "list", *kv, "--values").lines
    assert [line.split()[0] for line in listed] == ["KEY", "data", "dir/odd", "level"]
    assert plum.ok("kv", "list", *kv, "dir/", "-o", "key").out == "dir/odd key\n"
    assert "values" in plum.ok("kv", "list", "-A").lines
    assert plum.ok("kv", "delete", *kv, "level").out == "level deleted\n"
    assert plum.ok("kv", "delete", *kv, "--prefix", "d").out == "2 entries deleted\n"


def test_what_cannot_be_done_is_said_with_an_exit_code(plum: Plum) -> None:
    kv = ("-n", "refused")
    plum.ok("kv", "put", *kv, "n", "1", "--type", "int")

    missing = plum("kv", "get", *kv, "none")
    assert missing.code == NOT_FOUND and "there is no entry 'none' in namespace refused" in missing.err
    wrong = plum("kv", "put", *kv, "n", "one")
    assert wrong.code == INVALID and "'one' is not of type int" in wrong.err
    taken = plum("kv", "put", *kv, "n", "2", "--new")
    assert taken.code == CONFLICT and "the entry exists" in taken.err
    stale = plum("kv", "put", *kv, "n", "2", "--if-revision", "1")
    assert stale.code == CONFLICT and "not at revision 1" in stale.err
    assert plum("kv", "put", *kv, "n").code == USAGE
    assert plum("kv", "put", *kv, "n", "--file", "nothing").code == NOT_FOUND
    assert plum("kv", "delete", *kv).code == USAGE
    assert plum("kv", "put", *kv, "x", "1", "--ttl", "soon").code == INVALID
    assert plum.ok("kv", "get", *kv, "n").out == "1\n"


def test_changes_are_printed_as_they_happen(plum: Plum) -> None:
    kv = ("-n", "watched")
    plum.ok("kv", "put", *kv, "a", "1")
    with plum.process("kv", "watch", *kv, "-o", "json") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        plum.ok("kv", "put", *kv, "b", "2")
        plum.ok("kv", "delete", *kv, "a")

        rest = [json.loads(process.stdout.readline()) for _ in range(2)]

    assert [(one["event"], one["key"]) for one in (first, *rest)] == [("put", "a"), ("put", "b"), ("delete", "a")]


def test_a_transaction_tells_which_branch_was_done(plum: Plum) -> None:
    kv = ("-n", "swaps")
    plum.ok("kv", "put", *kv, "state", "idle")
    plum.write("swap.yaml", "compare: [{key: state, value: idle}]\nthen: [{put: {key: state, value: busy}}]\n")

    assert plum.ok("kv", "txn", *kv, "-f", "swap.yaml", "--dry-run").json()["succeeded"]
    assert plum.ok("kv", "get", *kv, "state").out == "idle\n"
    assert plum.ok("kv", "txn", *kv, "-f", "swap.yaml").json()["succeeded"]
    second = plum("kv", "txn", *kv, "-f", "swap.yaml")

    assert second.code == FAILED and second.json()["succeeded"] is False
    assert plum("kv", "txn", *kv, "-f", "-", stdin="[1]").code == USAGE
    assert plum("kv", "txn", *kv, "-f", "-", stdin="then: [{move: {}}]").code == INVALID


def test_a_command_runs_while_a_lock_is_held(plum: Plum) -> None:
    kv = ("-n", "locks")
    script = "import os, time; print(os.environ['PLUM_LOCK_TOKEN'], flush=True); time.sleep(600)"
    with plum.process("kv", "lock", *kv, "--ttl", "1s", "deploy", "--", sys.executable, "-c", script) as holder:
        assert holder.stdout is not None
        token = int(holder.stdout.readline())
        lock = plum.ok("kv", "get", *kv, "deploy", "-o", "json").json()["value"]
        assert lock["token"] == token

        busy = plum("kv", "lock", *kv, "deploy", "--wait", "200ms", "--", "true")
        assert busy.code == CONFLICT and "is held by" in busy.err
        plum.ok("kv", "put", *kv, "state", "x", "--if-lock", f"deploy={token}")
        # Somebody takes it away: the command is ended.
        plum.ok("kv", "delete", *kv, "deploy")
        plum.ok("kv", "lock", *kv, "deploy", "--wait", "20s", "--", "true")
        assert plum("kv", "put", *kv, "state", "y", "--if-lock", f"deploy={token}").code == CONFLICT
        assert holder.wait(20) == CONFLICT
        assert holder.stderr is not None and "the lock was lost" in holder.stderr.read()

    assert plum("kv", "get", *kv, "deploy").code == NOT_FOUND
    assert plum("kv", "lock", *kv, "deploy", "--", "no-such-command").code == NOT_FOUND
    assert plum("kv", "lock", *kv, "deploy").code == USAGE
    assert plum("kv", "lock", *kv, "deploy", "--", sys.executable, "-c", "raise SystemExit(4)").code == 4
