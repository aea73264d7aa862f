"""Controller and agent as services of a real systemd: ready when they say so, watched, restarted, and workloads go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import plum_agent
import pytest

from tests.support.systemd_machine import Machine, inside, sources, systemd_machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
INSTANCE = """
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: clock}
spec:
  replicas: 1
  template: {command: ["sh", "-c", "while true; do echo tick; sleep 0.2; done"], resources: {limits: {memory: 64Mi}}}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which both are installed and one instance runs."""
    with systemd_machine(tmp_path_factory.mktemp("systemd")) as machine:
        machine.write("/etc/systemd/system/plum-agent.service.d/soon.conf", "[Service]\nWatchdogSec=2\nRestartSec=0\n")
        machine.plum("install", "systemd", "controller", "--secure-listen", "0.0.0.0:8443", "--now")
        machine.plum("install", "systemd", "agent", "--node", "boat-1", "--controller", "http://127.0.0.1:8080", "--now")
        machine.write("/tmp/clock.yaml", INSTANCE)
        machine.plum("apply", "-f", "/tmp/clock.yaml", "--wait", "--timeout", "40s")
        yield machine


def instance(machine: Machine) -> dict[str, int]:
    status = json.loads(machine.plum("get", "instances", "-o", "json").stdout)["items"][0]["status"]
    return {"pid": status["pid"], "restarts": status.get("restarts", 0)}


def main_pid(machine: Machine, unit: str = "plum-agent") -> int:
    return int(machine.property(unit, "MainPID"))


def test_a_service_counts_as_started_when_the_api_answers(machine: Machine) -> None:
    machine.run("systemctl", "restart", "plum-controller")

    assert machine.run("curl", "-sf", "http://127.0.0.1:8080/readyz").stdout == "ok"  # at once: `restart` waited for it


def test_the_controller_runs_as_nobody_in_particular_and_serves_everything(machine: Machine) -> None:
    pid = main_pid(machine, "plum-controller")
    user = machine.run("ps", "-o", "uid=", "-p", str(pid)).stdout.strip()
    status = machine.run("cat", f"/proc/{pid}/status").stdout

    assert int(user) >= 61184  # the range of users that systemd makes up
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    for path in ("/docs", "/openapi/v3/apis/plum.dev/v1", "/metrics"):
        assert machine.run("curl", "-sf", f"http://127.0.0.1:8080{path}").stdout
    admin = ("--kubeconfig", "/var/lib/plum/admin.kubeconfig")
    assert "boat-1" in machine.plum("get", "nodes", *admin).stdout  # over TLS: 127.0.0.1:8443


@pytest.mark.parametrize("way", ["stop", "kill", "freeze"])
def test_workloads_do_not_notice_what_happens_to_the_agents_service(machine: Machine, way: str) -> None:
    before, agent = instance(machine), main_pid(machine)

    if way == "stop":
        machine.run("systemctl", "stop", "plum-agent")
        assert machine.run("test", "-d", f"/proc/{before['pid']}").returncode == 0
        machine.run("systemctl", "start", "plum-agent")
    elif way == "kill":
        machine.run("kill", "-KILL", str(agent))
    else:
        machine.run("kill", "-STOP", str(agent))  # only the watchdog sees that

    is_new = f"test $(systemctl show --value -p MainPID plum-agent) -ne {agent} && systemctl is-active plum-agent"
    machine.until("sh", "-c", is_new, holds="active")
    assert instance(machine) == before
    assert machine.run("test", "-d", f"/proc/{before['pid']}").returncode == 0


def test_a_new_release_of_the_agent_takes_over_what_the_old_one_started(machine: Machine) -> None:
    before, old = instance(machine), main_pid(machine)
    source = inside(Path(plum_agent.__path__[0]))
    machine.write("/opt/next/plum_agent-9.9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: plum-agent\nVersion: 9.9.9\n")
    machine.run("cp", "-r", str(source), "/opt/next/")

    machine.write(
        "/etc/systemd/system/plum-agent.service.d/next.conf", f"[Service]\nEnvironment=PYTHONPATH=/opt/next:{sources()}\n"
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "plum-agent")

    machine.until("curl", "-s", "http://127.0.0.1:8080/apis/plum.dev/v1/nodes/boat-1", holds='"agentVersion":"9.9.9"')
    assert main_pid(machine) != old
    assert instance(machine) == before


def test_removing_the_agent_leaves_workloads_settings_and_data(machine: Machine) -> None:
    before = instance(machine)

    machine.plum("install", "systemd", "agent", "--remove")

    assert machine.run("systemctl", "is-active", "plum-agent", ok=False).stdout.strip() in ("inactive", "unknown")
    machine.run("test", "-d", f"/proc/{before['pid']}")
    machine.run("test", "-s", "/etc/plum/agent.env")
    machine.plum("install", "systemd", "agent", "--now")
    assert instance(machine) == before
