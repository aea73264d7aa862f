"""Create, update, patch and apply.

    body --> new object --> shape --> check --> owners of fields --> bytes --> commit with the revision it was made from
                 ^                                                                 |
                 +--------------- somebody was faster: read again -----------------+

Between reading the live object and the commit nothing waits, so a plan is always made from the newest version; the
precondition of the commit catches writers in other processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from plum_schemas.base import ObjectKey

from plum_controller.resources import metadata as meta
from plum_controller.resources.applying import Applier
from plum_controller.resources.context import Context
from plum_controller.resources.definition_rules import admit_instance
from plum_controller.resources.encode import (
    Json,
    decode,
    encode,
    same,
    split,
    tail_of,
    with_revision,
    without_revision,
)
from plum_controller.resources.errors import (
    FORBIDDEN,
    REQUIRED,
    ApiStatusError,
    Cause,
    already_exists,
    bad_request,
    conflict,
    invalid,
    invalid_option,
    not_found,
)
from plum_controller.resources.fields.tracking import restore_times, track_update
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.merging import (
    check_revision,
    check_subresource,
    is_same_spec,
    may_differ_only_in_owners,
    merge_parts,
    patcher,
)
from plum_controller.resources.namespaces import admit_create
from plum_controller.resources.options import Outcome, PatchType, WriteOptions
from plum_controller.resources.rules import NO_RULES
from plum_controller.resources.shaping import (
    check_name,
    check_options,
    check_rules,
    check_shape,
    check_size,
    check_typed,
    open_body,
    shape,
)
from plum_controller.store.base import ABSENT, Check, Key, Revision, Transaction, Write
from plum_controller.store.cache import Entry
from plum_controller.store.errors import PreconditionError

MAX_ATTEMPTS = 20
"""Of one write against writers in other processes, before the client gets the conflict."""
MAX_NAME_ATTEMPTS = 8
"""Of a generated name that turns out to be taken."""

Make = Callable[[Entry, Json], Json]
"""Makes the new version from the live one. Called again with a newer one when somebody was faster."""
Style = Literal["replace", "patch", "apply"]
"""What the client sent: an object or a change of it, for which Kubernetes words some refusals differently. `apply` also
says that the new version already notes the owners of its fields."""


class Writer:
    """Writes objects of every kind. Holds no state."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context)

    # -- create ------------------------------------------------------------------------------------------------------

    async def create(self, kind: ResourceKind, namespace: str, data: Any, options: WriteOptions) -> Outcome:
        check_options(options, "Create")
        data = open_body(kind, data)
        given, unknown = meta.read_metadata(kind.info, data)
        namespace = _namespace_of(kind, namespace, given)
        if given.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        name = given.get("name", "")
        if name:
            return await self._create(kind, ObjectKey(namespace, name), data, given, unknown, options)
        if not given.get("generateName"):
            raise invalid(kind.info, "", [Cause(REQUIRED, "Required value: name or generateName is required", "metadata.name")])
        return await self._create_generated(kind, namespace, data, given, unknown, options)

    async def _create_generated(
        self, kind: ResourceKind, namespace: str, data: Json, given: Json, unknown: list[str], options: WriteOptions
    ) -> Outcome:
        original = encode(data)
        for _ in range(MAX_NAME_ATTEMPTS):
            name = self._context.generate_name(given["generateName"])
            try:
                return await self._create(kind, ObjectKey(namespace, name), decode(original), given, unknown, options)
            except ApiStatusError as error:
                if error.reason != "AlreadyExists":
                    raise
        raise already_exists(kind.info, name, generated=True)

    async def _create(
        self, kind: ResourceKind, key: ObjectKey, data: Json, given: Json, unknown: list[str], options: WriteOptions
    ) -> Outcome:
        context, info, warnings = self._context, kind.info, list[str]()
        check_name(kind, key.name)
        uid = options.uid or context.new_uid()
        data["metadata"] = meta.for_create(given, info, key.name, key.namespace, uid, context.now())
        if info.has_status:
            data.pop("status", None)
        shape(kind, data, unknown, options, warnings, None)
        return await self.insert(kind, key, data, options, warnings, tracked=False)

    async def insert(
        self, kind: ResourceKind, key: ObjectKey, new: Json, options: WriteOptions, warnings: list[str], *, tracked: bool
    ) -> Outcome:
        """Store a new object that is shaped and has its metadata. `tracked`: its field owners are already noted."""
        context, info = self._context, kind.info
        checks = self._admit(kind, key)
        warnings += meta.finalizer_warnings(new["metadata"], None)
        check_shape(kind, new, None)
        kind.rules.prepare_create(context, kind, new)
        check_rules(context, kind, new, None)
        check_typed(kind, new, None)
        if options.admit is not None:
            options.admit(new, None)
        store_key = Key(info.resource, key.namespace, key.name)
        self._refuse_existing(kind, store_key)
        if not tracked:
            track_update(None, new, options.field_manager, info.api_version, options.subresource, context.now(), kind.fields)
        uid = new["metadata"]["uid"]
        tail = tail_of(new)
        check_size(len(kind.head) + len(tail))
        if options.dry_run:
            return Outcome(without_revision(kind.head, tail), 0, created=True, warnings=tuple(warnings), uid=uid)
        revision = await self._commit_new(kind, key, Write(store_key, kind.storage.head, tail, ABSENT), checks)
        return Outcome(with_revision(kind.head, revision, tail), revision, created=True, warnings=tuple(warnings), uid=uid)

    def _admit(self, kind: ResourceKind, key: ObjectKey) -> tuple[Check, ...]:
        """The object's namespace and definition must stay as they are until the commit: neither may have begun to end."""
        checks: tuple[Check, ...] = ()
        if kind.info.namespaced:
            checks = (admit_create(self._context, kind, key.namespace, key.name),)
        if not kind.is_builtin:
            checks += (admit_instance(self._context, kind, key.name),)
        return checks

    async def _commit_new(self, kind: ResourceKind, key: ObjectKey, write: Write, checks: tuple[Check, ...]) -> Revision:
        for _ in range(MAX_ATTEMPTS):
            try:
                return await self._context.commit(Transaction((write,), checks))
            except PreconditionError as error:
                if error.key == write.key:
                    raise already_exists(kind.info, key.name) from error
                # Somebody wrote the namespace or the definition meanwhile. That refuses nothing, unless it ends now.
                checks = self._admit(kind, key)
        raise conflict(kind.info, key.name)

    def _refuse_existing(self, kind: ResourceKind, key: Key) -> None:
        entry = self._context.cache.get(key)
        if entry is not None:
            deleting = "deletionTimestamp" in decode(entry.value)["metadata"]
            raise already_exists(kind.info, key.name, deleting=deleting)

    # -- update, patch, apply ----------------------------------------------------------------------------------------

    async def update(self, kind: ResourceKind, key: ObjectKey, data: Any, options: WriteOptions) -> Outcome:
        check_options(options, "Update")
        check_subresource(kind, options.subresource)
        data = open_body(kind, data, key.name)
        if kind.rules.create_on_update and not options.subresource and self._entry(kind, key) is None:
            return await self._create_missing(kind, key, data, options)
        strict_revision = not kind.info.strategic_merge
        # The body is used up by the first attempt; only writes that name no revision can need a second.
        original = None if meta.revision_in(data) else encode(data)
        bodies = iter((data,))

        def make(entry: Entry, live: Json) -> Json:
            body = next(bodies, None) or decode(original or b"{}")
            if strict_revision and not meta.revision_in(body):
                cause = Cause(
                    "FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion"
                )
                raise invalid(kind.info, key.name, [cause])
            return body

        return await self.change(kind, key, make, options, "replace")

    async def _create_missing(self, kind: ResourceKind, key: ObjectKey, data: Json, options: WriteOptions) -> Outcome:
        given, _ = meta.read_metadata(kind.info, data)
        meta.check_identity(key.name, key.namespace, given)
        data["metadata"] = {**given, "name": key.name}
        data["metadata"].pop("resourceVersion", None)
        return await self.create(kind, key.namespace, data, options)

    async def patch(
        self, kind: ResourceKind, key: ObjectKey, patch_type: PatchType, patch: Any, options: WriteOptions
    ) -> Outcome:
        check_options(options, "Patch")
        check_subresource(kind, options.subresource)
        if patch_type == "apply":
            return await self._apply(kind, key, patch, options)
        if options.force:
            message = "Forbidden: may not be specified for non-apply patch"
            raise invalid_option("PatchOptions", [Cause(FORBIDDEN, message, "force")])
        change = patcher(kind, patch_type)
        # Parts of the patch become parts of the object, which later steps change, so every attempt needs its own.
        original = encode(patch)

        def make(entry: Entry, live: Json) -> Json:
            return open_body(kind, change(live, decode(original)), key.name)

        return await self.change(kind, key, make, options, "patch", patch)

    async def _apply(self, kind: ResourceKind, key: ObjectKey, config: Any, options: WriteOptions) -> Outcome:
        self._applier.check(kind, config, options)
        if not options.subresource and self._entry(kind, key) is None:
            new, warnings = self._applier.first(kind, key, config, options)
            try:
                return await self.insert(kind, key, new, options, warnings, tracked=True)
            except ApiStatusError as error:
                if error.reason != "AlreadyExists":
                    raise

        def make(entry: Entry, live: Json) -> Json:
            return self._applier.next(kind, key, live, config, options)

        return await self.change(kind, key, make, options, "apply", config)

    async def change(
        self, kind: ResourceKind, key: ObjectKey, make: Make, options: WriteOptions, style: Style, patch: Any = None
    ) -> Outcome:
        """Replace an object by what `make` makes of it, as often as it takes."""
        store_key = Key(kind.info.resource, key.namespace, key.name)
        await self._context.locks.acquire(store_key)
        try:
            for _ in range(MAX_ATTEMPTS):
                entry = self._context.cache.get(store_key)
                if entry is None:
                    raise not_found(kind.info, key.name)
                try:
                    return await self._change_once(kind, key, entry, make, options, style, patch)
                except PreconditionError:
                    continue
        finally:
            self._context.locks.release(store_key)
        raise conflict(kind.info, key.name)

    async def _change_once(
        self, kind: ResourceKind, key: ObjectKey, entry: Entry, make: Make, options: WriteOptions, style: Style, patch: Any
    ) -> Outcome:
        context, info, warnings = self._context, kind.info, list[str]()
        live = decode(kind.present(entry.value))
        given = make(entry, live)
        given_metadata, unknown = meta.read_metadata(info, given)
        meta.check_identity(key.name, key.namespace, given_metadata)
        check_revision(kind, key.name, given_metadata.get("resourceVersion"), entry.revision)
        live_metadata = live["metadata"]
        metadata = meta.for_update(info, live_metadata, given_metadata, patched=style != "replace")
        # Rules may change what they are given, so they get parts that `live` does not share.
        kept = live if kind.rules is NO_RULES else decode(kind.present(entry.value))
        new = merge_parts(kind, kept, given, metadata, options.subresource)
        managed = given_metadata.get("managedFields", live_metadata.get("managedFields"))
        if managed is not None:
            metadata["managedFields"] = managed

        shape(kind, new, unknown, options, warnings, patch)
        if kind.rules is NO_RULES and same(new, live):
            return _unchanged(kind, entry, live, warnings)
        warnings += meta.finalizer_warnings(metadata, live_metadata)
        check_shape(kind, new, live)
        kind.rules.prepare_update(context, kind, live, new, options.subresource)
        if options.subresource != "status":
            check_rules(context, kind, new, live)
            if not is_same_spec(kind, live, new):
                check_typed(kind, new, live)
                if info.has_generation:
                    metadata["generation"] = live_metadata.get("generation", 0) + 1
        if options.admit is not None:
            options.admit(new, live)
        if style != "apply":
            track_update(live, new, options.field_manager, info.api_version, options.subresource, context.now(), kind.fields)
        if may_differ_only_in_owners(live, new) and restore_times(live, new):
            return _unchanged(kind, entry, live, warnings)
        return await self.replace(kind, entry, new, options.dry_run, warnings)

    async def replace(self, kind: ResourceKind, entry: Entry, new: Json, dry_run: bool, warnings: list[str]) -> Outcome:
        """Commit a new version of an object, which ends it if it was being deleted and nothing holds it any more.

        Raises `PreconditionError` when the object is no longer the one in `entry`.
        """
        metadata, uid = new["metadata"], new["metadata"]["uid"]
        gone = "deletionTimestamp" in metadata and not metadata.get("finalizers") and not kind.rules.is_held(new)
        rows = () if gone else kind.rules.rows(self._context, entry, new)
        tail = tail_of(new)
        check_size(len(kind.head) + len(tail))
        revision = entry.revision
        if not dry_run:
            if gone:
                # Watchers get the last stored state, with the finalizer that has just been removed.
                head, last = split(entry.value, revision)
                write = Write(entry.key, head, last, revision, deleted=True)
            else:
                write = Write(entry.key, kind.storage.head, tail, revision)
            revision = await self._context.commit(Transaction((write,), (), rows))
        value = with_revision(kind.head, revision, tail)
        return Outcome(value, revision, warnings=tuple(warnings), gone=gone, uid=uid)

    def _entry(self, kind: ResourceKind, key: ObjectKey) -> Entry | None:
        return self._context.cache.get(Key(kind.info.resource, key.namespace, key.name))


def _namespace_of(kind: ResourceKind, namespace: str, given: Json) -> str:
    if not kind.info.namespaced:
        meta.check_namespace("", given)
        return ""
    namespace = namespace or given.get("namespace", "")
    if not namespace:
        raise bad_request("an empty namespace may not be set during creation")
    meta.check_namespace(namespace, given)
    return namespace


def _unchanged(kind: ResourceKind, entry: Entry, live: Json, warnings: list[str]) -> Outcome:
    uid = live["metadata"]["uid"]
    return Outcome(kind.present(entry.value), entry.revision, changed=False, warnings=tuple(warnings), uid=uid)
