"""CustomResourceDefinitions: when one is sound, which names it gets, and what its status says.

    write -> check (names, versions, structural schemas) -> status: acceptedNames, storedVersions, conditions
          -> the registry serves the kind as soon as `Established` is True

The status is set in the write itself: a client that waits for `Established` never waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from plum_schemas.names import is_label, is_subdomain
from plum_schemas.validation import quote

from plum_controller.resources.encode import Json
from plum_controller.resources.errors import (
    DUPLICATE,
    FORBIDDEN,
    INVALID,
    NOT_SUPPORTED,
    REQUIRED,
    Cause,
    method_not_allowed,
    no_such_resource,
)
from plum_controller.resources.rules import KindRules
from plum_controller.resources.schema.compiler import has_rules
from plum_controller.resources.schema.structural import check_structural
from plum_controller.store.base import Check, Key

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.kinds import ResourceKind

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


APPROVAL = "api-approved.kubernetes.io"
PROTECTED_GROUPS = (".k8s.io", ".kubernetes.io")


def admit_instance(context: Context, kind: ResourceKind, name: str) -> Check:
    """The kind must be defined and must not be ending. The answer is the precondition that it stays so until the commit.

    Raises `ApiStatusError` 404 or 405.
    """
    key = Key(DEFINITIONS, "", kind.info.resource)
    entry = context.cache.get(key)
    current = context.registry.by_resource(kind.info.resource)
    if entry is None or current is None:
        raise no_such_resource()
    if current.is_terminating:
        raise method_not_allowed(kind.info, "create", name)
    return Check(key, entry.revision)


def is_established(definition: Json) -> bool:
    """Whether the definition's kinds are served."""
    return condition_of(definition, "Established") == "True"


def condition_of(definition: Json, name: str) -> str:
    for condition in definition.get("status", {}).get("conditions", ()):
        if condition["type"] == name:
            return str(condition["status"])
    return ""


class DefinitionRules(KindRules):
    """Everything that happens to a definition besides its schema."""

    def defaults(self, new: Json) -> None:
        names = _part(new, "spec", "names")
        kind = names.get("kind")
        if isinstance(kind, str):
            names.setdefault("singular", kind.lower())
            names.setdefault("listKind", f"{kind}List")
        if isinstance(new.get("spec"), dict):
            new["spec"].setdefault("conversion", {"strategy": "None"})

    def prepare_create(self, context: Context, kind: ResourceKind, new: Json) -> None:
        finalizers = new["metadata"].setdefault("finalizers", [])
        if CLEANUP_FINALIZER not in finalizers:
            finalizers.append(CLEANUP_FINALIZER)
        new["status"] = {}
        set_status(context, new)

    def prepare_update(self, context: Context, kind: ResourceKind, live: Json, new: Json, subresource: str) -> None:
        set_status(context, new)

    def prepare_delete(self, context: Context, kind: ResourceKind, live: Json) -> None:
        set_condition(live, "Terminating", "True", "InstanceDeletionPending", "instances are being deleted", context.now())

    def check(self, context: Context, kind: ResourceKind, new: Json, live: Json | None) -> Iterable[Cause]:
        spec = new["spec"]
        yield from _check_names(new["metadata"]["name"], spec)
        if context.registry.is_builtin(new["metadata"]["name"]):
            yield Cause(FORBIDDEN, "Forbidden: the kind is built in", "metadata.name")
        if spec.get("preserveUnknownFields"):
            hint = "cannot be true; set x-kubernetes-preserve-unknown-fields in spec.versions[*].schema instead"
            yield Cause(INVALID, f"Invalid value: true: {hint}", "spec.preserveUnknownFields")
        yield from _check_approval(new, live)
        yield from _check_versions(spec)
        if spec.get("conversion", {}).get("strategy", "None") != "None":
            strategy = spec["conversion"]["strategy"]
            yield Cause(
                NOT_SUPPORTED, f'Unsupported value: {quote(strategy)}: supported values: "None"', "spec.conversion.strategy"
            )
        names = {version["name"] for version in spec["versions"]}
        for index, stored in enumerate(new.get("status", {}).get("storedVersions", ())):
            if stored not in names:
                path = f"status.storedVersions[{index}]"
                yield Cause(INVALID, f"Invalid value: {quote(stored)}: must appear in spec.versions", path)
        if live is not None and is_established(live):
            yield from _check_immutable(spec, live["spec"])


