"""Deletion: at once when nothing holds the object, else a mark that controllers see and finish.

    DELETE -> preconditions -> finalizers of the propagation policy -> none left?  yes: gone
                                                                                  no:  deletionTimestamp

Foreground and orphan are finalizers that the garbage collector works off; background deletes now and leaves the
dependents to it. Whoever removes the last finalizer of a marked object deletes it (see `Writer.replace`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from plum_schemas.base import ObjectKey
from plum_schemas.validation import quote

from plum_controller.resources.context import Context
from plum_controller.resources.encode import Json, decode, same, split, tail_of, with_revision
from plum_controller.resources.errors import (
    NOT_SUPPORTED,
    ApiStatusError,
    Cause,
    conflict,
    invalid_option,
    not_found,
    precondition_failed,
)
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import DeleteOptions, Outcome
from plum_controller.store.base import Key, Transaction, Write
from plum_controller.store.cache import Entry
from plum_controller.store.errors import PreconditionError

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
POLICIES = ("Background", "Foreground", "Orphan")
MAX_ATTEMPTS = 20
AT_ONCE = 64
"""Deletions of a collection under way at the same time: enough to share commits."""


class Deleter:
    """Deletes objects of every kind. Holds no state."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def delete(self, kind: ResourceKind, key: ObjectKey, options: DeleteOptions) -> Outcome:
        _check_policy(options)
        store_key = Key(kind.info.resource, key.namespace, key.name)
        await self._context.locks.acquire(store_key)
        try:
            for _ in range(MAX_ATTEMPTS):
                entry = self._context.cache.get(store_key)
                if entry is None:
                    raise not_found(kind.info, key.name)
                try:
                    return await self._delete_once(kind, entry, options)
                except PreconditionError:
                    continue
        finally:
            self._context.locks.release(store_key)
        raise conflict(kind.info, key.name)

    async def delete_all(self, kind: ResourceKind, entries: Sequence[Entry], options: DeleteOptions) -> list[bytes]:
        """Delete each entry that is still there. Answers with what was deleted or marked."""
        deleted: list[bytes] = []
        for start in range(0, len(entries), AT_ONCE):
            piece = entries[start : start + AT_ONCE]
            deleted += filter(None, await asyncio.gather(*(self._delete_listed(kind, entry, options) for entry in piece)))
        return deleted

    async def _delete_listed(self, kind: ResourceKind, entry: Entry, options: DeleteOptions) -> bytes | None:
        try:
            return (await self.delete(kind, ObjectKey(entry.key.namespace, entry.key.name), options)).value
        except ApiStatusError as error:
            if error.reason == "NotFound":
                return None
            raise

    async def _delete_once(self, kind: ResourceKind, entry: Entry, options: DeleteOptions) -> Outcome:
        context = self._context
        live = decode(kind.present(entry.value))
        metadata = live["metadata"]
        _check_preconditions(kind, entry, metadata, options)
        kind.rules.check_delete(context, kind, live)
        marked = decode(kind.present(entry.value))
        finalizers = finalizers_for(metadata.get("finalizers", []), options.propagation)
        if finalizers:
            marked["metadata"]["finalizers"] = finalizers
        else:
            marked["metadata"].pop("finalizers", None)
        if not finalizers and not kind.rules.is_held(live):
            return await self._remove(kind, entry, metadata["uid"], options)
        if "deletionTimestamp" not in metadata:
            _mark(kind, marked["metadata"], context.now())
            kind.rules.prepare_delete(context, kind, marked)
        if same(marked, live):
            return Outcome(kind.present(entry.value), entry.revision, changed=False, uid=metadata["uid"])
        tail = tail_of(marked)
        revision = entry.revision
        if not options.dry_run:
            revision = await context.commit(Transaction((Write(entry.key, kind.storage.head, tail, revision),)))
        return Outcome(with_revision(kind.head, revision, tail), revision, uid=metadata["uid"])

    async def _remove(self, kind: ResourceKind, entry: Entry, uid: str, options: DeleteOptions) -> Outcome:
        head, tail = split(entry.value, entry.revision)
        revision = entry.revision
        if not options.dry_run:
            revision = await self._context.commit(Transaction((Write(entry.key, head, tail, revision, deleted=True),)))
        return Outcome(kind.present(with_revision(head, revision, tail)), revision, gone=True, uid=uid)


def finalizers_for(finalizers: list[str], propagation: str | None) -> list[str]:
    """The finalizers an object has once it is deleted with this policy. Without one, those of an earlier deletion stay."""
    if propagation is None:
        return finalizers
    kept = [name for name in finalizers if name not in (ORPHAN, FOREGROUND)]
    wanted = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(propagation)
    if wanted is None:
        return kept
    return finalizers if wanted in finalizers and len(kept) == len(finalizers) - 1 else [*kept, wanted]


def _mark(kind: ResourceKind, metadata: Json, now: str) -> None:
    metadata["deletionTimestamp"] = now
    metadata["deletionGracePeriodSeconds"] = 0
    if kind.info.has_generation:
        metadata["generation"] = metadata.get("generation", 0) + 1


def _check_policy(options: DeleteOptions) -> None:
    if options.propagation is not None and options.propagation not in POLICIES:
        supported = ", ".join(map(quote, POLICIES))
        message = f"Unsupported value: {quote(options.propagation)}: supported values: {supported}"
        raise invalid_option("DeleteOptions", [Cause(NOT_SUPPORTED, message, "propagationPolicy")])


def _check_preconditions(kind: ResourceKind, entry: Entry, metadata: Json, options: DeleteOptions) -> None:
    name, uid = metadata["name"], metadata["uid"]
    if options.uid and options.uid != uid:
        text = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated"
        )
        raise precondition_failed(kind.info, name, text)
    if options.revision and options.revision != str(entry.revision):
        text = (
            f"the ResourceVersion in the precondition ({options.revision}) does not match the ResourceVersion in record "
            f"({entry.revision}). The object might have been modified"
        )
        raise precondition_failed(kind.info, name, text)
