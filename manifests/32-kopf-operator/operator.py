"""An operator written with kopf: each Greeting gets a Deployment that says its text, and tells how many copies are ready."""

from typing import Any

import kopf
from kubernetes import client, config, dynamic


@kopf.on.startup()
def connect(memo: kopf.Memo, **_: Any) -> None:
    config.load_kube_config()
    found = dynamic.DynamicClient(client.ApiClient())
    memo.deployments = found.resources.get(api_version="plum.dev/v1", kind="Deployment")


@kopf.on.create("greetings")
@kopf.on.update("greetings", field="spec")
@kopf.on.resume("greetings")
def deploy(spec: Any, name: str, namespace: str, memo: kopf.Memo, body: Any, **_: Any) -> dict[str, str]:
    if not spec["text"].strip():
        raise kopf.PermanentError("spec.text is empty; there is nothing to say")
    command = ["sh", "-c", 'while true; do echo "$TEXT from $PLUM_INSTANCE_ID"; sleep 1; done']
    template = {"command": command, "env": [{"name": "TEXT", "value": spec["text"]}]}
    deployment = {
        "apiVersion": "plum.dev/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"greeting": name}},
        "spec": {"replicas": spec["copies"], "template": template},
    }
    kopf.adopt(deployment)  # it is deleted with its Greeting
    made = memo.deployments.server_side_apply(deployment, namespace=namespace, field_manager="greeter", force_conflicts=True)
    kopf.info(body, reason="Deployed", message=f"Deployment {name} says {spec['text']!r}")
    return {"generation": str(made.metadata.generation)}


@kopf.on.event("plum.dev", "v1", "deployments", labels={"greeting": kopf.PRESENT})
def report(type: str, body: Any, labels: Any, namespace: str, logger: Any, **_: Any) -> None:
    """Carry the number of ready copies over, whenever a Deployment changes."""
    if type != "DELETED":
        status = {"status": {"ready": body.get("status", {}).get("readyReplicas", 0)}}
        where = ("example.com", "v1", namespace, "greetings", labels["greeting"])
        client.CustomObjectsApi().patch_namespaced_custom_object_status(*where, status)


@kopf.on.delete("greetings")
def farewell(name: str, logger: Any, **_: Any) -> None:
    logger.info("nobody says %s any more", name)
