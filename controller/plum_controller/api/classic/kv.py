"""`/v1/kv`: the key-value store as the system before had it: values are texts with a type. Over the same entries as `/kv`.

    GET  /v1/kv                     GET /v1/kv/NAMESPACE[?prefix=]        GET /v1/kv/NAMESPACE/keys
    POST /v1/kv/NAMESPACE/batch     GET, PUT, DELETE /v1/kv/NAMESPACE/KEY

A namespace may be any text, such as the name of an application. One that can be no namespace of Plum gets a readable name
with a hash, and keeps its own as an annotation. Refusals are one line of text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.core import Namespace
from plum_schemas.kv import KV, kv_name
from plum_schemas.names import is_label

from plum_controller.api.access import Gate, refusal
from plum_controller.api.classic.wire import MANAGER, encode, page, read_body, seconds_of, text
from plum_controller.api.kv import values
from plum_controller.api.kv.paths import check_key
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.domain.access import Attributes
from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.resources.kv import Put, Typed, key_of, spec_in, spec_of
from plum_controller.resources.kv_index import KeyIndex
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.resources.transactions import MAX_OPERATIONS, Operation, Plan
from plum_controller.store.base import Key
from plum_controller.store.cache import Entry

ANNOTATION = "plum.dev/kv-namespace"
"""On a Namespace: what these routes call it."""
_OPTIONS = WriteOptions(field_manager=MANAGER)
_decode_metadata = msgspec.json.Decoder(dict[str, Any]).decode


class Item(msgspec.Struct, rename="camel"):
    """A value in a body."""

    value: str = ""
    type: str = ""
    key: str = ""


class Batch(msgspec.Struct):
    items: list[Item] = []


class ClassicKv:
    """Answers the routes named above."""

    def __init__(self, service: ResourceService, index: KeyIndex, gate: Gate) -> None:
        self._service = service
        self._entries = service.entries
        self._index = index
        self._gate = gate

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None when the path is none of these."""
        if len(request.path) < 2 or request.path[1] != "kv":
            return None
        try:
            return await self._answer(request)
        except ApiStatusError as error:
            return text(error.code if error.code != 422 else 400, error.message)

    async def _answer(self, request: ApiRequest) -> Answer:
        parts = request.raw_path.split(b"/", 4)  # "", "v1", "kv", namespace, key
        called = _decoded(parts[3]) if len(parts) > 3 else ""
        key = _decoded(parts[4]) if len(parts) > 4 else ""
        method = "GET" if request.method == "HEAD" else request.method
        if not called:
            if method != "GET":
                return text(405, "method not allowed")
            self._require(request, "list", "", "")
            return Answer(encode({"namespaces": [self._called(name) for name in self._index.namespaces()]}))
        namespace = name_of(called)
        match method, key:
            case "GET", "":
                self._require(request, "list", namespace, "")
                keys = self._index.keys(namespace, request.query.get("prefix", ""))
                return page([shown(called, entry, counted=True) for entry in self._found(namespace, keys)], request)
            case "GET", "keys":
                self._require(request, "list", namespace, "")
                return Answer(encode({"namespace": called, "keys": list(self._index.keys(namespace))}))
            case "POST", "batch":
                return await self._batch(request, called, namespace)
            case "PUT", _ if key:
                return await self._put(request, called, namespace, key)
            case "GET", _:
                return self._get(request, called, namespace, key)
            case "DELETE", _ if key:
                return await self._delete(request, namespace, key)
        return text(405, "method not allowed")

    def _get(self, request: ApiRequest, called: str, namespace: str, key: str) -> Answer:
        self._require(request, "get", namespace, key)
        entry = self._entries.find(namespace, key)
        return text(404, "not found") if entry is None else Answer(encode(shown(called, entry)))

    async def _put(self, request: ApiRequest, called: str, namespace: str, key: str) -> Answer:
        item = read_body(request, Item)
        put = self._put_of(namespace, key, item)
        self._may_write(request, namespace, key)
        await self._ensure(called, namespace)
        await self._entries.put(put, _OPTIONS)
        entry = self._entries.require(namespace, key)
        answered = {name: value for name, value in shown(called, entry).items() if name != "updatedAt"}
        return Answer(encode(answered))

    async def _delete(self, request: ApiRequest, namespace: str, key: str) -> Answer:
        self._require(request, "delete", namespace, key)
        await self._entries.delete_some(namespace, [kv_name(key)] if self._entries.find(namespace, key) else [])
        return Answer(b"", status=204)

    async def _batch(self, request: ApiRequest, called: str, namespace: str) -> Answer:
        """All or none, as long as they fit into one transaction; more than that in several, one after the other."""
        items = read_body(request, Batch).items
        puts = []
        for number, item in enumerate(items):
            if not item.key:
                raise bad_request(f"items[{number}] has no key")
            puts.append(self._put_of(namespace, item.key, item))
            self._may_write(request, namespace, item.key)
        if puts:
            await self._ensure(called, namespace)
        for start in range(0, len(puts), MAX_OPERATIONS):
            await self._service.transact(self._plan(puts[start : start + MAX_OPERATIONS]))
        return Answer(encode({"namespace": called, "count": len(items)}))

    def _plan(self, puts: Sequence[Put]) -> Plan:
        def again() -> Plan:
            operations = []
            for put in puts:
                entry = self._entries.find(put.namespace, put.key)
                live = None if entry is None else {"type": spec_in(entry).type}
                key = ObjectKey(put.namespace, kv_name(put.key))
                operations.append(Operation("put", self._entries.kind, key, spec_of(put, live), _OPTIONS))
            return Plan([], operations, [], again)

        return again()

    @staticmethod
    def _put_of(namespace: str, key: str, item: Item) -> Put:
        """Raises `ApiStatusError` 400."""
        check_key(key)
        try:
            kind = values.check_type(item.type)
        except ApiStatusError as error:
            raise bad_request(f"invalid type {item.type!r}; use {', '.join(values.TYPES)}") from error
        read = values.reader(item.value.encode(), "", kind)

        def value(wanted: str) -> Any:
            if wanted == "bytes":  # here bytes come as base64, as they go
                return Typed(wanted, base64.b64encode(values.decode_base64(item.value)).decode())
            return read(wanted)

        return Put(namespace, key, value, kind)

    def _found(self, namespace: str, keys: Sequence[str]) -> list[Entry]:
        return [entry for key in keys if (entry := self._entries.find(namespace, key)) is not None]

    async def _ensure(self, called: str, namespace: str) -> None:
        """Make the namespace of a name that is none, with that name in it."""
        if called == namespace or self._service.cache.get(Key("namespaces", "", namespace)) is not None:
            return
        kind = self._service.registry.require(Namespace.info.resource)
        try:
            await self._service.create(kind, "", {"metadata": {"name": namespace, "annotations": {ANNOTATION: called}}}, _OPTIONS)
        except ApiStatusError as error:
            if error.reason != "AlreadyExists":
                raise

    def _called(self, namespace: str) -> str:
        entry = self._service.cache.get(Key("namespaces", "", namespace))
        if entry is None or ANNOTATION.encode() not in entry.value:
            return namespace
        return str(_decode_metadata(entry.value)["metadata"]["annotations"].get(ANNOTATION, namespace))

    def _may_write(self, request: ApiRequest, namespace: str, key: str) -> None:
        self._require(request, "update", namespace, key)
        if self._entries.find(namespace, key) is None:
            self._require(request, "create", namespace, key)

    def _require(self, request: ApiRequest, verb: str, namespace: str, key: str) -> None:
        wanted = Attributes(verb, "plum.dev", KV.info.plural, "", namespace, kv_name(key) if key else "")
        if not self._gate.allows(request.identity, wanted):
            raise refusal(request.identity, wanted)


def shown(called: str, entry: Entry, *, counted: bool = False) -> dict[str, Any]:
    """An entry as these routes write it. `counted`: of bytes only how many there are."""
    spec = spec_in(entry)
    if spec.type == "bytes":
        value = str(values.size_of(spec)) if counted else str(msgspec.json.decode(spec.value))
    else:
        value = values.body_of(spec)[0].decode()
    metadata = _decode_metadata(entry.value)["metadata"]
    times = [owner.get("time", "") for owner in metadata.get("managedFields") or ()]
    updated = max([*times, metadata["creationTimestamp"]])
    return {"namespace": called, "key": key_of(entry), "value": value, "type": spec.type, "updatedAt": seconds_of(updated)}


def name_of(called: str) -> str:
    """The namespace of Plum behind a name."""
    if is_label(called):
        return called
    readable = re.sub(r"[^a-z0-9]+", "-", called.lower()).strip("-")[:40].strip("-")
    return f"{readable or 'kv'}-{sha256(called.encode()).hexdigest()[:12]}"


def _decoded(part: bytes) -> str:
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError as error:
        raise bad_request("the path is not UTF-8") from error
