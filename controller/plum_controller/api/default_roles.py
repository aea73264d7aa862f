"""The roles and bindings that exist from the first start on, and are put right at every start.

What somebody adds to them stays; what is missing comes back, unless the object says
`rbac.authorization.kubernetes.io/autoupdate: "false"`. Names and meaning are Kubernetes' own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from plum_schemas.base import ObjectKey

from plum_controller.api.identity import AUTHENTICATED, UNAUTHENTICATED
from plum_controller.domain.access import MASTERS, rule_of, uncovered
from plum_controller.logs import fields
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.service import ResourceService

logger = logging.getLogger(__name__)

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]

OPEN_PATHS = ["/", "/health", "/healthz", "/livez", "/readyz", "/version", "/version/"]
"""What everybody may see: whether the server lives, and which version it is. The files of the UI need no rights at all."""
DISCOVERY_PATHS = ["/api", "/api/*", "/apis", "/apis/*", "/docs", "/docs/*", "/openapi", "/openapi/*", *OPEN_PATHS]
SEEN = [
    "configmaps", "events", "namespaces", "nodes", "nodes/status", "pods", "pods/log", "pods/status", "serviceaccounts",
    "services",
]  # fmt: skip
"""Kinds of the core group that `view` shows. Secrets are not among them."""
KINDS_SEEN = [
    "artifacts", "deployments", "endpoints", "instances", "kvs", "nodes", "operations", "resources", "revisions",
    "services", "syncs", "taskdefinitions", "taskruns", "triggers", "workers", "workflowruns", "workflows",
]  # fmt: skip
SEEN_OF_PLUM = [
    *KINDS_SEEN, "instances/log", "taskruns/log", "workflowruns/nodes",
    *(f"{kind}/{part}" for kind in KINDS_SEEN for part in ("history", "scale", "status", "why")),
]  # fmt: skip
"""Kinds of Plum that `view` shows. Tokens are not among them, nor is any part of a Token."""


def _rule(verbs: list[str], groups: list[str], resources: list[str]) -> Json:
    return {"verbs": verbs, "apiGroups": groups, "resources": resources}


def _role(name: str, rules: list[Json], labels: dict[str, str] | None = None) -> Json:
    return {"metadata": {"name": name, "labels": BOOTSTRAPPING | (labels or {})}, "rules": rules}


def _gathered(name: str, into: str = "") -> Json:
    """A role that takes its rules from others, and is itself taken into a wider one."""
    role = _role(name, [], {f"{AGGREGATE}{into}": "true"} if into else None)
    role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {f"{AGGREGATE}{name}": "true"}}]}
    return role


EVERYTHING = [_rule(["*"], ["*"], ["*"]), {"verbs": ["*"], "nonResourceURLs": ["*"]}]
_VIEW = [
    _rule(READ, ["plum.dev"], SEEN_OF_PLUM),
    _rule(READ, [""], SEEN),
    _rule(READ, ["apps"], ["*"]),
    _rule(READ, ["coordination.k8s.io"], ["leases"]),
    _rule(READ, ["metrics.k8s.io"], ["nodes", "pods"]),
]
_EDIT = [
    _rule(WRITE, ["plum.dev"], [
        "artifacts", "deployments", "deployments/scale", "endpoints", "instances", "kvs", "operations", "resources", "services",
        "taskdefinitions", "taskruns", "triggers", "workers", "workflowruns", "workflows",
    ]),
    _rule(["execute"], ["plum.dev"], ["taskdefinitions"]),
    _rule(["create"], ["plum.dev"], ["triggers/backfill", "triggers/fire", "workflowruns/control", "workflows/simulate"]),
    _rule([*READ, *WRITE], [""], ["configmaps", "events", "secrets", "serviceaccounts"]),
    _rule(WRITE, [""], ["pods", "pods/attach", "pods/exec", "pods/portforward"]),
    _rule(["get"], [""], ["pods/attach", "pods/exec", "pods/portforward"]),
    _rule(["get", "create"], ["plum.dev"], ["instances/exec", "instances/portforward"]),
    _rule(["create"], [""], ["pods/eviction"]),
    _rule(WRITE, ["apps"], ["deployments", "deployments/scale"]),
    _rule(WRITE, ["coordination.k8s.io"], ["leases"]),
]  # fmt: skip
_ADMIN = [
    _rule(WRITE, ["plum.dev"], ["syncs"]),
    _rule([*READ, *WRITE], [GROUP], ["roles", "rolebindings"]),
    _rule(["create"], ["authorization.k8s.io"], ["localsubjectaccessreviews"]),
    _rule(["create"], [""], ["serviceaccounts/token"]),
]
_WORKER = [
    _rule(["create", "update"], ["plum.dev"], ["workers"]),
    _rule(["execute"], ["plum.dev"], ["taskdefinitions"]),
]
"""What a worker needs to connect, and nothing else."""
_BASIC = [
    _rule(["create"], ["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
    _rule(["create"], ["authentication.k8s.io"], ["selfsubjectreviews"]),
]

CLUSTER_ROLES: list[Json] = [
    _role("cluster-admin", EVERYTHING),
    _gathered("admin"),
    _gathered("edit", into="admin"),
    _gathered("view", into="edit"),
    _role("system:aggregate-to-admin", _ADMIN, {f"{AGGREGATE}admin": "true"}),
    _role("system:aggregate-to-edit", _EDIT, {f"{AGGREGATE}edit": "true"}),
    _role("system:aggregate-to-view", _VIEW, {f"{AGGREGATE}view": "true"}),
    _role("system:basic-user", _BASIC),
    _role("plum:worker", _WORKER),
    _role("system:discovery", [{"verbs": ["get"], "nonResourceURLs": sorted(DISCOVERY_PATHS)}]),
    _role("system:public-info-viewer", [{"verbs": ["get"], "nonResourceURLs": OPEN_PATHS}]),
    _role("system:monitoring", [{"verbs": ["get"], "nonResourceURLs": ["/metrics", *OPEN_PATHS]}]),
]


def _binding(role: str, *groups: str) -> Json:
    return {
        "metadata": {"name": role, "labels": dict(BOOTSTRAPPING)},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": group} for group in groups],
    }


CLUSTER_ROLE_BINDINGS: list[Json] = [
    _binding("cluster-admin", MASTERS),
    _binding("system:basic-user", AUTHENTICATED),
    _binding("system:discovery", AUTHENTICATED),
    _binding("system:public-info-viewer", AUTHENTICATED, UNAUTHENTICATED),
    _binding("system:monitoring", "system:monitoring"),
]


async def ensure(service: ResourceService) -> None:
    """Create what is missing and complete what is incomplete. Safe to repeat, also by several controllers at once.

    A store that takes no writes now keeps nobody from starting: the next start tries again.
    """
    try:
        await _ensure(service)
    except ApiStatusError as error:
        if error.code != 503:
            raise
        logger.warning("default roles were not completed", extra=fields(error=error.message))


async def _ensure(service: ResourceService) -> None:
    for resource, wanted in _all():
        kind = service.registry.require(resource)
        name = wanted["metadata"]["name"]
        try:
            live = decode(service.get(kind, ObjectKey("", name)))
        except ApiStatusError as error:
            if error.code != 404:
                raise
            await _quietly(service.create(kind, "", _copy(wanted), _options()), "AlreadyExists")
            continue
        patch = _missing(live, wanted)
        if patch and (live["metadata"].get("annotations") or {}).get(AUTOUPDATE) != "false":
            await _quietly(service.patch(kind, ObjectKey("", name), "merge", patch, _options()), "NotFound")


def _all() -> Iterator[tuple[str, Json]]:
    for role in CLUSTER_ROLES:
        yield f"clusterroles.{GROUP}", role
    for binding in CLUSTER_ROLE_BINDINGS:
        yield f"clusterrolebindings.{GROUP}", binding


def _missing(live: Json, wanted: Json) -> Json:
    """A merge patch that adds what is not there and takes nothing away."""
    if "rules" in wanted:
        have = [rule_of(rule) for rule in live.get("rules") or ()]
        added = [rule for rule in wanted["rules"] if uncovered(have, [rule_of(rule)])]
        patch: Json = {"rules": [*(live.get("rules") or ()), *added]} if added else {}
        if "aggregationRule" in wanted and not live.get("aggregationRule"):
            patch["aggregationRule"] = wanted["aggregationRule"]
        return patch
    have_subjects = {(subject["kind"], subject["name"]) for subject in live.get("subjects") or ()}
    added = [subject for subject in wanted["subjects"] if (subject["kind"], subject["name"]) not in have_subjects]
    return {"subjects": [*(live.get("subjects") or ()), *added]} if added else {}


def _options() -> WriteOptions:
    return WriteOptions(field_manager="plum-controller")


def _copy(data: Json) -> Json:
    """The service may change what it gets."""
    import copy

    return copy.deepcopy(data)


async def _quietly(write: Any, reason: str) -> None:
    """Another controller may have been faster."""
    try:
        await write
    except ApiStatusError as error:
        if error.reason != reason:
            raise
