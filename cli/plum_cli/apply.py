"""Applying manifests: everything is checked by the server before the first object is changed.

    manifests --prepare--> items (kind, namespace) --check--> dry run of every one --apply_all--> namespaces, definitions, rest
                                                       |
                                                       +--> ManifestError: each problem with file, line, field, value

A file with a mistake changes nothing. What cannot be checked ahead: objects of a kind whose definition is in the same
set and not yet on the server.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from plum_client.errors import ApiError, ApiUnavailableError, ConflictError, UnauthorizedError
from plum_schemas.base import KindInfo

from plum_cli.differences import changes, comparable
from plum_cli.errors import CONFLICT, CliError
from plum_cli.manifests import Loaded, Manifest, ManifestError, Problem
from plum_cli.refusals import by_line, conflict_owners, problems_of, unreadable_fields, without_field
from plum_cli.session import FIELD_MANAGER, Session, Target

PARALLEL = 16
"""Requests under way at once: enough to fill the server's group commit."""
DEFINITION_SECONDS = 30.0
"""How long a new kind may take until its objects can be written."""
MAX_PROBLEMS = 20
"""Unknown fields of one object that are looked for before the rest is left for the next try."""
OWN_COMMANDS = frozenset({"plum-edit", "plum-rollback", "plum-rollout", "plum-scale"})
"""Field managers of this program's other commands. What one of them changed, an apply takes back and says so: the person who
scaled by hand and then applies the file wants the file."""
SET_LABEL = "applyset.kubernetes.io/part-of"


