"""Sets of fields: the laws of sets, and the one spelling of each set."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from plum_controller.resources.fields import elements
from plum_controller.resources.fields.sets import FieldSet

from tests.support.fields import field_sets, paths


@given(field_sets, field_sets)
def test_the_operations_are_those_of_sets_of_paths(a: FieldSet, b: FieldSet) -> None:
    mine, theirs = set(a), set(b)

    assert set(a.union(b)) == mine | theirs
    assert set(a.intersection(b)) == mine & theirs
    assert set(a.difference(b)) == mine - theirs


@given(field_sets, field_sets)
def test_a_recursive_difference_takes_whole_subtrees(a: FieldSet, b: FieldSet) -> None:
    gone = set(b)

    left = {path for path in a if not any(path[:length] in gone for length in range(1, len(path) + 1))}

    assert set(a.recursive_difference(b)) == left


@given(field_sets, field_sets)
def test_equal_sets_have_equal_trees(a: FieldSet, b: FieldSet) -> None:
    assert (a == b) == (set(a) == set(b))
    assert a.union(b) == b.union(a)
    assert a.union(b).difference(b).union(a.intersection(b)) == a


@given(field_sets)
def test_fields_v1_round_trips(fields: FieldSet) -> None:
    stored = json.loads(json.dumps(fields.to_fields_v1()))

    assert FieldSet.from_fields_v1(stored) == fields
    assert stored == fields.tree


@given(field_sets, paths)
def test_membership_is_of_paths_not_of_what_is_on_the_way(fields: FieldSet, path: tuple[str, ...]) -> None:
    assert (path in fields) == (path in set(fields))


@given(field_sets, field_sets)
def test_operations_leave_their_arguments_alone(a: FieldSet, b: FieldSet) -> None:
    before = json.dumps([a.tree, b.tree])

    a.union(b), a.difference(b), a.intersection(b), a.recursive_difference(b)

    assert json.dumps([a.tree, b.tree]) == before


def test_paths_come_sorted_with_the_members_of_a_level_first() -> None:
    fields = FieldSet.of(
        ("f:spec", "f:env", 'k:{"name":"A"}', "f:value"),
        ("f:spec", "f:image"),
        ("f:spec", "f:env", 'k:{"name":"A"}'),
        ("f:spec",),
    )

    shown = [elements.shown_path(path) for path in fields]

    assert shown == [".spec", ".spec.image", '.spec.env[name="A"]', '.spec.env[name="A"].value']


@pytest.mark.parametrize(
    ("element", "spelled"),
    [
        ('k:{ "b" : 1.0, "a":"x" }', 'k:{"a":"x","b":1}'),
        ('v: "x"', 'v:"x"'),
        ("v:2.0", "v:2"),
        ("v:true", "v:true"),
        ("f:a b", "f:a b"),
        ("i:3", "i:3"),
    ],
)
def test_an_element_has_one_spelling(element: str, spelled: str) -> None:
    assert elements.canonical(element) == spelled


@pytest.mark.parametrize("element", ["", "x:1", "k:{}", "k:[]", "k:nonsense", "v:null", "v:{}", "v:[1]", "i:x", "name"])
def test_what_is_no_element_is_refused(element: str) -> None:
    with pytest.raises(ValueError):
        elements.canonical(element)


@pytest.mark.parametrize("fields", [None, [], {"f:a": 1}, {"f:a": None}, {"f:a": {"bad": {}}}])
def test_what_is_no_fields_v1_is_refused(fields: object) -> None:
    with pytest.raises(ValueError):
        FieldSet.from_fields_v1(fields)  # type: ignore[arg-type]


def test_spellings_of_one_element_are_joined() -> None:
    fields = FieldSet.from_fields_v1({'k:{"a":1}': {"f:x": {}}, 'k:{"a": 1.0}': {"f:y": {}}, "f:empty": {"f:inner": {}}})

    assert set(fields) == {('k:{"a":1}', "f:x"), ('k:{"a":1}', "f:y"), ("f:empty", "f:inner")}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (("f:spec", "f:replicas"), ".spec.replicas"),
        (("f:spec", 'k:{"port":80,"protocol":"TCP"}'), '.spec[port=80,protocol="TCP"]'),
        (("f:metadata", "f:finalizers", 'v:"a/b"'), '.metadata.finalizers[="a/b"]'),
        (("f:list", "i:2"), ".list[2]"),
        (("f:flags", "v:true"), ".flags[=true]"),
    ],
)
def test_paths_are_shown_as_kubernetes_shows_them(path: tuple[str, ...], shown: str) -> None:
    assert elements.shown_path(path) == shown
