"""One engine for plan, diff and apply: a server-side-apply dry run of every object that may differ.

    documents --prepare--> Items (kind, namespace, label) --order--> stages --check--> Checked(action, result, problems)

What was compared before and has not changed since, neither manifest nor object, is not asked about again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from plum_client.client import ApiClient
from plum_client.errors import (
    ApiError,
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    InvalidObjectError,
    NotFoundError,
    UnauthorizedError,
)
from plum_client.manifests.documents import Problem
from plum_client.manifests.refusals import owner_named, problems_of, unreadable_fields, without_field
from plum_schemas.base import KindInfo
from plum_schemas.sync import SYNC_LABEL, Drift, InventoryItem, Sync

from plum_controller.controllers.syncing.live import Live
from plum_controller.controllers.syncing.state import SyncState, Verified
from plum_controller.domain.sync.drift import content, content_hash, different_fields, last_writer
from plum_controller.domain.sync.identity import ObjectId, group_of
from plum_controller.domain.sync.order import OrderError, Stage, stages
from plum_controller.manifests.document import Document, Found

Json = dict[str, Any]
Action = Literal["create", "change", "unchanged", "correct", "report", "later"]
PARALLEL = 32
"""Requests under way at once: enough to fill the store's group commit."""
MAX_PROBLEMS = 10
"""Unknown fields of one object that are looked for before the rest is left for the next try."""
WAY_OUT = "leave it out of the manifest, or take it over with spec.force"


_DIFFERS = Drift(api_version="", kind="", name="")
"""Stands for a comparison that has to be made."""


@dataclass(slots=True)
class Item:
    """One object on its way to the server."""

    identity: ObjectId
    document: Document
    info: KindInfo | None
    """None: its definition is in the same source and not on the server yet."""
    data: Json
    new_namespace: bool = False
    """Its namespace is in the same source and not on the server yet."""


@dataclass(slots=True)
class Checked:
    """What an apply of one object would do."""

    item: Item
    action: Action
    live: Json | None = None
    result: Json | None = None
    fields: list[str] = field(default_factory=list)
    """Paths that differ."""
    manager: str = ""
    """Who changed them, where somebody else did."""
    force: bool = False
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """What an apply of a revision would do."""

    items: dict[ObjectId, Item]
    stages: list[Stage]
    checked: dict[ObjectId, Checked]
    problems: list[Problem]

    @property
    def work(self) -> list[Checked]:
        """What is not as it should be, and is to be applied."""
        return [one for one in self.checked.values() if one.action in ("create", "change", "correct", "later")]


