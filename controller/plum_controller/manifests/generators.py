"""ConfigMaps and Secrets that an overlay makes from files and values, named by their content.

A changed file gives a new name, and every reference to it follows, so what uses it is rolled out anew.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Json = dict[str, Any]


class GeneratorError(ValueError):
    """A generator that cannot be used. The message names the entry."""


def generate(kind: str, entry: Mapping[str, Any], read: Callable[[str], bytes], options: Mapping[str, Any]) -> tuple[Json, bool]:
    """The object without suffix, and whether it wants one. `read` gives the content of a file. Raises `GeneratorError`."""
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise GeneratorError("name is missing")
    values: dict[str, bytes] = {}
    for text in _texts(entry, "files"):
        key, separator, path = text.partition("=")
        _put(values, key if separator else text.rpartition("/")[2], read(path if separator else text))
    for text in [*_texts(entry, "envs"), *([entry["env"]] if isinstance(entry.get("env"), str) else [])]:
        for line in read(text).decode("utf-8-sig").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                key, _, value = line.partition("=")
                _put(values, key.strip(), value.encode())
    for text in _texts(entry, "literals"):
        key, separator, value = text.partition("=")
        if not separator:
            raise GeneratorError(f"literals: {text!r} is no KEY=VALUE")
        _put(values, key, _unquoted(value).encode())
    own = {**options, **(entry.get("options") or {})}
    metadata: Json = {"name": name}
    if isinstance(entry.get("namespace"), str):
        metadata["namespace"] = entry["namespace"]
    for field in ("labels", "annotations"):
        if isinstance(own.get(field), dict):
            metadata[field] = dict(own[field])
    obj: Json = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
    if kind == "Secret":
        obj["type"] = entry.get("type") or "Opaque"
        obj["data"] = {key: base64.b64encode(value).decode() for key, value in sorted(values.items())}
    else:
        texts, binary = _split(values)
        obj["data"] = texts
        if binary:
            obj["binaryData"] = binary
    if own.get("immutable") is True:
        obj["immutable"] = True
    return obj, own.get("disableNameSuffixHash") is not True


def suffix(obj: Json) -> str:
    """A short hash over the content."""
    content = {name: value for name, value in obj.items() if name != "metadata"}
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:10]


def _texts(entry: Mapping[str, Any], field: str) -> list[str]:
    found = entry.get(field) or []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise GeneratorError(f"{field} is no list of texts")
    return found


def _put(values: dict[str, bytes], key: str, value: bytes) -> None:
    if not key:
        raise GeneratorError("an entry without a key")
    if key in values:
        raise GeneratorError(f"the key {key} is there twice")
    values[key] = value


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"" else value


def _split(values: Mapping[str, bytes]) -> tuple[dict[str, str], dict[str, str]]:
    texts: dict[str, str] = {}
    binary: dict[str, str] = {}
    for key, value in sorted(values.items()):
        try:
            texts[key] = value.decode()
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(value).decode()
    return texts, binary
