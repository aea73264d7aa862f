"""managedFields of creates, updates and patches: entries, their identity, their order, and who may write them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from plum_controller.resources.fields.managed import ANCIENT, MAX_UPDATE_ENTRIES
from plum_controller.resources.fields.sets import FieldSet
from plum_controller.resources.fields.tracking import restore_times, track_update

from tests.support.fields import API, SCHEMA, owners_of, thing

Json = dict[str, Any]
T0, T1, T2 = "2024-01-01T00:00:00Z", "2024-01-01T00:00:01Z", "2024-01-01T00:00:02Z"


def written(
    live: Json | None, new: Json, manager: str = "bob", now: str = T0, api_version: str = API, subresource: str = ""
) -> Json:
    new = copy.deepcopy(new)
    track_update(live, new, manager, api_version, subresource, now, SCHEMA)
    return new


def entries(obj: Json) -> list[tuple[str, str, str]]:
    return [(entry["manager"], entry["operation"], entry.get("time", "")) for entry in obj["metadata"].get("managedFields", [])]


def test_a_create_owns_everything_but_names_and_what_the_server_sets() -> None:
    body = thing(
        {"image": "x", "env": [{"name": "A"}]}, {"uid": "1", "creationTimestamp": T0, "generation": 1, "labels": {"k": "v"}}
    )

    assert written(None, body)["metadata"]["managedFields"] == [
        {
            "manager": "bob",
            "operation": "Update",
            "apiVersion": API,
            "time": T0,
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:k": {}}},
                "f:spec": {".": {}, "f:image": {}, "f:env": {".": {}, 'k:{"name":"A"}': {".": {}, "f:name": {}}}},
            },
        }
    ]


def test_entries_sent_with_a_create_are_ignored() -> None:
    assert entries(written(None, thing({"image": "x"}, {"managedFields": [{"manager": "evil"}]}))) == [("bob", "Update", T0)]


def test_an_update_moves_only_its_own_time() -> None:
    live = written(None, thing({"image": "x", "replicas": 1}), "ann", T0)

    new = written(live, thing({"image": "y", "replicas": 1}), "bob", T1)

    assert entries(new) == [("ann", "Update", T0), ("bob", "Update", T1)]
    assert owners_of(new)[("bob", "Update")] == FieldSet.of(("f:spec", "f:image"))
    assert owners_of(new)[("ann", "Update")] == FieldSet.of(("f:spec",), ("f:spec", "f:replicas"))


def test_an_owner_of_nothing_goes() -> None:
    live = written(None, thing({"image": "x"}), "ann")
    live = written(live, thing({"image": "x", "replicas": 1}), "bob", T1)

    new = written(live, thing({"image": "x", "replicas": 2}), "cy", T2)

    assert [manager for manager, _, _ in entries(new)] == ["ann", "cy"]


def test_entries_are_told_apart_by_version_and_subresource() -> None:
    live = written(None, thing({"image": "x"}))
    live = written(live, thing({"image": "x", "replicas": 1}), api_version="plum.dev/v2", now=T1)
    live = written(live, {**live, "spec": {"image": "x", "replicas": 2}}, subresource="scale", now=T2)

    assert [(entry["apiVersion"], entry.get("subresource")) for entry in live["metadata"]["managedFields"]] == [
        (API, None),
        (API, "scale"),
    ]


def test_an_untracked_object_stays_untracked() -> None:
    live = thing({"image": "x"})

    assert "managedFields" not in written(live, thing({"image": "y"}))["metadata"]


@pytest.mark.parametrize("sent", [[], [{}]])
def test_entries_can_be_cleared(sent: list[Json]) -> None:
    live = written(None, thing({"image": "x"}))

    assert "managedFields" not in written(live, thing({"image": "y"}, {"managedFields": sent}))["metadata"]


def test_valid_entries_replace_the_stored_ones() -> None:
    live = written(None, thing({"image": "x", "replicas": 1}))
    sent = [
        {
            "manager": "kubectl",
            "operation": "Apply",
            "apiVersion": API,
            "time": T1,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:image": {}}},
        }
    ]

    new = written(live, thing({"image": "x", "replicas": 1}, {"managedFields": sent}))

    assert new["metadata"]["managedFields"] == sent


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "Patch"},
        {"apiVersion": ""},
        {"fieldsType": "FieldsV2"},
        {"fieldsType": None},
        {"fieldsV1": {"zz": {}}},
        {"fieldsV1": {"f:a": 1}},
        {"manager": 1},
        {"time": "yesterday"},
    ],
)
def test_invalid_entries_keep_the_stored_ones(wrong: Json) -> None:
    live = written(None, thing({"image": "x"}))
    entry = {
        "manager": "evil",
        "operation": "Update",
        "apiVersion": API,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:a": {}},
        **wrong,
    }

    assert written(live, thing({"image": "x"}, {"managedFields": [entry]})) == live


@pytest.mark.parametrize("sent", ["x", 5, {"a": 1}, ["x"], [None], None])
def test_what_are_no_entries_keeps_the_stored_ones(sent: Any) -> None:
    live = written(None, thing({"image": "x"}))

    assert written(live, thing({"image": "x"}, {"managedFields": sent})) == live


def test_a_subresource_cannot_write_entries() -> None:
    live = written(None, thing({"image": "x"}))

    assert written(live, thing({"image": "x"}, {"managedFields": []}), subresource="status") == live


def test_an_absent_list_keeps_the_stored_entries() -> None:
    live = written(None, thing({"image": "x"}), "ann")

    assert entries(written(live, thing({"image": "y"}), "bob", T1)) == [("ann", "Update", T0), ("bob", "Update", T1)]


def test_entries_are_sorted_by_operation_time_and_manager() -> None:
    live = written(None, thing({"image": "x"}), "zoe", T0)
    live = written(live, thing({"image": "x", "replicas": 1}), "bob", T0)
    live = written(live, thing({"image": "x", "replicas": 1, "atom": {}}), "ann", T1)
    sent = [*live["metadata"]["managedFields"], {**live["metadata"]["managedFields"][0], "manager": "yul", "operation": "Apply"}]

    new = written(live, thing({"image": "x", "replicas": 1, "atom": {}}, {"managedFields": sent}))

    assert [manager for manager, _, _ in entries(new)] == ["yul", "bob", "zoe", "ann"]


def test_the_oldest_update_entries_are_merged_when_there_are_too_many() -> None:
    live = written(None, thing({"limits": {"k0": "v"}}), "m0", "2024-01-01T00:00:00Z")
    limits = {"k0": "v"}
    for index in range(1, 13):
        limits = {**limits, f"k{index}": "v"}
        live = written(live, thing({"limits": limits}), f"m{index:02}", f"2024-01-01T00:00:{index:02}Z")

    owned = owners_of(live)
    assert len(owned) == MAX_UPDATE_ENTRIES
    assert owned[(ANCIENT, "Update")] == FieldSet.of(
        ("f:spec",), ("f:spec", "f:limits"), *(("f:spec", "f:limits", f"f:k{index}") for index in range(4))
    )
    assert entries(live)[0] == (ANCIENT, "Update", "2024-01-01T00:00:03Z")
    assert entries(live)[-1][0] == "m12"


def test_many_surplus_entries_are_merged_at_once_and_by_version() -> None:
    live = written(None, thing({"image": "x"}))
    sent = [
        {
            "manager": f"m{index:02}",
            "operation": "Update",
            "apiVersion": "plum.dev/v0" if index == 1 else API,
            "time": f"2024-01-01T00:00:{index:02}Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:limits": {f"f:k{index}": {}}}},
        }
        for index in range(14)
    ]
    sent.append({**sent[0], "manager": "applier", "operation": "Apply"})

    new = written(live, thing({"image": "y"}, {"managedFields": sent}), "bob", "2024-01-01T00:00:59Z")

    owned = owners_of(new)
    assert [manager for manager, _, _ in entries(new)] == [
        "applier",
        "m01",
        ANCIENT,
        *(f"m{index:02}" for index in range(7, 14)),
        "bob",
    ]
    assert owned[(ANCIENT, "Update")] == FieldSet.of(*(("f:spec", "f:limits", f"f:k{index}") for index in (0, 2, 3, 4, 5, 6)))


def test_ownership_stays_when_an_item_cannot_be_named() -> None:
    live = written(None, thing({"image": "x"}))

    new = written(live, thing({"image": "y", "env": [{"value": "no name"}]}), "other")

    assert new["metadata"]["managedFields"] == live["metadata"]["managedFields"]


def test_times_are_put_back_if_nothing_else_changed() -> None:
    live = written(None, thing({"image": "x"}))
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"][0]["time"] = T2

    assert restore_times(live, new)
    assert new == live


@pytest.mark.parametrize("change", [{"spec": {"image": "y"}}, {"status": {}}])
def test_times_stay_if_the_object_changed(change: Json) -> None:
    live = written(None, thing({"image": "x"}))
    new = {**copy.deepcopy(live), **change}
    new["metadata"]["managedFields"][0]["time"] = T2

    assert not restore_times(live, new)
    assert entries(new)[0][2] == T2


def test_times_stay_if_an_owner_changed() -> None:
    live = written(None, thing({"image": "x"}))
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"][0] |= {"time": T2, "manager": "other"}

    assert not restore_times(live, new)
    assert not restore_times(live, {**live, "metadata": {"name": "web"}})
