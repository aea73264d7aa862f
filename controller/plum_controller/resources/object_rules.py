"""Rules of Secret, ConfigMap and Lease that their schemas cannot say."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from plum_schemas.validation import quote

from plum_controller.resources.encode import Json
from plum_controller.resources.errors import FORBIDDEN, INVALID, Cause
from plum_controller.resources.rules import KindRules

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.kinds import ResourceKind

MAX_DATA_BYTES = 1024 * 1024
"""Of all values of a Secret or ConfigMap together. Kubernetes' limit."""


class ConfigMapRules(KindRules):
    """Sizes, keys, and `immutable`."""

    parts: tuple[str, ...] = ("data", "binaryData")

    def check(self, context: Context, kind: ResourceKind, new: Json, live: Json | None) -> Iterable[Cause]:
        if live is not None and live.get("immutable"):
            yield from self._check_immutable(new, live)
        size = 0
        seen: set[str] = set()
        for part in self.parts:
            values = new.get(part) or {}
            for key, value in values.items():
                size += len(value)
                if not _is_data_key(key):
                    hint = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
                    yield Cause(INVALID, f"Invalid value: {quote(key)}: {hint}", f"{part}[{key}]")
                if key in seen:
                    yield Cause(INVALID, f"Invalid value: {quote(key)}: duplicate of key present in data", f"{part}[{key}]")
            seen.update(values)
        if size > MAX_DATA_BYTES:
            yield Cause("FieldValueTooLong", f"Too long: may not be more than {MAX_DATA_BYTES} bytes", "data")

    def _check_immutable(self, new: Json, live: Json) -> Iterator[Cause]:
        hint = "Forbidden: field is immutable when `immutable` is set"
        if not new.get("immutable"):
            yield Cause(FORBIDDEN, hint, "immutable")
        for part in self.parts:
            if (new.get(part) or {}) != (live.get(part) or {}):
                yield Cause(FORBIDDEN, hint, part)


class SecretRules(ConfigMapRules):
    """As ConfigMap; text in `stringData` moves into `data`."""

    parts = ("data",)
    is_confidential = True

    def defaults(self, new: Json) -> None:
        text, data = new.get("stringData"), new.get("data") or {}
        if not isinstance(text, dict) or not isinstance(data, dict) or not all(isinstance(value, str) for value in text.values()):
            return  # nothing to move, or something for the schema to refuse
        del new["stringData"]
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
        if encoded:
            new["data"] = {**data, **encoded}

    def check(self, context: Context, kind: ResourceKind, new: Json, live: Json | None) -> Iterable[Cause]:
        yield from super().check(context, kind, new, live)
        if live is not None and new.get("type") != live.get("type"):
            yield Cause(INVALID, f"Invalid value: {quote(new.get('type'))}: field is immutable", "type")


class LeaseRules(KindRules):
    """Agents and leader elections renew with one PUT, whether or not the Lease is there."""

    create_on_update = True


def _is_data_key(key: str) -> bool:
    return 0 < len(key) <= 253 and key not in (".", "..") and all(letter.isalnum() or letter in "-_." for letter in key)