class Engine:
    """Plans and applies for all Syncs."""

    def __init__(self, api_of: Callable[[Sync], ApiClient], live: Live, owner: Callable[[str], str]) -> None:
        """`api_of`: the API with the rights of a Sync. `owner`: the Sync that a label names, if it exists; else an empty text."""
        self._api_of = api_of
        self._live = live
        self._owner = owner

    def manager_of(self, sync: Sync) -> str:
        """The field manager that a Sync applies with."""
        return f"plum-sync/{sync.metadata.name}"[:128]

    # ---- preparing

    def prepare(self, sync: Sync, state: SyncState, found: Found) -> tuple[dict[ObjectId, Item], list[Problem]]:
        """Kind, namespace and label of every object."""
        problems: list[Problem] = []
        items: dict[ObjectId, Item] = {}
        defined = _defined(found.documents)
        namespaces = {one.name for one in found.documents if (one.api_version, one.kind) == ("v1", "Namespace")}
        for document in found.documents:
            info = self._live.kind(document.api_version, document.kind)
            scoped = info.namespaced if info is not None else defined.get((document.api_version, document.kind))
            if scoped is None:
                problems.append(document.manifest.problem("kind", self._unknown(document)))
                continue
            namespace = (document.namespace or sync.spec.target_namespace or sync.metadata.namespace) if scoped else ""
            identity = ObjectId(group_of(document.api_version), document.kind, namespace, document.name)
            if identity in items:
                where = items[identity].document.manifest.where()
                problems.append(document.manifest.problem("metadata.name", f"{identity} is there twice, also at {where}"))
                continue
            data = _labelled(document.data, namespace, state.label)
            item = items[identity] = Item(identity, document, info, data)
            item.new_namespace = namespace in namespaces and self._live.value(ObjectId("", "Namespace", "", namespace)) is None
        return items, problems

    def _unknown(self, document: Document) -> str:
        import difflib

        close = difflib.get_close_matches(document.kind, self._live.names(), n=1)
        if document.kind in self._live.names():
            return f"the server has no kind {document.kind} in {document.api_version} that a Sync can apply"
        hint = f"; did you mean {close[0]}?" if close else ", and no manifest here defines it"
        return f"the server has no kind {document.kind} in {document.api_version}{hint}"

    # ---- checking

    async def plan(self, sync: Sync, state: SyncState, found: Found, inventory: Mapping[ObjectId, InventoryItem]) -> Plan:
        """Everything that an apply of these objects would do. Writes nothing."""
        items, problems = self.prepare(sync, state, found)
        order: list[Stage] = []
        try:
            order = self._order(state, found, items)
        except OrderError as error:
            problems += [items[one].document.manifest.problem(where, text) for one, where, text in error.failures]
        checked: dict[ObjectId, Checked] = {}
        if not problems:
            open_: list[Item] = []
            for identity, item in items.items():
                drift = self._as_before(state, item)
                if drift is None or (drift is not _DIFFERS and sync.spec.drift_policy == "Report"):
                    checked[identity] = Checked(item, "unchanged" if drift is None else "report")
                else:
                    open_.append(item)
            for one in await self.check_all(sync, state, open_, inventory):
                checked[one.item.identity] = one
                problems += one.problems
        return Plan(items, order, checked, problems)

    def _as_before(self, state: SyncState, item: Item) -> Drift | None:
        """None: neither manifest nor object changed since they were found equal. Else how they differed, as far as is known."""
        known = state.verified.get(item.identity)
        if known is None or known.document != item.document.hash or known.content != self._live.content(item.identity):
            return _DIFFERS
        return known.drift if known.content or known.drift is not None else _DIFFERS

    def _order(self, state: SyncState, found: Found, items: Mapping[ObjectId, Item]) -> list[Stage]:
        if state.stages is None or state.stages[0] is not found:
            state.stages = (found, stages({identity: item.data for identity, item in items.items()}))
        return state.stages[1]

    async def check_all(
        self, sync: Sync, state: SyncState, items: Iterable[Item], inventory: Mapping[ObjectId, InventoryItem]
    ) -> list[Checked]:
        """Dry runs of these objects."""
        gate = asyncio.Semaphore(PARALLEL)

        async def one(item: Item) -> Checked:
            async with gate:
                checked = await self._check(sync, state, item, inventory.get(item.identity))
                await asyncio.sleep(0)  # the API is served by the same loop
                return checked

        return list(await asyncio.gather(*(one(item) for item in items)))

    async def _check(self, sync: Sync, state: SyncState, item: Item, known: InventoryItem | None) -> Checked:
        """What an apply of one object would do."""
        if item.info is None:
            return Checked(item, "later")
        live = self._live.get(item.identity)
        other = _label(live)
        checked = Checked(item, "change" if live is not None else "create", live)
        same = known is not None and known.hash == item.document.hash
        mine = other == state.label
        if other and not mine and not sync.spec.service_account_name and (owner := self._owner(other)):
            text = f"{item.identity} belongs to the Sync {owner}; remove it from one of them"
            checked.problems.append(item.document.manifest.problem("metadata.name", text))
            return checked
        checked.force = sync.spec.force or bool(other and not mine)
        try:
            checked.result = await self._try(sync, item, force=checked.force)
        except ConflictError as error:
            if not mine or not error.causes:
                checked.problems += refused(item, live, error)
                return checked
            checked.fields = [cause.field.lstrip(".") for cause in error.causes]
            checked.manager = next(filter(None, (owner_named(cause.message) for cause in error.causes)), "")
            checked.force = True
            try:
                checked.result = await self._try(sync, item, force=True)
            except ApiError as next_:
                checked.problems += await self._problems(sync, item, live, next_)
                return checked
        except (ApiUnavailableError, UnauthorizedError):
            raise
        except ForbiddenError as error:
            checked.live = None  # what it may not write, nobody sees through it
            checked.problems.append(item.document.manifest.problem("", error.message))
            return checked
        except ApiError as error:
            checked.problems += await self._problems(sync, item, live, error)
            return checked
        if other and not mine and (owner := self._owner(other)):
            text = f"{item.identity} belongs to the Sync {owner}; remove it from one of them"
            checked.problems.append(item.document.manifest.problem("metadata.name", text))
            return checked
        return self._judge(sync, state, checked, same, known)

    def _judge(self, sync: Sync, state: SyncState, checked: Checked, same: bool, known: InventoryItem | None) -> Checked:
        item, live, result = checked.item, checked.live, checked.result
        if live is None:
            if same and known is not None and known.result == "Applied":
                checked.fields, checked.action = ["(the object)"], "correct"
                if sync.spec.drift_policy == "Report":
                    checked.action = "report"
            return checked
        if result is None:
            return checked
        if item.new_namespace:
            result["metadata"]["namespace"] = item.identity.namespace
        if content_hash(result) == content_hash(live) and not checked.fields:
            checked.action = "unchanged"
            state.verified[item.identity] = Verified(item.document.hash, content_hash(live))
            return checked
        differing = list(different_fields(content(live), content(result)))
        if same or checked.fields:
            checked.fields = checked.fields or differing
            checked.manager = checked.manager or last_writer(live, self.manager_of(sync))
        if same:
            checked.action = "report" if sync.spec.drift_policy == "Report" else "correct"
        return checked

    async def _problems(self, sync: Sync, item: Item, live: Json | None, error: ApiError) -> list[Problem]:
        """All that the server refuses. It names one unknown or mistyped field at a time: the rest is tried without it."""
        found: list[Problem] = []
        written = item.data
        try:
            for _ in range(MAX_PROBLEMS):
                found += refused(item, live, error)
                rest = item.data
                for path in unreadable_fields(error.message):
                    rest = without_field(rest, path)
                if rest == item.data:
                    break
                item.data = rest
                try:
                    await self._try(sync, item, force=True)
                    break
                except (ApiUnavailableError, UnauthorizedError):
                    break
                except ApiError as next_:
                    error = next_
        finally:
            item.data = written
        return found

    async def _try(self, sync: Sync, item: Item, *, force: bool) -> Json:
        data = item.data
        if item.new_namespace:
            data, force = {**data, "metadata": {**data["metadata"], "namespace": "default"}}, True
        return await self._write(sync, item, data, force=force, dry_run=True)

    # ---- doing

    async def apply(self, sync: Sync, checked: Checked) -> Json:
        """Apply one object as it was checked. Raises what the client raises."""
        result = await self._write(sync, checked.item, checked.item.data, force=checked.force, dry_run=False)
        await asyncio.sleep(0)
        return result

    async def _write(self, sync: Sync, item: Item, data: Json, *, force: bool, dry_run: bool) -> Json:
        if item.info is None:
            raise NotFoundError(f"the server has no kind {item.identity.kind} yet")
        return await self._api_of(sync).apply(
            data,
            kind=item.info,
            force=force,
            field_manager=self.manager_of(sync),
            dry_run=dry_run,
            field_validation="Strict",
        )


