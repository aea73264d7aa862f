"""Roles and bindings of rbac.authorization.k8s.io/v1: who may do what. Nothing is allowed that no rule allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.affinity import LabelSelectorSpec
from plum_schemas.base import Column, KindInfo, Object, Struct
from plum_schemas.markers import ATOMIC
from plum_schemas.validation import FieldError, forbidden, not_supported, required

GROUP = "rbac.authorization.k8s.io"


class PolicyRule(Struct):
    """What is allowed: verbs on resources, or verbs on paths."""

    verbs: list[str]
    """get, list, watch, create, update, patch, delete, deletecollection, ...; `*` is all."""
    api_groups: list[str] = []
    """API groups of the resources; the empty text is the core group, `*` is all."""
    resources: list[str] = []
    """Plural names, also of subresources such as `deployments/scale`; `*` is all."""
    resource_names: list[str] = []
    """Only objects of these names; all if empty."""
    non_resource_urls: list[str] = field(default_factory=list, name="nonResourceURLs")
    """Paths that are no resources, such as `/metrics`; a `*` at the end is any rest. Only in a ClusterRole."""


class RoleRef(Struct):
    """The role a binding gives."""

    api_group: str = GROUP
    """Group of the role."""
    kind: Literal["Role", "ClusterRole"]
    """Role of the same namespace, or ClusterRole."""
    name: Annotated[str, Meta(min_length=1)]
    """Name of the role."""


class Subject(Struct):
    """Who gets the role."""

    kind: Literal["User", "Group", "ServiceAccount"]
    """User, Group or ServiceAccount."""
    api_group: str = ""
    """Group of the kind."""
    name: Annotated[str, Meta(min_length=1)]
    """Name of the user or group."""
    namespace: str = ""
    """Namespace of a service account."""


class AggregationRule(Struct):
    """Rules taken from other roles."""

    cluster_role_selectors: list[LabelSelectorSpec] = []
    """ClusterRoles whose rules are taken."""


def _info(kind: str, plural: str, namespaced: bool, *columns: Column) -> KindInfo:
    return KindInfo(
        kind=kind,
        plural=plural,
        group=GROUP,
        categories=(),
        namespaced=namespaced,
        has_status=False,
        has_generation=False,
        strategic_merge=True,
        columns=(*columns, Column("Age", ".metadata.creationTimestamp", "date")),
    )


class Role(Object):
    """What is allowed in one namespace."""

    info: ClassVar[KindInfo] = _info("Role", "roles", True)

    rules: list[PolicyRule] = []
    """What is allowed."""

    def validate(self, old: Role | None) -> Iterator[FieldError]:
        yield from _check_rules(self.rules, cluster=False)


class ClusterRole(Object):
    """What is allowed in all namespaces, or in those where a RoleBinding gives it."""

    info: ClassVar[KindInfo] = _info("ClusterRole", "clusterroles", False)

    rules: list[PolicyRule] = []
    """What is allowed."""
    aggregation_rule: AggregationRule | None = None
    """Present: the rules are taken from other roles."""

    def validate(self, old: ClusterRole | None) -> Iterator[FieldError]:
        yield from _check_rules(self.rules, cluster=True)


class RoleBinding(Object):
    """Gives a role in one namespace."""

    info: ClassVar[KindInfo] = _info("RoleBinding", "rolebindings", True, Column("Role", ".roleRef.name"))

    subjects: list[Subject] = []
    """Who gets it."""
    role_ref: Annotated[RoleRef, ATOMIC]
    """The role; never changed after creation."""

    def validate(self, old: RoleBinding | None) -> Iterator[FieldError]:
        yield from _check_binding(self.role_ref, None if old is None else old.role_ref, self.subjects)


class ClusterRoleBinding(Object):
    """Gives a ClusterRole in all namespaces."""

    info: ClassVar[KindInfo] = _info("ClusterRoleBinding", "clusterrolebindings", False, Column("Role", ".roleRef.name"))

    subjects: list[Subject] = []
    """Who gets it."""
    role_ref: Annotated[RoleRef, ATOMIC]
    """The role; never changed after creation."""

    def validate(self, old: ClusterRoleBinding | None) -> Iterator[FieldError]:
        if self.role_ref.kind != "ClusterRole":
            yield not_supported("roleRef.kind", self.role_ref.kind, ["ClusterRole"])
        yield from _check_binding(self.role_ref, None if old is None else old.role_ref, self.subjects)


def _check_rules(rules: list[PolicyRule], cluster: bool) -> Iterator[FieldError]:
    for index, rule in enumerate(rules):
        path = f"rules[{index}]"
        if not rule.verbs:
            yield required(f"{path}.verbs", "verbs must contain at least one value")
        if rule.non_resource_urls:
            if not cluster:
                yield forbidden(f"{path}.nonResourceURLs", "namespaced rules cannot apply to non-resource URLs")
            if rule.resources or rule.api_groups:
                yield forbidden(f"{path}.nonResourceURLs", "rules cannot apply to both regular resources and non-resource URLs")
            continue
        if not rule.api_groups:
            yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.resources:
            yield required(f"{path}.resources", "resource rules must supply at least one resource")


def _check_binding(role: RoleRef, old: Any, subjects: list[Subject]) -> Iterator[FieldError]:
    if old is not None and old != role:
        yield forbidden("roleRef", "cannot change roleRef; delete the binding and make another")
    for index, subject in enumerate(subjects):
        if subject.kind == "ServiceAccount" and not subject.namespace:
            yield required(f"subjects[{index}].namespace")
