"""What overlays do to many objects at once: names and the references to them, namespaces, labels, images, counts."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Json = dict[str, Any]

REFERENCES: Mapping[str, tuple[str, ...]] = {
    "secretKeyRef": ("Secret",),
    "configMapKeyRef": ("ConfigMap",),
    "secretRef": ("Secret",),
    "configMapRef": ("ConfigMap",),
    "configMap": ("ConfigMap",),
    "secret": ("Secret",),
    "imagePullSecrets": ("Secret",),
    "roleRef": ("Role", "ClusterRole"),
    "subjects": ("ServiceAccount",),
    "scaleTargetRef": ("Deployment",),
}
"""Fields that hold an object (or a list of them) with the `name` of another object."""
PLAIN_REFERENCES: Mapping[str, tuple[str, ...]] = {
    "taskRef": ("TaskDefinition",),
    "workflowRef": ("Workflow",),
    "resourceRef": ("Resource",),
    "serviceAccountName": ("ServiceAccount",),
    "secretName": ("Secret",),
    "configMapName": ("ConfigMap",),
}
"""Fields that are the name of another object."""
UNNAMED = frozenset({"Namespace", "CustomResourceDefinition"})
"""Kinds whose names mean something outside: a prefix does not change them."""
CLUSTER_WIDE = frozenset({
    "Namespace", "CustomResourceDefinition", "Node", "ClusterRole", "ClusterRoleBinding",
})  # fmt: skip
SELECTORS = (("spec", "selector"), ("spec", "selector", "matchLabels"))


def renamed(objects: Iterable[Json], names: Mapping[tuple[str, str], str]) -> list[Json]:
    """Objects with new names, and the references to them. `names`: kind and old name to the new one."""
    result = []
    for obj in objects:
        obj = copy.deepcopy(obj)
        metadata = obj.get("metadata")
        if isinstance(metadata, dict):
            metadata["name"] = names.get((str(obj.get("kind")), str(metadata.get("name"))), metadata.get("name"))
        _refer({name: value for name, value in obj.items() if name != "metadata"}, names)
        result.append(obj)
    return result


def _refer(value: Any, names: Mapping[tuple[str, str], str]) -> None:
    if isinstance(value, list):
        for item in value:
            _refer(item, names)
        return
    if not isinstance(value, dict):
        return
    for field, inside in value.items():
        if field in REFERENCES:
            for holder in inside if isinstance(inside, list) else [inside]:
                if isinstance(holder, dict) and isinstance(holder.get("name"), str):
                    kinds = (str(holder["kind"]),) if "kind" in holder else REFERENCES[field]
                    holder["name"] = _new_name(kinds, holder["name"], names)
        if field in PLAIN_REFERENCES and isinstance(inside, str):
            value[field] = _new_name(PLAIN_REFERENCES[field], inside, names)
        _refer(inside, names)


def _new_name(kinds: Iterable[str], name: str, names: Mapping[tuple[str, str], str]) -> str:
    return next((names[kind, name] for kind in kinds if (kind, name) in names), name)


def with_namespace(obj: Json, namespace: str) -> Json:
    """The object in a namespace. Cluster-wide kinds stay as they are."""
    if obj.get("kind") in CLUSTER_WIDE:
        return obj
    metadata = dict(obj.get("metadata") or {})
    metadata["namespace"] = namespace
    return {**obj, "metadata": metadata}


def with_labels(obj: Json, labels: Mapping[str, str], *, selectors: bool, templates: bool) -> Json:
    """The object with labels; with `templates` also on what it makes, with `selectors` also in what it selects by."""
    obj = copy.deepcopy(obj)
    _add(obj, ("metadata", "labels"), labels, create=True)
    if templates or selectors:
        _add(obj, ("spec", "template", "metadata", "labels"), labels, create="template" in (obj.get("spec") or {}))
    if selectors:
        path = SELECTORS[1] if "matchLabels" in ((obj.get("spec") or {}).get("selector") or {}) else SELECTORS[0]
        _add(obj, path, labels, create=False)
    return obj


def with_annotations(obj: Json, annotations: Mapping[str, str]) -> Json:
    """The object with annotations, also on what it makes."""
    obj = copy.deepcopy(obj)
    _add(obj, ("metadata", "annotations"), annotations, create=True)
    return obj


def _add(obj: Json, path: tuple[str, ...], values: Mapping[str, str], *, create: bool) -> None:
    here: Any = obj
    for part in path:
        found = here.get(part)
        if found is None and create:
            found = here[part] = {}
        if not isinstance(found, dict):
            return
        here = found
    here.update(values)


def with_image(obj: Json, old: str, name: str, tag: str, digest: str) -> Json:
    """The object with another image wherever it names this one."""
    obj = copy.deepcopy(obj)
    for holder in _holders(obj):
        image = holder["image"]
        repository, _, _ = image.partition("@")
        head, slash, last = repository.rpartition("/")
        base, colon, old_tag = last.partition(":")
        if head + slash + base == old:
            new = name or old
            holder["image"] = f"{new}@{digest}" if digest else f"{new}:{tag}" if tag else f"{new}{colon}{old_tag}"
    return obj


def _holders(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        if isinstance(value.get("image"), str):
            yield value
        for inside in value.values():
            yield from _holders(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _holders(inside)
