"""A Plum Deployment as a Deployment of apps/v1: how many there are, how far the rollout is, and the switches of a rollout.

    kubectl rollout status | restart | pause | resume, scale, logs, all with deployments.apps/NAME

The counts mean the same in both kinds. The template is shown as that of a Pod, and only its labels and annotations can be
written back: a restart is an annotation. Earlier templates are no ReplicaSets; `plum rollout history` shows them.
"""

from __future__ import annotations

from plum_schemas.deployment import DEPLOYMENT_LABEL

from plum_controller.api.views.pods import pod_spec
from plum_controller.resources.encode import Json

REVISION = "deployment.kubernetes.io/revision"
DEADLINE = "ProgressDeadlineExceeded"
"""The reason by which kubectl tells a rollout that failed from one that goes on."""


def show(deployment: Json) -> Json:
    """Spec and status of the apps Deployment."""
    return {"spec": _spec(deployment), "status": _status(deployment.get("status") or {})}


def noted(deployment: Json) -> Json:
    """What Kubernetes' own controller would note."""
    revision = (deployment.get("status") or {}).get("revision")
    return {REVISION: str(revision)} if revision else {}


def _spec(deployment: Json) -> Json:
    spec = deployment.get("spec") or {}
    template, strategy = spec.get("template") or {}, spec.get("strategy") or {}
    by_node = spec.get("nodeReplicas")
    own = {DEPLOYMENT_LABEL: deployment["metadata"]["name"]}
    metadata = template.get("metadata") or {}
    shown_metadata: Json = {"labels": {**(metadata.get("labels") or {}), **own}}
    if metadata.get("annotations"):
        shown_metadata["annotations"] = metadata["annotations"]
    found: Json = {
        "replicas": sum(by_node.values()) if by_node is not None else spec.get("replicas", 1),
        "selector": {"matchLabels": own},
        "template": {"metadata": shown_metadata, "spec": pod_spec(template, {})},
        "strategy": _strategy(strategy),
        "minReadySeconds": strategy.get("minReadySeconds"),
        "revisionHistoryLimit": spec.get("revisionHistoryLimit"),
        "progressDeadlineSeconds": strategy.get("progressDeadlineSeconds"),
        "paused": spec.get("paused"),
    }
    return {name: value for name, value in found.items() if value or name in ("replicas", "revisionHistoryLimit")}


def _strategy(strategy: Json) -> Json:
    if strategy.get("type") == "Recreate":
        return {"type": "Recreate"}
    bounds = {name: strategy[name] for name in ("maxSurge", "maxUnavailable") if name in strategy}
    return {"type": "RollingUpdate", **({"rollingUpdate": bounds} if bounds else {})}


def _status(status: Json) -> Json:
    names = (
        "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas",
        "collisionCount",
    )  # fmt: skip
    shown: Json = {name: status[name] for name in names if status.get(name)}
    found = [_condition(one) for one in status.get("conditions") or () if one.get("type") in ("Available", "Progressing")]
    return {**shown, "conditions": found} if found else shown


def _condition(condition: Json) -> Json:
    shown = {key: condition[key] for key in ("type", "status", "reason", "message", "lastTransitionTime") if condition.get(key)}
    if condition.get("type") == "Progressing" and condition.get("status") == "False":
        shown["reason"] = DEADLINE
    return {**shown, "lastUpdateTime": condition.get("lastTransitionTime")}
