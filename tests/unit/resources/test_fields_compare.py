"""What changed between two objects, and which fields a configuration sets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from plum_controller.resources.fields.compare import compare, whole
from plum_controller.resources.fields.config import check_types, field_set
from plum_controller.resources.fields.elements import shown_path
from plum_controller.resources.fields.sets import FieldSet, Tree, paths
from plum_controller.resources.fields.typed import FREE, FieldSchema, FieldTypeError
from plum_controller.resources.schema.values import is_same

from tests.support.fields import OPENAPI, SCHEMA, specs, thing, things

Json = dict[str, Any]


def shown(tree: Tree) -> set[str]:
    return {shown_path(path) for path in paths(tree)}


def changes(old: Json, new: Json) -> tuple[set[str], set[str], set[str]]:
    added, modified, removed = compare(thing(old), thing(new), SCHEMA.root)
    return shown(added), shown(modified), shown(removed)


@given(things, things)
def test_what_is_added_one_way_is_removed_the_other_way(old: Json, new: Json) -> None:
    there, back = compare(old, new, SCHEMA.root), compare(new, old, SCHEMA.root)

    assert (there.added, there.removed) == (back.removed, back.added)
    assert there.modified == back.modified


@given(things, things)
def test_nothing_changed_exactly_when_the_objects_are_the_same(old: Json, new: Json) -> None:
    assert compare(old, new, SCHEMA.root).is_empty == same_but_for_order(old, new)


def same_but_for_order(a: Any, b: Any) -> bool:
    """Sets and list maps are not ordered."""

    def normal(obj: Json) -> Json:
        spec = dict(obj["spec"])
        if "groups" in spec:
            spec["groups"] = sorted(spec["groups"])
        for name, key in (
            ("env", lambda item: item["name"]),
            ("ports", lambda item: (item["port"], item.get("protocol", "TCP"))),
        ):
            if name in spec:
                spec[name] = sorted(spec[name], key=key)
        metadata = dict(obj["metadata"])
        if "finalizers" in metadata:
            metadata["finalizers"] = sorted(metadata["finalizers"])
        return {**obj, "spec": spec, "metadata": metadata}

    return is_same(normal(a), normal(b))


@given(things, things)
def test_the_three_sets_do_not_overlap(old: Json, new: Json) -> None:
    added, modified, removed = (FieldSet(tree) for tree in compare(old, new, SCHEMA.root))

    assert not added.intersection(modified)
    assert not added.intersection(removed)
    assert not modified.intersection(removed)


@given(specs)
def test_a_new_object_adds_every_path_that_its_configuration_sets(spec: Json) -> None:
    added = FieldSet(compare({}, thing(spec), SCHEMA.root).added)

    assert not FieldSet(field_set(thing(spec), SCHEMA.root)).difference(added)


def test_a_changed_leaf_is_modified() -> None:
    assert changes({"replicas": 1, "image": "x"}, {"replicas": 2, "image": "x"}) == (set(), {".spec.replicas"}, set())


def test_an_added_object_counts_with_all_that_is_in_it() -> None:
    added, modified, removed = changes({}, {"strategy": {"type": "x"}})

    assert added == {".spec.strategy", ".spec.strategy.type"}
    assert not modified and not removed


def test_items_of_list_maps_are_compared_by_key() -> None:
    old = {"env": [{"name": "A", "value": "1"}, {"name": "B"}]}
    new = {"env": [{"name": "C"}, {"name": "A", "value": "2"}]}

    assert changes(old, new) == (
        {'.spec.env[name="C"]', '.spec.env[name="C"].name'},
        {'.spec.env[name="A"].value'},
        {'.spec.env[name="B"]', '.spec.env[name="B"].name'},
    )


def test_missing_keys_have_their_default() -> None:
    assert changes({"ports": [{"port": 1}]}, {"ports": [{"port": 1, "protocol": "TCP"}]}) == (
        {'.spec.ports[port=1,protocol="TCP"].protocol'},
        set(),
        set(),
    )


def test_sets_have_items_and_atomic_values_have_none() -> None:
    assert changes({"groups": ["r", "s"]}, {"groups": ["s", "t"]}) == ({'.spec.groups[="t"]'}, set(), {'.spec.groups[="r"]'})
    assert changes({"command": ["x"]}, {"command": ["y"]})[1] == {".spec.command"}
    assert changes({"atom": {"a": 1}}, {"atom": {"a": 2}})[1] == {".spec.atom"}


@pytest.mark.parametrize(("old", "new"), [({}, None), (None, {}), ("x", 1), (1, True), ([], {}), ({}, []), (1, None), ([1], [2])])
def test_values_without_parts_are_modified_as_a_whole(old: Any, new: Any) -> None:
    assert changes({"free": {"m": old}}, {"free": {"m": new}}) == (set(), {".spec.free.m"}, set())


def test_an_object_that_becomes_a_scalar_is_walked_both_ways() -> None:
    assert changes({"free": {"m": {"p": 1}}}, {"free": {"m": 2}}) == (set(), {".spec.free.m"}, {".spec.free.m.p"})
    assert changes({"free": {"m": 2}}, {"free": {"m": {"p": 1}}}) == ({".spec.free.m.p"}, {".spec.free.m"}, set())


def test_null_counts_as_an_empty_container() -> None:
    assert changes({"free": {"m": None}}, {"free": {"m": {"p": 1}}}) == ({".spec.free.m.p"}, set(), set())
    assert changes({"env": None}, {"env": [{"name": "A"}]})[0] == {'.spec.env[name="A"]', '.spec.env[name="A"].name'}


def test_true_is_not_one_and_one_is_one_point_zero() -> None:
    assert not is_same({"a": [1]}, {"a": [True]})
    assert is_same({"a": [1]}, {"a": [1.0]})
    assert is_same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert changes({"free": {"m": 1}}, {"free": {"m": True}})[1] == {".spec.free.m"}
    assert changes({"free": {"m": 1}}, {"free": {"m": 1.0}}) == (set(), set(), set())


def test_repeated_items_change_together() -> None:
    twice = {"groups": ["r", "r"]}

    assert changes(twice, {"groups": ["r"]}) == ({'.spec.groups[="r"]'}, set(), {'.spec.groups[="r"]'})
    assert changes({"groups": ["r"]}, twice) == ({'.spec.groups[="r"]'}, set(), {'.spec.groups[="r"]'})
    assert changes(twice, {"groups": ["r", "r", "r"]})[1] == {'.spec.groups[="r"]'}
    assert changes({}, {"groups": ["r", "r", "s"]})[0] == {".spec.groups", '.spec.groups[="r"]', '.spec.groups[="s"]'}


def test_an_item_without_its_key_cannot_be_named() -> None:
    with pytest.raises(FieldTypeError) as error:
        compare(thing({"env": []}), thing({"env": [{"value": "x"}]}), SCHEMA.root)

    assert str(error.value) == (
        '.spec.env: associative list with keys has an element that omits key field "name" (and doesn\'t have default value)'
    )


def test_a_text_is_no_item_of_a_list_map_even_if_an_item_has_its_name() -> None:
    node = SCHEMA.root.fields["spec"].fields["env"]  # type: ignore[index, union-attr]
    assert node.item_element({"name": "A"}) == 'k:{"name":"A"}'

    with pytest.raises(FieldTypeError, match="associative list with keys may not have non-map elements"):
        node.item_element("A")


def test_objects_with_only_scalars_are_cached_but_not_confused() -> None:
    node = SCHEMA.root.fields["spec"].fields["strategy"]  # type: ignore[index, union-attr]

    assert whole({"type": "x", "surge": 1}, node) == {".": {}, "f:type": {}, "f:surge": {}}
    assert whole({"type": "x", "unknown": {"a": 1}}, node) == {".": {}, "f:type": {}, "f:unknown": {".": {}, "f:a": {}}}
    assert whole({}, node) == {}


def test_a_configuration_owns_leaves_items_and_keys_of_free_maps() -> None:
    spec = {
        "replicas": 1,
        "strategy": {"type": "x"},
        "limits": {"u": "1"},
        "atom": {"a": 1},
        "command": [],
        "groups": ["r"],
        "env": [{"name": "A", "from": {"key": "k"}}],
        "free": {"m": {"p": [1]}, "n": {}},
    }

    assert shown(field_set({"spec": spec}, SCHEMA.root)) == {
        ".spec.replicas",
        ".spec.strategy.type",
        ".spec.limits.u",
        ".spec.atom",
        ".spec.command",
        '.spec.groups[="r"]',
        '.spec.env[name="A"]',
        '.spec.env[name="A"].name',
        '.spec.env[name="A"].from.key',
        ".spec.free.m",
        ".spec.free.m.p",
        ".spec.free.n",
    }


def test_empty_objects_and_nulls_are_owned_empty_lists_with_parts_are_not() -> None:
    spec: Json = {"strategy": {}, "env": [], "groups": [], "limits": None, "image": None}

    assert shown(field_set({"spec": spec}, SCHEMA.root)) == {".spec.strategy", ".spec.limits", ".spec.image"}


def test_metadata_merges_as_in_kubernetes() -> None:
    owner = {"uid": "1", "name": "n", "kind": "K", "apiVersion": "v1"}
    metadata = {"labels": {"a": "b"}, "finalizers": ["x/y"], "ownerReferences": [owner]}

    assert shown(field_set({"metadata": metadata}, SCHEMA.root)) == {
        ".metadata.labels.a",
        '.metadata.finalizers[="x/y"]',
        '.metadata.ownerReferences[uid="1"]',
    }


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"zz": 1}, [".spec.zz: field not declared in schema"]),
        ({"replicas": "x"}, [".spec.replicas: expected numeric (int or float), got string"]),
        ({"image": 1}, [".spec.image: expected string, got int64"]),
        ({"strategy": [1]}, [".spec.strategy: expected map, got []interface {}"]),
        ({"env": {}}, [".spec.env: expected list, got map[string]interface {}"]),
        ({"env": [{"name": "A"}, {"name": "A"}]}, ['.spec.env: duplicate entries for key [name="A"]']),
        ({"groups": [None]}, [".spec.groups: element 0: associative list without keys has an element that's an explicit null"]),
        ({"groups": [[]]}, [".spec.groups: element 0: not supported: associative list with lists as elements"]),
        ({"groups": [{}]}, [".spec.groups: element 0: associative list without keys has an element that's a map type"]),
        (
            {"env": [1, None]},
            [
                ".spec.env: element 0: associative list with keys may not have non-map elements",
                ".spec.env: element 1: associative list with keys may not have a null element",
            ],
        ),
        ({"env": [{"name": "A", "zz": 1}]}, ['.spec.env[name="A"].zz: field not declared in schema']),
        ({"command": [1]}, [".spec.command[0]: expected string, got int64"]),
        ({"free": {"a": [1, {}]}, "strategy": None, "replicas": None}, []),
    ],
)
def test_a_configuration_must_fit_the_schema(spec: Json, errors: list[str]) -> None:
    assert check_types(thing(spec), SCHEMA.root) == errors


def test_without_a_schema_objects_have_parts_and_lists_do_not() -> None:
    tree = whole({"a": {"b": [1, {"c": 2}]}}, FREE)

    assert shown(tree) == {".a", ".a.b"}


def test_reset_fields_follow_the_endpoint() -> None:
    assert FieldSet(SCHEMA.reset_fields("")) == FieldSet.of(("f:status",))
    assert FieldSet(SCHEMA.reset_fields("status")) == FieldSet.of(("f:metadata",), ("f:spec",))
    assert not SCHEMA.reset_fields("scale")
    assert not FieldSchema.from_openapi(OPENAPI, has_status=False).reset_fields("")
