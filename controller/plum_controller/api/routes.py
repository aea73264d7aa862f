"""From the parts of a path to what they name: a kind, and a collection, an object or a part of an object.

apis plum.dev v1 namespaces default deployments web status  ->  Target(kind, "default", "web", "status")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plum_controller.api.discovery import SERVICES
from plum_controller.api.views import catalog as views
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.registry import Registry

NAMESPACE_PARTS = frozenset({"status", "finalize", "history"})
"""What may follow `/api/v1/namespaces/NAME` and is a part of the namespace, not a plural."""


class Target(NamedTuple):
    """What a path names."""

    kind: ResourceKind
    namespace: str = ""
    """Empty: a cluster-wide kind, or all namespaces."""
    name: str = ""
    """Empty: the collection."""
    subresource: str = ""
    watch: bool = False
    """The path had the old `/watch/` prefix."""


class Router:
    """Finds targets in the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._services = ResourceKind(SERVICES, {"type": "object"})

    def find(self, path: Sequence[str]) -> Target | None:
        """The target of `/api/...` or `/apis/...`; None when nothing is served there."""
        if path[0] == "apis":
            group, start = path[1] if len(path) > 1 else "", 2
        else:
            group, start = "", 1
        if len(path) <= start:
            return None
        return self._below(group, path[start], path[start + 1 :])

    def _below(self, group: str, version: str, rest: Sequence[str]) -> Target | None:
        watch = bool(rest) and rest[0] == "watch"
        if watch:
            rest = rest[1:]
        if not rest or "" in rest:
            return None
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and not (group == "" and len(rest) == 3 and rest[2] in NAMESPACE_PARTS):
            namespace = rest[1]
            rest = rest[2:]
        if len(rest) > 3:
            return None
        kind = self._kind(group, version, rest[0])
        if kind is None:
            return None
        name = rest[1] if len(rest) > 1 else ""
        if kind.info.namespaced:
            if name and not namespace:
                return None
        elif namespace:
            return None
        return Target(kind, namespace, name, rest[2] if len(rest) > 2 else "", watch)

    def _kind(self, group: str, version: str, plural: str) -> ResourceKind | None:
        kind = self._registry.by_path(group, version, plural)
        if kind is None:
            kind = views.find(group, version, plural)
        if kind is None and plural == "services" and group == "" and version == "v1":
            return self._services
        return kind
