"""The protobuf tables of CustomResourceDefinition: what Go's typed client sends when an operator installs its kinds.

A schema is a message that contains itself, and three of its parts are written differently in JSON: a value of any type
(`default`, `enum`) travels as JSON inside a message, `items` as a schema or a list of them, `additionalProperties` as a
schema or a boolean. Pointers of Go are sent only when they are set, so their zeros are kept.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plum_controller.api.protobuf import METADATA, MapOf, Message, ProtobufError, read_message


def _any(data: bytes) -> Any:
    raw = read_message(data, {1: ("raw", "bytes")}).get("raw", b"")
    try:
        return msgspec.json.decode(raw) if raw else None
    except msgspec.DecodeError as error:
        raise ProtobufError(f"a value is not JSON: {error}") from error


def _schema(data: bytes) -> dict[str, Any]:
    return read_message(data, _SCHEMA)


def _schema_or_list(data: bytes) -> Any:
    found = read_message(data, {1: ("schema", _schema), 2: ("list", [_schema])})
    return found["list"] if "list" in found else found.get("schema", {})


def _schema_or_bool(data: bytes) -> Any:
    found = read_message(data, {1: ("allows", "zero-bool"), 2: ("schema", _schema)})
    return found["schema"] if "schema" in found else found.get("allows", False)


def _schema_or_texts(data: bytes) -> Any:
    found = read_message(data, {1: ("schema", _schema), 2: ("texts", ["string"])})
    return found["schema"] if "schema" in found else found.get("texts", [])


_RULE: Message = {
    1: ("rule", "string"),
    2: ("message", "string"),
    3: ("messageExpression", "string"),
    4: ("reason", "string"),
    5: ("fieldPath", "string"),
    6: ("optionalOldSelf", "zero-bool"),
}
_SCHEMA: Message = {
    1: ("id", "string"),
    2: ("$schema", "string"),
    3: ("$ref", "string"),
    4: ("description", "string"),
    5: ("type", "string"),
    6: ("format", "string"),
    7: ("title", "string"),
    8: ("default", _any),
    9: ("maximum", "double"),
    10: ("exclusiveMaximum", "bool"),
    11: ("minimum", "double"),
    12: ("exclusiveMinimum", "bool"),
    13: ("maxLength", "zero-int"),
    14: ("minLength", "zero-int"),
    15: ("pattern", "string"),
    16: ("maxItems", "zero-int"),
    17: ("minItems", "zero-int"),
    18: ("uniqueItems", "bool"),
    19: ("multipleOf", "double"),
    20: ("enum", [_any]),
    21: ("maxProperties", "zero-int"),
    22: ("minProperties", "zero-int"),
    23: ("required", ["string"]),
    24: ("items", _schema_or_list),
    25: ("allOf", [_schema]),
    26: ("oneOf", [_schema]),
    27: ("anyOf", [_schema]),
    28: ("not", _schema),
    29: ("properties", MapOf(_schema)),
    30: ("additionalProperties", _schema_or_bool),
    31: ("patternProperties", MapOf(_schema)),
    32: ("dependencies", MapOf(_schema_or_texts)),
    33: ("additionalItems", _schema_or_bool),
    34: ("definitions", MapOf(_schema)),
    35: ("externalDocs", {1: ("description", "string"), 2: ("url", "string")}),
    36: ("example", _any),
    37: ("nullable", "bool"),
    38: ("x-kubernetes-preserve-unknown-fields", "zero-bool"),
    39: ("x-kubernetes-embedded-resource", "bool"),
    40: ("x-kubernetes-int-or-string", "bool"),
    41: ("x-kubernetes-list-map-keys", ["string"]),
    42: ("x-kubernetes-list-type", "string"),
    43: ("x-kubernetes-map-type", "string"),
    44: ("x-kubernetes-validations", [_RULE]),
}
_NAMES: Message = {
    1: ("plural", "string"),
    2: ("singular", "string"),
    3: ("shortNames", ["string"]),
    4: ("kind", "string"),
    5: ("listKind", "string"),
    6: ("categories", ["string"]),
}


def _present(data: bytes) -> dict[str, Any]:
    """A message without fields, whose being there says something: `subresources.status`."""
    return {}


_COLUMN: Message = {
    1: ("name", "string"),
    2: ("type", "string"),
    3: ("format", "string"),
    4: ("description", "string"),
    5: ("priority", "int"),
    6: ("jsonPath", "string"),
}
_SCALE: Message = {1: ("specReplicasPath", "string"), 2: ("statusReplicasPath", "string"), 3: ("labelSelectorPath", "string")}
_VERSION: Message = {
    1: ("name", "string"),
    2: ("served", "zero-bool"),
    3: ("storage", "zero-bool"),
    4: ("schema", {1: ("openAPIV3Schema", _schema)}),
    5: ("subresources", {1: ("status", _present), 2: ("scale", _SCALE)}),
    6: ("additionalPrinterColumns", [_COLUMN]),
    7: ("deprecated", "bool"),
    8: ("deprecationWarning", "string"),
    9: ("selectableFields", [{1: ("jsonPath", "string")}]),
}
_SERVICE: Message = {1: ("namespace", "string"), 2: ("name", "string"), 3: ("path", "string"), 4: ("port", "int")}
_WEBHOOK: Message = {
    2: ("clientConfig", {1: ("service", _SERVICE), 2: ("caBundle", "base64"), 3: ("url", "string")}),
    3: ("conversionReviewVersions", ["string"]),
}
_CONDITION: Message = {
    1: ("type", "string"),
    2: ("status", "string"),
    3: ("lastTransitionTime", "time"),
    4: ("reason", "string"),
    5: ("message", "string"),
}
DEFINITION: Message = {
    1: ("metadata", METADATA),
    2: (
        "spec",
        {
            1: ("group", "string"),
            3: ("names", _NAMES),
            4: ("scope", "string"),
            7: ("versions", [_VERSION]),
            9: ("conversion", {1: ("strategy", "string"), 2: ("webhook", _WEBHOOK)}),
            10: ("preserveUnknownFields", "bool"),
        },
    ),
    3: ("status", {1: ("conditions", [_CONDITION]), 2: ("acceptedNames", _NAMES), 3: ("storedVersions", ["string"])}),
}
