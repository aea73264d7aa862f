from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.resources.encode import (
    decode,
    head_of,
    same,
    split,
    tail_of,
    with_head,
    with_revision,
    without_revision,
)

TEXT = st.text('ab"\\\\{}:,0é', max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(["spec", "status", "data", 'quo"te']), JSON, max_size=3)
HEAD = head_of("plum.dev/v1", "Deployment")


def make(parts: dict[str, Any], labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = {"name": "web", **({"labels": labels} if labels else {})}
    return {"apiVersion": "plum.dev/v1", "kind": "Deployment", "metadata": metadata, **parts}


@given(OBJECTS, st.integers(1, 2**62))
def test_head_revision_and_tail_make_the_whole_object(parts: dict[str, Any], revision: int) -> None:
    value = with_revision(HEAD, revision, tail_of(make(parts)))

    expected = make(parts)
    expected["metadata"]["resourceVersion"] = str(revision)
    assert decode(value) == expected


@given(OBJECTS, st.integers(1, 2**62))
def test_split_finds_head_and_tail_again(parts: dict[str, Any], revision: int) -> None:
    tail = tail_of(make(parts, {"resourceVersion": '"resourceVersion":"'}))

    assert split(with_revision(HEAD, revision, tail), revision) == (HEAD, tail)


def test_the_revision_stands_first_so_that_nothing_a_user_writes_can_stand_before_it() -> None:
    value = with_revision(HEAD, 7, tail_of(make({})))

    assert value == b'{"apiVersion":"plum.dev/v1","kind":"Deployment","metadata":{"resourceVersion":"7","name":"web"}}'


def test_a_dry_run_shows_the_object_without_a_revision() -> None:
    assert decode(without_revision(HEAD, tail_of(make({"spec": {}})))) == make({"spec": {}})
    bare = {"apiVersion": "v1", "kind": "X", "metadata": {}}
    assert decode(without_revision(head_of("v1", "X"), tail_of(dict(bare, metadata={})))) == bare


def test_another_version_differs_only_in_its_name() -> None:
    value = with_revision(HEAD, 7, tail_of(make({"spec": {"a": 1}})))

    shown = decode(with_head(head_of("plum.dev/v2", "Deployment"), value))

    assert shown["apiVersion"] == "plum.dev/v2"
    assert {**shown, "apiVersion": "plum.dev/v1"} == decode(value)


def test_same_tells_apart_what_python_calls_equal() -> None:
    assert same({"a": 1, "b": [2]}, {"b": [2], "a": 1})
    assert not same({"a": 1}, {"a": True})
    assert not same({"a": 1}, {"a": 1.0})
    assert not same({"a": [0]}, {"a": [False]})


@given(JSON, JSON)
def test_same_agrees_with_the_text(left: Any, right: Any) -> None:
    text = msgspec.json.Encoder(order="deterministic").encode

    assert same(left, right) == (text(left) == text(right))
