"""OpenAPI v2: one document of everything, made from those of version 3.

    documents of version 3 --swagger_document--> JSON --gnostic--> protobuf      built with the first question, in a thread

kubectl asks for it where version 3 does not tell: a kind that it does not find there (its refusal then names the kind),
and `explain --output=plaintext-openapiv2`. It insists on protobuf; other programs read JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from plum_controller.api.negotiation import parse_accept
from plum_controller.api.requests import Answer, ApiRequest

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

PROTOBUF_TYPES = frozenset(
    f"application/com.github.{name}+protobuf" for name in ("proto-openapi.spec.v2@v1.0", "proto-openapi.spec.v2.v1.0")
)
"""What clients call the protobuf form. The `@` is no valid part of a media type, so newer ones write a dot."""
PROTOBUF_TYPE = b"application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_KEPT = frozenset(
    {
        "format", "title", "description", "default", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
        "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxProperties", "minProperties", "required",
        "enum", "type",
    }
)  # fmt: skip
"""Keywords of a schema that mean the same in both versions."""


class OpenApiV2:
    """Answers `/openapi/v2`. The documents are kept for as long as those of version 3 stay as they are."""

    def __init__(self, documents: Callable[[], Iterable[bytes]], version: str) -> None:
        """`documents` answers with those of version 3, the same objects until something changes."""
        self._documents = documents
        self._version = version
        self._made_from: tuple[bytes, ...] = ()
        self._json = self._protobuf = self._etag = b""
        self._making = asyncio.Lock()

    async def answer(self, request: ApiRequest) -> Answer:
        """The document, as protobuf or JSON."""
        async with self._making:
            sources = tuple(self._documents())
            if sources != self._made_from:
                self._json, self._protobuf = await asyncio.to_thread(_make, sources, self._version)
                self._etag = b'"' + hashlib.sha256(self._json).hexdigest().upper().encode() + b'"'
                self._made_from = sources
        headers = ((b"etag", self._etag), (b"vary", b"Accept"))
        if request.headers.get(b"if-none-match") == self._etag:
            return Answer(b"", status=304, headers=headers)
        if _wants_protobuf(request.accept):
            return Answer(self._protobuf, content_type=PROTOBUF_TYPE, headers=headers)
        return Answer(self._json, headers=headers)


def _wants_protobuf(accept: str) -> bool:
    for entry in parse_accept(accept):
        if entry.type in PROTOBUF_TYPES:
            return True
        if entry.type in ("application/json", "application/*", "*/*"):
            return False
    return False


def _make(sources: tuple[bytes, ...], version: str) -> tuple[bytes, bytes]:
    from plum_controller.api.gnostic import encode_document

    document = swagger_document((_decode(source) for source in sources), version)
    return _encode(document), encode_document(document)


def swagger_document(documents: Iterable[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """One document of version 2 with all that the given ones of version 3 describe."""
    definitions: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for document in documents:
        for name, schema in document["components"]["schemas"].items():
            definitions[name] = convert_schema(schema)
        operations = _Operations(document["components"])
        for path, item in document["paths"].items():
            paths[path] = operations.item(item)
    return {
        "swagger": "2.0",
        "info": {"title": "Plum", "version": version},
        "paths": dict(sorted(paths.items())),
        "definitions": dict(sorted(definitions.items())),
    }


def convert_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of version 3 in the words of version 2, which knows no alternatives, no null and no mixed types.

    A node whose values version 2 cannot describe is left open: readers would refuse what the server takes.
    """
    reference = schema.get("$ref")
    wrapped = schema.get("allOf")
    if reference is None and isinstance(wrapped, list) and len(wrapped) == 1:
        reference = wrapped[0].get("$ref")
    if reference is not None:
        converted = {"$ref": reference.replace("#/components/schemas/", "#/definitions/")}
        if "description" in schema:
            converted["description"] = schema["description"]
        return converted
    result = {key: value for key, value in schema.items() if key in _KEPT or key.startswith("x-kubernetes-")}
    if schema.get("nullable") or schema.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
        return result
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return result
    if "properties" in schema:
        result["properties"] = {name: convert_schema(value) for name, value in schema["properties"].items()}
    if "items" in schema:
        result["items"] = convert_schema(schema["items"])
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        result["additionalProperties"] = convert_schema(additional)
    return result


class _Operations:
    """Converts the operations of one document. References to its shared parts are followed."""

    def __init__(self, components: Mapping[str, Any]) -> None:
        self._components = components

    def item(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """All operations of a path."""
        return {
            key: [self._parameter(parameter) for parameter in value] if key == "parameters" else self._operation(value)
            for key, value in item.items()
        }

    def _followed(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        reference = value.get("$ref")
        if reference is None:
            return value
        section, name = reference.removeprefix("#/components/").split("/", 1)
        found: Mapping[str, Any] = self._components[section][name]
        return found

    def _parameter(self, parameter: Mapping[str, Any]) -> dict[str, Any]:
        """A parameter; what version 3 puts into its schema stands beside its name."""
        parameter = self._followed(parameter)
        flat = {key: value for key, value in parameter.items() if key != "schema"}
        flat.update({key: value for key, value in parameter["schema"].items() if key in ("type", "uniqueItems", "enum")})
        return flat

    def _operation(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        converted = {key: value for key, value in operation.items() if key not in ("requestBody", "responses", "parameters")}
        parameters = [self._parameter(parameter) for parameter in operation["parameters"]]
        if "requestBody" in operation:
            body = self._followed(operation["requestBody"])
            converted["consumes"] = list(body["content"])
            schema = convert_schema(next(iter(body["content"].values()))["schema"])
            parameters.append({"name": "body", "in": "body", "required": bool(body.get("required")), "schema": schema})
        converted["parameters"] = parameters
        converted["produces"] = ["application/json", "application/yaml"]
        converted["responses"] = {code: self._response(response) for code, response in operation["responses"].items()}
        return converted

    def _response(self, response: Mapping[str, Any]) -> dict[str, Any]:
        response = self._followed(response)
        schema = next(iter(response["content"].values()))["schema"]
        return {"description": response["description"], "schema": convert_schema(schema)}
