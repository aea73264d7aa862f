"""What lives: every object of every kind, from the informers that the process shares, and the health rules of kinds.

informer --raw change of a labelled object--> SyncReconciler.of_object     only if content or health differ
Live.get(id), Live.content(id)                                             from the cache, decoded when asked
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from plum_client.informer import Informer
from plum_client.manager import Manager
from plum_schemas.base import KindInfo, ObjectKey
from plum_schemas.sync import HEALTH_ANNOTATION, SYNC_LABEL

from plum_controller.controllers.served_kinds import ServedKinds
from plum_controller.domain.health import Rule, RuleError, compile_rule
from plum_controller.domain.sync.drift import content_hash
from plum_controller.domain.sync.identity import ObjectId, group_of

Json = dict[str, Any]
OnChange = Callable[[str, ObjectId, Json | None], None]
"""Called with the Sync's label, the object, and what it is now."""
_LABEL = re.compile(rb'"' + SYNC_LABEL.encode() + rb'"\s*:\s*"([^"]+)"')
DEFINITION = ("apiextensions.k8s.io", "CustomResourceDefinition")
CONFIGURATION = frozenset({("", "Secret"), ("", "ConfigMap")})
_decode = msgspec.json.Decoder(dict).decode


class Live:
    """The objects there are, by identity."""

    def __init__(self, manager: Manager, on_change: OnChange, on_configuration: Callable[[ObjectId], None]) -> None:
        self._on_change = on_change
        self._on_configuration = on_configuration
        self._informers: dict[tuple[str, str], Informer[Any]] = {}
        self._contents: dict[ObjectId, tuple[bytes, str]] = {}
        self._rules: dict[str, Rule | None] = {}
        self.kinds = ServedKinds(manager, self._add)

    def _add(self, info: KindInfo, informer: Informer[Any]) -> None:
        kind = (info.group, info.kind)
        self._informers[kind] = informer
        configuration = kind in CONFIGURATION

        def changed(key: ObjectKey, old: bytes | None, new: bytes | None) -> None:
            value = new if new is not None else old or b""
            if configuration:
                self._on_configuration(ObjectId(*kind, key.namespace, key.name))
            found = _LABEL.search(value) or (_LABEL.search(old) if old is not None else None)
            if found is not None:
                identity = ObjectId(*kind, key.namespace if info.namespaced else "", key.name)
                if new is None:
                    self._contents.pop(identity, None)
                self._on_change(found[1].decode(), identity, None if new is None else _decode(new))

        informer.add_raw_handler(changed)

    def kind(self, api_version: str, kind: str) -> KindInfo | None:
        """The kind that objects of this API version are written as; None when the server has no such kind."""
        info = self.kinds.by_kind(api_version, kind)
        group, _, version = api_version.rpartition("/")
        if info is None or info.group != group or info.kind != kind:
            return None
        return info if info.version == version else dataclasses.replace(info, version=version)

    def names(self) -> list[str]:
        """All kinds, for suggestions."""
        return sorted({kind for _, kind in self._informers})

    def value(self, identity: ObjectId) -> bytes | None:
        """An object as it came."""
        informer = self._informers.get((identity.group, identity.kind))
        return None if informer is None else informer.value(ObjectKey(identity.namespace, identity.name))

    def get(self, identity: ObjectId) -> Json | None:
        """An object, the caller's own."""
        value = self.value(identity)
        return None if value is None else _decode(value)

    def content(self, identity: ObjectId) -> str:
        """The hash of what somebody wrote in an object; empty when there is none."""
        value = self.value(identity)
        if value is None:
            return ""
        known = self._contents.get(identity)
        if known is None or known[0] is not value:
            known = self._contents[identity] = (value, content_hash(_decode(value)))
        return known[1]

    def forget(self, identity: ObjectId) -> None:
        """It is no longer of interest."""
        self._contents.pop(identity, None)

    def rule_of(self, obj: Mapping[str, Any]) -> Rule | None:
        """The rule in CEL that is written on an object, or on the definition of its kind."""
        group, kind = group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind") or "")
        if (group, kind) == DEFINITION:
            return None  # what is written there is meant for its objects
        text = _annotation(obj)
        if not text:
            informer = self._informers.get((group, kind))
            definition = self._informers.get(DEFINITION)
            if informer is None or definition is None or not group or group.endswith("plum.dev"):
                return None
            found = definition.get(ObjectKey("", informer.info.resource))
            text = _annotation(found) if isinstance(found, Mapping) else ""
        return self.rule(text) if text else None

    def rule(self, healthy: str, failed: str = "") -> Rule | None:
        """A compiled rule; None when it cannot be used."""
        key = f"{healthy}\0{failed}"
        if key not in self._rules:
            try:
                self._rules[key] = compile_rule(healthy, failed)
            except RuleError:
                self._rules[key] = None
        return self._rules[key]


def _annotation(obj: Mapping[str, Any]) -> str:
    annotations = (obj.get("metadata") or {}).get("annotations")
    return str(annotations.get(HEALTH_ANNOTATION) or "") if isinstance(annotations, Mapping) else ""
