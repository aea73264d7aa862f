"""What tests of real Kubernetes clients share: how a client is pointed at a server, and a kind of their own.

    started_server -> Cluster(url, kubeconfig) -> kubernetes, kr8s, lightkube, kopf, as their documentation says

The clients are the ones of PyPI, unpatched. They find the server as they find any cluster: by a kubeconfig.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.support.server import RunningServer

T = TypeVar("T")

GROUP = "clients.example.com"
WIDGETS = f"/apis/{GROUP}/v1/namespaces/default/widgets"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server as clients see it."""

    server: RunningServer
    kubeconfig: Path

    @property
    def url(self) -> str:
        return self.server.url


def cluster_of(server: RunningServer, folder: Path) -> Cluster:
    """The server with a kubeconfig for it in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "clients.kubeconfig"
    path.write_text(json.dumps(kubeconfig(server.url)))
    return Cluster(server, path)


def kubeconfig(url: str) -> dict[str, Any]:
    """A kubeconfig for the local user. JSON is YAML, so it can be written as it is."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "plum", "cluster": {"server": url}}],
        "users": [{"name": "local", "user": {}}],
        "contexts": [{"name": "plum", "context": {"cluster": "plum", "user": "local", "namespace": "default"}}],
        "current-context": "plum",
    }


def definition(
    plural: str = "widgets", kind: str = "Widget", *, scope: str = "Namespaced", group: str = GROUP, **version: Any
) -> dict[str, Any]:
    """A CustomResourceDefinition with a schema, a status and a scale."""
    count = {"type": "integer", "minimum": 0}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "properties": {
                                        "replicas": {**count, "default": 1},
                                        "color": {"type": "string"},
                                        "sizes": {"type": "array", "items": {"type": "integer"}},
                                    },
                                },
                                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            },
                        }
                    },
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                    },
                    **version,
                }
            ],
        },
    }


def widget(name: str, *, kind: str = "Widget", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
        "spec": spec,
    }


def until(condition: Callable[[], T], seconds: float = 40.0, what: str = "") -> T:
    """The first true answer. For the clients that block; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(0.03)
    return found


@contextmanager
def kr8s_api(cluster: Cluster) -> Iterator[Any]:
    """kr8s, whose connections are closed at the end: by itself it leaves that to the end of the process."""
    import kr8s
    from kr8s._async_utils import as_sync_func

    api = kr8s.api(kubeconfig=str(cluster.kubeconfig))
    try:
        yield api
    finally:
        as_sync_func(api._session.aclose)()
        gc.collect()
