"""Patches of the fake API: the laws of RFC 6902 and 7396."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_client.fake_patches import PatchError, json_patch, leaves, merge_patch, without

LEAF = st.one_of(st.integers(0, 3), st.sampled_from(["a", "b"]), st.lists(st.integers(0, 2), max_size=2))
DOCUMENT = st.recursive(LEAF, lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=3), max_leaves=8)
OBJECT = st.dictionaries(st.sampled_from("xyz"), DOCUMENT, max_size=3)


def difference(old: Any, new: Any) -> Any:
    """The merge patch from one object to another."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    patch = {name: None for name in old if name not in new}
    return patch | {name: difference(old.get(name), value) for name, value in new.items() if old.get(name) != value}


@given(old=OBJECT, new=OBJECT)
def test_a_merge_patch_leads_where_it_was_made_for(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = difference(old, new)
    before = repr(old)

    assert merge_patch(old, patch) == new
    assert merge_patch(new, patch) == new
    assert repr(old) == before


@given(document=OBJECT, value=DOCUMENT)
def test_json_patch_puts_in_what_it_takes_out(document: dict[str, Any], value: Any) -> None:
    before = repr(document)
    added = json_patch(document, [{"op": "add", "path": "/n", "value": value}, {"op": "test", "path": "/n", "value": value}])

    assert added == {**document, "n": value}
    assert json_patch(added, [{"op": "move", "from": "/n", "path": "/m"}, {"op": "remove", "path": "/m"}]) == document
    assert repr(document) == before


def test_lists_and_escapes() -> None:
    document = {"list": [1, 2], "a/b~c": 1}
    operations = [
        {"op": "add", "path": "/list/-", "value": 4},
        {"op": "add", "path": "/list/2", "value": 3},
        {"op": "replace", "path": "/list/0", "value": 0},
        {"op": "remove", "path": "/a~1b~0c"},
        {"op": "copy", "from": "/list/0", "path": "/copied"},
    ]

    assert json_patch(document, operations) == {"list": [0, 2, 3, 4], "copied": 0}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/absent"},
        {"op": "replace", "path": "/absent", "value": 1},
        {"op": "add", "path": "/absent/deeper", "value": 1},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "test", "path": "/x", "value": 2},
        {"op": "test", "path": "/absent", "value": 2},
        {"op": "frobnicate", "path": "/x"},
        {"op": "add", "path": "/x"},
        {"path": "/x"},
    ],
)
def test_what_does_not_fit_is_refused(operation: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        json_patch({"x": 1, "list": []}, [operation])


@given(document=OBJECT)
def test_an_object_is_its_leaves(document: dict[str, Any]) -> None:
    found = leaves(document)
    for path in found:
        if path:
            assert path not in leaves(without(document, path))
    assert all(isinstance(value, (int, str, list)) or value == {} for value in found.values())
