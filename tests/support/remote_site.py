"""A controller with TLS, an agent behind a network that can be cut, and an instance that people want to look into.

with remote_site(folder) as site:
    site.create("web", ["sleep", "1000"])
    site.kubectl("1.32").run("exec", "web", "--", "id")
    site.plum("exec", "web", "--", "id")
    site.cut()                                   the agent's connections break
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.command import Plum, eventually
from tests.support.kubectl import Kubectl, require
from tests.support.proxy import Proxy, proxy
from tests.support.server import RunningServer, started_server

NODE = "node-1"
INSTANCES = "/apis/plum.dev/v1/namespaces/default/instances"


class RemoteSite:
    """One controller, one agent."""

    def __init__(self, folder: Path, server: RunningServer, network: Proxy) -> None:
        self.folder = folder
        self.server = server
        self.network = network
        self.agent: subprocess.Popen[bytes] | None = None

    def start_agent(self) -> None:
        """Start an agent on the same data directory, or another one after it was killed."""
        flags = ["--node", NODE, "--controller", self.network.url, "--data-dir", str(self.folder / "agent")]
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen([sys.executable, "-m", "plum_agent", *flags], stdout=subprocess.PIPE, stderr=log)
        assert self.agent.stdout is not None
        assert b"ready" in self.agent.stdout.readline(), (self.folder / "agent.log").read_text()[-3000:]
        self.agent.stdout.close()
        assert eventually(lambda: self.connected), "the agent did not connect"

    def end_agent(self, number: int = signal.SIGKILL) -> None:
        assert self.agent is not None
        self.agent.send_signal(number)
        self.agent.wait(20)

    @property
    def connected(self) -> bool:
        """Whether the node is ready: instances of unknown nodes are cleared away."""
        status, node = self.ask("GET", f"/apis/plum.dev/v1/nodes/{NODE}")
        conditions = (node.get("status") or {}).get("conditions") or [] if status == 200 else []
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """One request as the local user."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.server.url + path, data, {"Content-Type": "application/json", **(headers or {})}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def create(self, name: str, command: list[str], *, node: str = NODE, running: bool = True, **template: Any) -> None:
        """An Instance bound to the node; returns when it runs."""
        spec: dict[str, Any] = {"template": {"command": command, **template}} | ({"nodeName": node} if node else {})
        status, made = self.ask("POST", INSTANCES, {"metadata": {"name": name}, "spec": spec})
        assert status == 201, made
        if running:
            assert eventually(lambda: self.phase(name) == "Running"), self.ask("GET", f"{INSTANCES}/{name}")

    def phase(self, name: str) -> str:
        return str((self.ask("GET", f"{INSTANCES}/{name}")[1].get("status") or {}).get("phase"))

    def kubectl(self, release: str = "1.32", kubeconfig: Path | None = None) -> Kubectl:
        home = self.folder / f"kubectl-{release}"
        home.mkdir(exist_ok=True)
        return Kubectl(require(release), kubeconfig or self.server.kubeconfig, home)

    @property
    def plum(self) -> Plum:
        return Plum(self.server.url, self.folder)

    def user(self, name: str, *rules: dict[str, Any], cluster_role: str = "") -> tuple[str, Path]:
        """Name of the token and kubeconfig of somebody who may do what the rules, or a role, say in namespace default."""
        roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
        group = "rbac.authorization.k8s.io"
        if rules:
            self.ask("POST", f"{roles}/roles", {"metadata": {"name": name}, "rules": list(rules)})
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole" if cluster_role else "Role", "name": cluster_role or name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
        }
        self.ask("POST", f"{roles}/rolebindings", binding)
        status, made = self.ask("POST", "/apis/plum.dev/v1/tokens", {"metadata": {"generateName": "t-"}, "spec": {"user": name}})
        assert status == 201, made
        admin = yaml.safe_load(self.server.kubeconfig.read_text())
        admin["users"][0]["user"] = {"token": made["status"]["token"]}
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(admin))
        return made["metadata"]["name"], path

    def commands(self, word: str = "") -> list[int]:
        """Living processes of commands on the node whose command line holds a word."""
        prefix = (self.folder / "agent" / NODE / "agent-id").read_text().strip()
        return [pid for pid, line in _marked(prefix.encode()) if word in line]

    def log(self) -> str:
        return self.server.log.read_text()

    def memory(self) -> tuple[int, int]:
        """Bytes that the controller and the agent hold."""
        assert self.agent is not None
        return resident(self.server.process.pid), resident(self.agent.pid)

    def close(self) -> None:
        if self.agent is not None and self.agent.poll() is None:
            self.end_agent()
        prefix = (self.folder / "agent" / NODE / "agent-id").read_text().strip()
        for _ in range(3):
            for pid, _line in _marked(prefix.encode(), b"PLUM_RUN"):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def _marked(prefix: bytes, name: bytes = b"PLUM_EXEC") -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found = re.search(rb"(?:^|\0)" + name + rb"=([^\0]*)", (folder / "environ").read_bytes())
                state = (folder / "stat").read_text().rpartition(") ")[2][:1]
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if found and found[1].startswith(prefix) and state not in ("Z", "X"):
                yield int(folder.name), line


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


def ends(condition: Callable[[], Any], what: str, seconds: float = 40.0) -> None:
    """Wait until there is nothing more of it."""
    assert eventually(lambda: not condition(), seconds, 0.05), f"{what}: {condition()}"


@contextmanager
def remote_site(folder: Path) -> Iterator[RemoteSite]:
    """Started and stopped with everything on it."""
    with started_server(folder / "controller", secure=True) as server, proxy(server.url) as network:
        site = RemoteSite(folder, server, network)
        site.start_agent()
        try:
            yield site
        finally:
            site.close()
