"""Values that a template refers to: keys of Secrets, ConfigMaps and the key-value store, in the namespace of the instance.

Each object is read once for one start. The controller gives a node only what the templates of its instances name.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Protocol

import msgspec
from plum_client.client import ApiClient
from plum_schemas.core import ConfigMap, Secret
from plum_schemas.template import KeyRef, KVKeyRef, ObjectRef

from plum_agent.errors import RefusedError


class KeySource(Protocol):
    """The choices that `valueFrom` of a variable and of a file have in common."""

    secret_key_ref: KeyRef | None
    config_map_key_ref: KeyRef | None
    kv_key_ref: KVKeyRef | None


class References:
    """Reads what one instance refers to. Methods raise `RefusedError` for what is missing, and API errors."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._read: dict[tuple[str, str], Mapping[str, bytes] | None] = {}

    async def value(self, source: KeySource, what: str) -> bytes | None:
        """The value of the key that is named; None when it is optional and missing. `what` needs it, for the refusal."""
        if source.secret_key_ref is not None:
            return await self._key(Secret, source.secret_key_ref, what)
        if source.config_map_key_ref is not None:
            return await self._key(ConfigMap, source.config_map_key_ref, what)
        if source.kv_key_ref is not None:
            return await self._entry(source.kv_key_ref, what)
        return None

    async def all(self, secret: ObjectRef | None, config_map: ObjectRef | None, what: str) -> Mapping[str, bytes]:
        """All keys of the object that is named; none when it is optional and missing."""
        kind: type[Secret] | type[ConfigMap] = Secret if secret is not None else ConfigMap
        reference = secret or config_map
        if reference is None:
            return {}
        data = await self._object(kind, reference.name)
        if data is None and not reference.optional:
            raise self._missing(kind, reference.name, what)
        return data or {}

    async def _key(self, kind: type[Secret] | type[ConfigMap], reference: KeyRef, what: str) -> bytes | None:
        data = await self._object(kind, reference.name)
        if data is not None and reference.key in data:
            return data[reference.key]
        if reference.optional:
            return None
        if data is None:
            raise self._missing(kind, reference.name, what)
        word = kind.info.kind
        message = f"{what} needs key {reference.key!r} of {word} {self._namespace}/{reference.name}; add it"
        raise RefusedError(f"{word}KeyMissing", message)

    def _missing(self, kind: type[Secret] | type[ConfigMap], name: str, what: str) -> RefusedError:
        word = kind.info.kind
        return RefusedError(f"{word}Missing", f"{what} needs {word} {self._namespace}/{name}, which does not exist; create it")

    async def _object(self, kind: type[Secret] | type[ConfigMap], name: str) -> Mapping[str, bytes] | None:
        known = (kind.info.kind, name)
        if known not in self._read:
            found = await self._api.get(kind, name, self._namespace)
            self._read[known] = None if found is None else data_of(found)
        return self._read[known]

    async def _entry(self, reference: KVKeyRef, what: str) -> bytes | None:
        from plum_schemas.kv import KV, kv_name

        found = await self._api.get(KV, kv_name(reference.key), self._namespace)
        if found is not None:
            return _text(found.spec.type, found.spec.value)
        if reference.optional:
            return None
        message = f"{what} needs the key {reference.key!r} of the key-value store in {self._namespace}; write it"
        raise RefusedError("KVMissing", message)


def data_of(found: Secret | ConfigMap) -> Mapping[str, bytes]:
    encoded = found.binary_data if isinstance(found, ConfigMap) else found.data
    values = {key: base64.b64decode(value) for key, value in encoded.items()}
    if isinstance(found, ConfigMap):
        values |= {key: value.encode() for key, value in found.data.items()}
    return values


def _text(kind: str, value: object) -> bytes:
    """A typed value as a program reads it: text as it is, everything else as JSON writes it."""
    if kind == "bytes":
        return base64.b64decode(str(value))
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)
