"""What happens to processes: stopping, escaping, hanging, crashing, and an agent that stands still."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Secret

from tests.support.agent import NODE, alive, kill, running_site, until

pytestmark = pytest.mark.slow

SERVER = """
import http.server, os
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
STUBBORN = "trap '' TERM; setsid sh -c 'setsid sleep 1000 & exec sleep 1000' & echo up; while :; do sleep 0.1; done"


async def test_grandchildren_that_left_the_group_are_killed_with_the_instance(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("web", ["sh", "-c", STUBBORN], terminationGracePeriodSeconds=1)
        await site.running("web")
        await until(lambda: len(site.processes()) >= 4)
        began = time.monotonic()

        await site.delete("web")
        await site.gone("web")

        assert 0.9 < time.monotonic() - began < 5
        assert site.processes() == {}


async def test_stopped_keeps_the_object_and_running_starts_it_again(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("web", ["sleep", "1000"])
        first = (await site.running("web")).pid or 0

        await site.patch("web", {"state": "Stopped"})
        stopped = await site.wait("web", lambda status: status.phase == "Stopped")
        await site.patch("web", {"state": "Running"})
        again = await site.running("web")

        assert not alive(first)
        assert stopped.last_exit is not None
        assert (stopped.last_exit.code, stopped.last_exit.signal, stopped.last_exit.reason) == (143, "SIGTERM", "Stopped")
        assert again.pid != first


async def test_pre_stop_runs_before_the_stop_signal_and_after_ready_is_taken_back(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        command = ["sh", "-c", "trap 'echo signal >> order; exit 0' USR1; while :; do sleep 0.05; done"]
        hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> order; sleep 0.5"]}}}
        await site.create("web", command, lifecycle=hook, stopSignal="SIGUSR1", services=[{"name": "s", "port": 80}])
        await site.running("web")
        order = site.data / NODE / "default_web" / "work" / "order"

        await site.patch("web", {"state": "Stopped"})
        stopping = await site.wait("web", lambda status: status.phase == "Stopping")
        stopped = await site.wait("web", lambda status: status.phase == "Stopped")

        assert not stopping.ready
        assert order.read_text().split() == ["hook", "signal"]
        assert stopped.last_exit is not None
        assert stopped.last_exit.code == 0


async def test_an_exit_says_nothing_of_the_one_before_it(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        script = "if [ -e once ]; then exit 3; fi; touch once; kill -9 $$"
        await site.create("web", ["sh", "-c", script], backoff={"initial": "300ms", "factor": 1, "max": "300ms"})

        first = await site.wait("web", lambda status: status.last_exit)
        later = await site.wait("web", lambda status: status.last_exit and status.last_exit.code == 3)

        assert first.last_exit is not None
        assert (first.last_exit.code, first.last_exit.signal) == (137, "SIGKILL")
        assert later.last_exit is not None
        assert (later.last_exit.signal, later.last_exit.message) == ("", "")


async def test_a_crashing_instance_waits_longer_each_time_and_says_so(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create(
            "web", ["sh", "-c", "date +%s.%N >> starts; exit 3"], backoff={"initial": "200ms", "factor": 2, "max": "10s"}
        )

        status = await site.wait("web", lambda status: status.restarts >= 3 and status.reason == "BackOff")

        starts = [float(line) for line in (site.data / NODE / "default_web" / "work" / "starts").read_text().split()]
        pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
        assert 0.2 <= pauses[0] < 0.6
        assert 0.4 <= pauses[1] < 0.9
        assert 0.8 <= pauses[2] < 1.5
        assert status.next_start_at is not None
        assert status.last_exit is not None
        assert status.last_exit.code == 3


async def test_a_killed_process_is_reported_and_restarted_at_once(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("web", ["sleep", "1000"], backoff={"initial": "0s"})
        pid = (await site.running("web")).pid or 0
        began = time.monotonic()

        kill(pid)

        status = await site.wait("web", lambda status: status.restarts == 1 and status.phase == "Running")
        assert time.monotonic() - began < 1.0
        assert status.last_exit is not None
        assert (status.last_exit.code, status.last_exit.signal) == (137, "SIGKILL")


async def test_a_requested_restart_starts_a_new_run_and_labels_do_not(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("web", ["sleep", "1000"])
        first = (await site.running("web")).pid

        await site.patch("web", {"template": {"metadata": {"labels": {"a": "b"}}}})
        await site.wait("web", lambda status: status.observed_generation == 2)
        assert (await site.running("web")).pid == first
        await site.patch("web", {"restartRequest": "now"})
        second = await site.wait("web", lambda status: status.pid not in (None, first) and status.phase == "Running")
        assert second.observed_restart_request == "now"
        assert second.restarts == 1


async def test_hung_probes_delay_neither_the_lease_nor_other_instances(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.set_lease(1)
        silent = socket.create_server(("127.0.0.1", 0), backlog=512)  # connections open and nobody ever answers
        port = silent.getsockname()[1]
        hung = {"http": {"port": port}, "timeout": "60s", "period": "100ms"}
        hung_exec = {"exec": {"command": ["sleep", "1000"]}, "timeout": "60s", "period": "100ms"}
        for number in range(10):
            await site.create(f"hung-{number}", ["sleep", "1000"], probes={"readiness": hung, "liveness": hung_exec})
        await asyncio.gather(*(site.running(f"hung-{number}") for number in range(10)))
        lease = await site.lease()
        assert lease is not None
        while lease.spec.lease_duration_seconds != 1:
            lease = await site.lease()
            assert lease is not None

        renewals: set[datetime] = set()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            lease = await site.lease()
            assert lease is not None
            assert lease.spec.renew_time is not None
            renewals.add(lease.spec.renew_time)
            await asyncio.sleep(0.02)
        await site.create("quick", ["python3", "-c", SERVER], ports=[{"name": "http", "port": 0}],
                          probes={"readiness": {"http": {"port": "http"}, "period": "200ms"}})  # fmt: skip
        await site.wait("quick", lambda status: status.ready, 5)

        ordered = sorted(renewals)
        gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(ordered)]
        assert len(gaps) >= 6
        assert max(gaps) < 0.8
        silent.close()


async def test_a_liveness_probe_that_fails_restarts_the_run(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        probe = {"exec": {"command": ["test", "-f", "fine"]}, "period": "100ms", "failureThreshold": 2}
        await site.create(
            "web", ["sh", "-c", "touch fine; exec sleep 1000"], probes={"liveness": probe}, backoff={"initial": "100ms"}
        )
        first = (await site.running("web")).pid
        await asyncio.sleep(0.5)
        assert (await site.running("web")).pid == first

        (site.data / NODE / "default_web" / "work" / "fine").unlink()

        status = await site.wait("web", lambda status: status.restarts >= 1 and status.phase == "Running")
        assert status.last_exit is not None
        assert status.last_exit.reason == "ProbeFailed"
        assert "liveness" in status.last_exit.message


async def test_secrets_reach_the_environment_and_what_is_missing_is_named(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        source = {"secretKeyRef": {"name": "web", "key": "token"}}
        await site.create(
            "web", ["sh", "-c", 'echo "$TOKEN" > got; exec sleep 1000'], env=[{"name": "TOKEN", "valueFrom": source}]
        )

        refused = await site.wait("web", lambda status: status.reason == "SecretMissing")
        await site.api.create(Secret(metadata=ObjectMeta(name="web", namespace="default"), data={"token": "czNjcmV0"}))
        await site.running("web")

        assert "default/web" in refused.message
        got = site.data / NODE / "default_web" / "work" / "got"
        await until(lambda: got.exists() and got.read_text().strip() == "s3cret")
        assert "s3cret" not in site.log.read_text()


async def test_what_this_node_cannot_run_is_refused_with_a_condition(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("box", [], runtime="container", image="demo:1")
        await site.create("zip", [], artifact={"name": "demo", "version": "1.0.0"})
        await site.create("one", ["sleep", "1000"], ports=[{"name": "p", "port": 45991}])
        await site.running("one")
        await site.create("two", ["sleep", "1000"], ports=[{"name": "p", "port": 45991}])

        for name, reason in (("box", "EngineUnavailable"), ("zip", "ArtifactMissing"), ("two", "PortInUse")):
            status = await site.wait(name, lambda status, reason=reason: status.reason == reason)  # type: ignore[misc]
            prepared = next(one for one in status.conditions if one.type == "Prepared")
            assert (prepared.status, prepared.reason) == ("False", reason)
            assert any(word in prepared.message for word in ("node", "45991", "plum artifact push", "engine"))
        await site.delete("one")
        await site.running("two")


async def test_a_stopped_agent_loses_its_lease_and_its_exclusive_instance_is_fenced_by_the_shim(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.set_lease(2)
        await site.create("free", ["sleep", "1000"])
        await site.create("alone", ["sh", "-c", "setsid sleep 1000 & exec sleep 1000"], exclusive=True)
        free, alone = (await site.running("free")).pid or 0, (await site.running("alone")).pid or 0
        await asyncio.sleep(2.5)
        assert alive(alone), "a healthy agent fences nothing"
        assert site.agent is not None

        os.kill(site.agent.pid, signal.SIGSTOP)
        began = time.monotonic()
        await until(lambda: not alive(alone))
        fenced_after = time.monotonic() - began
        await until(lambda: set(site.processes()) == {free})
        os.kill(site.agent.pid, signal.SIGCONT)

        assert fenced_after < 2.0, "gone before the lease could be given to another"
        again = await site.wait("alone", lambda status: status.phase == "Running" and status.pid not in (None, alone), 30)
        assert again.last_exit is not None
        assert again.last_exit.reason == "Fenced"
        assert (await site.running("free")).pid == free


async def test_a_cut_connection_fences_only_what_is_exclusive(tmp_path: Path) -> None:
    """The controller stands still: the agent lives, and nobody acknowledges its renewals."""
    async with running_site(tmp_path) as site:
        await site.set_lease(2)
        await site.create("free", ["sleep", "1000"])
        await site.create("alone", ["sleep", "1000"], exclusive=True)
        free, alone = (await site.running("free")).pid or 0, (await site.running("alone")).pid or 0
        await asyncio.sleep(1)

        os.kill(site.controller_pid, signal.SIGSTOP)
        try:
            await until(lambda: not alive(alone))
            await asyncio.sleep(2)
            assert set(site.processes()) == {free}
        finally:
            os.kill(site.controller_pid, signal.SIGCONT)

        again = await site.wait("alone", lambda status: status.phase == "Running" and status.pid not in (None, alone), 30)
        assert again.ready
        assert (await site.running("free")).pid == free


async def test_a_full_disk_keeps_new_instances_from_starting_and_disturbs_no_other(tmp_path: Path) -> None:
    disk = tmp_path / "agent"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        async with running_site(tmp_path) as site:
            await site.create("old", ["sleep", "1000"])
            old = (await site.running("old")).pid
            with pytest.raises(OSError, match="No space left"), (disk / "ballast").open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(4096))
            await site.create("new", ["sleep", "1000"])

            refused = await site.wait("new", lambda status: status.reason == "NodeStorageFailed")
            assert "No space left" in refused.message
            assert (await site.running("old")).pid == old
            (disk / "ballast").unlink()

            await site.running("new")
            assert len(site.processes()) == 2
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


async def test_on_stop_stop_ends_the_workloads_and_the_next_agent_starts_them(tmp_path: Path) -> None:
    async with running_site(tmp_path, "--on-stop", "stop") as site:
        await site.create("web", ["sleep", "1000"])
        pid = (await site.running("web")).pid or 0

        site.end_agent(signal.SIGTERM)

        assert not alive(pid)
        site.start_agent()
        status = await site.wait("web", lambda status: status.phase == "Running" and status.pid not in (None, pid))
        assert status.last_exit is not None


async def test_the_agent_stays_small_and_idle(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        for number in range(20):
            await site.create(f"w{number}", ["sleep", "1000"])
        await asyncio.gather(*(site.running(f"w{number}") for number in range(20)))
        assert site.agent is not None
        await asyncio.sleep(0.5)

        def cpu_ticks() -> int:
            assert site.agent is not None
            fields = Path(f"/proc/{site.agent.pid}/stat").read_text().rpartition(") ")[2].split()
            return int(fields[11]) + int(fields[12])

        before = cpu_ticks()
        await asyncio.sleep(3)
        used = cpu_ticks() - before
        resident = next(
            int(line.split()[1])
            for line in Path(f"/proc/{site.agent.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )

        assert resident < 40 * 1024
        assert used <= 6, "ticks of 10 ms in 3 s"
