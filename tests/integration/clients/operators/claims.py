"""The walkthrough of kopf's documentation, with a ConfigMap for the volume: create, update, a field, the child, deletion."""

from typing import Any

import kopf
import kubernetes


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    kubernetes.config.load_kube_config()
    settings.posting.level = 20


@kopf.on.create("ephemeralvolumeclaims")
def create_fn(spec: Any, name: str, namespace: str, logger: Any, body: Any, **_: Any) -> dict[str, str]:
    size = spec.get("size")
    if not size:
        raise kopf.PermanentError(f"Size must be set. Got {size!r}.")
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-volume"}, "data": {"size": size}}
    kopf.adopt(child)
    made = kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, child)
    logger.info("child is created: %s", made.metadata.name)
    kopf.info(body, reason="Provisioned", message=f"volume {made.metadata.name} is there")
    return {"volume": made.metadata.name}


@kopf.on.update("ephemeralvolumeclaims")
def update_fn(spec: Any, status: Any, namespace: str, logger: Any, **_: Any) -> None:
    size = spec.get("size")
    if not size:
        raise kopf.PermanentError(f"Size must be set. Got {size!r}.")
    volume = status["create_fn"]["volume"]
    kubernetes.client.CoreV1Api().patch_namespaced_config_map(volume, namespace, {"data": {"size": size}})
    logger.info("child is updated: %s", size)


@kopf.on.field("ephemeralvolumeclaims", field="metadata.labels")
def relabel(diff: Any, status: Any, namespace: str, **_: Any) -> None:
    labels = {field[0]: new for op, field, old, new in diff if field}
    if labels and "create_fn" in status:
        patch = {"metadata": {"labels": labels}}
        kubernetes.client.CoreV1Api().patch_namespaced_config_map(status["create_fn"]["volume"], namespace, patch)


@kopf.on.event("configmaps", labels={"watched": "yes"})
def child_event(type: str, name: str, logger: Any, **_: Any) -> None:
    logger.info("child event: %s %s", type, name)
