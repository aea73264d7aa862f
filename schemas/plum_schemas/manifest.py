"""Builds the CustomResourceDefinition manifest of a kind from its declaration. Used only when schemas are generated."""

from __future__ import annotations

from typing import Any

from plum_schemas.base import Column, KindInfo, Object
from plum_schemas.crds import BUILTIN_ANNOTATION
from plum_schemas.openapi import structural_schema


def crd_manifest(kind: type[Object]) -> dict[str, Any]:
    """A manifest that a Kubernetes API server accepts too, for the kinds of group `plum.dev`."""
    info = kind.info
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": info.resource, "annotations": {BUILTIN_ANNOTATION: "true"}},
        "spec": {
            "group": info.group,
            "names": _names(info),
            "scope": "Namespaced" if info.namespaced else "Cluster",
            "versions": [_version(kind)],
        },
    }


def _names(info: KindInfo) -> dict[str, Any]:
    names: dict[str, Any] = {
        "kind": info.kind,
        "listKind": info.list_kind,
        "plural": info.plural,
        "singular": info.singular,
    }
    if info.short_names:
        names["shortNames"] = list(info.short_names)
    if info.categories:
        names["categories"] = list(info.categories)
    return names


def _version(kind: type[Object]) -> dict[str, Any]:
    info = kind.info
    version: dict[str, Any] = {
        "name": info.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": structural_schema(kind)},
    }
    subresources: dict[str, Any] = {}
    if info.has_status:
        subresources["status"] = {}
    if info.scale:
        subresources["scale"] = {
            "specReplicasPath": info.scale.spec_replicas,
            "statusReplicasPath": info.scale.status_replicas,
        }
        if info.scale.label_selector:
            subresources["scale"]["labelSelectorPath"] = info.scale.label_selector
    if subresources:
        version["subresources"] = subresources
    if info.columns:
        version["additionalPrinterColumns"] = [_column(column) for column in info.columns]
    if info.selectable_fields:
        version["selectableFields"] = [{"jsonPath": path} for path in info.selectable_fields]
    return version


def _column(column: Column) -> dict[str, Any]:
    printed: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        printed["description"] = column.description
    if column.priority:
        printed["priority"] = column.priority
    return printed
