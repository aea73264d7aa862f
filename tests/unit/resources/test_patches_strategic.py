"""Strategic merge patch: the directives that kubectl and Go's event recorder send for Kubernetes' own kinds."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from plum_controller.resources.patches import PatchError, strategic_merge_patch

Json = dict[str, Any]

SCHEMA: Json = {
    "type": "object",
    "properties": {
        "data": {"type": "object", "additionalProperties": {"type": "string"}},
        "command": {"type": "array", "items": {"type": "string"}},
        "conditions": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {"type": "object", "properties": {"type": {"type": "string"}, "status": {"type": "string"}}},
        },
    },
}


def patched(doc: Json, patch: Any) -> Json:
    before = copy.deepcopy([doc, patch])

    result = strategic_merge_patch(doc, patch, SCHEMA)

    assert [doc, patch] == before
    return result


def owner(uid: str, **more: Any) -> Json:
    return {"uid": uid, "kind": "ConfigMap", "name": uid, "apiVersion": "v1", **more}


def with_finalizers(*names: str) -> Json:
    return {"metadata": {"finalizers": list(names)}}


@pytest.mark.parametrize(
    ("doc", "patch", "result"),
    [
        ({"data": {"a": "1", "b": "2"}}, {"data": {"a": None, "c": "3"}}, {"data": {"b": "2", "c": "3"}}),
        ({"command": ["a", "b"]}, {"command": ["c"]}, {"command": ["c"]}),
        ({}, {"data": {"a": None, "b": "1"}}, {"data": {"b": "1"}}),
        ({"data": None}, {"data": {"b": "1"}}, {"data": {"b": "1"}}),
        ({"count": 1}, {"count": 2}, {"count": 2}),
        ({"data": {"a": "1"}}, {"data": {"$patch": "replace", "b": "2"}}, {"data": {"b": "2"}}),
        ({"data": {"a": "1"}}, {"data": {"$patch": "delete"}}, {"data": {}}),
        ({"data": {"a": "1"}}, {"data": {"$patch": "merge", "b": "2"}}, {"data": {"a": "1", "b": "2"}}),
        ({"data": {"a": "1", "b": "2"}}, {"data": {"$retainKeys": ["b", "c"], "c": "3"}}, {"data": {"b": "2", "c": "3"}}),
        ({"data": {"a": "1"}}, {"data": {"$retainKeys": ["b"], "b": "2"}}, {"data": {"b": "2"}}),
    ],
)
def test_objects_merge(doc: Json, patch: Json, result: Json) -> None:
    assert patched(doc, patch) == result


def test_sets_are_joined() -> None:
    assert patched(with_finalizers("a", "b"), with_finalizers("b", "c")) == with_finalizers("a", "b", "c")
    assert patched({"metadata": {}}, with_finalizers("b", "b")) == with_finalizers("b")


def test_items_can_be_taken_from_a_set() -> None:
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["b", "x"]}}

    assert patched(with_finalizers("a", "b", "c"), patch) == with_finalizers("a", "c")
    assert patched({"metadata": {}}, patch) == {"metadata": {}}


def test_what_kubectl_apply_sends_for_finalizers() -> None:
    patch = {
        "metadata": {
            "$deleteFromPrimitiveList/finalizers": ["b"],
            "$setElementOrder/finalizers": ["d", "a"],
            "finalizers": ["d"],
        }
    }

    assert patched(with_finalizers("a", "b", "c"), patch) == with_finalizers("d", "a", "c")


def test_items_of_list_maps_merge_by_their_key() -> None:
    doc = {"conditions": [{"type": "A", "status": "True"}, {"type": "B"}]}

    assert patched(doc, {"conditions": [{"type": "B", "status": "False"}, {"type": "C"}]}) == {
        "conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "False"}, {"type": "C"}]
    }
    assert patched(doc, {"conditions": [{"type": "A", "status": None}]})["conditions"][0] == {"type": "A"}


def test_an_owner_can_be_removed_by_its_uid() -> None:
    doc = {"metadata": {"ownerReferences": [owner("1"), owner("2")]}}

    assert patched(doc, {"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "1"}]}}) == {
        "metadata": {"ownerReferences": [owner("2")]}
    }


def test_a_list_map_can_be_replaced_as_a_whole() -> None:
    doc = {"conditions": [{"type": "A"}, {"type": "B"}]}

    assert patched(doc, {"conditions": [{"$patch": "replace"}, {"type": "C"}]}) == {"conditions": [{"type": "C"}]}


@pytest.mark.parametrize(
    ("before", "order", "change", "after"),
    [
        ("abc", "cba", "", "cba"),
        ("abc", "ca", "", "bca"),
        ("abcd", "db", "", "acdb"),
        ("abc", "xa", "x", "xabc"),
        ("", "ba", "ab", "ba"),
        ("abc", "xyz", "yxz", "xyzabc"),
    ],
)
def test_list_maps_take_the_order_they_are_told(before: str, order: str, change: str, after: str) -> None:
    doc = {"conditions": [{"type": name} for name in before]}
    patch = {
        "$setElementOrder/conditions": [{"type": name} for name in order],
        "conditions": [{"type": name} for name in change],
    }

    result = patched(doc, patch)

    assert "".join(item["type"] for item in result["conditions"]) == after


@pytest.mark.parametrize(
    "patch",
    [
        [],
        "x",
        {"data": {"$patch": "explode"}},
        {"conditions": [{"status": "True"}]},
        {"conditions": ["x"]},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}},
        {"metadata": {"$setElementOrder/finalizers": {}}},
    ],
)
def test_what_is_no_strategic_patch_is_refused_with_400(patch: Any) -> None:
    with pytest.raises(PatchError) as error:
        strategic_merge_patch({"metadata": {"finalizers": ["a"]}}, patch, SCHEMA)

    assert error.value.code == 400


def test_the_count_of_an_event() -> None:
    doc = {"metadata": {"name": "e"}, "count": 1, "message": "m"}

    assert patched(doc, {"count": 2, "lastTimestamp": "t"}) == {**doc, "count": 2, "lastTimestamp": "t"}
