"""A controller with TLS and two agents, seen through the clients of Kubernetes.

with view_site(folder) as site:
    site.apply(deployment("web", 2))
    site.kubectl.run("get", "pods")
    site.core.list_namespaced_pod("default")          the `kubernetes` library, with the same kubeconfig
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client, config

from tests.support.agent import kill, marked
from tests.support.command import Plum
from tests.support.kubectl import Kubectl, require
from tests.support.server import RunningServer, started_server

NODES = ("node-1", "node-2")
COUNTING = ["sh", "-c", "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done"]
"""A program that says something all the time."""


class ViewSite:
    """One controller, two agents, one user with all rights."""

    def __init__(self, folder: Path, server: RunningServer, api: client.ApiClient) -> None:
        self.folder = folder
        self.server = server
        self.core = client.CoreV1Api(api)
        self.apps = client.AppsV1Api(api)
        self.custom = client.CustomObjectsApi(api)
        self.kubectl = self.kubectl_of()
        self._agents: list[subprocess.Popen[bytes]] = []

    def kubectl_of(self, *release: str) -> Kubectl:
        home = self.folder / f"kubectl-{'-'.join(release)}"
        home.mkdir(exist_ok=True)
        return Kubectl(require(*release), self.server.kubeconfig, home)

    @property
    def plum(self) -> Plum:
        return Plum(self.server.url, self.folder)

    def start_agents(self) -> None:
        for node in NODES:
            flags = ["--node", node, "--controller", self.server.url, "--data-dir", str(self.folder / "agent")]
            with (self.folder / f"{node}.log").open("ab") as log:
                agent = subprocess.Popen([sys.executable, "-m", "plum_agent", *flags], stdout=subprocess.PIPE, stderr=log)
            self._agents.append(agent)
        for node, agent in zip(NODES, self._agents, strict=True):
            assert agent.stdout is not None
            assert b"ready" in agent.stdout.readline(), (self.folder / f"{node}.log").read_text()[-3000:]
            agent.stdout.close()
        self.until(lambda: [node for node in self.core.list_node().items if ready(node)], lambda found: len(found) == len(NODES))

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.kubectl.run("apply", "-f", self.kubectl.file("manifests", *manifests))

    def pods(self, deployment: str, count: int, phase: str = "Running") -> list[client.V1Pod]:
        """The Pods of a Deployment once so many are in a phase, and none is going."""

        def list_pods() -> list[client.V1Pod]:
            found: list[client.V1Pod] = self.core.list_namespaced_pod(
                "default", label_selector=f"plum.dev/deployment={deployment}"
            ).items
            return found

        def settled(found: list[client.V1Pod]) -> bool:
            return len(found) == count and all(
                pod.status.phase == phase and not pod.metadata.deletion_timestamp and (phase != "Running" or ready(pod))
                for pod in found
            )

        return self.until(list_pods, settled)

    def until(self, read: Callable[[], Any], condition: Callable[[Any], bool], seconds: float = 40.0) -> Any:
        """Read until the answer is as wanted."""
        deadline = time.monotonic() + seconds
        while not condition(value := read()):
            assert time.monotonic() < deadline, f"{value!r} within {seconds} s"
            time.sleep(0.05)
        return value

    def stop_agent(self, node: str) -> None:
        """End the agent of a node; what it runs goes on."""
        agent = self._agents[NODES.index(node)]
        agent.kill()
        agent.wait(20)

    def close(self) -> None:
        for agent in self._agents:
            agent.kill()
            agent.wait(20)
        for node in NODES:
            identity = self.folder / "agent" / node / "agent-id"
            for _ in range(3):
                for pid in marked(identity.read_text().strip()) if identity.exists() else ():
                    kill(pid)


def ready(found: Any) -> bool:
    """Whether a Node or a Pod of the library says so."""
    return any(one.type == "Ready" and one.status == "True" for one in found.status.conditions or ())


@contextmanager
def view_site(folder: Path) -> Iterator[ViewSite]:
    """Started and stopped with everything on it."""
    with started_server(folder / "controller", env={"PLUM_BOOKMARK_SECONDS": "0.5"}, secure=True) as server:
        with config.new_client_from_config(str(server.kubeconfig)) as api:
            site = ViewSite(folder, server, api)
            try:
                site.start_agents()
                yield site
            finally:
                site.close()
