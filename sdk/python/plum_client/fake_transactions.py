"""Transactions of the fake API: the same forms as the server's, all or none, at one revision.

body -> comparisons -> then | else -> Objects (inside Objects.together) -> answer
"""

from __future__ import annotations

from typing import Any, cast

from plum_schemas.base import KindInfo, ObjectKey
from plum_schemas.kv import KV, kv_name, type_of

from plum_client.codec import JsonObject, encode
from plum_client.fake_objects import Objects, Outcome, RefusedError
from plum_client.transport import Response

_ORDERS = ("<", "<=", ">", ">=")


def transact(objects: Objects, body: JsonObject, manager: str, dry_run: bool) -> Response:
    """Raises `RefusedError`: that of an operation names it."""
    succeeded = all(_holds(objects, one) for one in body.get("compare") or ())
    branch = "then" if succeeded else "else"
    done: list[tuple[Outcome | None, KindInfo]] = []
    with objects.together(keep=not dry_run):
        for index, operation in enumerate(body.get(branch) or ()):
            verb, given = next(iter(operation.items()))
            try:
                done.append(_do(objects, verb, given, manager))
            except RefusedError as error:
                message = f"{branch}[{index}] ({verb}): {error.message}; nothing was written"
                where = {"operation": f"{branch}[{index}]"}
                raise RefusedError(error.code, error.reason, message, error.details | where) from error
    results = [{"object": None} if outcome is None else _result(outcome) for outcome, _ in done]
    revision = objects.revision
    answer = {"succeeded": succeeded, "revision": str(revision), "results": results}
    return Response(200, encode({"apiVersion": "plum.dev/v1", "kind": "TransactionResult", **answer}), revision)


def _result(outcome: Outcome) -> JsonObject:
    return {
        "object": outcome.value,
        "created": outcome.created,
        "deleted": outcome.gone,
        "unchanged": not outcome.changed and not outcome.gone,
    }


def _do(objects: Objects, verb: str, given: JsonObject, manager: str) -> tuple[Outcome | None, KindInfo]:
    info, key = _target(objects, given)
    if verb == "create":
        return objects.create(info, key.namespace, given, False), info
    if verb in ("update", "updateStatus"):
        return objects.replace(info, key, "status" if verb == "updateStatus" else "", given, False), info
    if verb == "delete":
        return objects.delete(info, key, given, False), info
    if verb == "put":
        return _put(objects, key, given), info
    if verb == "get":
        live = objects.of(info).get(key)
        return (None if live is None else Outcome(live, objects.revision, False)), info
    kind, patch = str(given.get("type") or "merge"), given["patch"]
    if kind == "apply":
        return objects.apply(info, key, patch, manager, bool(given.get("force")), False), info
    return objects.patch(info, key, str(given.get("subresource") or ""), kind, patch, False), info


def _put(objects: Objects, key: ObjectKey, given: JsonObject) -> Outcome:
    spec: JsonObject = {name: given[name] for name in ("type", "value", "ttl", "lease") if name in given}
    if given.get("key") not in (None, key.name):
        spec["key"] = given["key"]
    live = objects.of(KV.info).get(key)
    if live is None:
        return objects.create(
            KV.info, key.namespace, {"metadata": {"name": key.name}, "spec": {"type": type_of(spec["value"])} | spec}, False
        )
    spec.setdefault("type", live["spec"].get("type", "json"))
    return objects.patch(KV.info, key, "", "json", [{"op": "replace", "path": "/spec", "value": spec}], False)


def _target(objects: Objects, given: JsonObject) -> tuple[KindInfo, ObjectKey]:
    metadata = given.get("metadata") or given
    namespace, name = str(metadata.get("namespace") or "default"), str(metadata.get("name") or "")
    if "key" in given:
        return KV.info, ObjectKey(namespace, kv_name(str(given["key"])))
    wanted = (given.get("apiVersion", "plum.dev/v1"), given.get("kind"))
    info = next((one for one in objects.kinds.values() if (one.api_version, one.kind) == wanted), None)
    if info is None:
        raise RefusedError(400, "BadRequest", f"no kind {wanted[1]} of version {wanted[0]} is stored here")
    return info, ObjectKey(namespace if info.namespaced else "", name)


def _holds(objects: Objects, given: JsonObject) -> bool:
    info, key = _target(objects, given)
    live = objects.of(info).get(key)
    metadata = (live or {}).get("metadata") or {}
    if given.get("exists") not in (None, live is not None):
        return False
    if given.get("resourceVersion") not in (None, metadata.get("resourceVersion", "0")):
        return False
    if given.get("uid") not in (None, metadata.get("uid")):
        return False
    if "value" not in given:
        return True
    path = str(given.get("field") or "spec.value")
    found: Any = live
    for part in path.strip("/.").replace("/", ".").split(".") if live is not None else ():
        found = found.get(part) if isinstance(found, dict) else None
    return _compare(found, str(given.get("operator") or "="), given["value"])


def _compare(left: Any, operator: str, right: Any) -> bool:
    if operator not in _ORDERS:
        return bool(left == right) is (operator == "=")
    if type(left) is not type(right):
        return False
    ordered = cast("Any", left)
    return bool({"<": ordered < right, "<=": ordered <= right, ">": ordered > right, ">=": ordered >= right}[operator])
