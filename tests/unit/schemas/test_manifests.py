"""The manifests users were promised are accepted: by the schema, by the types, and by the rules between fields."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml
from plum_schemas.kinds import find
from plum_schemas.openapi import structural_schema

from tests.support.promised_manifests import MANIFESTS
from tests.support.schema_oracle import add_defaults, unknown_fields


def as_json(value: Any) -> Any:
    """What YAML 1.1 readers send: keys are text, also those that were read as booleans."""
    if isinstance(value, dict):
        return {("true" if key is True else str(key)): as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list) else value


DOCUMENTS: list[dict[str, Any]] = [as_json(document) for document in yaml.safe_load_all(MANIFESTS)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: f"{document['kind']}-{document['metadata']['name']}")
def test_a_promised_manifest_is_accepted(document: dict[str, Any]) -> None:
    kind = find(document["apiVersion"], document["kind"])
    assert kind is not None
    schema = structural_schema(kind)

    data = msgspec.json.decode(msgspec.json.encode(document))
    kind.normalize(data)
    unknown = unknown_fields(schema, data)
    add_defaults(schema, data)
    kind.fill(data)

    assert unknown == []
    jsonschema_rs.Draft4Validator(schema).validate(data)
    assert list(msgspec.convert(data, kind).validate(None)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: f"{document['kind']}-{document['metadata']['name']}")
def test_short_forms_are_rewritten_once(document: dict[str, Any]) -> None:
    kind = find(document["apiVersion"], document["kind"])
    assert kind is not None
    data = msgspec.json.decode(msgspec.json.encode(document))
    kind.normalize(data)
    once = msgspec.json.encode(data)

    kind.normalize(data)

    assert msgspec.json.encode(data) == once
