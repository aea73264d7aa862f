"""One object of a source, where it is written, and what it is told apart by."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec
from plum_client.manifests.documents import Manifest, Problem


@dataclass(slots=True)
class Document:
    """An object as it is to be applied. Shared between reads, never changed; overlays make their own."""

    manifest: Manifest
    """As it is written, for file and line."""
    data: dict[str, Any]
    hash: str = ""

    def __post_init__(self) -> None:
        if not self.hash:
            self.hash = hash_of(self.data)

    @property
    def api_version(self) -> str:
        return str(self.data.get("apiVersion", ""))

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", ""))

    @property
    def name(self) -> str:
        return str((self.data.get("metadata") or {}).get("name") or "")

    @property
    def namespace(self) -> str:
        return str((self.data.get("metadata") or {}).get("namespace") or "")


@dataclass(slots=True)
class Found:
    """What a source holds: objects, and everything that is wrong with it."""

    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


class LoadError(Exception):
    """Files that cannot be used. Lists every problem."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def hash_of(data: dict[str, Any]) -> str:
    """Equal for objects that say the same."""
    return hashlib.blake2b(msgspec.json.encode(data, order="deterministic"), digest_size=10).hexdigest()


def with_encoded_secret(data: dict[str, Any]) -> dict[str, Any]:
    """A Secret's texts as `data`, as they are stored: so that what was applied can be compared with what is there."""
    texts = data.get("stringData")
    if data.get("kind") != "Secret" or data.get("apiVersion") != "v1" or not isinstance(texts, dict):
        return data
    if not all(isinstance(value, str) for value in texts.values()):
        return data  # the server says what is wrong with it
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}
    rest = {name: value for name, value in data.items() if name != "stringData"}
    return {**rest, "data": {**(data.get("data") or {}), **encoded}}
