"""One reconcile of one Sync, step by step: from its source to its status."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from plum_client.errors import ApiError, ApiUnavailableError, ForbiddenError
from plum_client.manifests.documents import Problem
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.sync import REQUEST_ANNOTATION, Drift, InventoryItem, Sync, SyncCounts

from plum_controller.controllers.syncing.deleting import Leaving, delete, look_at
from plum_controller.controllers.syncing.engine import PARALLEL, Checked, Plan, refused
from plum_controller.controllers.syncing.inputs import folder_of, options_of, references, source_of
from plum_controller.controllers.syncing.live import Json
from plum_controller.controllers.syncing.report import Report, first_of
from plum_controller.controllers.syncing.state import SyncState, Verified
from plum_controller.controllers.syncing.watching import follow
from plum_controller.domain.health import Health, assess
from plum_controller.domain.sync import drift as drifting
from plum_controller.domain.sync.guards import may_delete, suspension, wanted_revision
from plum_controller.domain.sync.identity import ObjectId
from plum_controller.domain.sync.inventory import by_id, leaving, widen
from plum_controller.domain.sync.order import Stage
from plum_controller.manifests.document import Found
from plum_controller.sources.archive import Archive
from plum_controller.sources.base import Revision, SourceError

if TYPE_CHECKING:
    from plum_controller.controllers.sync import SyncReconciler

RETRY_SECONDS = 2.0
"""First pause after a source that could not be read or an object that could not be applied; doubled up to the interval."""
HEALTH_SECONDS = 1.0
"""Least time between two writes of a status in which only the health of objects differs."""
LOOK_SECONDS = 1.0
"""Between two looks at what is awaited, besides its changes."""
WORK = frozenset({"create", "change", "correct", "later"})
"""Actions that change something."""


class Run:
    """One reconcile of one Sync."""

    def __init__(self, parent: SyncReconciler, sync: Sync, state: SyncState) -> None:
        self._parent = parent
        self._api = parent.api
        self._live = parent.live
        self._engine = parent.engine
        self._sync = sync
        self._state = state
        self._now = parent.clock.now()
        self._report = Report(sync, self._now)
        self._archive = Archive(folder_of(parent.data_dir, sync) / "revisions")
        self._inventory = by_id(sync.status.inventory)
        self._counts = SyncCounts()
        self._drift: list[Drift] = []

    async def run(self) -> Result:
        """Everything, and the status at the end. What is wrong with the source or its objects becomes part of it."""
        try:
            result = await self._steps()
        except SourceError as error:
            self._state.failures += 1
            self._state.dirty = True
            self._report.failed("SourceFailed", str(error))
            result = self._retry()
        await self._write()
        return result

    def _retry(self) -> Result:
        interval = parse_duration(self._sync.spec.interval)
        return Result.requeue(min(interval, RETRY_SECONDS * 2 ** min(self._state.failures, 10)))

    async def _write(self) -> None:
        report = self._report
        if not report.differs:
            return
        now = self._parent.clock.monotonic()
        if report.differs_in_health_only and now - self._state.health_written < HEALTH_SECONDS:
            asyncio.get_running_loop().call_later(HEALTH_SECONDS, self._parent.enqueue, self._sync.key)
            return
        self._state.health_written = now
        self._sync = await self._api.write_status(msgspec.structs.replace(self._sync, status=report.status))
        report.before = report.status

    async def _steps(self) -> Result:
        sync, state, report = self._sync, self._state, self._report
        self._watch_folder()
        requested = sync.metadata.annotations.get(REQUEST_ANNOTATION, "")
        why = suspension(sync.spec, self._now)
        if why is not None:
            report.phase("Suspended", "Suspended", why)
            until = sync.spec.suspend_until
            return (
                Result.requeue((until - self._now).total_seconds())
                if until and not sync.spec.suspend
                else Result.wait_for_change()
            )
        waits = self._waits_for()
        if waits:
            report.phase("Pending", "DependsOn", waits)
            return Result.wait_for_change()
        await self._check_account()
        newest = await self._newest(requested)
        report.set(source_revision=newest.name)
        revision, held = await self._wanted(newest)
        if sync.spec.hold is not None:
            text = sync.spec.hold.reason or "after a rollback"
            released = f"released by {newest.name[:12]}, which is newer"
            report.condition(
                "Held", held, "Held" if held else "Released", f"at {revision.name[:12]}: {text}" if held else released
            )
        found = await self._load(revision)
        report.set(attempted_revision=revision.name)
        if found.problems:
            await self._keep_applied(revision)
            return self._refuse("InvalidManifests", found.problems, requested)
        plan = await self._engine.plan(sync, state, found, self._inventory)
        if plan.problems:
            await self._keep_applied(revision)
            return self._refuse("Refused", plan.problems, requested)
        going = look_at(self._live, state.label, leaving(sync.status.inventory, plan.items), prune=sync.spec.prune)
        allowed = may_delete(len(going.delete), len(self._inventory), len(plan.items), sync.spec, revision.name)
        if not allowed.allowed:
            await self._keep_applied(revision)
            self._block(allowed.reason, allowed.message, going)
            report.set(observed_request=requested)
            return Result.requeue(parse_duration(sync.spec.interval))
        if report.status.conditions and any(c.type == "DeletesBlocked" and c.status == "True" for c in report.status.conditions):
            report.condition("DeletesBlocked", False, "Allowed", "nothing waits for an approval")
        return await self._carry_out(plan, going, revision, requested)

    async def _check_account(self) -> None:
        """With an account of its own a Sync reads what that may read, and no more. Raises `SourceError`."""
        sync, account = self._sync, self._sync.spec.service_account_name
        if not account:
            return
        namespace, api = sync.metadata.namespace, self._parent.api_of(sync)
        if self._live.value(ObjectId("", "ServiceAccount", namespace, account)) is None:
            text = f"there is no ServiceAccount {account} in {namespace}; create it, and bind it to a role"
            raise SourceError(f"spec.serviceAccountName: {text}")
        for identity in references(sync):
            info = self._live.kind("v1", identity.kind)
            try:
                if info is not None:
                    await api.get(info, ObjectKey(identity.namespace, identity.name))
            except ForbiddenError as error:
                raise SourceError(f"{identity} cannot be read: {error.message}") from error

    # ---- where manifests come from

    def _watch_folder(self) -> None:
        """Have the folder watched, and only this one."""
        folder = self._sync.spec.source.folder
        path = folder.path if folder is not None and not self._sync.spec.suspend else ""
        state = self._state
        if state.watching == path and (state.watch is None or not state.watch.done()):
            return
        if state.watch is not None:
            state.watch.cancel()
        state.watching, state.watch = path, None
        if path:
            key, parent = self._sync.key, self._parent
            state.watch = asyncio.create_task(follow(Path(path), lambda: parent.source_changed(key)), name=f"watch-{path}")

    def _waits_for(self) -> str:
        for name in self._sync.spec.depends_on:
            other = self._parent.syncs.get(ObjectKey(self._sync.metadata.namespace, name))
            if other is None:
                return f"waits for the Sync {name}, which does not exist"
            health = assess(msgspec.to_builtins(other))
            if not health.healthy or other.status.applied_revision != other.status.source_revision:
                return f"waits for the Sync {name}: {health.message or 'it is not synced'}"
        return ""

    async def _newest(self, requested: str) -> Revision:
        """The newest revision; read only when something tells of a change, or the interval is over. Raises `SourceError`."""
        state, clock = self._state, self._parent.clock
        fingerprint, source = source_of(self._sync, self._live, self._parent.data_dir, asyncio.get_running_loop())
        if state.source is None or state.fingerprint != fingerprint:
            state.source, state.fingerprint, state.newest = source, fingerprint, None
        due = clock.monotonic() - state.fetched >= parse_duration(self._sync.spec.interval)
        if state.newest is None or state.dirty or due or requested != state.requested:
            state.dirty = False
            state.newest = await asyncio.to_thread(state.source.fetch)
            if state.failures:
                state.watching = ""  # a folder that came and went between two looks at it is looked at anew
                self._watch_folder()
            state.fetched, state.requested, state.failures = clock.monotonic(), requested, 0
        return state.newest

    async def _wanted(self, newest: Revision) -> tuple[Revision, bool]:
        """The revision to apply. Raises `SourceError` when a hold names one that is nowhere kept."""
        name, held = wanted_revision(self._sync.spec.hold, newest.name)
        if name == newest.name:
            return newest, held
        state = self._state
        found = await asyncio.to_thread(self._archive.get, name)
        if found is None and state.source is not None:
            found = await asyncio.to_thread(state.source.revision, name)
        if found is None:
            raise SourceError(f"the revision {name} of spec.hold is not kept here; kept are those of status.history")
        return found, held

    async def _load(self, revision: Revision) -> Found:
        options = options_of(self._sync, self._live)
        state = self._state
        read = (revision.name, f"{options.fingerprint}{options.start}{options.recurse}{options.ignore}")
        if state.read != read:
            state.found = await asyncio.to_thread(state.loader.load, revision.tree, options)
            state.read, state.stages = read, None
        return state.found

    # ---- what keeps it from being applied

    async def _keep_applied(self, refused: Revision) -> None:
        """While a revision is refused, the one that is in place is kept in place: what others change is set right."""
        name, state = self._sync.status.applied_revision, self._state
        if not name or name == refused.name:
            return
        if state.kept[0] != name:
            kept = await asyncio.to_thread(self._archive.get, name)
            if kept is None:
                return
            state.kept = (name, await asyncio.to_thread(state.loader.load, kept.tree, options_of(self._sync, self._live)))
        plan = await self._engine.plan(self._sync, state, state.kept[1], self._inventory)
        todo = [one for one in plan.work if one.action == "correct" and one.item.identity in self._inventory]
        if plan.problems or not todo:
            return
        for checked in todo:
            self._note_applied(checked, await self._engine.apply(self._sync, checked))
        self._report.inventory(self._inventory)
        self._report.drifted(self._drift, [])

    def _refuse(self, reason: str, problems: list[Problem], requested: str) -> Result:
        self._report.failed(reason, first_of(problems))
        self._report.set(observed_request=requested, last=SyncCounts(failed=len(problems)))
        self._parent.events.event(self._sync, "Warning", reason, first_of(problems)[:900])
        self._state.failures = 0
        return Result.requeue(parse_duration(self._sync.spec.interval))

    def _block(self, reason: str, message: str, going: Leaving) -> None:
        report, name = self._report, self._sync.metadata.name
        way = f"; if it is meant: plum sync approve {name}" if reason == "TooManyDeletes" else ""
        items = dict(self._inventory)
        for identity in going.delete:
            items[identity] = msgspec.structs.replace(items[identity], pending_delete=True, message="waits for an approval")
        report.inventory(items)
        report.phase("Blocked", reason, message + way)
        report.condition("DeletesBlocked", True, reason, message + way)
        self._parent.events.event(self._sync, "Warning", reason, message + way)

    # ---- doing it

    async def _carry_out(self, plan: Plan, going: Leaving, revision: Revision, requested: str) -> Result:
        report = self._report
        wanted = {identity: item.document.api_version for identity, item in plan.items.items()}
        for identity in (*going.gone, *going.kept):
            self._inventory.pop(identity, None)
        if plan.work or going.delete:
            await asyncio.to_thread(self._archive.keep, revision)
            report.inventory(by_id(widen(self._inventory.values(), wanted)))
            report.phase("Syncing", "Applying", f"{len(plan.work)} objects to apply, {len(going.delete)} to delete")
            await self._write()
        self._inventory = by_id(widen(self._inventory.values(), wanted))
        waits, problems = await self._apply_stages(plan, bool(going.delete or going.going))
        refused_delete = ""
        self._note_unchanged(plan)
        if not waits and not problems and (going.delete or going.going):
            left = await delete(self._parent.api_of(self._sync), self._live, going, self._inventory)
            done = [one for one in going.delete if one not in left or "is being deleted" in left[one].message]
            self._count(deleted=len(done))
            for identity in (*going.delete, *going.going):
                self._inventory.pop(identity, None)
                self._state.verified.pop(identity, None)
            self._inventory.update(left)
            waits = _first_pending(left)
            refused_delete = next((f"{one} {item.message}" for one, item in left.items() if item.result == "Failed"), "")
        if not waits and not problems and report.status.applied_revision != revision.name:
            await asyncio.to_thread(self._archive.keep, revision)
        result = self._finish(plan, revision, requested, waits, problems)
        if refused_delete:
            report.failed("DeleteFailed", refused_delete)
            self._state.failures += 1
            return self._retry()
        return result

    async def _apply_stages(self, plan: Plan, deletes: bool) -> tuple[str, list[Problem]]:
        """Apply stage by stage. Answers with what is awaited, and what went wrong."""
        left = [stage for stage in plan.stages if any(plan.checked[one].action in WORK for one in stage.objects)]
        last = left[-1] if left else None
        for stage in plan.stages:
            if stage in left:
                problems = await self._apply_stage(plan, stage)
                if problems:
                    return "", problems
            if (last is not None and stage < last) or (deletes and last is not None):
                waits = self._unhealthy(plan, stage)
                if waits:
                    return waits, []
            if stage == last:
                break
        self._report.set(wave=0, wave_since=None)
        return "", []

    async def _apply_stage(self, plan: Plan, stage: Stage) -> list[Problem]:
        todo = [plan.checked[one] for one in stage.objects if plan.checked[one].action in WORK]
        late = [one for one in todo if one.action == "later"]
        if late:
            for one in late:
                one.item.info = self._live.kind(one.item.document.api_version, one.item.document.kind)
            if any(one.item.info is None for one in late):
                return [late[0].item.document.manifest.problem("kind", "its definition is not established yet")]
            again = await self._engine.check_all(self._sync, self._state, [one.item for one in late], self._inventory)
            if problems := [problem for one in again for problem in one.problems]:
                return problems
            plan.checked.update({one.item.identity: one for one in again})
            todo = [plan.checked[one] for one in stage.objects if plan.checked[one].action in WORK]
        problems = []
        for start in range(0, len(todo), PARALLEL):
            batch = todo[start : start + PARALLEL]
            results = await asyncio.gather(*(self._engine.apply(self._sync, one) for one in batch), return_exceptions=True)
            for checked, result in zip(batch, results, strict=True):
                if isinstance(result, dict):
                    self._note_applied(checked, result)
                elif isinstance(result, ApiError) and not isinstance(result, ApiUnavailableError):
                    problems.append(self._note_failed(checked, result))
                elif isinstance(result, BaseException):
                    raise result
        return problems

    def _note_applied(self, checked: Checked, result: Json) -> None:
        item = checked.item
        identity = item.identity
        self._state.verified[identity] = Verified(item.document.hash, drifting.content_hash(result))
        health = self._state.health[identity] = self._parent.health_of(self._sync, result)
        self._inventory[identity] = _entry(self._inventory[identity], item.document.hash, health, item.document.api_version)
        self._count(**{"created" if checked.action == "create" else "changed": 1})
        if checked.fields and (checked.manager or checked.action == "correct"):
            entry = drifting.entry(item.document.api_version, result, checked.fields, checked.manager, self._now, True)
            self._drift.append(entry)
            text = f"{identity}: {', '.join(checked.fields[:5])} set right; changed by {checked.manager or 'somebody'}"
            self._parent.events.event(self._sync, "Normal", "DriftCorrected", text[:900])

    def _note_failed(self, checked: Checked, error: ApiError) -> Problem:
        problem = (refused(checked.item, checked.live, error) or [checked.item.document.manifest.problem("", error.message)])[0]
        identity = checked.item.identity
        known = self._inventory[identity]
        self._inventory[identity] = msgspec.structs.replace(known, result="Failed", message=str(problem))
        self._count(failed=1)
        return problem

    def _note_unchanged(self, plan: Plan) -> None:
        for identity, checked in plan.checked.items():
            item = checked.item
            if checked.action not in ("unchanged", "report"):
                continue
            known = self._inventory[identity]
            live = checked.live if checked.live is not None else self._live.get(identity) if self._stale(identity) else None
            if live is not None or identity not in self._state.health:
                self._state.health[identity] = self._parent.health_of(self._sync, live or self._live.get(identity))
            entry = _entry(known, item.document.hash, self._state.health[identity], item.document.api_version)
            if checked.action == "report":
                drift = self._reported(checked)
                text = f"differs: {', '.join(drift.fields[:5])}" + (f" (by {drift.manager})" if drift.manager else "")
                entry = msgspec.structs.replace(entry, message=text, hash=known.hash or item.document.hash)
            if entry != known:
                self._inventory[identity] = entry

    def _stale(self, identity: ObjectId) -> bool:
        """Whether the object's bytes changed since its health was judged."""
        value = self._live.value(identity)
        if self._state.seen.get(identity) is value:
            return False
        self._state.seen[identity] = value
        return True

    def _reported(self, checked: Checked) -> Drift:
        """The drift of an object that is only reported; noted when it is new."""
        identity = checked.item.identity
        known = self._state.verified.get(identity)
        if known is not None and known.drift is not None and checked.result is None and checked.live is None:
            return known.drift
        shown = checked.live or checked.item.data
        entry = drifting.entry(checked.item.document.api_version, shown, checked.fields, checked.manager, self._now, False)
        content = drifting.content_hash(checked.live) if checked.live is not None else ""
        self._state.verified[identity] = Verified(checked.item.document.hash, content, entry)
        self._drift.append(entry)
        return entry

    def _unhealthy(self, plan: Plan, stage: Stage) -> str:
        """What of a stage is not healthy, in words; empty when the next may begin."""
        report = self._report
        for identity in stage.objects:
            applied = plan.checked[identity].action in WORK
            health = self._state.health.get(identity) if applied else None
            if health is None:
                health = self._parent.health_of(self._sync, self._live.get(identity))
            if health.healthy:
                continue
            if report.status.wave_since is None or report.status.wave != stage.wave:
                report.set(wave=stage.wave, wave_since=self._now.replace(microsecond=0))
            return f"waits for wave {stage.wave}: {identity}: {health.message}"
        return ""

    # ---- the end

    def _finish(self, plan: Plan, revision: Revision, requested: str, waits: str, problems: list[Problem]) -> Result:
        report, state = self._report, self._state
        interval = parse_duration(self._sync.spec.interval)
        for gone in [one for one in state.health if one not in plan.items]:
            del state.health[gone]
        report.inventory(self._inventory)
        current = [
            known.drift for one in plan.items if (known := state.verified.get(one)) is not None and known.drift is not None
        ]
        report.drifted(self._drift, current)
        report.healthy({one: state.health[one] for one in plan.items if one in state.health})
        if self._counts != SyncCounts():
            unchanged = sum(one.action in ("unchanged", "report") for one in plan.checked.values())
            report.set(last=msgspec.structs.replace(self._counts, unchanged=unchanged))
        elif report.status.last.failed:
            report.set(last=SyncCounts(unchanged=len(plan.checked)))
        if problems:
            report.failed("ApplyFailed", first_of(problems))
            report.set(observed_request=requested)
            state.failures += 1
            return self._retry()
        if waits:
            since = report.status.wave_since
            late = since is not None and (self._now - since).total_seconds() > parse_duration(self._sync.spec.wait_timeout)
            if late:
                report.failed("WaitTimeout", f"{waits} (for more than {self._sync.spec.wait_timeout})")
            else:
                report.phase("Syncing", "Waiting", waits)
            report.set(observed_request=requested)
            return Result.requeue(LOOK_SECONDS)
        state.failures = 0
        report.set(observed_request=requested)
        report.applied(revision.name)
        report.phase("Synced", "Synced", f"{len(plan.items)} objects are as {revision.name[:12]} says")
        self._archive.prune([*(entry.revision for entry in report.status.history), revision.name])
        left = interval - (self._parent.clock.monotonic() - state.fetched)
        return Result.requeue(max(left, 0.05))

    def _count(self, **more: int) -> None:
        self._counts = msgspec.structs.replace(
            self._counts, **{name: getattr(self._counts, name) + number for name, number in more.items()}
        )

    # ---- a plan

    async def preview(self) -> Json:
        """What this reconcile would do, without doing any of it. Raises `SourceError`."""
        from plum_controller.controllers.syncing.preview import render

        sync = self._sync
        await self._check_account()
        self._state.dirty = True
        newest = await self._newest(self._state.requested)
        revision, held = await self._wanted(newest)
        found = await self._load(revision)
        plan = Plan({}, [], {}, list(found.problems))
        if not found.problems:
            plan = await self._engine.plan(sync, self._state, found, self._inventory)
        for one in plan.checked.values():
            if one.action == "report" and one.live is None:  # it was compared before, and is not asked about again
                one.live = self._live.get(one.item.identity)
                known = self._state.verified.get(one.item.identity)
                if known is not None and known.drift is not None:
                    one.fields, one.manager = list(known.drift.fields), known.drift.manager
        going = Leaving()
        blocked = ""
        if not plan.problems:
            going = look_at(self._live, self._state.label, leaving(sync.status.inventory, plan.items), prune=sync.spec.prune)
            blocked = may_delete(len(going.delete), len(self._inventory), len(plan.items), sync.spec, revision.name).message
        blocked = suspension(sync.spec, self._now) or self._waits_for() or blocked
        return render(revision.name, newest.name, held, plan, going, blocked)


def _entry(known: InventoryItem, digest: str, health: Health, api_version: str) -> InventoryItem:
    return msgspec.structs.replace(
        known,
        api_version=api_version,
        hash=digest,
        result="Applied",
        health=health.state,
        message=health.message,
        pending_delete=False,
    )


def _first_pending(left: Mapping[ObjectId, InventoryItem]) -> str:
    """What keeps the deletions from going on, in words: first what holds up others."""
    found = sorted(left.items(), key=lambda entry: entry[1].message.startswith("waits until"))
    if not found:
        return ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0][0]} {found[0][1].message}{more}"
