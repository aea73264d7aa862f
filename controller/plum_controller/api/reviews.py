"""Who am I and what may I: the review kinds, answered for the only caller there is on a loopback listener.

Whoever reaches this machine's loopback is the person at the machine and may do everything; there is no other user whose
rights could be looked up, and the answers say so.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plum_controller.api.bodies import read_object
from plum_controller.api.discovery import REVIEWS
from plum_controller.api.negotiation import Form, object_form
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.api.yamls import as_yaml
from plum_controller.resources.errors import bad_request, method_not_allowed

_encode = msgspec.json.Encoder().encode

OPEN_REASON = "this server listens on loopback only, so its local user may do everything"
GROUPS = ["system:masters", "system:authenticated"]

_BY_PATH = {(info.group, info.version, info.plural): info for info in REVIEWS}


def answer(request: ApiRequest) -> Answer | None:
    """The review at `/apis/GROUP/VERSION/PLURAL`; None when the path is no review. Raises `ApiStatusError`."""
    path = request.path
    if len(path) != 4:
        return None
    info = _BY_PATH.get((path[1], path[2], path[3]))
    if info is None:
        return None
    if request.method != "POST":
        raise method_not_allowed(info, request.method.lower())
    review, _ = read_object(request)
    for name, expected in (("kind", info.kind), ("apiVersion", info.api_version)):
        if review.get(name, expected) != expected:
            raise bad_request(f"{name} is {review[name]!r}; {expected} was expected")
    review["apiVersion"], review["kind"] = info.api_version, info.kind
    review.setdefault("metadata", {})
    review["status"] = _status(info.kind, review, request.user)
    done = Answer(_encode(review), status=201)
    return as_yaml(done) if object_form(request.accept) is Form.YAML else done


def _status(kind: str, review: dict[str, Any], user: str) -> dict[str, Any]:
    if kind == "SelfSubjectReview":
        return {"userInfo": {"username": user, "groups": GROUPS}}
    if kind == "SelfSubjectRulesReview":
        return {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    spec = review.get("spec")
    if not isinstance(spec, dict) or not (spec.get("resourceAttributes") or spec.get("nonResourceAttributes")):
        raise bad_request("spec needs resourceAttributes or nonResourceAttributes")
    return {"allowed": True, "reason": OPEN_REASON}
