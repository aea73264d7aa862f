"""Which views there are, and what may be done with each.

/api/v1/.../pods/X             -> an Instance           logs, eviction, delete, labels
/api/v1/nodes/X                -> a Node of ours        cordon, taint, labels, delete
/apis/apps/v1/.../deployments  -> a Deployment of ours  rollout status and restart, scale
"""

from __future__ import annotations

from plum_schemas.base import KindInfo
from plum_schemas.deployment import Deployment
from plum_schemas.instance import Instance
from plum_schemas.node import Node

from plum_controller.api.views import deployments, nodes, pods
from plum_controller.api.views.kind import Part, ViewKind
from plum_controller.api.views.schemas import DEPLOYMENT, NODE, POD

METADATA = (("metadata", "labels"), ("metadata", "annotations"), ("metadata", "finalizers"))
"""What a patch may change of every view."""
_VERBS = ("delete", "get", "list", "patch", "update", "watch")

_POD = KindInfo(
    kind="Pod",
    plural="pods",
    group="",
    short_names=("po",),
    categories=(),
    has_status=False,
    selectable_fields=(".spec.nodeName", ".status.phase"),
    strategic_merge=True,
)
_NODE = KindInfo(kind="Node", plural="nodes", group="", categories=(), namespaced=False, has_status=False, strategic_merge=True)
"""Without the short name `no`, which stays with our own: kubectl warns of a word that two kinds have."""
_DEPLOYMENT = KindInfo(
    kind="Deployment", plural="deployments", group="apps", categories=(), has_status=False, strategic_merge=True
)
_EVICTION = KindInfo(kind="Eviction", plural="evictions", group="policy")

PODS = ViewKind(
    _POD,
    Instance,
    POD,
    pods.show,
    verbs=(*_VERBS, "deletecollection"),
    writable=METADATA,
    parts=(
        Part("eviction", _EVICTION, ("create",)),
        Part("exec", KindInfo(kind="PodExecOptions", plural="", group=""), ("create", "get")),
        Part("log", _POD, ("get",)),
        Part("portforward", KindInfo(kind="PodPortForwardOptions", plural="", group=""), ("create", "get")),
        Part("status", _POD, ("get",)),
    ),
    phases=pods.PHASES,
    instead="a Pod is a view of an Instance; what runs is written in a Deployment of apiVersion plum.dev/v1 (`plum apply -f`)",
)
NODES = ViewKind(
    _NODE,
    Node,
    NODE,
    nodes.show,
    verbs=_VERBS,
    writable=(*METADATA, ("spec", "unschedulable"), ("spec", "taints")),
    complete=nodes.complete,
    parts=(Part("status", _NODE, ("get",)),),
    instead="this Node is a view of a Node of apiVersion plum.dev/v1; change that (`kubectl edit nodes.plum.dev NAME`)",
)

DEPLOYMENTS = ViewKind(
    _DEPLOYMENT,
    Deployment,
    DEPLOYMENT,
    deployments.show,
    verbs=_VERBS,
    writable=(
        *METADATA,
        ("spec", "replicas"),
        ("spec", "paused"),
        ("spec", "template", "metadata", "labels"),
        ("spec", "template", "metadata", "annotations"),
    ),
    parts=(
        Part("scale", KindInfo(kind="Scale", plural="scales", group="autoscaling"), ("get", "patch", "update")),
        Part("status", _DEPLOYMENT, ("get",)),
    ),
    annotations=deployments.noted,
    instead="a Deployment of apps/v1 is a view; write a Deployment of apiVersion plum.dev/v1 (`plum apply -f`, "
    "`kubectl edit deployments.plum.dev NAME`)",
)

VIEWS: tuple[ViewKind, ...] = (PODS, NODES, DEPLOYMENTS)
_BY_PATH = {(view.info.group, view.info.version, view.info.plural): view for view in VIEWS}


def find(group: str, version: str, plural: str) -> ViewKind | None:
    """The view at `/apis/GROUP/VERSION/PLURAL`; the core group is empty."""
    return _BY_PATH.get((group, version, plural))
