"""From what a client sent to an object of its kind: checks of the body, short forms, pruning, defaults, rules.

    open_body -> shape (normalize, prune, default, fill) -> check_shape (schema, metadata) -> check_rules (the kind's own)

Everything here works on one object in memory, in place; nothing waits and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from plum_schemas.names import check_label, check_subdomain
from plum_schemas.validation import quote

from plum_controller.resources import metadata as meta
from plum_controller.resources.encode import Json, encode
from plum_controller.resources.errors import (
    INVALID,
    NOT_SUPPORTED,
    TOO_LONG,
    ApiStatusError,
    Cause,
    bad_request,
    invalid,
    invalid_option,
    too_large,
)
from plum_controller.resources.options import WriteOptions

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.kinds import ResourceKind

MAX_OBJECT_BYTES = 1536 * 1024
"""Of one stored object: what etcd takes, so that whatever works here works on Kubernetes."""
MAX_MANAGER_LENGTH = 128
NOT_SHOWN = '"(confidential)"'
FIELD_VALIDATION = ("Ignore", "Strict", "Warn", "")


def check_options(options: WriteOptions, verb: str) -> None:
    """Refuse options that mean nothing. Raises `ApiStatusError` 422."""
    causes = []
    if options.field_validation not in FIELD_VALIDATION:
        message = f'Unsupported value: {quote(options.field_validation)}: supported values: "Ignore", "Strict", "Warn"'
        causes.append(Cause(NOT_SUPPORTED, message, "fieldValidation"))
    manager = options.field_manager
    if len(manager) > MAX_MANAGER_LENGTH:
        causes.append(Cause(TOO_LONG, f"Too long: may not be more than {MAX_MANAGER_LENGTH} bytes", "fieldManager"))
    elif not manager.isprintable():
        message = f"Invalid value: {quote(manager)}: should only contain printable characters"
        causes.append(Cause(INVALID, message, "fieldManager"))
    if causes:
        raise invalid_option(f"{verb}Options", causes)


def open_body(kind: ResourceKind, data: Any, name: str = "") -> Json:
    """The body as an object of this kind. Raises `ApiStatusError` 400 or 422."""
    info = kind.info
    if not isinstance(data, dict):
        raise bad_request("couldn't get version/kind; json parse error: the body is not a JSON object")
    api_version, named = data.get("apiVersion"), data.get("kind")
    if api_version and api_version != info.api_version:
        text = f"the API version in the data ({api_version}) does not match the expected API version ({info.api_version})"
        raise bad_request(text)
    if named and named != info.kind:
        raise invalid(info, name, [Cause(INVALID, f"Invalid value: {quote(named)}: must be {info.kind}", "kind")])
    data["apiVersion"] = info.api_version
    data["kind"] = info.kind
    return data


def shape(kind: ResourceKind, data: Json, unknown: Sequence[str], options: WriteOptions, warnings: list[str], patch: Any) -> None:
    """Make `data` complete and free of what the schema does not know.

    `unknown` are fields that were already dropped from the metadata. `patch` is what to show when a patch is refused;
    None for a whole object. Raises `ApiStatusError` for unknown fields under `Strict`.
    """
    if kind.normalize is not None:
        kind.normalize(data)
    kind.rules.defaults(data)
    dropped = kind.schema.prune(data)
    if dropped or unknown or options.duplicates:
        problems = [f'unknown field "{path}"' for path in (*dropped, *unknown)]
        _report([*problems, *options.duplicates], kind, data, options, warnings, patch)
    kind.schema.default(data)
    if kind.fill is not None:
        kind.fill(data)


def _report(
    problems: Sequence[str], kind: ResourceKind, data: Json, options: WriteOptions, warnings: list[str], patch: Any
) -> None:
    if options.field_validation == "Strict":
        info, text = kind.info, f"strict decoding error: {', '.join(problems)}"
        if patch is None:
            raise bad_request(f'{info.kind} in version "{info.version}" cannot be handled as a {info.kind}: {text}')
        shown = NOT_SHOWN if kind.rules.is_confidential else quote(encode(patch).decode())
        name = data.get("metadata", {}).get("name", "")
        raise invalid(info, name, [Cause(INVALID, f"Invalid value: {shown}: {text}", "patch")])
    if options.field_validation != "Ignore":
        warnings.extend(problems)


def check_shape(kind: ResourceKind, new: Json, live: Json | None) -> None:
    """Refuse what breaks the schema or the rules of metadata. Raises `ApiStatusError` 422 with every cause.

    What was already wrong in the live object is not held against an update: after a schema became stricter, an old object
    must still be able to lose its finalizers.
    """
    metadata = new["metadata"]
    causes = list(meta.check(kind.info, metadata, None if live is None else live["metadata"]))
    problems = kind.schema.validate(new)
    if problems and live is not None:
        known = frozenset(kind.schema.validate(live))
        problems = [problem for problem in problems if problem not in known]
    causes += [_hidden(problem) for problem in problems] if kind.rules.is_confidential else problems
    if not causes and not kind.is_builtin:
        causes = kind.schema.check_rules(new, live)
        if causes and live is not None:
            broken = frozenset(kind.schema.check_rules(live, None))
            causes = [cause for cause in causes if cause not in broken]
    if causes:
        raise invalid(kind.info, metadata["name"], causes)


def _hidden(cause: Cause) -> Cause:
    """The cause without the value: it may be the secret that somebody forgot to encode."""
    what = cause.message.partition(":")[0]
    return cause._replace(message=f"{what}: {NOT_SHOWN}: data holds base64, stringData holds text")


def check_rules(context: Context, kind: ResourceKind, new: Json, live: Json | None) -> None:
    """Refuse what breaks the kind's own rules. The schema has accepted the object. Raises `ApiStatusError` 422."""
    causes = list(kind.rules.check(context, kind, new, live))
    if causes:
        raise invalid(kind.info, new["metadata"]["name"], causes)