def set_status(context: Context, definition: Json) -> None:
    """Accept the names if nobody else has them, and note the storage version. Changes nothing the second time."""
    spec, status, now = definition.get("spec", {}), definition.setdefault("status", {}), context.now()
    conflict = "" if is_established(definition) else _name_conflict(context, definition)
    if str(spec.get("group", "")).endswith(PROTECTED_GROUPS):
        approval = str((definition["metadata"].get("annotations") or {}).get(APPROVAL, ""))
        approved = approval.startswith("http")
        reason = "ApprovedAnnotation" if approved else "UnapprovedAnnotation"
        message = f"approved in {approval}" if approved else f"not approved: {approval or 'no annotation'}"
        set_condition(definition, "KubernetesAPIApprovalPolicyConformant", str(approved), reason, message, now)
    stored = status.setdefault("storedVersions", [])
    for version in spec.get("versions") or ():
        if version.get("storage") and version.get("name") not in stored:
            stored.append(version["name"])
    if conflict:
        status.setdefault("acceptedNames", {"plural": "", "kind": ""})
        set_condition(definition, "NamesAccepted", "False", "NamesConflict", conflict, now)
        set_condition(definition, "Established", "False", "NotAccepted", "not all names are accepted", now)
    else:
        status["acceptedNames"] = dict(spec.get("names") or {})
        set_condition(definition, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
        set_condition(definition, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now)


def set_condition(definition: Json, name: str, value: str, reason: str, message: str, now: str) -> None:
    conditions = definition.setdefault("status", {}).setdefault("conditions", [])
    made = {"type": name, "status": value, "lastTransitionTime": now, "reason": reason, "message": message}
    for index, condition in enumerate(conditions):
        if condition["type"] == name:
            if condition["status"] == value:
                made["lastTransitionTime"] = condition.get("lastTransitionTime", now)
            conditions[index] = made
            return
    conditions.append(made)


def _name_conflict(context: Context, definition: Json) -> str:
    """Who else in the group has one of the names; empty if nobody."""
    spec = definition.get("spec", {})
    names, own = _part(definition, "spec", "names"), definition["metadata"].get("name")
    wanted = {names.get("plural"), names.get("singular"), *(names.get("shortNames") or ())}
    kinds = {names.get("kind"), names.get("listKind")}
    for other in context.registry.all():
        info = other.info
        if info.group != spec.get("group") or info.resource == own:
            continue
        for taken in sorted({info.plural, info.singular, *info.short_names} & wanted):
            return f"{quote(taken)} is already in use by {info.resource}"
        for taken in sorted({info.kind, info.list_kind} & kinds):
            return f"{quote(taken)} is already in use by {info.resource}"
    return ""


def _check_names(name: str, spec: Json) -> Iterator[Cause]:
    names, group = spec["names"], spec["group"]
    if name != f"{names['plural']}.{group}":
        yield Cause(INVALID, f'Invalid value: {quote(name)}: must be spec.names.plural+"."+spec.group', "metadata.name")
    if not is_subdomain(group) or "." not in group:
        yield Cause(INVALID, f"Invalid value: {quote(group)}: should be a domain with at least one dot", "spec.group")
    words = [("plural", names["plural"]), ("singular", names.get("singular", ""))]
    words += [(f"shortNames[{index}]", word) for index, word in enumerate(names.get("shortNames") or ())]
    words += [(f"categories[{index}]", word) for index, word in enumerate(names.get("categories") or ())]
    words += [("kind", names["kind"].lower()), ("listKind", names.get("listKind", "").lower())]
    for field, word in words:
        if not is_label(word) or word[0].isdigit():
            hint = "must start with a letter and consist of lower case alphanumeric characters or '-'"
            yield Cause(INVALID, f"Invalid value: {quote(word)}: {hint}", f"spec.names.{field}")
    if names["kind"] == names.get("listKind"):
        hint = "kind and listKind may not be the same"
        yield Cause(INVALID, f"Invalid value: {quote(names['kind'])}: {hint}", "spec.names.listKind")


def _check_approval(new: Json, live: Json | None) -> Iterator[Cause]:
    """Groups of Kubernetes' community need its word. What is stored already is not asked again."""
    group = new["spec"]["group"]
    if not group.endswith(PROTECTED_GROUPS) or live is not None:
        return
    approval = (new["metadata"].get("annotations") or {}).get(APPROVAL, "")
    where = f"metadata.annotations[{APPROVAL}]"
    if not approval:
        hint = f"protected groups must have approval annotation {quote(APPROVAL)}: its address, or unapproved, REASON"
        yield Cause(REQUIRED, f"Required value: {hint}", where)
    elif not approval.startswith(("https://", "http://", "unapproved")):
        hint = 'must be the address of the approval, or a text that starts with "unapproved"'
        yield Cause(INVALID, f"Invalid value: {quote(approval)}: {hint}", where)


def _check_versions(spec: Json) -> Iterator[Cause]:
    versions = spec["versions"]
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", version["name"]
        if not is_label(name) or name[0].isdigit():
            yield Cause(INVALID, f"Invalid value: {quote(name)}: must be a DNS label that starts with a letter", f"{path}.name")
        if name in seen:
            yield Cause(DUPLICATE, f"Duplicate value: {quote(name)}", f"{path}.name")
        seen.add(name)
        openapi = (version.get("schema") or {}).get("openAPIV3Schema")
        if openapi is None:
            yield Cause(REQUIRED, "Required value: schemas are required", f"{path}.schema.openAPIV3Schema")
            continue
        problems = list(check_structural(openapi))
        if not problems and has_rules(openapi):
            from plum_controller.resources.cel_rules import check_rules

            problems = list(check_rules(openapi))
        for cause in problems:
            field = f"{path}.schema.openAPIV3Schema"
            yield cause._replace(field=f"{field}.{cause.field}" if cause.field else field)
        yield from _check_subresources(version, path)
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield Cause(INVALID, "Invalid value: must have exactly one version marked as storage version", "spec.versions")


def _check_subresources(version: Json, path: str) -> Iterator[Cause]:
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        for field, start in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status."), ("labelSelectorPath", ".")):
            value = scale.get(field)
            where = f"{path}.subresources.scale.{field}"
            if value is None and field == "labelSelectorPath":
                continue
            if not isinstance(value, str) or not value.startswith(start):
                yield Cause(INVALID, f"Invalid value: {quote(value)}: should be a json path under {start[:-1] or '.'}", where)
            elif "[" in value:
                yield Cause(INVALID, f"Invalid value: {quote(value)}: should be a simple path without array notation", where)
    for index, field in enumerate(version.get("selectableFields") or ()):
        json_path = field.get("jsonPath", "")
        if not json_path.startswith(".") or "[" in json_path or json_path.startswith(".metadata"):
            where = f"{path}.selectableFields[{index}].jsonPath"
            yield Cause(INVALID, f"Invalid value: {quote(json_path)}: must be a simple path outside metadata", where)


def _check_immutable(spec: Json, live: Json) -> Iterator[Cause]:
    for path in ("group", "scope", "names.kind", "names.plural"):
        before, after = _at(live, path), _at(spec, path)
        if before != after:
            yield Cause(INVALID, f"Invalid value: {quote(after)}: field is immutable", f"spec.{path}")


def _at(data: Json, path: str) -> Any:
    found: Any = data
    for part in path.split("."):
        found = found.get(part)
    return found


def _part(data: Json, *path: str) -> Json:
    """An object inside an object that nobody has checked yet; a new empty one if it is not there."""
    found: Any = data
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
