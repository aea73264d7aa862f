"""The key-value store over real HTTP: values and their types, conditions, ranges, batches, numbers, limits, odd keys."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from tests.support.kv import Kv
from tests.support.server import RunningServer

MEBIBYTE = 1024 * 1024
OBJECTS = "/apis/plum.dev/v1/namespaces/{}/kvs"


@pytest.fixture
def kv(server: RunningServer, request: pytest.FixtureRequest) -> Kv:
    """A namespace of its own for every test, which is not there yet."""
    name = request.node.name.replace("_", "-").replace("[", "-").replace("]", "").lower()
    return Kv(server, "".join(letter for letter in name if letter.isalnum() or letter == "-")[:40].strip("-"))


async def test_a_namespace_comes_with_its_first_entry(kv: Kv) -> None:
    assert (await kv.server.get(f"/api/v1/namespaces/{kv.namespace}")).status == 404

    made = await kv.put("level", "80")

    assert made.status == 201 and made.json()["created"]
    assert kv.namespace in (await kv.server.get("/kv")).json()["namespaces"]
    assert (await kv.server.get(f"/api/v1/namespaces/{kv.namespace}")).status == 200
    assert (await kv.get("level")).body == b"80"


@pytest.mark.parametrize(
    ("kind", "sent", "stored", "content_type"),
    [
        ("string", b"h\xc3\xa9", "hé", "text/plain; charset=utf-8"),
        ("int", b"-42", -42, "application/json"),
        ("double", b"2.5", 2.5, "application/json"),
        ("bool", b"true", True, "application/json"),
        ("bytes", b"\x00\xff", base64.b64encode(b"\x00\xff").decode(), "application/octet-stream"),
        ("json", b'{"a":[1,null]}', {"a": [1, None]}, "application/json"),
    ],
)
async def test_values_come_back_as_they_were_sent(kv: Kv, kind: str, sent: bytes, stored: object, content_type: str) -> None:
    await kv.put("value", sent, f"type={kind}")

    answer = await kv.get("value")
    entry = (await kv.get("value", "as=entry")).json()
    [item] = (await kv.server.get(OBJECTS.format(kv.namespace))).json()["items"]

    assert (answer.body, answer.headers["content-type"], answer.headers["x-plum-type"]) == (sent, content_type, kind)
    assert entry["value"] == stored == item["spec"]["value"]
    assert answer.headers["etag"] == f'"{item["metadata"]["resourceVersion"]}"' == f'"{entry["revision"]}"'


@pytest.mark.parametrize(
    ("kind", "bad"),
    [("int", "1.5"), ("int", "9223372036854775808"), ("int", "x"), ("double", "nan"), ("double", "1_0"), ("bool", "yes")],
)
async def test_a_value_of_the_wrong_type_is_refused(kv: Kv, kind: str, bad: str) -> None:
    answer = await kv.put("value", bad, f"type={kind}")

    assert answer.status == 422
    assert repr(bad) in answer.json()["message"] and kind in answer.json()["message"]
    assert (await kv.get("value")).status == 404


async def test_the_type_stays_until_another_is_named(kv: Kv) -> None:
    await kv.put("n", "1", "type=int")
    await kv.put("n", "2")
    assert (await kv.get("n")).headers["x-plum-type"] == "int"
    assert (await kv.put("n", "two")).status == 422
    assert (await kv.get("n")).body == b"2"

    await kv.put("n", "two", "type=string")

    assert (await kv.get("n")).headers["x-plum-type"] == "string"
    assert (await kv.call("PUT", "j", body=b'{"a":1}', content_type="application/json")).status == 201
    assert (await kv.get("j")).headers["x-plum-type"] == "json"
    assert (await kv.call("PUT", "b", body=b"\x00", content_type="application/octet-stream")).status == 201
    assert (await kv.get("b")).headers["x-plum-type"] == "bytes"


async def test_writes_can_demand_a_revision(kv: Kv) -> None:
    tag = (await kv.put("n", "1")).headers["etag"]

    assert (await kv.put("n", "x", if_match='"999999"')).status == 412
    assert (await kv.put("n", "x", if_none_match="*")).status == 412
    assert (await kv.put("none", "x", if_match="*")).status == 412
    assert (await kv.delete("n", if_match='"999999"')).status == 412
    changed = await kv.put("n", "2", if_match=tag)
    assert changed.status == 200
    assert (await kv.put("n", "3", if_match=tag)).status == 412
    assert (await kv.put("new", "1", if_none_match="*")).status == 201
    assert (await kv.get("n", if_none_match=changed.headers["etag"])).status == 304
    assert (await kv.get("n", if_none_match=tag)).body == b"2"
    assert (await kv.delete("n", if_match=changed.headers["etag"])).status == 204
    assert (await kv.get("n")).status == 404


async def test_putting_the_same_again_changes_nothing(kv: Kv) -> None:
    first = await kv.put("n", "1")
    again = await kv.put("n", "1")

    assert again.json()["unchanged"] and again.headers["etag"] == first.headers["etag"]


KEYS = [
    "a",
    "A",
    "a.b",
    "a/b",
    "a//b",
    "/a",
    "a/",
    "..",
    "../x",
    "a/../b",
    "%2F",
    "%",
    "é/ü",
    "钥匙",
    "😀",
    "a b",
    "?x=1",
    "#",
    "+",
    "&=",
    "'\"\\",
]


async def test_any_printable_key_names_its_own_entry(kv: Kv) -> None:
    for number, key in enumerate(KEYS):
        assert (await kv.put(key, str(number), "type=int")).status == 201, key

    for number, key in enumerate(KEYS):
        assert (await kv.get(key)).body == str(number).encode(), key
    assert await kv.keys() == sorted(KEYS)
    # As a program would send them that encodes no more than it must.
    assert (await kv.server.get(f"/kv/{kv.namespace}/a//b")).body == b"4"
    assert (await kv.server.get(f"/kv/{kv.namespace}//a")).body == b"5"
    assert (await kv.server.get(f"/kv/{kv.namespace}/a/../b")).body == b"9"
    assert (await kv.server.get(f"/kv/{kv.namespace}?key=a%2F..%2Fb")).body == b"9"
    for key in KEYS:
        assert (await kv.delete(key)).status == 204
    assert await kv.keys() == []


@pytest.mark.parametrize(
    "path", ["/kv/Plant/x", "/kv/a_b/x", "/kv//x", "/kv/x/%00", "/kv/x/a%0Ab", "/kv/x/%FF", "/kv/x/" + "k" * 1025]
)
async def test_what_can_be_no_key_is_refused(server: RunningServer, path: str) -> None:
    answer = await server.request("PUT", path, b"1")

    assert answer.status == 400, answer.body
    assert answer.json()["kind"] == "Status"


async def test_the_name_of_another_keys_entry_is_not_taken_for_it(kv: Kv) -> None:
    await kv.put("odd key", "1")
    [item] = (await kv.server.get(OBJECTS.format(kv.namespace))).json()["items"]
    name = item["metadata"]["name"]

    assert (await kv.get(name)).status == 404
    refused = await kv.put(name, "2")
    assert refused.status == 409 and "odd key" in refused.json()["message"]
    assert (await kv.get("odd key")).body == b"1"


async def test_values_may_have_a_mebibyte(kv: Kv) -> None:
    text, data = b"x" * MEBIBYTE, bytes(range(256)) * 4096

    assert (await kv.put("text", text)).status == 201
    assert (await kv.call("PUT", "data", body=data, content_type="application/octet-stream")).status == 201
    assert (await kv.put("text", text + b"x")).status == 422
    assert (await kv.call("PUT", "data", body=data + b"x", content_type="application/octet-stream")).status == 422
    assert (await kv.put("text", text * 4)).status == 413

    assert (await kv.get("text")).body == text
    assert (await kv.get("data")).body == data
    entries = (await kv.call("GET")).json()["entries"]
    assert [(entry["key"], entry["size"]) for entry in entries] == [("data", MEBIBYTE), ("text", MEBIBYTE)]


async def test_lists_are_exact_in_prefix_and_range(kv: Kv) -> None:
    for key in ("a", "a/", "a/1", "a/10", "a/2", "ab", "b"):
        await kv.put(key, key)

    assert await kv.keys("prefix=a/") == ["a/", "a/1", "a/10", "a/2"]
    assert await kv.keys("start=a/1&end=a/2") == ["a/1", "a/10"]
    assert await kv.keys("start=ab") == ["ab", "b"]
    assert await kv.keys("prefix=a/&start=a/10") == ["a/10", "a/2"]
    assert await kv.keys("prefix=nothing") == []
    assert (await kv.call("GET", query="start=b&end=a")).status == 400
    listed = (await kv.call("GET", query="prefix=ab&values=true")).json()["entries"]
    assert [(entry["key"], entry["value"]) for entry in listed] == [("ab", "ab")]


async def test_pages_show_one_moment(kv: Kv) -> None:
    for number in range(25):
        await kv.put(f"k {number:02}", "old")
    first = (await kv.call("GET", query="limit=10&values=true")).json()
    await kv.put("k 15", "new")
    await kv.delete("k 16")
    await kv.put("k 10b", "new")

    entries, token = first["entries"], first["continue"]
    while token:
        page = (await kv.call("GET", query=f"limit=10&values=true&continue={token}")).json()
        assert page["revision"] == first["revision"]
        entries += page["entries"]
        token = page.get("continue")

    assert [entry["key"] for entry in entries] == [f"k {number:02}" for number in range(25)]
    assert {entry["value"] for entry in entries} == {"old"}
    assert (await kv.call("GET", query="continue=nonsense")).status == 400


async def test_a_batch_is_one_revision_or_nothing(kv: Kv) -> None:
    await kv.put("old", "1")

    done = await kv.post("batch", {"put": [{"key": "a", "value": 1}, {"key": "b c", "value": "x"}], "delete": ["old", "never"]})

    assert done.status == 200
    entries = (await kv.call("GET")).json()["entries"]
    assert [(entry["key"], entry["type"], entry["revision"]) for entry in entries] == [
        ("a", "int", done.json()["revision"]),
        ("b c", "string", done.json()["revision"]),
    ]
    refused = await kv.post("batch", {"put": [{"key": "c", "value": 1}, {"key": "a", "value": "text"}]})
    assert refused.status == 422 and "put[1]" in refused.json()["message"]
    assert await kv.keys() == ["a", "b c"]
    many = await kv.post("batch", {"put": [{"key": str(number), "value": 1} for number in range(129)]})
    assert many.status == 400 and "128" in many.json()["message"]


async def test_a_transaction_compares_entries_and_objects(kv: Kv) -> None:
    await kv.put("state", "idle")
    body = {
        "compare": [
            {"key": "state", "value": "idle"},
            {"apiVersion": "v1", "kind": "Namespace", "name": "default", "exists": True},
        ],
        "then": [
            {"put": {"key": "state", "value": "busy"}},
            {"create": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "job", "namespace": kv.namespace}}},
        ],
        "else": [{"get": {"key": "state"}}],
    }

    first, second = await kv.post("txn", body), await kv.post("txn", body)

    assert first.json()["succeeded"] is True
    assert second.json()["succeeded"] is False
    assert second.json()["results"][0]["object"]["spec"]["value"] == "busy"
    job = (await kv.server.get(f"/api/v1/namespaces/{kv.namespace}/configmaps/job")).json()
    assert job["metadata"]["resourceVersion"] == first.json()["revision"]


async def test_a_counter_incremented_by_16_clients_at_once_is_exact(kv: Kv) -> None:
    """By `add`, and by reading and writing back what was read."""

    async def increment() -> None:
        for _ in range(10):
            assert (await kv.post("add=1", key="added")).status in (200, 201)
            while True:
                read = await kv.get("swapped")
                demand = {"if_none_match": "*"} if read.status == 404 else {"if_match": read.headers["etag"]}
                value = 1 if read.status == 404 else int(read.body) + 1
                written = await kv.put("swapped", value, "type=int", **demand)
                if written.status != 412:
                    assert written.status in (200, 201), written.body
                    break

    await asyncio.gather(*(increment() for _ in range(16)))

    assert (await kv.get("added")).body == b"160"
    assert (await kv.get("swapped")).body == b"160"


async def test_only_numbers_are_added_to(kv: Kv) -> None:
    await kv.put("text", "x")
    assert (await kv.post("add=1", key="text")).status == 422
    assert (await kv.post("add=x", key="n")).status == 400
    assert (await kv.post("add=1.5", key="d")).json()["value"] == 1.5
    assert (await kv.post("add=-2", key="n")).json()["value"] == -2
    assert (await kv.post("add=0.5", key="n")).status == 422


async def test_deleting_by_prefix_leaves_the_rest(kv: Kv) -> None:
    body = {"put": [{"key": f"job/{number}", "value": number} for number in range(120)] + [{"key": "jobs", "value": 1}]}
    await kv.post("batch", body)

    gone = await kv.call("DELETE", query="prefix=job/")

    assert gone.json() == {"deleted": 120}
    assert await kv.keys() == ["jobs"]
    assert (await kv.call("DELETE")).status == 405


async def test_entries_are_objects_like_any_other(kv: Kv) -> None:
    await kv.put("odd key", "1", "type=int")
    manifest = {"apiVersion": "plum.dev/v1", "kind": "KV", "metadata": {"name": "given"}, "spec": {"type": "int", "value": 7}}
    assert (await kv.server.request("POST", OBJECTS.format(kv.namespace), manifest)).status == 201

    assert (await kv.get("given")).body == b"7"
    await kv.put("given", "8")
    item = (await kv.server.get(f"{OBJECTS.format(kv.namespace)}/given")).json()
    assert item["spec"] == {"type": "int", "value": 8}
    assert item["metadata"]["generation"] == 2
    assert await kv.keys() == ["given", "odd key"]


async def test_a_dry_run_stores_nothing(kv: Kv) -> None:
    await kv.put("there", "1")

    assert (await kv.put("new", "1", "dryRun=All")).status == 201
    assert (await kv.put("there", "2", "dryRun=All")).status == 200

    assert await kv.keys() == ["there"] and (await kv.get("there")).body == b"1"


async def test_wrong_requests_say_what_is_right(kv: Kv) -> None:
    for method, key, query, body, part in [
        ("PUT", "k", "type=integer", b"1", "use string, int"),
        ("PUT", "k", "ttl=soon", b"1", "ttl"),
        ("PUT", "k", "ttl=0s", b"1", "more than 0"),
        ("POST", "k", "lock=acquire", b"", "holder"),
        ("POST", "k", "lock=steal&token=1", b"", "acquire, renew or release"),
        ("POST", "", "batch", b'{"puts":[]}', "puts is no field"),
        ("POST", "", "batch", b"[]", "an array"),
        ("POST", "", "txn", b'{"then":[{"put":{"key":"a"}}]}', "then[0].put.value is missing"),
    ]:
        answer = await kv.call(method, key, query, body, "application/json")
        assert answer.status == 400 and part in answer.json()["message"], (query, answer.body)
    assert (await kv.call("PATCH", "k", body=b"x")).status == 405
    assert (await kv.put("k", "x", if_lock="nonsense")).status == 400
    assert (await kv.put("k", b"\xff")).status == 400
    assert json.loads((await kv.get("none")).body)["reason"] == "NotFound"


async def test_a_batch_that_is_wrong_is_told_in_its_own_words(server: RunningServer) -> None:
    kv = Kv(server, "batch-words")
    for body, words in [
        ({"put": [{"key": "a", "value": 1, "type": "int"}, {"value": 2}]}, "put[1] needs a key, which is a text, and a value"),
        ({"put": [{"key": "a"}]}, "put[0] needs a key, which is a text, and a value"),
        ({"put": [{"key": "a", "valeu": 1}]}, "put[0].valeu is no field of an entry; use key, value, type, ttl, lease"),
        ({"put": [{"key": "a", "value": "x", "type": "int"}]}, "put[0]: KV.plum.dev"),
        ({"putt": []}, "putt is no field of a batch"),
        ({"delete": [7]}, "delete holds 7; use keys"),
    ]:
        answer = await kv.post("batch", body)
        assert (answer.status in (400, 422), answer.json()["message"][: len(words)]) == (True, words), answer.json()
    assert await kv.keys() == []


async def test_batches_that_delete_the_same_keys_at_once_all_succeed(server: RunningServer) -> None:
    """What one of them deleted, the others did not find, as if they had come later."""
    kv = Kv(server, "batch-race")
    keys = [f"k{number}" for number in range(20)]
    for _ in range(5):
        await kv.post("batch", {"put": [{"key": key, "value": 1} for key in keys]})

        answers = await asyncio.gather(*(kv.post("batch", {"delete": [*keys, keys[0]]}) for _ in range(8)))

        assert [answer.status for answer in answers] == [200] * 8
        assert sum(answer.json()["deleted"] for answer in answers) == len(keys)


async def test_a_table_cuts_long_values(server: RunningServer) -> None:
    kv = Kv(server, "wide")
    await kv.put("big", "x" * 100_000)
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}

    answer = await server.request("GET", "/apis/plum.dev/v1/namespaces/wide/kvs", headers=table)

    assert answer.json()["rows"][0]["cells"][2] == "x" * 1000 + "..."
    assert (await kv.get("big")).body == b"x" * 100_000
