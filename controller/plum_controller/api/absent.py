"""Kinds that Kubernetes has and Plum has not, each with what to do instead.

    POST /apis/batch/v1/namespaces/default/jobs -> 404 NotFound, "Plum has no jobs.batch: run a task once with ..."

Clients decide by code and reason, which are those of any unknown path; people read the message.
"""

from __future__ import annotations

from collections.abc import Sequence

from plum_schemas.base import KindInfo

from plum_controller.resources.errors import ApiStatusError, method_not_allowed, no_such_resource

_WORKLOADS = "copies of a program are a Deployment of apiVersion plum.dev/v1 (`kubectl explain deployments.plum.dev`)"
_REVISIONS = (
    "earlier templates of a Deployment are Revisions of apiVersion plum.dev/v1; "
    "use `plum rollout history deployment/NAME` and `plum rollout undo deployment/NAME`"
)
_TRAFFIC = "Plum routes no traffic; endpoints are found with a Service of apiVersion plum.dev/v1"
_FILES = "programs use the files of their node"
_ABSENT: dict[tuple[str, str], str] = {
    ("", "replicationcontrollers"): _WORKLOADS,
    ("", "services"): _TRAFFIC,
    ("", "resourcequotas"): "what runs is bounded by the nodes and by spec.template.resources",
    ("", "limitranges"): "limits stand in spec.template.resources of each Deployment",
    ("", "persistentvolumes"): _FILES,
    ("", "persistentvolumeclaims"): _FILES,
    ("apps", "replicasets"): _REVISIONS,
    ("apps", "controllerrevisions"): _REVISIONS,
    ("apps", "statefulsets"): _WORKLOADS,
    ("apps", "daemonsets"): "use a Deployment of apiVersion plum.dev/v1 with spec.nodeReplicas",
    ("batch", "jobs"): "run a task once with a TaskRun of apiVersion plum.dev/v1 (`plum run task/NAME`)",
    ("batch", "cronjobs"): "run a workflow on a schedule with a Trigger of apiVersion plum.dev/v1",
    ("autoscaling", "horizontalpodautoscalers"): "the number of instances does not follow load; set it with `kubectl scale`",
    ("networking.k8s.io", "ingresses"): _TRAFFIC,
    ("networking.k8s.io", "networkpolicies"): _TRAFFIC,
    ("policy", "poddisruptionbudgets"): "how many instances may be missing is spec.strategy.maxUnavailable of the Deployment",
    ("scheduling.k8s.io", "priorityclasses"): "the priority is a number, spec.template.priority of the Deployment",
    ("storage.k8s.io", "storageclasses"): _FILES,
    ("certificates.k8s.io", "certificatesigningrequests"): "`plum token` and `plum kubeconfig` make credentials",
}


_PARTS: dict[tuple[str, str], str] = {
    ("pods", "binding"): "the scheduler of Plum places instances; where they may run is written in spec.template.nodeSelector",
    ("pods", "ephemeralcontainers"): "nothing is added to what runs; `plum exec -it NAME -- sh` runs a command beside it",
    ("pods", "proxy"): "`kubectl port-forward` or `plum port-forward NAME PORT` reaches its ports",
    ("pods", "resize"): "what an instance may use is written in spec.template.resources of its Deployment",
    ("nodes", "proxy"): "agents take no connections; the output of instances is read with `kubectl logs` or `plum logs`",
}


def part_advice(plural: str, part: str) -> str:
    """What to do instead of using a part of an object that a view lacks; empty for one that nobody expects."""
    return _PARTS.get((plural, part), "")


def advice(group: str, plural: str) -> str:
    """What to do instead of using a kind that Plum lacks; empty for a kind that nobody expects."""
    return _ABSENT.get((group, plural), "")


def absent(path: Sequence[str]) -> ApiStatusError:
    """The refusal of a request on objects that no kind here has."""
    rest = list(path[2:] if path[0] == "api" else path[3:])
    group = "" if path[0] == "api" else path[1]
    if len(rest) > 2 and rest[0] == "namespaces":
        rest = rest[2:]
    plural, part = rest[0] if rest else "", rest[2] if len(rest) > 2 else ""
    instead = advice(group, plural) or part_advice(plural, part)
    if not instead:
        return no_such_resource()
    name = f"{plural}/{part}" if part else f"{plural}.{group}" if group else plural
    return ApiStatusError(404, "NotFound", f"Plum has no {name}: {instead}")


def read_only(info: KindInfo, verb: str, name: str = "") -> ApiStatusError:
    """The refusal to change objects of a kind that can only be read."""
    error = method_not_allowed(info, verb, name)
    instead = advice(info.group, info.plural)
    return ApiStatusError(error.code, error.reason, f"{error.message}: {instead}", error.details) if instead else error
