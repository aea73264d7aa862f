"""Every kind that objects can be of: the built-in ones and those that users define, with an informer for each.

    CustomResourceDefinition informer -> ServedKinds -> on_kind(informer) for each kind, once

For the controllers that must see everything: garbage collection and the deletion of namespaces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plum_client.informer import Informer
from plum_client.manager import Manager
from plum_schemas import crds
from plum_schemas.base import KindInfo, Object
from plum_schemas.core import Event, Namespace
from plum_schemas.deployment import Deployment
from plum_schemas.instance import Instance
from plum_schemas.node import Node
from plum_schemas.revision import Revision

DEFINITIONS = KindInfo(
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    group="apiextensions.k8s.io",
    namespaced=False,
)
VIRTUAL_GROUPS = ("authorization.k8s.io", "authentication.k8s.io")
"""Kinds of these groups are questions, not objects: nothing of them is stored."""
VIEWS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("", "Pod"): (Instance.info.group, Instance.info.kind),
    ("", "Node"): (Node.info.group, Node.info.kind),
    ("apps", "Deployment"): (Deployment.info.group, Deployment.info.kind),
}
"""Kubernetes' kinds in which clients see ours, and which they name as owners."""


_SHARED: Mapping[str, type[Object]] = {
    kind.info.resource: kind for kind in (Deployment, Instance, Revision, Node, Namespace, Event)
}
"""Kinds that other controllers watch by their types: one informer serves all."""


class ServedKinds:
    """The kinds, kept up to date from the definitions."""

    def __init__(self, manager: Manager, on_kind: Callable[[KindInfo, Informer[Any]], None]) -> None:
        self._manager = manager
        self._on_kind = on_kind
        self._by_resource: dict[str, KindInfo] = {}
        self._by_kind: dict[tuple[str, str], KindInfo] = {}
        for manifest in crds.load():
            self._add(manifest)
        manager.informer(DEFINITIONS).add_handler(self._defined)

    def by_resource(self, resource: str) -> KindInfo | None:
        """`deployments.plum.dev` to its kind."""
        return self._by_resource.get(resource)

    def by_kind(self, api_version: str, kind: str) -> KindInfo | None:
        """A kind of any served version of its group. For a view: the kind whose objects it shows, under their own uids."""
        name = (api_version.rpartition("/")[0], kind)
        return self._by_kind.get(VIEWS.get(name, name))

    def namespaced(self) -> list[KindInfo]:
        return [info for info in self._by_resource.values() if info.namespaced]

    def _defined(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        if new is not None:
            conditions = (new.get("status") or {}).get("conditions") or []
            if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                self._add(new)
        elif old is not None:
            names = old["spec"]["names"]
            self._by_resource.pop(f"{names['plural']}.{old['spec']['group']}", None)
            self._by_kind.pop((old["spec"]["group"], names["kind"]), None)

    def _add(self, manifest: Mapping[str, Any]) -> None:
        spec = manifest["spec"]
        names = spec["names"]
        version = next((v["name"] for v in spec["versions"] if v.get("storage")), spec["versions"][0]["name"])
        info = KindInfo(
            kind=names["kind"],
            plural=names["plural"],
            group=spec["group"],
            version=version,
            namespaced=spec.get("scope") == "Namespaced",
        )
        if info.group in VIRTUAL_GROUPS or info.resource in self._by_resource:
            return
        self._by_resource[info.resource] = info
        self._by_kind[(info.group, info.kind)] = info
        typed = _SHARED.get(info.resource)
        self._on_kind(info, self._manager.informer(typed) if typed is not None else self._manager.informer(info))
