"""The object cache: a dictionary with indexes, whatever is kept decoded."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from plum_client.cache import ObjectCache
from plum_schemas.base import ObjectKey

KEYS = st.sampled_from([ObjectKey(namespace, name) for namespace in ("x", "y") for name in ("a", "b")])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "replace", "remove", "get", "get", "list", "age"]),
        KEYS,
        st.lists(st.sampled_from("rgb"), max_size=2),
    ),
    min_size=5,
    max_size=60,
)


@given(steps=STEPS, decoded=st.integers(1, 6), indexed=st.booleans())
def test_it_answers_like_a_dictionary(steps: list[tuple[str, ObjectKey, list[str]]], decoded: int, indexed: bool) -> None:
    def colors(obj: dict[str, Any]) -> list[str]:
        return list(obj["colors"])

    cache: ObjectCache[dict[str, Any]] = ObjectCache(msgspec.json.Decoder(dict[str, Any]).decode, decoded)
    if indexed:
        cache.add_indexers({"color": colors})
    model: dict[ObjectKey, dict[str, Any]] = {}

    for number, (step, key, values) in enumerate(steps):
        if step == "replace":
            model[key] = {"colors": values, "number": number}
            cache.replace(key, number, msgspec.json.encode(model[key]))
        elif step == "remove":
            cache.remove(key)
            model.pop(key, None)
        elif step == "get":
            assert cache.get(key) == model.get(key)
        elif step == "list":
            assert cache.list(key.namespace) == [model[known] for known in cache.keys(key.namespace)]
        else:
            cache.age()

    cache.add_indexers({"color": colors})
    assert {key: cache.get(key) for key in cache.keys()} == model  # noqa: SIM118
    assert len(cache) == len(model)
    for namespace in ("x", "y"):
        assert sorted(cache.keys(namespace)) == sorted(key for key in model if key.namespace == namespace)
    for color in "rgb":
        expected = sorted(key for key, obj in model.items() if color in obj["colors"])
        assert sorted(cache.index_keys("color", color)) == expected
    assert sorted(cache.index_values("color")) == sorted({color for obj in model.values() for color in obj["colors"]})


def test_a_replaced_object_is_never_answered_from_what_was_decoded_before() -> None:
    cache: ObjectCache[dict[str, Any]] = ObjectCache(msgspec.json.Decoder(dict[str, Any]).decode)
    key = ObjectKey("x", "a")
    for generations in (0, 1):
        cache.replace(key, 1, b'{"n":1}')
        assert cache.get(key) == {"n": 1}
        for _ in range(generations):
            cache.age()
        cache.replace(key, 2, b'{"n":2}')

        assert cache.get(key) == {"n": 2}


def test_what_is_read_in_turns_is_decoded_once_however_many_they_are_and_let_go_when_nobody_asks() -> None:
    decoded = 0

    def decode(value: bytes) -> dict[str, Any]:
        nonlocal decoded
        decoded += 1
        return msgspec.json.decode(value, type=dict[str, Any])

    cache = ObjectCache(decode, 16)
    for number in range(100):
        cache.replace(ObjectKey("a", str(number)), number, b"{}")

    assert len(cache.list("a")) == 100
    assert decoded == 100
    for _ in range(3):
        assert len(cache.list("a")) == 100
    assert decoded == 100, "nothing is decoded again while all are asked for"

    cache.age()
    cache.age()
    cache.age()
    cache.list("a")
    assert decoded == 200, "what nobody asks for is let go"
