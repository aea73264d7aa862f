"""Entries that end, and locks: who holds one, until when, and whose writes come too late."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.support.kv import Kv
from tests.support.server import HttpAnswer, RunningServer


async def gone(kv: Kv, key: str, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while (await kv.get(key)).status != 404:
            await asyncio.sleep(0.05)


async def acquire(kv: Kv, holder: str, ttl: str = "30s", wait: str = "") -> HttpAnswer:
    return await kv.post(f"lock=acquire&holder={holder}&ttl={ttl}" + (f"&wait={wait}" if wait else ""), key="the lock")


async def test_an_entry_with_a_ttl_ends_and_its_end_is_a_change(server: RunningServer) -> None:
    kv = Kv(server, "ends")
    await kv.put("stays", "1")
    async with kv.watch() as events:
        await events.until_sync()
        put = await kv.put("short", "1", "ttl=300ms")
        assert (await events.next()).name == "put"
        entry = (await kv.get("short", "as=entry")).json()

        end = await events.next()

    assert (end.name, end.data["key"]) == ("delete", "short")
    assert int(end.data["revision"]) > int(put.json()["revision"])
    left = datetime.fromisoformat(entry["expiresAt"]) - datetime.now(UTC)
    assert entry["ttl"] == "300ms" and left < timedelta(seconds=1)
    assert await kv.keys() == ["stays"]


async def test_every_write_begins_the_time_anew_and_one_without_a_ttl_ends_it(server: RunningServer) -> None:
    kv = Kv(server, "renewed")
    first = (await kv.put("a", "1", "ttl=1h")).headers["x-plum-revision"]
    before = (await kv.get("a", "as=entry")).json()["expiresAt"]

    again = await kv.put("a", "1", "ttl=1h")

    assert again.headers["x-plum-revision"] != first
    assert (await kv.get("a")).headers["x-plum-expires"] > before
    await kv.put("a", "1")
    assert "expiresAt" not in (await kv.get("a", "as=entry")).json()


async def test_an_entry_of_a_manifest_ends_too(server: RunningServer) -> None:
    kv = Kv(server, "default")
    manifest = {"apiVersion": "plum.dev/v1", "kind": "KV", "metadata": {"name": "short"}, "spec": {"value": 1, "ttl": "200ms"}}

    made = await server.request("POST", "/apis/plum.dev/v1/namespaces/default/kvs", manifest)

    assert made.json()["spec"]["expiresAt"]
    await gone(kv, "short")


async def test_an_entry_ends_with_its_lease(server: RunningServer) -> None:
    kv = Kv(server, "default")
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/session"
    lease = {"metadata": {"name": "session"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 1}}
    assert (await server.request("PUT", path, lease)).status in (200, 201)
    await kv.put("member", "me", "lease=session")
    await kv.put("orphan", "me", "lease=none")

    await gone(kv, "orphan")
    await gone(kv, "member")


async def test_one_holds_a_lock_and_others_wait_for_its_end(server: RunningServer) -> None:
    kv = Kv(server, "locks")
    first = (await acquire(kv, "one")).json()

    refused = await acquire(kv, "two")
    assert refused.status == 409 and "'one'" in refused.json()["message"]
    assert (await acquire(kv, "one")).json()["token"] == first["token"]
    waiting = asyncio.create_task(acquire(kv, "two", wait="20s"))
    await asyncio.sleep(0.1)
    assert (await kv.post(f"lock=release&token={first['token']}", key="the lock")).status == 204

    second = (await waiting).json()
    assert second["token"] > first["token"] and second["holder"] == "two"
    assert (await kv.post(f"lock=renew&token={first['token']}", key="the lock")).status == 409
    assert (await kv.post(f"lock=release&token={first['token']}", key="the lock")).status == 409
    assert (await kv.post(f"lock=renew&token={second['token']}", key="the lock")).status == 200


async def test_a_holder_whose_time_is_over_writes_nothing_more(server: RunningServer) -> None:
    kv = Kv(server, "fences")
    late = (await acquire(kv, "late", ttl="300ms")).json()["token"]
    lock = {"if_lock": f"the%20lock={late}"}
    assert (await kv.put("state", "of late", **lock)).status == 201

    now = (await acquire(kv, "now", wait="20s")).json()["token"]

    assert now > late
    refused = await kv.put("state", "of late again", **lock)
    assert refused.status == 412 and str(now) in refused.json()["message"]
    assert (await kv.delete("state", **lock)).status == 412
    assert (await kv.post("add=1", key="n", **lock)).status == 412
    body = {
        "compare": [{"key": "the lock", "field": "spec.value.token", "value": late}],
        "then": [{"put": {"key": "state", "value": "of late"}}],
    }
    assert (await kv.post("txn", body)).json()["succeeded"] is False
    assert (await kv.put("state", "of now", if_lock=f"the%20lock={now}")).status == 200
    assert (await kv.get("state")).body == b"of now"


async def test_tokens_grow_when_the_lock_was_deleted_by_hand(server: RunningServer) -> None:
    kv, tokens = Kv(server, "grows"), []
    for number in range(5):
        tokens.append((await acquire(kv, f"h{number}")).json()["token"])
        await kv.delete("the lock")

    assert tokens == sorted(set(tokens))


async def test_of_many_that_want_a_lock_one_has_it_at_a_time(server: RunningServer) -> None:
    kv, inside, most, tokens = Kv(server, "crowd"), 0, 0, []

    async def work(name: str) -> None:
        nonlocal inside, most
        token = (await acquire(kv, name, wait="60s")).json()["token"]
        inside += 1
        most = max(most, inside)
        tokens.append(token)
        await asyncio.sleep(0.01)
        inside -= 1
        assert (await kv.post(f"lock=release&token={token}", key="the lock")).status == 204

    await asyncio.gather(*(work(f"w{number}") for number in range(8)))

    assert most == 1
    assert tokens == sorted(set(tokens))


async def test_an_entry_that_is_no_lock_is_not_taken_for_one(server: RunningServer) -> None:
    kv = Kv(server, "nolock")
    await kv.put("the lock", "text")

    refused = await acquire(kv, "me")

    assert refused.status == 409 and "no lock" in refused.json()["message"]
    assert (await kv.put("x", "1", if_lock="nothing=1")).status == 412
