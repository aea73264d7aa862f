"""Who am I and what may I: the review kinds, answered from the roles as they are and never stored.

SelfSubjectReview              who the server takes the caller for
SelfSubjectAccessReview        may the caller          SubjectAccessReview, LocalSubjectAccessReview   may somebody
SelfSubjectRulesReview         everything the caller may in a namespace
TokenReview                    whose token this is
"""

from __future__ import annotations

from typing import Any

import msgspec

from plum_controller.api.access import Gate
from plum_controller.api.authentication import Authenticator
from plum_controller.api.bodies import read_object
from plum_controller.api.default_roles import EVERYTHING
from plum_controller.api.discovery import REVIEWS
from plum_controller.api.identity import Identity
from plum_controller.api.negotiation import Form, object_form
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.api.yamls import as_yaml
from plum_controller.domain.access import Attributes, rule_of
from plum_controller.resources.errors import bad_request, method_not_allowed

_encode = msgspec.json.Encoder().encode

OPEN_REASON = "members of system:masters may do everything; the local user of a loopback listener is one"

_BY_PATH = {(info.group, info.version, info.plural): info for info in REVIEWS}


def answer(request: ApiRequest, gate: Gate, authenticator: Authenticator) -> Answer | None:
    """The review at `/apis/GROUP/VERSION/PLURAL`; None when the path is no review. Raises `ApiStatusError`."""
    path, namespace = request.path, ""
    if len(path) == 6 and path[3] == "namespaces":
        namespace, path = path[4], [*path[:3], path[5]]
    if len(path) != 4:
        return None
    info = _BY_PATH.get((path[1], path[2], path[3]))
    if info is None or bool(namespace) is not info.namespaced:
        return None
    if request.method != "POST":
        raise method_not_allowed(info, request.method.lower())
    review, _ = read_object(request)
    for name, expected in (("kind", info.kind), ("apiVersion", info.api_version)):
        if review.get(name, expected) != expected:
            raise bad_request(f"{name} is {review[name]!r}; {expected} was expected")
    review["apiVersion"], review["kind"] = info.api_version, info.kind
    review.setdefault("metadata", {})
    review["status"] = _status(info.kind, review, request, namespace, gate, authenticator)
    done = Answer(_encode(review), status=201)
    return as_yaml(done) if object_form(request.accept) is Form.YAML else done


def _status(
    kind: str, review: dict[str, Any], request: ApiRequest, namespace: str, gate: Gate, authenticator: Authenticator
) -> dict[str, Any]:
    if kind == "SelfSubjectReview":
        return {"userInfo": request.identity.user_info()}
    spec = review.get("spec")
    if not isinstance(spec, dict):
        raise bad_request(f"a {kind} needs a spec")
    if kind == "TokenReview":
        identity = authenticator.identity_of(str(spec.get("token") or ""))
        if identity is None:
            return {"authenticated": False, "error": "this token is not known here"}
        return {"authenticated": True, "user": identity.user_info()}
    if kind == "SelfSubjectRulesReview":
        return _rules(request.identity, str(spec.get("namespace") or ""), gate)
    wanted = _attributes(spec)
    if namespace and wanted.namespace != namespace:
        raise bad_request("spec.resourceAttributes.namespace must be the namespace of the request")
    identity = request.identity if kind == "SelfSubjectAccessReview" else _subject(spec)
    if identity.may_all:
        return {"allowed": True, "reason": OPEN_REASON}
    return {"allowed": True} if gate.allows(identity, wanted) else {"allowed": False}


def _attributes(spec: dict[str, Any]) -> Attributes:
    found, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(found, dict) and not path:
        texts = {name: str(found.get(name) or "") for name in ("verb", "group", "resource", "subresource", "namespace", "name")}
        return Attributes(**texts)
    if isinstance(path, dict) and not found:
        return Attributes(str(path.get("verb") or ""), path=str(path.get("path") or "/"))
    raise bad_request("spec needs exactly one of resourceAttributes and nonResourceAttributes")


def _subject(spec: dict[str, Any]) -> Identity:
    user, groups = str(spec.get("user") or ""), [str(group) for group in spec.get("groups") or ()]
    if not user and not groups:
        raise bad_request("spec needs a user or groups")
    return Identity(user, tuple(groups), str(spec.get("uid") or ""))


def _rules(identity: Identity, namespace: str, gate: Gate) -> dict[str, Any]:
    if identity.may_all:
        rules = [rule_of(rule) for rule in EVERYTHING]
    else:
        rules = list(dict.fromkeys(gate.roles.rules(identity, namespace)))
    resources = [
        {
            "verbs": sorted(rule.verbs),
            "apiGroups": sorted(rule.groups),
            "resources": sorted(rule.resources),
            **({"resourceNames": sorted(rule.names)} if rule.names else {}),
        }
        for rule in rules
        if not rule.paths
    ]
    paths = [{"verbs": sorted(rule.verbs), "nonResourceURLs": list(rule.paths)} for rule in rules if rule.paths]
    # What an agent may do beyond its roles depends on objects, which rules cannot name.
    return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": bool(identity.node)}