def check_typed(kind: ResourceKind, new: Json, live: Json | None) -> None:
    """Refuse what breaks rules between fields. The schema has accepted the object. Raises `ApiStatusError` 422."""
    typed = kind.checked_type
    if typed is None:
        return
    try:
        old = None if live is None else msgspec.convert(live, typed)
        errors = list(msgspec.convert(new, typed).validate(old))
    except msgspec.ValidationError as error:
        causes = [Cause(INVALID, f"Invalid value: {error}", kind.info.kind)]
    else:
        causes = [Cause(error.reason, error.message, error.field) for error in errors]
    if causes:
        raise invalid(kind.info, new["metadata"]["name"], causes)


def check_name(kind: ResourceKind, name: str) -> None:
    """Refuse what cannot name an object of the kind. Raises `ApiStatusError` 422."""
    info = kind.info
    problem = ""
    if info.group == "rbac.authorization.k8s.io":
        # Kubernetes' own roles have colons in their names.
        if name in (".", "..") or "/" in name or "%" in name:
            problem = "may not be '.' or '..' and may not contain '/' or '%'"
    else:
        try:
            (check_label if info.resource == "namespaces" else check_subdomain)(name)
        except ValueError as error:
            problem = str(error)
    if problem:
        raise invalid(info, name, [Cause(INVALID, f"Invalid value: {quote(name)}: {problem}", "metadata.name")])


def check_size(size_bytes: int) -> None:
    """Raises `ApiStatusError` 413."""
    if size_bytes > MAX_OBJECT_BYTES:
        raise too_large(f"the object has {size_bytes} bytes, the limit is {MAX_OBJECT_BYTES}")


def untyped(kind: ResourceKind, namespace: str, name: str, problems: Sequence[str]) -> ApiStatusError:
    """400: an applied configuration does not fit the schema, so nobody can say which fields it means."""
    where = f"{namespace}/{name}" if namespace else name
    listed = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {problem}" for problem in problems)
    return bad_request(f"failed to create typed patch object ({where}; {kind.info.api_version}, Kind={kind.info.kind}): {listed}")