def refused(item: Item, live: Json | None, error: ApiError) -> list[Problem]:
    """What the server refused. Of a Secret no value is told."""
    manifest = item.document.manifest
    if item.identity.kind != "Secret" or item.identity.group:
        return problems_of(manifest, item.data, live, error, WAY_OUT)
    if isinstance(error, InvalidObjectError) and error.causes:
        return [manifest.problem(cause.field, f"{cause.field} is not valid") for cause in error.causes]
    return problems_of(manifest, {"metadata": item.data["metadata"]}, None, error, WAY_OUT)


def _label(live: Mapping[str, Any] | None) -> str:
    labels = ((live or {}).get("metadata") or {}).get("labels") or {}
    return str(labels.get(SYNC_LABEL) or "")


def _labelled(data: Json, namespace: str, label: str) -> Json:
    metadata = dict(data.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), SYNC_LABEL: label}
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    return {**data, "metadata": metadata}


def _defined(documents: Sequence[Document]) -> dict[tuple[str, str], bool]:
    """Kinds that definitions among the objects add, with whether they are namespaced."""
    found: dict[tuple[str, str], bool] = {}
    for document in documents:
        if document.kind != "CustomResourceDefinition":
            continue
        spec = document.data.get("spec") or {}
        kind = (spec.get("names") or {}).get("kind")
        for version in spec.get("versions") or ():
            if kind and isinstance(version, Mapping):
                found[f"{spec.get('group', '')}/{version.get('name', '')}", str(kind)] = spec.get("scope") != "Cluster"
    return found
