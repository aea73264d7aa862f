"""The compose file, as it is: built from a bundle without a registry, a fleet that joins over TLS, and a program on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.base_image import make_base
from tests.support.docker_engine import Engine, install, shared_engine
from tests.support.wheels import SOURCE, make_bundle

pytestmark = [pytest.mark.soak, pytest.mark.timeout(280)]
FOLDER = SOURCE / "deploy/compose"
PROJECT = f"plumtest{os.getpid()}"
CLOCK = """
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: clock}
spec: {replicas: 2, template: {command: ["sh", "-c", "while true; do echo tick; sleep 0.2; done"]}}
"""


class Fleet:
    """The containers of one `compose up`."""

    def __init__(self, engine: Engine, context: Path) -> None:
        self.engine = engine
        own = {
            "PLUM_IMAGE": f"{PROJECT}:1",
            "PLUM_BASE": f"{PROJECT}-base:1",
            "PLUM_CONTEXT": str(context),
            "PLUM_PUBLISH": "127.0.0.1:",
        }
        kept = {
            "PATH": os.environ["PATH"],
            "HOME": str(context),
            "DOCKER_HOST": f"unix://{engine.socket}",
            "DOCKER_BUILDKIT": "0",
        }
        self._environment = {**kept, **own}
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, env=self._environment).returncode == 0
        self._command = ["docker", "compose"] if plugin else ["docker-compose"]

    def compose(self, *words: str, ok: bool = True, input: str | None = None) -> str:
        command = [*self._command, "-p", PROJECT, "-f", str(FOLDER / "compose.yaml"), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment, input=input, timeout=250)
        assert not ok or done.returncode == 0, f"{words}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def plum(self, *words: str, input: str | None = None) -> str:
        return self.compose("exec", "-T", "controller", "plum", *words, input=input)

    def until(self, condition: Callable[[], object], seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.compose("logs", "--tail", "30", ok=False)
            time.sleep(0.3)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("compose")
    with shared_engine() as engine:
        if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0:
            install({"docker-compose": "docker-compose"})
        make_base(engine, f"{PROJECT}-base:1", folder)
        make_bundle(folder / "plum.tar", SOURCE / "manifests/01-hello")
        shutil.copy(FOLDER / "Dockerfile", folder)
        fleet = Fleet(engine, folder)
        try:
            fleet.compose("up", "--detach", "--build")
            yield fleet
        finally:
            fleet.compose("down", "--volumes", "--timeout", "5", ok=False)
            for image in (f"{PROJECT}:1", f"{PROJECT}-base:1"):
                engine.docker("rmi", "-f", image, ok=False)


def test_a_fleet_in_containers_runs_programs_and_survives_a_restart(fleet: Fleet) -> None:
    fleet.until(lambda: fleet.plum("get", "nodes").count(" True") + fleet.plum("get", "nodes").count("Ready ") >= 2)

    fleet.plum("apply", "-f", "-", "--wait", "--timeout", "60s", input=CLOCK)

    nodes = {item["spec"]["nodeName"] for item in json.loads(fleet.plum("get", "instances", "-o", "json"))["items"]}
    assert nodes == {"boat-1", "boat-2"}
    assert "tick" in fleet.plum("logs", "deployment/clock", "--tail", "1")
    user = fleet.compose("exec", "-T", "controller", "sh", "-c", "id -u; touch /opt/x 2>&1 || true")
    assert user.startswith("10001\n") and "Read-only file system" in user

    fleet.compose("restart", "--timeout", "10", "controller", "boat-1")

    def back() -> bool:
        found = fleet.compose("exec", "-T", "controller", "plum", "get", "deployment", "clock", "-o", "json", ok=False)
        return bool(found) and json.loads(found)["status"].get("availableReplicas") == 2

    fleet.until(back)
