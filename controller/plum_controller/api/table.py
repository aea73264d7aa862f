"""Objects as the table that `kubectl get` shows: columns from the kind's declaration, one row of cells per object.

stored bytes -> decoded once -> cells + the object's metadata (or all of it, or nothing) -> Table
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from plum_schemas.base import KindInfo

from plum_controller.api.columns import columns_of
from plum_controller.api.views.columns import COLUMNS

MOST_CHARACTERS = 1000
"""Of a text in a cell: a value may have a megabyte, and a table is for people."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Tabulator:
    """Makes tables of one kind. Keep one per kind: it holds the compiled columns."""

    def __init__(self, info: KindInfo) -> None:
        self.columns = COLUMNS.get((info.group, info.kind)) or columns_of(info)

    def table(
        self,
        values: Sequence[bytes],
        *,
        revision: str,
        include: str = "Metadata",
        continue_token: str = "",
        remaining: int | None = None,
        headings: bool = True,
    ) -> bytes:
        """The Table of some objects. `include` is the parameter `includeObject`; `headings` False leaves the columns out."""
        metadata: dict[str, Any] = {"resourceVersion": revision} if revision else {}
        if continue_token:
            metadata["continue"] = continue_token
        if remaining is not None:
            metadata["remainingItemCount"] = remaining
        now = datetime.now(UTC)
        return _encode(
            {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "columnDefinitions": [column.definition() for column in self.columns] if headings else None,
                "rows": [self._row(value, include, now) for value in values],
            }
        )

    def rows(self, values: Sequence[bytes], include: str) -> bytes:
        """Further rows, comma separated, to be put into a table by the caller."""
        now = datetime.now(UTC)
        return b",".join([_encode(self._row(value, include, now)) for value in values])

    def _row(self, value: bytes, include: str, now: datetime) -> dict[str, Any]:
        decoded = _decode(value)
        row: dict[str, Any] = {"cells": [_cut(column.cell(decoded, now)) for column in self.columns]}
        if include == "Object":
            row["object"] = msgspec.Raw(value)
        elif include == "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": decoded.get("metadata", {}),
            }
        return row


def _cut(cell: Any) -> Any:
    return f"{cell[:MOST_CHARACTERS]}..." if isinstance(cell, str) and len(cell) > MOST_CHARACTERS else cell


class _MetadataOnly(msgspec.Struct):
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_decode_metadata = msgspec.json.Decoder(_MetadataOnly).decode


def partial(value: bytes) -> bytes:
    """Only the metadata of an object: PartialObjectMetadata."""
    metadata = bytes(_decode_metadata(value).metadata)
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":' + metadata + b"}"
