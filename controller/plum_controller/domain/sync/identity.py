"""Which object is meant, whatever version of its API it is written in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from plum_schemas.sync import InventoryItem

MAX_LABEL = 63
SCP = re.compile(r"(?:([^@/]+)@)?([^:/]+):(?!//)(.+)\Z")
"""`USER@HOST:PATH`, as ssh is told of repositories: user, host, path."""


class ObjectId(NamedTuple):
    """One object. The version of the API is left out: the same object may be written in another one."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def group_of(api_version: str) -> str:
    """`plum.dev/v1` -> `plum.dev`, `v1` -> empty."""
    return api_version.rpartition("/")[0]


def id_of_item(item: InventoryItem) -> ObjectId:
    """The object of an inventory entry."""
    return ObjectId(group_of(item.api_version), item.kind, item.namespace, item.name)


def id_of(obj: Mapping[str, Any]) -> ObjectId:
    """The object itself."""
    metadata = obj.get("metadata") or {}
    return ObjectId(
        group_of(str(obj.get("apiVersion") or "")),
        str(obj.get("kind") or ""),
        str(metadata.get("namespace") or ""),
        str(metadata.get("name") or ""),
    )


def label_of(namespace: str, name: str) -> str:
    """What a Sync writes on its objects: `NAMESPACE.NAME`, cut and told apart by a hash where that is too long for a label."""
    text = f"{namespace}.{name}"
    if len(text) <= MAX_LABEL:
        return text
    return f"{text[: MAX_LABEL - 11].rstrip('.-')}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def is_local(url: str) -> bool:
    """Whether the address of a Git repository is a path of this machine: `file://`, or none of `SCHEME://` and `HOST:PATH`."""
    scheme, separator, _ = url.partition("://")
    if separator:
        return scheme.lower() not in ("https", "http", "ssh")
    return SCP.match(url) is None
