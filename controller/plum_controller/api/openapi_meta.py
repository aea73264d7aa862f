"""The OpenAPI schemas of what all kinds share: metadata, lists, deletion options, patches, `Status`, `Scale`.

Names and shapes are Kubernetes', because tools look them up by name; the descriptions are ours.
"""

from __future__ import annotations

from typing import Any

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
SCALE = "io.k8s.api.autoscaling.v1.Scale"


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def described(name: str, description: str, default: Any = None) -> dict[str, Any]:
    """A reference with a description of its own: OpenAPI 3.0 wants it wrapped."""
    schema: dict[str, Any] = {"allOf": [ref(name)], "description": description}
    if default is not None:
        schema["default"] = default
    return schema


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _integer(description: str) -> dict[str, Any]:
    return {"type": "integer", "format": "int64", "description": description}


def _texts(description: str) -> dict[str, Any]:
    return {"type": "object", "description": description, "additionalProperties": {"type": "string", "default": ""}}


def _object(description: str, properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "description": description, "properties": properties}
    if required:
        schema["required"] = list(required)
    return schema


_KIND = _text("Kind names the type of this object in CamelCase.")
_API_VERSION = _text("APIVersion is the group and version of the schema this object is written in.")

_OBJECT_META = _object(
    "ObjectMeta is what every stored object carries.",
    {
        "annotations": _texts("Annotations hold data of tools; they are not used to select objects."),
        "creationTimestamp": described(META + "Time", "When the object was created. Set by the server."),
        "deletionGracePeriodSeconds": _integer("Seconds the object may take to end. Set by the server."),
        "deletionTimestamp": described(META + "Time", "When deletion was asked for. Set by the server."),
        "finalizers": {
            "type": "array",
            "description": "Who must clean up before the object is removed.",
            "items": {"type": "string", "default": ""},
            "x-kubernetes-list-type": "set",
            "x-kubernetes-patch-strategy": "merge",
        },
        "generateName": _text("Prefix of a name that the server completes, when name is empty."),
        "generation": _integer("Version of the desired state. Set by the server."),
        "labels": _texts("Labels select and group objects."),
        "managedFields": {
            "type": "array",
            "description": "Which manager set which fields.",
            "items": {"allOf": [ref(META + "ManagedFieldsEntry")], "default": {}},
            "x-kubernetes-list-type": "atomic",
        },
        "name": _text("Name is unique within its kind and namespace and never changes."),
        "namespace": _text("Namespace the object lives in; empty for cluster-wide kinds."),
        "ownerReferences": {
            "type": "array",
            "description": "Objects this one is deleted with.",
            "items": {"allOf": [ref(META + "OwnerReference")], "default": {}},
            "x-kubernetes-list-map-keys": ["uid"],
            "x-kubernetes-list-type": "map",
            "x-kubernetes-patch-merge-key": "uid",
            "x-kubernetes-patch-strategy": "merge",
        },
        "resourceVersion": _text("Store position of the last write. Compare for equality; sent back, it guards an update."),
        "selfLink": _text("Not set any more."),
        "uid": _text("Identifies this incarnation of the name. Set by the server."),
    },
)

