"""Affinity: nodes and neighbours that an instance requires or prefers. Words and rules are Kubernetes'.

Required terms of a node are joined by OR, the expressions inside a term by AND; required neighbours must all hold.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from plum_schemas.base import Struct
from plum_schemas.markers import SET


class LabelRequirement(Struct):
    """One demand on a label."""

    key: Annotated[str, Meta(min_length=1)]
    """Key of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """In and NotIn compare with `values`; NotIn and DoesNotExist also accept objects without the label."""
    values: list[str] = []
    """Values for In and NotIn."""


class LabelSelectorSpec(Struct):
    """Objects by their labels: everything named must hold. An empty selector selects all."""

    match_labels: dict[str, str] = {}
    """Labels with exactly these values."""
    match_expressions: list[LabelRequirement] = []
    """Further demands."""


class NodeRequirement(Struct):
    """One demand on a node's label or field."""

    key: Annotated[str, Meta(min_length=1)]
    """Key of the label, or `metadata.name` in matchFields."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """Gt and Lt compare integers."""
    values: list[str] = []
    """Values to compare with: several for In and NotIn, one for Gt and Lt."""


class NodeTerm(Struct):
    """Demands that must all hold for a node."""

    match_expressions: list[NodeRequirement] = []
    """Demands on labels."""
    match_fields: list[NodeRequirement] = []
    """Demands on `metadata.name`."""


class PreferredNode(Struct):
    """Nodes that are better than others."""

    weight: Annotated[int, Meta(ge=1, le=100)]
    """Points such a node gets."""
    preference: NodeTerm
    """Which nodes."""


class NodeAffinity(Struct):
    """Nodes by their labels."""

    required: list[NodeTerm] = []
    """At least one term must hold; nothing is demanded when empty."""
    preferred: list[PreferredNode] = []
    """Nodes that are better than others."""


class InstanceTerm(Struct):
    """Instances in the same group of nodes."""

    label_selector: LabelSelectorSpec
    """Which instances."""
    topology_key: Annotated[str, Meta(min_length=1)]
    """Node label whose values are the groups; `plum.dev/hostname` means the same node."""
    namespaces: Annotated[list[str], SET] = []
    """Namespaces of those instances; its own if empty."""


class PreferredInstance(Struct):
    """Neighbours that are better than others."""

    weight: Annotated[int, Meta(ge=1, le=100)]
    """Points such a node gets."""
    term: InstanceTerm
    """Which neighbours."""


class InstanceAffinity(Struct):
    """Neighbours, to be near (affinity) or to be far from (anti-affinity)."""

    required: list[InstanceTerm] = []
    """All must hold."""
    preferred: list[PreferredInstance] = []
    """What is better."""


class Affinity(Struct):
    """Nodes and neighbours that are required or preferred."""

    node_affinity: NodeAffinity | None = None
    """Nodes by their labels."""
    instance_affinity: InstanceAffinity | None = None
    """Instances to be near."""
    instance_anti_affinity: InstanceAffinity | None = None
    """Instances to be far from."""
