"""Sets: which objects were applied together, so that what left the folder can be deleted.

    ConfigMap plum-set-NAME (id, kinds, namespaces)  <--label part-of=id--  members

The layout is Kubernetes' ApplySet, so kubectl reads it. The set's object is written before the members and shrunk after
the pruning: after a crash in between the next apply finds all members, old and new.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plum_client.errors import NotFoundError
from plum_schemas.base import KindInfo, ObjectKey

from plum_cli import __version__
from plum_cli.apply import SET_LABEL, Item
from plum_cli.errors import CliError, UsageError
from plum_cli.session import Session

ID_LABEL = "applyset.kubernetes.io/id"
KINDS = "applyset.kubernetes.io/contains-group-kinds"
NAMESPACES = "applyset.kubernetes.io/additional-namespaces"
TOOLING = "applyset.kubernetes.io/tooling"
KEEP = "plum.dev/prune"
"""Label or annotation of an object that must not be pruned: `disabled`."""
NEVER_PRUNED = frozenset({("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition")})
"""Deleting one of these deletes all that is in it, so it is only named, not done."""


@dataclass(slots=True)
class Member:
    """An object of the set that is no longer in the manifests."""

    info: KindInfo
    item: dict[str, Any]

    @property
    def key(self) -> ObjectKey:
        metadata = self.item["metadata"]
        return ObjectKey(str(metadata.get("namespace") or "") if self.info.namespaced else "", str(metadata["name"]))

    @property
    def kept(self) -> str:
        """Why it is not deleted; empty if it is."""
        metadata = self.item["metadata"]
        if "disabled" in ((metadata.get("labels") or {}).get(KEEP), (metadata.get("annotations") or {}).get(KEEP)):
            return f"{KEEP}: disabled"
        if (self.info.group, self.info.kind) in NEVER_PRUNED:
            return "all that is in it would go with it; delete it yourself"
        return ""


def default_name(sources: Sequence[str]) -> str:
    """The name of the set for some files: that of the one folder or file. Raises `UsageError` when there is no such name."""
    if len(sources) != 1 or sources[0] == "-":
        raise UsageError(
            "--prune needs --set NAME when the manifests are not one folder or file: the name says which set they are"
        )
    path = Path(sources[0]).resolve()
    name = "".join(letter if letter.isalnum() else "-" for letter in (path.name if path.is_dir() else path.stem).lower()).strip(
        "-"
    )
    if not name:
        raise UsageError(f"--prune needs --set NAME: no name can be made from {sources[0]}")
    return name[:200]


class ApplySet:
    """One named set in one namespace."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self.name = name
        self.object_name = f"plum-set-{name}"
        identity = f"{self.object_name}.{session.namespace}.ConfigMap."
        digest = base64.urlsafe_b64encode(hashlib.sha256(identity.encode()).digest()).decode().rstrip("=")
        self.id = f"applyset-{digest}-v1"
        self._kinds: set[str] = set()
        self._namespaces: set[str] = set()

    async def load(self) -> None:
        """Read which kinds and namespaces the set reaches."""
        found = await self._session.find(await self._session.kind("configmaps"), self.object_name, self._session.namespace)
        annotations = ((found or {}).get("metadata") or {}).get("annotations") or {}
        self._kinds = set(filter(None, annotations.get(KINDS, "").split(",")))
        self._namespaces = set(filter(None, annotations.get(NAMESPACES, "").split(",")))

    async def widen(self, items: Sequence[Item]) -> None:
        """Before the apply: add the kinds and namespaces of the new members."""
        await self._write(self._kinds | _kinds_of(items), self._namespaces | _namespaces_of(items))

    async def shrink(self, items: Sequence[Item], kept: Sequence[Member]) -> None:
        """After the pruning: only what is left."""
        kinds = _kinds_of(items) | {_group_kind(member.info) for member in kept}
        namespaces = _namespaces_of(items) | {member.key.namespace for member in kept if member.key.namespace}
        await self._write(kinds, namespaces)

    async def leavers(self, items: Sequence[Item]) -> list[Member]:
        """Members that are not among the items. Raises `CliError` when none of the old members is left: a wrong folder."""
        wanted = {(_group_kind(item.info), item.namespace, item.name) for item in items}
        members = await self._members(self._kinds | _kinds_of(items))
        staying = [member for member in members if (_group_kind(member.info), *member.key) in wanted]
        leaving = [member for member in members if (_group_kind(member.info), *member.key) not in wanted]
        if members and not staying:
            raise CliError(
                f"nothing of the set {self.name} ({len(members)} objects) is in these manifests; they are probably another set\n"
                f"  name it with --set NAME, or delete the old one first: plum delete KIND -l {SET_LABEL}={self.id}"
            )
        return leaving

    async def delete(self, member: Member) -> None:
        """Delete one object, if it is still the one that was seen."""
        try:
            await self._session.api.delete(member.info, member.key, uid=str(member.item["metadata"]["uid"]))
        except NotFoundError:
            pass

    async def _members(self, kinds: set[str]) -> list[Member]:
        found: list[Member] = []
        for info in await self._session.api.discover():
            if _group_kind(info) in kinds and all(member.info.resource != info.resource for member in found):
                listed = await self._session.api.list(info, labels=f"{SET_LABEL}={self.id}")
                found += [Member(info, item) for item in listed]
        return [member for member in found if not member.item["metadata"].get("deletionTimestamp")]

    async def _write(self, kinds: set[str], namespaces: set[str]) -> None:
        if kinds == self._kinds and namespaces == self._namespaces and kinds:
            return
        annotations = {
            TOOLING: f"plum/v{__version__}",
            KINDS: ",".join(sorted(kinds)),
            NAMESPACES: ",".join(sorted(namespaces - {self._session.namespace})),
        }
        metadata = {
            "name": self.object_name,
            "namespace": self._session.namespace,
            "labels": {ID_LABEL: self.id},
            "annotations": annotations,
        }
        info = await self._session.kind("configmaps")
        await self._session.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, kind=info, force=True)
        self._kinds, self._namespaces = kinds, namespaces


def _group_kind(info: KindInfo) -> str:
    return f"{info.kind}.{info.group}" if info.group else info.kind


def _kinds_of(items: Iterable[Item]) -> set[str]:
    return {_group_kind(item.info) for item in items}


def _namespaces_of(items: Iterable[Item]) -> set[str]:
    return {item.namespace for item in items if item.namespace}
