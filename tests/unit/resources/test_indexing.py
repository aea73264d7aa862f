from __future__ import annotations

from typing import Any

import msgspec
import pytest
from plum_controller.resources.indexing import Indexer, empty_index

PATHS = {
    "spec.nodeName": ("spec", "nodeName"),
    "status.phase": ("status", "phase"),
    "type": ("type",),
    "source": ("source", "component"),
    "spec.deep.er": ("spec", "deep", "er"),
}


def index(data: dict[str, Any]) -> Any:
    return Indexer(PATHS)(msgspec.json.encode({"metadata": {}, **data}))


def test_labels_owners_and_declared_fields_are_found() -> None:
    metadata = {"labels": {"a": "b"}, "ownerReferences": [{"uid": "u-1", "kind": "X"}, {"uid": "u-2"}]}

    found = index({"metadata": metadata, "spec": {"nodeName": "n", "deep": {"er": "x"}}, "source": {"component": "c"}})

    assert found.labels == {"a": "b"}
    assert found.owners == ("u-1", "u-2")
    assert found.fields == {"spec.nodeName": "n", "status.phase": "", "type": "", "source": "c", "spec.deep.er": "x"}


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "x"), (True, "true"), (False, "false"), (3, "3"), (None, ""), ({}, ""), ([1], "")],
)
def test_any_value_has_a_text_to_compare(value: Any, text: str) -> None:
    assert index({"type": value}).fields["type"] == text


@pytest.mark.parametrize("odd", [None, "text", 5, [], [{"nodeName": "n"}]])
def test_something_else_where_an_object_is_expected_has_no_field(odd: Any) -> None:
    assert index({"spec": odd}).fields["spec.nodeName"] == ""


def test_a_path_and_a_longer_one_below_it_may_both_be_declared() -> None:
    indexer = Indexer({"spec": ("spec",), "spec.a": ("spec", "a")})

    assert indexer(b'{"metadata":{},"spec":{"a":"x"}}').fields == {"spec": "", "spec.a": "x"}


def test_an_object_of_a_kind_without_fields_has_labels_and_owners() -> None:
    found = empty_index(b'{"metadata":{"labels":{"a":"b"},"ownerReferences":[{"uid":"u"}]},"spec":{}}')

    assert (found.labels, found.owners, found.fields) == ({"a": "b"}, ("u",), {})
