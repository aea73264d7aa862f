"""The built-in kinds by name. A kind's module is imported when it is asked for, so a program loads only what it uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from plum_schemas.base import Object

PLUM = "plum.dev/v1"

_RBAC = "rbac.authorization.k8s.io/v1"
_REVIEW = "authorization.k8s.io/v1"
_IDENTITY = "authentication.k8s.io/v1"

MODULES: Mapping[tuple[str, str], str] = {
    ("v1", "Namespace"): "core",
    ("v1", "Event"): "core",
    ("v1", "Secret"): "core",
    ("v1", "ConfigMap"): "core",
    ("v1", "ServiceAccount"): "token",
    **{(PLUM, kind): kind.lower() for kind in (
        "Deployment", "Instance", "Artifact", "Service", "Endpoint", "Node", "Worker", "TaskDefinition", "TaskRun", "Workflow",
        "WorkflowRun", "Trigger", "Resource", "Operation", "KV", "Sync", "Revision", "Token",
    )},
    ("coordination.k8s.io/v1", "Lease"): "lease",
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): "crd",
    **{(_RBAC, kind): "rbac" for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")},
}  # fmt: skip
"""API version and kind to module, in the order of preference for bare names. These are stored."""

REVIEWS: Mapping[tuple[str, str], str] = {
    **{(_REVIEW, kind): "reviews" for kind in (
        "SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview", "LocalSubjectAccessReview",
    )},
    **{(_IDENTITY, kind): "reviews" for kind in ("SelfSubjectReview", "TokenReview")},
}  # fmt: skip
"""Kinds that are answered and never stored: they can only be created."""


@cache
def find(api_version: str, kind: str) -> type[Object] | None:
    """The typed class of a built-in kind; None for any other."""
    module = MODULES.get((api_version, kind)) or REVIEWS.get((api_version, kind))
    if module is None:
        return None
    found: type[Object] = getattr(import_module(f"plum_schemas.{module}"), kind)
    return found


@cache
def builtin() -> tuple[type[Object], ...]:
    """All built-in kinds that are stored. Imports every module; use `find` for one."""
    return tuple(_all())


def _all() -> Iterator[type[Object]]:
    for api_version, kind in MODULES:
        found = find(api_version, kind)
        if found is not None:
            yield found


def __getattr__(name: str) -> tuple[type[Object], ...]:
    if name == "BUILTIN":
        return builtin()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
