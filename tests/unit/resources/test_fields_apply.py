"""Server-side apply: the laws of ownership, and Kubernetes' texts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from plum_controller.resources.errors import Cause
from plum_controller.resources.fields.apply import LAST_APPLIED, ApplyConflict, ApplyError, ApplyResult, apply
from plum_controller.resources.fields.compare import compare
from plum_controller.resources.fields.config import field_set
from plum_controller.resources.fields.merge import merge
from plum_controller.resources.fields.prune import prune
from plum_controller.resources.fields.sets import FieldSet, intersection, union
from plum_controller.resources.fields.tracking import STRIP, track_update
from plum_controller.resources.schema.values import is_same

from tests.support.fields import API, SCHEMA, owners_of, prune_by_sets, specs, thing, things, without_entries

Json = dict[str, Any]

managers = st.sampled_from(["ann", "bob", "cy"])


def applied(
    live: Json | None, config: Json, manager: str, *, force: bool = False, now: int = 0, subresource: str = ""
) -> ApplyResult:
    return apply(live, config, manager, API, subresource, time(now), force, SCHEMA)


def updated(live: Json | None, new: Json, manager: str, *, now: int = 0, subresource: str = "") -> Json:
    new = copy.deepcopy(new)
    if live is not None and "managedFields" in live["metadata"]:
        new["metadata"].setdefault("managedFields", live["metadata"]["managedFields"])
    track_update(live, new, manager, API, subresource, time(now), SCHEMA)
    return new


def time(seconds: int) -> str:
    return f"2024-01-01T00:{seconds // 60:02}:{seconds % 60:02}Z"


class Write:
    """One write of a random history."""

    def __init__(self, manager: str, body: Json, is_apply: bool) -> None:
        self.manager = manager
        self.body = body
        self.is_apply = is_apply

    def do(self, live: Json | None, now: int) -> Json:
        if self.is_apply:
            return applied(live, self.body, self.manager, force=True, now=now).object
        return updated(live, self.body, self.manager, now=now)

    def __repr__(self) -> str:
        return f"{self.manager} {'applies' if self.is_apply else 'writes'} {self.body}"


writes = st.builds(Write, managers, things, st.booleans())
histories = st.lists(writes, min_size=1, max_size=5)


def live_after(history: list[Write]) -> Json:
    live = None
    for now, write in enumerate(history):
        live = write.do(live, now)
    assert live is not None
    return live


@given(histories, things, managers)
def test_applying_again_changes_nothing(history: list[Write], config: Json, manager: str) -> None:
    once = applied(live_after(history), config, manager, force=True, now=50).object

    again = applied(once, config, manager, now=59)

    assert again.object == once
    assert not again.changed


@given(histories, things, managers)
def test_what_is_applied_is_there(history: list[Write], config: Json, manager: str) -> None:
    result = applied(live_after(history), config, manager, force=True).object

    assert is_same(without_entries(applied(result, config, manager).object), without_entries(result))
    assert without_entries(result)["spec"].get("replicas", ...) == config["spec"].get(
        "replicas", result["spec"].get("replicas", ...)
    )
    missing = compare(merge(without_entries(result), config, SCHEMA.root), without_entries(result), SCHEMA.root)
    assert missing.is_empty


@given(histories, things, managers)
def test_the_applier_owns_its_configuration_and_nothing_else(history: list[Write], config: Json, manager: str) -> None:
    result = applied(live_after(history), config, manager, force=True).object

    expected = FieldSet(field_set(config, SCHEMA.root)).difference(FieldSet(STRIP))
    assert owners_of(result).get((manager, "Apply"), FieldSet()) == expected


@given(histories, things, managers)
def test_a_manager_removes_only_what_it_applied_before(history: list[Write], config: Json, manager: str) -> None:
    live = live_after(history)
    before = owners_of(live)
    mine = before.get((manager, "Apply"), FieldSet())

    result = applied(live, config, manager, force=True).object

    removed = compare(without_entries(live), without_entries(result), SCHEMA.root).removed
    leaves = FieldSet(intersection(field_set(without_entries(live), SCHEMA.root), removed))
    assert not leaves.difference(mine)
    for owner, fields in before.items():
        if owner != (manager, "Apply"):
            assert not leaves.intersection(fields)


@given(histories, things, managers)
def test_force_takes_over_what_the_configuration_sets(history: list[Write], config: Json, manager: str) -> None:
    live = live_after(history)

    result = applied(live, config, manager, force=True).object

    changes = compare(without_entries(live), without_entries(result), SCHEMA.root)
    changed = FieldSet(union(changes.added, changes.modified))
    for owner, fields in owners_of(result).items():
        if owner != (manager, "Apply"):
            assert not fields.intersection(changed)


@given(histories, things, managers)
def test_without_force_it_succeeds_exactly_when_nobody_else_loses_anything(
    history: list[Write], config: Json, manager: str
) -> None:
    live = live_after(history)
    assume(owners_of(live))  # what nobody tracked until now belongs to before-first-apply, see below
    forced = applied(live, config, manager, force=True).object
    others = {owner: fields for owner, fields in owners_of(live).items() if owner != (manager, "Apply")}
    changes = compare(without_entries(live), without_entries(forced), SCHEMA.root)
    changed = FieldSet(union(changes.added, changes.modified))
    taken = {(owner[0], path) for owner, fields in others.items() for path in fields.intersection(changed)}

    try:
        result = applied(live, config, manager)
    except ApplyConflict as error:
        assert {(owner.manager, path) for owner, path in error.conflicts} == taken
        assert taken
    else:
        assert not taken
        assert result.object == forced


@given(histories)
def test_every_tracked_field_has_an_owner(history: list[Write]) -> None:
    live = None
    for now, write in enumerate(history):
        live = write.do(live, now)
        assume(owners_of(live))  # an object whose last owner lost its last field is not tracked any more
    assert live is not None

    owned = FieldSet()
    for fields in owners_of(live).values():
        owned = owned.union(fields)

    leaves = FieldSet(field_set(without_empty(without_entries(live)), SCHEMA.root)).difference(FieldSet(STRIP))
    assert not leaves.difference(owned)


def without_empty(value: Any) -> Any:
    """Without empty objects and nulls: emptying an object takes its fields from their owners and gives nobody anything."""
    if not isinstance(value, dict):
        return value
    kept = {name: without_empty(child) for name, child in value.items()}
    return {name: child for name, child in kept.items() if child is not None and child != {}}


@given(histories, specs, managers)
def test_an_update_makes_its_writer_the_only_owner_of_what_changed(history: list[Write], spec: Json, manager: str) -> None:
    live = live_after(history)
    assume(owners_of(live))

    result = updated(live, {**copy.deepcopy(live), "spec": spec}, manager)

    changes = compare(without_entries(live), without_entries(result), SCHEMA.root)
    changed = FieldSet(union(changes.added, changes.modified))
    mine = owners_of(result).get((manager, "Update"), FieldSet())
    assert not changed.difference(mine)
    for owner, fields in owners_of(result).items():
        assert not fields.intersection(FieldSet(changes.removed))
        assert owner == (manager, "Update") or not fields.intersection(changed)


@given(histories, managers)
def test_an_update_that_changes_nothing_keeps_the_entries(history: list[Write], manager: str) -> None:
    live = live_after(history)

    assert updated(live, live, manager, now=59) == live


@given(histories, things)
def test_arguments_are_left_alone_and_nothing_is_shared(history: list[Write], config: Json) -> None:
    live = live_after(history)
    before = copy.deepcopy([live, config])

    result = applied(live, config, "bob", force=True).object

    assert [live, config] == before
    for part in containers(without_entries(result)):
        part.clear()
    assert [live, config] == before


def containers(value: Any) -> list[Any]:
    """Every object and list inside a value, innermost first."""
    if not isinstance(value, dict | list):
        return []
    children = value.values() if isinstance(value, dict) else value
    return [*(part for child in children for part in containers(child)), value]


@given(histories, things, managers)
def test_pruning_agrees_with_the_description_by_whole_sets(history: list[Write], config: Json, manager: str) -> None:
    live = live_after(history)
    base = without_entries(live)
    last = owners_of(live).get((manager, "Apply"), FieldSet()).tree
    managed = field_set(config, SCHEMA.root)
    for owner, fields in owners_of(live).items():
        if owner != (manager, "Apply"):
            managed = union(managed, fields.tree)
    merged = merge(base, config, SCHEMA.root)
    # With whole sets an object that keeps nothing but empty lists counts as given up, whoever owns it. Here it stays.
    assume(not any(part == [] for part in containers(merged)))

    assert prune(merged, last, managed, SCHEMA.root) == prune_by_sets(merged, last, managed, SCHEMA.root)


def test_create_by_apply() -> None:
    result = applied(None, thing({"replicas": 1}, {"labels": {"k": "v"}}), "bob", now=5)

    assert result.changed
    assert result.object["metadata"]["managedFields"] == [
        {
            "manager": "bob",
            "operation": "Apply",
            "apiVersion": API,
            "time": time(5),
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:k": {}}}, "f:spec": {"f:replicas": {}}},
        }
    ]


def test_one_conflict_reads_as_in_kubernetes() -> None:
    live = applied(None, thing({"image": "x"}), "bob").object

    with pytest.raises(ApplyConflict) as error:
        applied(live, thing({"image": "y"}), "kubectl")

    assert str(error.value) == 'Apply failed with 1 conflict: conflict with "bob": .spec.image'
    assert error.value.causes == [Cause("FieldManagerConflict", 'conflict with "bob"', ".spec.image")]


def test_several_conflicts_read_as_in_kubernetes() -> None:
    live = updated(None, thing({"image": "x", "env": [{"name": "A", "value": "1"}]}), "kubectl")
    live = updated(live, {**live, "status": {"free": 1}}, "agent", subresource="status")
    live = applied(live, thing({"replicas": 1}), "bob").object

    with pytest.raises(ApplyConflict) as error:
        applied(live, thing({"replicas": 2, "image": "y", "env": [{"name": "A", "value": "2"}]}), "cy")

    assert str(error.value) == (
        'Apply failed with 3 conflicts: conflicts with "bob":\n- .spec.replicas\n'
        'conflicts with "kubectl" using plum.dev/v1:\n- .spec.image\n- .spec.env[name="A"].value'
    )


def test_an_owner_through_a_subresource_is_named_with_it() -> None:
    live = updated(None, thing({"replicas": 1}), "ann")
    live = updated(live, {**live, "spec": {"replicas": 3}}, "scaler", subresource="scale")

    with pytest.raises(ApplyConflict) as error:
        applied(live, thing({"replicas": 2}), "bob")

    assert str(error.value) == (
        'Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using plum.dev/v1: .spec.replicas'
    )


def test_the_same_value_makes_a_second_owner() -> None:
    live = applied(None, thing({"image": "x"}), "bob", now=1).object

    result = applied(live, thing({"image": "x"}), "cy", now=9)

    assert not result.changed
    image = ("f:spec", "f:image")
    assert {owner for owner, fields in owners_of(result.object).items() if image in fields} == {("bob", "Apply"), ("cy", "Apply")}
    assert "time" not in result.object["metadata"]["managedFields"][0]


def test_a_field_goes_when_its_last_owner_gives_it_up() -> None:
    live = applied(None, thing({"image": "x", "replicas": 1}), "bob").object
    live = applied(live, thing({"image": "x"}), "cy").object

    live = applied(live, thing({"replicas": 1}), "bob").object
    assert live["spec"] == {"image": "x", "replicas": 1}

    live = applied(live, thing({}), "cy").object
    assert live["spec"] == {"replicas": 1}


def test_an_object_goes_with_its_last_field_unless_somebody_owns_it() -> None:
    live = applied(None, thing({"strategy": {"type": "x"}, "image": "x"}), "bob").object

    assert applied(live, thing({"image": "x"}), "bob").object["spec"] == {"image": "x"}

    live = updated(None, thing({"image": "x"}), "ann")
    live = updated(live, {**live, "spec": {"image": "x", "strategy": {"surge": 1}}}, "ann")
    live = applied(live, thing({"strategy": {"type": "y"}}), "bob").object
    assert applied(live, thing({}), "bob").object["spec"] == {"image": "x", "strategy": {"surge": 1}}


def test_an_emptied_list_stays_when_its_applier_gives_it_up() -> None:
    live = applied(None, thing({"env": [{"name": "A"}], "image": "x"}), "bob").object
    live = updated(live, {**live, "spec": {"env": [], "image": "x"}}, "ann")

    assert applied(live, thing({"image": "x"}), "bob").object["spec"] == {"env": [], "image": "x"}


def test_the_items_of_a_list_go_one_by_one() -> None:
    live = applied(None, thing({"env": [{"name": "A"}, {"name": "B"}]}), "bob").object
    live = applied(live, thing({"env": [{"name": "C"}]}), "cy").object

    live = applied(live, thing({"env": [{"name": "B"}]}), "bob").object

    assert [item["name"] for item in live["spec"]["env"]] == ["C", "B"] or [item["name"] for item in live["spec"]["env"]] == [
        "B",
        "C",
    ]


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("abc", "xa", "xabc"),
        ("abc", "cb", "acb"),
        ("abc", "c", "abc"),
        ("abcd", "dxb", "acdxb"),
        ("", "ab", "ab"),
        ("ab", "cd", "abcd"),
        ("abc", "bxa", "bcxa"),
    ],
)
def test_lists_merge_in_the_order_of_the_configuration(live: str, config: str, merged: str) -> None:
    result = merge(thing({"groups": list(live)}), thing({"groups": list(config)}), SCHEMA.root)

    assert "".join(result["spec"]["groups"]) == merged


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef"), unique=True))
def test_merged_lists_have_every_item_once_and_keep_both_orders(live: list[str], config: list[str]) -> None:
    merged = merge(thing({"groups": live}), thing({"groups": config}), SCHEMA.root)["spec"]["groups"]

    assert sorted(merged) == sorted({*live, *config})
    assert [item for item in merged if item in config] == config
    assert [item for item in merged if item not in config] == [item for item in live if item not in config]


def test_items_repeated_in_the_live_list_stay_where_the_configuration_does_not_name_them() -> None:
    merged = merge(thing({"groups": ["r", "r", "s"]}), thing({"groups": ["s", "t"]}), SCHEMA.root)

    assert merged["spec"]["groups"] == ["r", "r", "s", "t"]


def test_null_owns_an_object_but_does_not_empty_it() -> None:
    live = updated(None, thing({"strategy": {"type": "x"}, "image": "x"}), "ann")

    result = applied(live, thing({"strategy": None, "image": None}), "bob", force=True).object

    assert result["spec"] == {"strategy": {"type": "x"}, "image": None}


def test_true_replaces_one() -> None:
    live = applied(None, thing({"free": {"m": 1}}), "bob", now=1).object

    result = applied(live, thing({"free": {"m": True}}), "bob", now=2)

    assert result.changed
    assert result.object["spec"]["free"]["m"] is True
    assert result.object["metadata"]["managedFields"][0]["time"] == time(2)


def test_the_main_endpoint_never_owns_status_and_the_status_endpoint_nothing_else() -> None:
    body = thing({"image": "x"}, {"labels": {"k": "v"}}, status={"phase": "Running"})

    main = applied(None, body, "bob").object
    assert owners_of(main)[("bob", "Apply")] == FieldSet.of(("f:spec", "f:image"), ("f:metadata", "f:labels", "f:k"))

    live = updated(None, thing({"image": "x"}), "ann")
    status = updated(live, {**body, "status": {"phase": "Running"}}, "agent", subresource="status")
    entry = status["metadata"]["managedFields"][0]
    assert (entry["manager"], entry["subresource"]) == ("agent", "status")
    assert entry["fieldsV1"] == {"f:status": {".": {}, "f:phase": {}}}


def test_an_object_that_nobody_tracks_belongs_to_before_first_apply() -> None:
    live = thing({"image": "x", "replicas": 1})

    with pytest.raises(ApplyConflict, match=r'conflict with "before-first-apply" using plum.dev/v1: [.]spec[.]image'):
        applied(live, thing({"image": "y"}), "bob")

    result = applied(live, thing({"image": "y"}), "bob", force=True, now=3).object
    assert owners_of(result)[("before-first-apply", "Update")] == FieldSet.of(("f:spec",), ("f:spec", "f:replicas"))


def last_applied(spec: Json) -> Json:
    text = f'{{"apiVersion":"{API}","kind":"Thing","metadata":{{"name":"web"}},"spec":{spec}}}'.replace("'", '"')
    return {"annotations": {LAST_APPLIED: text}}


def test_kubectl_takes_over_what_its_annotation_still_describes() -> None:
    live = updated(None, thing({"image": "x", "replicas": 1}, last_applied({"image": "x"})), "kubectl-client-side-apply")

    result = applied(live, thing({"image": "y"}), "kubectl").object

    assert result["spec"] == {"image": "y", "replicas": 1}
    assert ("f:spec", "f:image") not in owners_of(result)[("kubectl-client-side-apply", "Update")]
    assert result["metadata"]["annotations"][LAST_APPLIED] == (
        '{"apiVersion":"plum.dev/v1","kind":"Thing","metadata":{"name":"web","namespace":"default"},"spec":{"image":"y"}}\n'
    )
    again = applied(result, thing({"image": "y"}), "kubectl")
    assert not again.changed
    assert again.object == result


def test_kubectl_does_not_take_over_what_changed_since_or_was_never_its_own() -> None:
    metadata = last_applied({"image": "x"})
    live = updated(None, thing({"image": "z", "replicas": 1}, metadata), "other")

    with pytest.raises(ApplyConflict) as error:
        applied(live, thing({"image": "y", "replicas": 2}), "kubectl")
    assert {cause.field for cause in error.value.causes} == {".spec.image", ".spec.replicas"}

    live = updated(None, thing({"image": "x", "replicas": 1}, metadata), "other")
    with pytest.raises(ApplyConflict) as error:
        applied(live, thing({"image": "y", "replicas": 2}), "kubectl")
    assert {cause.field for cause in error.value.causes} == {".spec.replicas"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"apiVersion":"v2"}', '{"apiVersion":"plum.dev/v1","spec":{"zz":1}}'])
def test_an_annotation_that_says_nothing_allows_nothing(text: str) -> None:
    live = updated(None, thing({"image": "x"}, {"annotations": {LAST_APPLIED: text}}), "other")

    with pytest.raises(ApplyConflict):
        applied(live, thing({"image": "y"}), "kubectl")


def test_only_the_manager_kubectl_is_special() -> None:
    live = updated(None, thing({"image": "x"}, last_applied({"image": "x"})), "kubectl-client-side-apply")

    with pytest.raises(ApplyConflict):
        applied(live, thing({"image": "y"}), "kubectl2")


def test_an_annotation_too_large_to_rewrite_goes() -> None:
    metadata = last_applied({"image": "x"})
    metadata["annotations"]["big"] = "x" * (256 * 1024)
    live = updated(None, thing({"image": "x"}, metadata), "kubectl-client-side-apply")

    assert LAST_APPLIED not in applied(live, thing({"image": "y"}), "kubectl").object["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"zz": 1}, ".spec.zz: field not declared in schema"),
        ({"zz": 1, "image": 1}, "errors:\n  .spec.zz: field not declared in schema\n  .spec.image: expected string, got int64"),
        ({"groups": ["r", "r"]}, '.spec.groups: duplicate entries for key [="r"]'),
    ],
)
def test_what_does_not_fit_the_schema_cannot_be_applied(spec: Json, message: str) -> None:
    with pytest.raises(ApplyError) as error:
        applied(None, thing(spec), "bob")

    assert str(error.value) == message
