"""What OpenAPI says of the views: the fields that are filled, in the words of `kubectl explain`.

Types are those of Kubernetes, so that clients with typed objects read them; fields that no view fills are left out.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def number(description: str) -> Schema:
    return {"type": "integer", "format": "int32", "description": description}


def flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def time(description: str) -> Schema:
    return {"type": "string", "format": "date-time", "description": description}


def listed(description: str, items: Schema, key: str = "") -> Schema:
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]} if key else {}
    merged = {"x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": key} if key else {}
    return {"type": "array", "description": description, "items": items, **keyed, **merged}


def mapped(description: str) -> Schema:
    return {"type": "object", "description": description, "additionalProperties": {"type": "string"}}


def fields(description: str, **properties: Schema) -> Schema:
    return {"type": "object", "description": description, "properties": properties}


_AMOUNT: Schema = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}


def amounts(description: str) -> Schema:
    return {"type": "object", "description": description, "additionalProperties": _AMOUNT}


def conditions(description: str, **more: Schema) -> Schema:
    condition = fields(
        "One named fact.",
        type=text("Which fact."),
        status=text("True, False or Unknown."),
        reason=text("CamelCase word for the status."),
        message=text("A sentence for people."),
        lastTransitionTime=time("When the status last changed."),
        **more,
    )
    return listed(description, condition, "type")


_KEY = fields("A key of a Secret or ConfigMap.", name=text("Name."), key=text("Key."), optional=flag("It may be missing."))
_ENV = fields(
    "One environment variable.",
    name=text("Name of the variable."),
    value=text("Its value."),
    valueFrom=fields(
        "Where the value comes from.",
        secretKeyRef=_KEY,
        configMapKeyRef=_KEY,
        fieldRef=fields("A field of the instance.", fieldPath=text("Such as metadata.name.")),
    ),
)
_CONTAINER = fields(
    "The one container of a view: what the template runs.",
    name=text("Always `main`."),
    image=text("Image, or name and version of the artifact."),
    command=listed("Program and arguments.", {"type": "string"}),
    workingDir=text("Folder the command starts in."),
    env=listed("Environment variables.", _ENV, "name"),
    ports=listed(
        "Ports it listens on.",
        fields(
            "One port.",
            name=text("Name of the port."),
            containerPort=number("Number; the one that was chosen once it runs."),
            hostPort=number("Number on the node."),
            protocol=text("TCP or UDP."),
        ),
    ),
    resources=fields("What it needs and may use.", requests=amounts("Reserved."), limits=amounts("Most it may use.")),
    imagePullPolicy=text("When the image is fetched."),
)
_TOLERATION = fields(
    "A taint it accepts.",
    key=text("Key of the taint."),
    operator=text("Exists or Equal."),
    value=text("Value of the taint."),
    effect=text("Effect of the taint."),
    tolerationSeconds={"type": "integer", "format": "int64", "description": "How long it stays."},
)
POD_SPEC = fields(
    "What runs, and where.",
    nodeName=text("Node it runs on."),
    containers=listed("One, called `main`.", _CONTAINER, "name"),
    restartPolicy=text("When the agent starts it again on the same node."),
    terminationGracePeriodSeconds={"type": "integer", "format": "int64", "description": "Seconds from the stop to SIGKILL."},
    nodeSelector=mapped("Labels a node must have."),
    tolerations=listed("Taints it accepts.", _TOLERATION),
    priority=number("Higher ones are placed first."),
    hostNetwork=flag("It shares the network of its node."),
    schedulerName=text("Always plum-scheduler."),
)
_TERMINATED = fields(
    "How a run ended.",
    exitCode=number("Exit code; 137 when nobody saw it."),
    signal=number("Signal that ended it."),
    reason=text("CamelCase word."),
    message=text("What is known."),
    startedAt=time("When that run started."),
    finishedAt=time("When it ended."),
)
_STATE = fields(
    "Exactly one of these.",
    waiting=fields("It does not run yet.", reason=text("CamelCase word."), message=text("What it waits for.")),
    running=fields("It runs.", startedAt=time("Since when.")),
    terminated=_TERMINATED,
)
_CONTAINER_STATUS = fields(
    "How the container is.",
    name=text("Always `main`."),
    image=text("What runs."),
    imageID=text("Digest of the image, or checksum of the artifact."),
    containerID=text("container://ID, or process://PID on the node."),
    ready=flag("It takes requests."),
    started=flag("It has started, as its startup probe says."),
    restartCount=number("Runs after the first."),
    state=_STATE,
    lastState=_STATE,
)
POD: Schema = {
    "type": "object",
    "description": "Pod is a view of an Instance of plum.dev/v1: one run of a template on one node. It can be read, deleted and "
    "evicted, and its labels and annotations can be changed; instances are made by a Deployment of apiVersion plum.dev/v1.",
    "properties": {
        "spec": POD_SPEC,
        "status": fields(
            "What the agent last saw.",
            phase=text("Pending, Running, Succeeded, Failed or Unknown."),
            conditions=conditions("PodScheduled, Initialized, ContainersReady, Ready."),
            reason=text("Why it failed, or why nothing is known."),
            message=text("What it waits for."),
            hostIP=text("Address of the node."),
            podIP=text("Address others reach it at."),
            podIPs=listed("The same as podIP.", fields("An address.", ip=text("The address.")), "ip"),
            startTime=time("When it was started."),
            containerStatuses=listed("How the one container is.", _CONTAINER_STATUS, "name"),
        ),
    },
}
_NODE_INFO = {
    "machineID": "Not known to Plum.",
    "systemUUID": "Not known to Plum.",
    "bootID": "Changes with every boot.",
    "kernelVersion": "Kernel release.",
    "osImage": "Operating system and release.",
    "containerRuntimeVersion": "What the node can run: process, container.",
    "kubeletVersion": "Version of the agent.",
    "kubeProxyVersion": "Not used by Plum.",
    "operatingSystem": "linux.",
    "architecture": "amd64, arm64, ...",
}
NODE: Schema = {
    "type": "object",
    "description": "Node is a view of a Node of plum.dev/v1: one machine with an agent. It can be read, cordoned, tainted, "
    "labelled and deleted; what else there is stands in nodes.plum.dev.",
    "properties": {
        "spec": fields(
            "What the user wants of the node.",
            unschedulable=flag("Cordoned: nothing new is placed here."),
            taints=listed(
                "Keep instances away that do not tolerate them.",
                fields(
                    "A taint.",
                    key=text("Name of the taint."),
                    value=text("Value that a toleration may ask for."),
                    effect=text("NoSchedule, PreferNoSchedule or NoExecute."),
                    timeAdded=time("When it was added."),
                ),
            ),
        ),
        "status": fields(
            "What the agent last reported.",
            capacity=amounts("All the machine has."),
            allocatable=amounts("What instances may use."),
            conditions=conditions("Ready and others.", lastHeartbeatTime=time("When it was last heard of, once it is lost.")),
            addresses=listed(
                "Where the node is reached.",
                fields("An address.", type=text("Kind of address."), address=text("The address.")),
                "type",
            ),
            nodeInfo=fields("What the machine is.", **{name: text(words) for name, words in _NODE_INFO.items()}),
        ),
    },
}


DEPLOYMENT: Schema = {
    "type": "object",
    "description": "Deployment of apps/v1 is a view of a Deployment of plum.dev/v1. It can be read, scaled, restarted, paused "
    "and deleted; what runs is written in the Deployment of plum.dev/v1.",
    "properties": {
        "spec": fields(
            "The wanted state.",
            replicas=number("Wanted number of instances; with nodeReplicas their sum."),
            paused=flag("A new template changes nothing until this is false again."),
            selector=fields("The instances.", matchLabels=mapped("Labels they have.")),
            template=fields(
                "What each instance runs.",
                metadata=fields(
                    "Labels and annotations of the instances.", labels=mapped("Labels."), annotations=mapped("Annotations.")
                ),
                spec=POD_SPEC,
            ),
            strategy=fields(
                "How a new template replaces the old one.",
                type=text("RollingUpdate or Recreate; a canary reads as RollingUpdate."),
                rollingUpdate=fields("Bounds.", maxSurge=_AMOUNT, maxUnavailable=_AMOUNT),
            ),
            minReadySeconds=number("Seconds an instance must have been ready to count as available."),
            revisionHistoryLimit=number("Old revisions to keep."),
            progressDeadlineSeconds=number("Seconds without progress after which a rollout has failed."),
        ),
        "status": fields(
            "What was last seen.",
            observedGeneration={"type": "integer", "format": "int64", "description": "Generation this status speaks of."},
            replicas=number("Instances that exist."),
            updatedReplicas=number("Instances of the current template."),
            readyReplicas=number("Instances that are ready."),
            availableReplicas=number("Instances ready for long enough."),
            unavailableReplicas=number("Instances still missing."),
            collisionCount=number("Times the hash of a template was taken."),
            conditions=conditions("Available and Progressing.", lastUpdateTime=time("When it was last seen to change.")),
        ),
    },
}
