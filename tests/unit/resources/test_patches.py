"""JSON patch (RFC 6902) and merge patch (RFC 7386)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.resources.patches import MAX_OPERATIONS, PatchError, json_patch, merge_patch
from plum_controller.resources.schema.values import is_same

scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "x", "~/"]))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "c/d~"]), inner, max_size=3)),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)

# The examples of RFC 6902, appendix A.
JSON_PATCHES: list[tuple[Any, list[dict[str, Any]], Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo", "foo": "bar"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"grandchild": {}}}], {"foo": "bar", "child": {"grandchild": {}}}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
    ({"a": 1}, [{"op": "add", "path": "", "value": [1]}], [1]),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {}}], {}),
    ({"a": 1}, [{"op": "remove", "path": ""}], None),
    ({"": {"": 1}}, [{"op": "test", "path": "//", "value": 1}], {"": {"": 1}}),
    ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
    ({"a": [1]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2]}),
    ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    ({"a": 1}, [{"op": "add", "path": "/a", "value": None}], {"a": None}),
]


@pytest.mark.parametrize(("doc", "operations", "result"), JSON_PATCHES)
def test_json_patches_do_what_the_rfc_says(doc: Any, operations: list[dict[str, Any]], result: Any) -> None:
    before = copy.deepcopy([doc, operations])

    assert json_patch(doc, operations) == result
    assert [doc, operations] == before


@pytest.mark.parametrize(
    ("doc", "operation"),
    [
        ({"foo": "bar"}, {"op": "test", "path": "/foo", "value": "other"}),
        ({"foo": 1}, {"op": "test", "path": "/foo", "value": True}),
        ({"foo": 10}, {"op": "test", "path": "/foo", "value": "10"}),
        ({"foo": "bar"}, {"op": "test", "path": "/missing", "value": None}),
        ({"foo": "bar"}, {"op": "add", "path": "/baz/bat", "value": "qux"}),
        ({"foo": [1]}, {"op": "add", "path": "/foo/2", "value": 1}),
        ({"foo": [1]}, {"op": "add", "path": "/foo/01", "value": 1}),
        ({"foo": [1]}, {"op": "add", "path": "/foo/x", "value": 1}),
        ({"foo": [1]}, {"op": "replace", "path": "/foo/-1", "value": 1}),
        ({"foo": [1]}, {"op": "replace", "path": "/foo/-", "value": 1}),
        ({"foo": [1]}, {"op": "remove", "path": "/foo/1"}),
        ({"foo": "bar"}, {"op": "add", "path": "/foo/x", "value": 1}),
        ({"foo": "bar"}, {"op": "remove", "path": "/baz"}),
        ({"foo": "bar"}, {"op": "replace", "path": "/baz", "value": 1}),
        ({"foo": "bar"}, {"op": "replace", "path": "/foo"}),
        ({"foo": "bar"}, {"op": "add", "path": "baz", "value": 1}),
        ({"foo": "bar"}, {"op": "add", "value": 1}),
        ({"foo": "bar"}, {"op": "move", "path": "/x"}),
        ({"foo": {"a": 1}}, {"op": "move", "from": "/foo", "path": "/foo/a"}),
        ({"foo": [{}, {}]}, {"op": "move", "from": "/foo/0", "path": "/foo/0/a"}),
        ({"foo": "bar"}, {"op": "move", "from": "/baz", "path": "/x"}),
        ({"foo": "bar"}, {"op": "merge", "path": "/foo", "value": 1}),
        ({"foo": "bar"}, {"path": "/foo", "value": 1}),
    ],
)
def test_operations_that_do_not_fit_are_refused_with_422(doc: Any, operation: dict[str, Any]) -> None:
    before = copy.deepcopy(doc)

    with pytest.raises(PatchError) as error:
        json_patch(doc, [{"op": "add", "path": "/new", "value": 1}, operation])

    assert error.value.code == 422
    assert doc == before


@pytest.mark.parametrize("operations", [{}, "x", None, [1], [None], [[]]])
def test_what_is_no_json_patch_is_refused_with_400(operations: Any) -> None:
    with pytest.raises(PatchError) as error:
        json_patch({}, operations)

    assert error.value.code == 400


def test_a_patch_cannot_grow_an_object_without_end() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 40

    with pytest.raises(PatchError) as error:
        json_patch({"a": ["x" * 1000]}, doubling)
    assert error.value.code == 413

    with pytest.raises(PatchError) as error:
        json_patch({}, [{"op": "test", "path": "", "value": {}}] * (MAX_OPERATIONS + 1))
    assert error.value.code == 413


@pytest.mark.parametrize("op", ["copy", "move", "add", "replace"])
def test_a_patch_cannot_nest_an_object_without_end(op: str) -> None:
    deep: Any = 1
    for _ in range(150):
        deep = {"a": deep}
    place = "/b" + "/a" * 100
    operation = {"op": op, "from": "/c", "path": place, "value": deep}

    with pytest.raises(PatchError, match="nested more than 200 levels deep"):
        json_patch({"b": deep, "c": deep}, [operation])
    assert json_patch({"b": {"a": 1}, "c": deep}, [{**operation, "path": "/b/a"}])["b"]["a"] == deep


def test_the_message_names_the_path_as_it_was_written() -> None:
    with pytest.raises(PatchError, match="path /a~1b/c~0d does not exist in the object"):
        json_patch({"a/b": {}}, [{"op": "remove", "path": "/a~1b/c~0d"}])


def test_managed_fields_can_be_patched_without_changing_the_original() -> None:
    doc = {"metadata": {"managedFields": [{"manager": "a", "fieldsV1": {"f:a": {}}}], "resourceVersion": "1"}}
    before = copy.deepcopy(doc)

    inside = json_patch(doc, [{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "b"}])
    moved = json_patch(
        doc, [{"op": "move", "from": "/metadata/managedFields/0", "path": "/x"}, {"op": "add", "path": "/x/y", "value": 1}]
    )
    replaced = json_patch(doc, [{"op": "replace", "path": "/metadata/managedFields", "value": []}])
    untouched = json_patch(doc, [{"op": "replace", "path": "/metadata/resourceVersion", "value": "2"}])

    assert doc == before
    assert inside["metadata"]["managedFields"][0]["manager"] == "b"
    assert moved["x"] == {**before["metadata"]["managedFields"][0], "y": 1}  # type: ignore[dict-item, index]
    assert replaced["metadata"]["managedFields"] == []
    assert untouched["metadata"] == {**before["metadata"], "resourceVersion": "2"}


def locations(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every place of a value: its pointer and what is there."""
    found = [(path, value)]
    if isinstance(value, dict):
        for name, child in value.items():
            found += locations(child, f"{path}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            found += locations(child, f"{path}/{index}")
    return found


@given(objects, values, st.data())
def test_what_was_put_somewhere_is_there(doc: dict[str, Any], value: Any, data: st.DataObject) -> None:
    path, old = data.draw(st.sampled_from(locations(doc)))

    replaced = json_patch(doc, [{"op": "test", "path": path, "value": old}, {"op": "replace", "path": path, "value": value}])

    assert is_same(dict(locations(replaced))[path], value)
    assert is_same(json_patch(replaced, [{"op": "replace", "path": path, "value": old}]), doc)


@given(objects, values)
def test_adding_and_removing_again_changes_nothing(doc: dict[str, Any], value: Any) -> None:
    operations = [{"op": "add", "path": "/new", "value": value}, {"op": "copy", "from": "/new", "path": "/copy"}]

    added = json_patch(doc, operations)
    removed = json_patch(added, [{"op": "move", "from": "/copy", "path": "/new"}, {"op": "remove", "path": "/new"}])

    assert is_same(added["copy"], value)
    assert is_same(removed, doc)


# The test cases of RFC 7386, appendix A.
MERGE_PATCHES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("doc", "patch", "result"), MERGE_PATCHES)
def test_merge_patches_do_what_the_rfc_says(doc: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy([doc, patch])

    assert merge_patch(doc, patch) == result
    assert [doc, patch] == before


@given(values, values)
def test_a_merge_patch_may_be_repeated(doc: Any, patch: Any) -> None:
    once = merge_patch(doc, patch)

    assert is_same(merge_patch(once, patch), once)


@given(objects, objects)
def test_keys_keep_their_place(doc: dict[str, Any], patch: dict[str, Any]) -> None:
    merged = list(merge_patch(doc, patch))

    assert merged[: len(set(merged) & set(doc))] == [name for name in doc if name in merged]


@given(objects, objects)
def test_nothing_of_a_result_is_shared(doc: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy([doc, patch])

    for result in (merge_patch(doc, patch), json_patch(doc, [{"op": "add", "path": "/new", "value": patch}])):
        for _, part in reversed(locations(result)):
            if isinstance(part, dict | list):
                part.clear()

    assert [doc, patch] == before
