from __future__ import annotations

from typing import Any

import pytest
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.metadata import (
    check,
    check_identity,
    finalizer_warnings,
    for_create,
    for_update,
    read_metadata,
)
from plum_schemas.deployment import Deployment

INFO = Deployment.info
LIVE = {
    "name": "web",
    "namespace": "default",
    "uid": "u-1",
    "generation": 3,
    "creationTimestamp": "2026-01-31T08:00:00Z",
    "labels": {"a": "b"},
    "managedFields": [],
}


def messages(metadata: dict[str, Any], live: dict[str, Any] | None = None) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in check(INFO, metadata, live)]


def test_empty_collections_nulls_and_unknown_fields_are_dropped() -> None:
    given = {
        "name": "web",
        "labels": {},
        "annotations": {},
        "finalizers": [],
        "ownerReferences": [],
        "uid": None,
        "zz": 1,
        "selfLink": "x",
    }

    assert read_metadata(INFO, {"metadata": given}) == ({"name": "web"}, ["metadata.zz"])


def test_null_inside_a_map_is_dropped() -> None:
    assert read_metadata(INFO, {"metadata": {"labels": {"a": None, "b": "c"}}})[0] == {"labels": {"b": "c"}}


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"labels": {"a": 1}}, "cannot unmarshal number into Go struct field ObjectMeta.labels of type string"),
        ({"labels": {"a": True}}, "cannot unmarshal bool into Go struct field ObjectMeta.labels of type string"),
        ({"labels": ["a"]}, "cannot unmarshal array into Go struct field ObjectMeta.labels of type map[string]string"),
        ({"finalizers": "a"}, "cannot unmarshal string into Go struct field ObjectMeta.finalizers of type []string"),
        ({"name": 5}, "cannot unmarshal number into Go struct field ObjectMeta.name of type string"),
        ({"generation": "5"}, "cannot unmarshal string into Go struct field ObjectMeta.generation of type int64"),
        ([], "cannot unmarshal array into Go struct field .metadata of type v1.ObjectMeta"),
    ],
)
def test_a_wrong_type_is_a_bad_request_in_gos_words(metadata: Any, text: str) -> None:
    with pytest.raises(ApiStatusError) as caught:
        read_metadata(INFO, {"metadata": metadata})

    assert caught.value.code == 400
    assert text in caught.value.message


def test_on_create_the_server_owns_all_but_what_a_writer_may_set() -> None:
    given = {
        "uid": "mine",
        "generation": 7,
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"a": "b"},
        "managedFields": [],
    }

    made = for_create(given, INFO, "web", "default", "u-1", "2026-01-31T08:00:00Z")

    assert made == {
        "name": "web",
        "namespace": "default",
        "uid": "u-1",
        "generation": 1,
        "creationTimestamp": "2026-01-31T08:00:00Z",
        "labels": {"a": "b"},
    }


def test_on_update_creation_time_and_generation_are_kept_in_silence() -> None:
    made = for_update(
        INFO, LIVE, {"generation": 99, "creationTimestamp": "1999-01-01T00:00:00Z", "labels": {"c": "d"}}, patched=False
    )

    assert made["generation"] == 3
    assert made["creationTimestamp"] == LIVE["creationTimestamp"]
    assert made["labels"] == {"c": "d"}


def test_on_update_what_the_body_leaves_out_is_removed() -> None:
    assert "labels" not in for_update(INFO, LIVE, {}, patched=False)


def test_another_uid_is_a_conflict_in_a_put_and_invalid_in_a_patch() -> None:
    with pytest.raises(ApiStatusError, match="UID in precondition: u-2, UID in object meta: u-1") as put:
        for_update(INFO, LIVE, {"uid": "u-2"}, patched=False)
    with pytest.raises(ApiStatusError, match=r'metadata\.uid: Invalid value: "u-2": field is immutable') as patch:
        for_update(INFO, LIVE, {"uid": "u-2"}, patched=True)

    assert (put.value.code, patch.value.code) == (409, 422)


def test_a_changed_deletion_time_is_refused() -> None:
    with pytest.raises(ApiStatusError, match=r"metadata\.deletionTimestamp: Invalid value: .*: field is immutable"):
        for_update(INFO, LIVE, {"deletionTimestamp": "2026-01-01T00:00:00Z"}, patched=False)


def test_name_and_namespace_must_be_those_of_the_url() -> None:
    with pytest.raises(ApiStatusError) as name:
        check_identity("q", "default", {"name": "r"})
    with pytest.raises(ApiStatusError) as namespace:
        check_identity("q", "default", {"namespace": "other"})

    assert name.value.message == "the name of the object (r) does not match the name on the URL (q)"
    assert namespace.value.message == "the namespace of the provided object does not match the namespace sent on the request"
    check_identity("q", "default", {"name": "q", "namespace": "default"})


@pytest.mark.parametrize(
    ("metadata", "start"),
    [
        ({"labels": {"-a": "b"}}, 'metadata.labels: Invalid value: "-a": name part must consist of'),
        ({"labels": {"a": "b c"}}, 'metadata.labels: Invalid value: "b c": a valid label must be'),
        ({"labels": {"a": "x" * 64}}, "metadata.labels: Invalid value: "),
        ({"labels": {"UPPER.example/x": "y"}}, "metadata.labels: Invalid value: "),
        ({"annotations": {"a b": "c"}}, 'metadata.annotations: Invalid value: "a b": name part'),
        ({"annotations": {"a": "x" * 256 * 1024}}, "metadata.annotations: Too long: may not be more than 262144 bytes"),
        ({"finalizers": ["a b"]}, 'metadata.finalizers: Invalid value: "a b": '),
        ({"finalizers": ["a", "a"]}, 'metadata.finalizers: Duplicate value: "a"'),
        ({"finalizers": ["orphan", "foregroundDeletion"]}, "metadata.finalizers: Invalid value: "),
    ],
)
def test_bad_metadata_is_named_with_its_field(metadata: dict[str, Any], start: str) -> None:
    found = messages(metadata)

    assert len(found) == 1
    assert found[0].startswith(start)


def test_labels_may_be_empty_and_annotation_keys_may_be_upper_case() -> None:
    assert messages({"labels": {"a.example/b": ""}, "annotations": {"A.example/B": "any text\n"}}) == []


def test_owner_references_are_complete_and_have_one_controller() -> None:
    whole = {"apiVersion": "v1", "kind": "A", "name": "a", "uid": "1", "controller": True}

    assert messages({"ownerReferences": [whole, {**whole, "controller": False}]}) == []
    assert messages({"ownerReferences": [{**whole, "uid": ""}]}) == [
        'metadata.ownerReferences[0].uid: Invalid value: "": uid must not be empty'
    ]
    assert "Only one reference can have Controller set to true" in messages({"ownerReferences": [whole, whole]})[0]


def test_while_deleting_finalizers_can_only_go() -> None:
    live = {**LIVE, "finalizers": ["a/b"], "deletionTimestamp": "2026-01-01T00:00:00Z"}

    assert messages({"finalizers": ["a/b"]}, live) == []
    assert messages({"finalizers": ["a/b", "c/d"]}, live) == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"c/d"}'
    ]


def test_a_finalizer_without_a_domain_is_accepted_with_a_warning() -> None:
    assert messages({"finalizers": ["plain"]}) == []
    assert "prefer a domain-qualified finalizer name" in finalizer_warnings({"finalizers": ["plain"]}, None)[0]
    assert finalizer_warnings({"finalizers": ["plain"]}, {"finalizers": ["plain"]}) == []
    assert finalizer_warnings({"finalizers": ["plum.dev/x", "orphan"]}, None) == []