@dataclass(slots=True)
class Item:
    """One object on its way to the server."""

    manifest: Manifest
    info: KindInfo
    namespace: str
    data: dict[str, Any]
    new_kind: bool = False
    """Its definition is in the same set and not on the server: it cannot be checked ahead."""
    new_namespace: bool = False
    """Its namespace is in the same set and not on the server: it is checked in another one."""
    live: dict[str, Any] | None = None
    result: dict[str, Any] = field(default_factory=dict)
    taken_back: tuple[str, ...] = ()
    """Fields that an own command had changed since the last apply."""

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def target(self) -> Target:
        return Target(self.info, self.name)

    @property
    def outcome(self) -> str:
        """`created`, `configured` or `unchanged`."""
        if self.live is None:
            return "created"
        if self.result.get("metadata", {}).get("resourceVersion") == self.live["metadata"].get("resourceVersion"):
            return "unchanged"
        return "unchanged" if not any(changes(comparable(self.live), comparable(self.result))) else "configured"


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How to apply."""

    force: bool = False
    field_manager: str = FIELD_MANAGER
    validation: str = "Strict"
    part_of: str = ""
    """Id of the set that the objects become members of; empty for none."""


async def prepare(session: Session, loaded: Loaded, options: ApplyOptions, *, namespace_given: bool) -> list[Item]:
    """Find kind and namespace of every manifest. Raises `ManifestError`."""
    problems: list[Problem] = []
    known = {(info.api_version, info.kind): info for info in await session.api.discover()}
    defined = dict(pair for manifest in loaded.manifests for pair in defined_kinds(manifest))
    namespaces = {manifest.name for manifest in loaded.manifests if manifest.kind == "Namespace" and manifest.api_version == "v1"}
    items: list[Item] = []
    seen: dict[tuple[Any, ...], Manifest] = {}
    for manifest in loaded.manifests:
        identity = (manifest.api_version, manifest.kind)
        info = known.get(identity) or defined.get(identity)
        if info is None:
            problems.append(manifest.problem("kind", unknown_kind(identity, known.values())))
            continue
        if "name" not in manifest.metadata:
            problems.append(
                manifest.problem("metadata", "metadata.generateName makes a new object each time; an apply needs metadata.name")
            )
            continue
        namespace = manifest.namespace or session.namespace
        if info.namespaced and namespace_given and manifest.namespace not in ("", session.namespace):
            problems.append(
                manifest.problem(
                    "metadata.namespace", f"metadata.namespace is {manifest.namespace}, and -n says {session.namespace}"
                )
            )
            continue
        namespace = namespace if info.namespaced else ""
        first = seen.setdefault((identity, namespace, manifest.name), manifest)
        if first is not manifest:
            problems.append(manifest.problem("metadata.name", f"is there twice, also at {first.where()}"))
            continue
        data = json.loads(json.dumps(manifest.data))
        if info.namespaced:
            data["metadata"]["namespace"] = namespace
        items.append(Item(manifest, info, namespace, data, new_kind=identity not in known, new_namespace=namespace in namespaces))
    if problems:
        raise ManifestError(problems)
    return items


def defined_kinds(manifest: Manifest) -> Iterable[tuple[tuple[str, str], KindInfo]]:
    """The kinds that a CustomResourceDefinition adds."""
    if manifest.kind != "CustomResourceDefinition":
        return
    spec = manifest.data.get("spec") or {}
    names = spec.get("names") or {}
    for version in spec.get("versions") or ():
        if isinstance(version, dict) and {"plural", "kind"} <= set(names):
            info = KindInfo(
                kind=str(names["kind"]),
                plural=str(names["plural"]),
                group=str(spec.get("group", "")),
                version=str(version.get("name", "")),
                namespaced=spec.get("scope") != "Cluster",
            )
            yield (info.api_version, info.kind), info


def unknown_kind(identity: tuple[str, str], known: Iterable[KindInfo]) -> str:
    """A sentence that names what was probably meant."""
    import difflib

    api_version, kind = identity
    infos = list(known)
    same = [info.api_version for info in infos if info.kind == kind]
    if same:
        return f"apiVersion is {api_version}; the server has {kind} in {' and '.join(same)}"
    close = difflib.get_close_matches(kind, [info.kind for info in infos], n=1)
    hint = f"; did you mean {close[0]}?" if close else "; `plum get crd` lists the kinds that were added"
    return f"the server has no kind {kind} in {api_version}{hint}"


async def check(session: Session, items: Sequence[Item], options: ApplyOptions) -> None:
    """Read what is there and let the server try every write without doing it. Raises `ManifestError` or a conflict."""
    gate = asyncio.Semaphore(PARALLEL)
    existing = {namespace["metadata"]["name"] for namespace in await session.api.list(await session.kind("namespaces"))}
    for item in items:
        item.new_namespace = item.new_namespace and item.namespace not in existing

    async def check_one(item: Item) -> list[tuple[Problem, bool]]:
        if item.new_kind:
            return []
        async with gate:
            if not item.new_namespace:
                item.live = await session.find(item.info, item.name, item.namespace)
            keep_membership(item, options)
            return await try_item(session, item, options)

    results = await asyncio.gather(*(check_one(item) for item in items))
    found = [entry for entries in results for entry in sorted(entries, key=by_line)]
    if found:
        failure = ManifestError([problem for problem, _ in found])
        if all(conflict for _, conflict in found):
            failure.code = CONFLICT
        raise failure


async def try_item(session: Session, item: Item, options: ApplyOptions) -> list[tuple[Problem, bool]]:
    """Problems of one object, each with whether it is a conflict.

    The server names one unknown or mistyped field at a time, so the field is left out and the rest tried again: a person
    wants to see all mistakes at once.
    """
    found: list[tuple[Problem, bool]] = []
    written = item.data
    try:
        for _ in range(MAX_PROBLEMS):
            try:
                item.result = await try_write(session, item, options)
                break
            except (ApiUnavailableError, UnauthorizedError):
                raise
            except ApiError as error:
                found += [(problem, isinstance(error, ConflictError)) for problem in await problems_of(session, item, error)]
                refused = unreadable_fields(error.message)
                rest = functools.reduce(without_field, refused, item.data)
                if rest == item.data:
                    break
                item.data = rest
    finally:
        item.data = written
    return found


def keep_membership(item: Item, options: ApplyOptions) -> None:
    """An apply without --prune leaves an object in the set it belongs to: otherwise it would never be pruned again."""
    labels = ((item.live or {}).get("metadata") or {}).get("labels") or {}
    member = options.part_of or labels.get(SET_LABEL)
    if member:
        metadata = item.data["metadata"]
        metadata["labels"] = {**(metadata.get("labels") or {}), SET_LABEL: member}


async def try_write(session: Session, item: Item, options: ApplyOptions) -> dict[str, Any]:
    """A dry run. Conflicts with own commands only are noted in the item and taken back."""
    try:
        return await write(session, item, options, dry_run=True)
    except ConflictError as error:
        if not conflict_owners(error) <= OWN_COMMANDS:
            raise
        item.taken_back = tuple(cause.field.lstrip(".") for cause in error.causes)
        return await write(session, item, options, dry_run=True)


async def write(session: Session, item: Item, options: ApplyOptions, *, dry_run: bool) -> dict[str, Any]:
    """Apply one object. An object of a namespace that does not exist yet is tried in `default`."""
    data, force = item.data, options.force or bool(item.taken_back)
    if dry_run and item.new_namespace:
        data, force = {**data, "metadata": {**data["metadata"], "namespace": "default"}}, True
    return await session.api.apply(
        data,
        kind=item.info,
        force=force,
        field_manager=options.field_manager,
        dry_run=dry_run,
        field_validation=options.validation,
    )


async def apply_all(session: Session, items: Sequence[Item], options: ApplyOptions) -> AsyncIterator[Item]:
    """Write every object, namespaces and definitions first, and yield each in order when it is written.

    Goes on after a refusal, so that one race does not keep the rest from being applied; raises `ManifestError` at the end.
    """
    problems: list[Problem] = []
    first = [item for item in items if item.info.kind == "Namespace" and not item.info.group]
    definitions = [item for item in items if item.info.kind == "CustomResourceDefinition"]
    early = {id(item) for item in (*first, *definitions)}
    rest = [item for item in items if id(item) not in early]
    for phase in (first, definitions, rest):
        for start in range(0, len(phase), PARALLEL):
            batch = phase[start : start + PARALLEL]
            results = await asyncio.gather(*(_apply_one(session, item, options) for item in batch))
            for item, found in zip(batch, results, strict=True):
                problems += found
                if not found:
                    yield item
        if phase is definitions and definitions and not problems:
            await _established(session, definitions)
    if problems:
        raise ManifestError(problems)


async def _apply_one(session: Session, item: Item, options: ApplyOptions) -> list[Problem]:
    keep_membership(item, options)
    try:
        item.result = await write(session, item, options, dry_run=False)
    except (ApiUnavailableError, UnauthorizedError):
        raise
    except ApiError as error:
        return await problems_of(session, item, error)
    return []


async def _established(session: Session, definitions: Sequence[Item]) -> None:
    """Wait until objects of new kinds can be written. Raises `CliError` when a definition is refused."""
    deadline = asyncio.get_running_loop().time() + DEFINITION_SECONDS
    for item in definitions:
        while True:
            found = await session.find(item.info, item.name) or {}
            conditions = {entry["type"]: entry for entry in (found.get("status") or {}).get("conditions") or ()}
            if conditions.get("Established", {}).get("status") == "True":
                break
            if conditions.get("NamesAccepted", {}).get("status") == "False":
                raise CliError(
                    f"{item.manifest.where()}: {item.name} is not accepted: {conditions['NamesAccepted'].get('message')}"
                )
            if asyncio.get_running_loop().time() > deadline:
                raise CliError(f"{item.manifest.where()}: {item.name} is not established after {DEFINITION_SECONDS:.0f} s")
            await asyncio.sleep(0.05)
    session.api.discovery.forget()