SHARED: dict[str, dict[str, Any]] = {
    META + "ObjectMeta": _OBJECT_META,
    META + "Time": {"type": "string", "format": "date-time", "description": "A time in RFC 3339, in UTC."},
    META + "FieldsV1": {"type": "object", "description": "A set of fields, as a tree."},
    META + "ManagedFieldsEntry": _object(
        "ManagedFieldsEntry is the set of fields one manager owns.",
        {
            "apiVersion": _text("Version of the kind the set is written in."),
            "fieldsType": _text("Always FieldsV1."),
            "fieldsV1": described(META + "FieldsV1", "The set."),
            "manager": _text("Who owns the fields."),
            "operation": _text("Apply or Update."),
            "subresource": _text("The subresource the fields were written through."),
            "time": described(META + "Time", "When the set last changed."),
        },
    ),
    META + "OwnerReference": {
        **_object(
            "OwnerReference names an owner in the same namespace, or a cluster-wide one.",
            {
                "apiVersion": {**_text("API version of the owner."), "default": ""},
                "blockOwnerDeletion": {
                    "type": "boolean",
                    "description": "A foreground deletion of the owner waits for this object.",
                },
                "controller": {"type": "boolean", "description": "This owner manages the object."},
                "kind": {**_text("Kind of the owner."), "default": ""},
                "name": {**_text("Name of the owner."), "default": ""},
                "uid": {**_text("UID of the owner."), "default": ""},
            },
            ("apiVersion", "kind", "name", "uid"),
        ),
        "x-kubernetes-map-type": "atomic",
    },
    META + "ListMeta": _object(
        "ListMeta is what every list carries.",
        {
            "continue": _text("Token for the next page; empty on the last."),
            "remainingItemCount": _integer("How many objects follow."),
            "resourceVersion": _text("Store position the list shows."),
            "selfLink": _text("Not set any more."),
        },
    ),
    META + "Preconditions": _object(
        "Preconditions must hold, or nothing is deleted.",
        {"resourceVersion": _text("Delete only this version."), "uid": _text("Delete only this incarnation.")},
    ),
    META + "DeleteOptions": _object(
        "DeleteOptions say how to delete.",
        {
            "apiVersion": _API_VERSION,
            "dryRun": {"type": "array", "description": "All: do not store.", "items": {"type": "string", "default": ""}},
            "gracePeriodSeconds": _integer("Seconds the object may take to end."),
            "kind": _KIND,
            "orphanDependents": {"type": "boolean", "description": "Use propagationPolicy."},
            "preconditions": described(META + "Preconditions", "What must hold."),
            "propagationPolicy": _text("Background, Foreground or Orphan."),
        },
    ),
    META + "Patch": {"type": "object", "description": "Patch changes part of an object."},
    META + "JSONPatch": {
        "type": "array",
        "description": "JSONPatch is a list of operations, in the order they are done (RFC 6902).",
        "items": _object(
            "One operation.",
            {
                "from": _text("Where move and copy take the value from."),
                "op": {
                    "type": "string",
                    "description": "What to do.",
                    "enum": ["add", "remove", "replace", "move", "copy", "test"],
                },
                "path": _text("Where, as a JSON pointer."),
                "value": {"description": "The value to add, replace or compare."},
            },
            ("op", "path"),
        ),
    },
    META + "StatusCause": _object(
        "StatusCause is one problem.",
        {"field": _text("The field."), "message": _text("For people."), "reason": _text("For programs.")},
    ),
    META + "StatusDetails": _object(
        "StatusDetails say what a Status is about.",
        {
            "causes": {
                "type": "array",
                "description": "The problems.",
                "items": {"allOf": [ref(META + "StatusCause")], "default": {}},
            },
            "group": _text("Group of the kind."),
            "kind": _text("The kind."),
            "name": _text("Name of the object."),
            "retryAfterSeconds": {"type": "integer", "format": "int32", "description": "When to try again."},
            "uid": _text("UID of the object."),
        },
    ),
    META + "Status": _object(
        "Status answers a request that has no object to answer with.",
        {
            "apiVersion": _API_VERSION,
            "code": {"type": "integer", "format": "int32", "description": "The HTTP status code."},
            "details": described(META + "StatusDetails", "More about the cause."),
            "kind": _KIND,
            "message": _text("For people."),
            "metadata": described(META + "ListMeta", "Metadata of a list.", {}),
            "reason": _text("For programs."),
            "status": _text("Success or Failure."),
        },
    ),
    "io.k8s.api.autoscaling.v1.ScaleSpec": _object(
        "ScaleSpec is the wanted size.",
        {"replicas": {"type": "integer", "format": "int32", "description": "Wanted number of copies."}},
    ),
    "io.k8s.api.autoscaling.v1.ScaleStatus": _object(
        "ScaleStatus is the actual size.",
        {
            "replicas": {"type": "integer", "format": "int32", "description": "Actual number of copies.", "default": 0},
            "selector": _text("Label selector of the copies, as text."),
        },
        ("replicas",),
    ),
    SCALE: {
        **_object(
            "Scale is the size of something that has copies.",
            {
                "apiVersion": _API_VERSION,
                "kind": _KIND,
                "metadata": described(META + "ObjectMeta", "Metadata of the object.", {}),
                "spec": described("io.k8s.api.autoscaling.v1.ScaleSpec", "What is wanted.", {}),
                "status": described("io.k8s.api.autoscaling.v1.ScaleStatus", "What is.", {}),
            },
        ),
        "x-kubernetes-group-version-kind": [{"group": "autoscaling", "kind": "Scale", "version": "v1"}],
    },
}
