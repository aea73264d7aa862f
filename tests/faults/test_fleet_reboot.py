"""A node reboots while the controller is away: the agent starts what it was last told, and the fleet agrees when all are back.

The boot id the agent reads is another one: a file over `/proc/sys/kernel/random/boot_id` in a mount namespace of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.namespaces import BOOT_ID, another_boot
from tests.support.programs import Sandbox, is_running, sandbox
from tests.support.reaper import left_over

START_SECONDS = 10.0


def can_pretend() -> bool:
    command = ["unshare", "-m", "mount", "--bind", "/dev/null", BOOT_ID]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


needs_root = pytest.mark.skipif(not can_pretend(), reason="another boot id takes root, to mount a file over the kernel's")


async def power_off(box: Sandbox, node_pid: int) -> None:
    """End everything of the node at once: its agent, all shims, all workloads."""
    controller = {p.pid for p in box.programs if p.name == "controller"}

    async def dark() -> bool:
        left = [pid for pid in left_over(box.root, box.token) if pid not in controller]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return not [pid for pid in left if is_running(pid)]

    await box.until(dark, what="the node is dark")
    assert not is_running(node_pid)


def workloads(box: Sandbox) -> int:
    """Copies of the workload that run."""
    found = 0
    for pid in left_over(box.root, box.token):
        try:
            found += Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0001234\0"
        except OSError:
            continue
    return found


@needs_root
@pytest.mark.slow
async def test_a_rebooted_node_starts_its_instances_without_a_controller(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        agent = await box.node("node-1", controller, prefix=another_boot(tmp_path))
        # With a probe: without one a run that follows a crash counts only after a while, and this test would wait for that.
        probes = {"probes": {"startup": {"exec": {"command": ["true"]}, "period": "200ms"}}}
        await box.deploy("web", ["sleep", "1234"], replicas=5, template=probes)
        await box.deploy("off", ["sleep", "1234"], replicas=1, state="Stopped")
        await box.deploy("one", ["sleep", "1234"], replicas=1, template={"exclusive": True, **probes})
        await box.until(lambda: box.available("web", 5))
        await box.until(lambda: box.available("one", 1))
        before = {i.metadata.uid for i in await box.instances("web")}
        controller.kill()
        await power_off(box, agent.pid)
        assert workloads(box) == 0

        started = time.monotonic()
        await box.agent("node-1", controller.url, prefix=another_boot(tmp_path), wait=False)

        async def all_run() -> bool:
            return workloads(box) == 5

        await box.until(all_run, START_SECONDS, what="the five run again, and neither the stopped nor the exclusive one")
        assert time.monotonic() - started < START_SECONDS

        await box.restarted(controller)

        async def told() -> bool:
            return all(i.status.restarts == 1 and i.status.ready for i in await box.instances("web"))

        await box.until(told, what="the controller knows of the new runs")
        await box.until(lambda: box.available("web", 5), what="and agrees")
        await box.until(lambda: box.available("one", 1), what="the exclusive one runs once the controller has said so")
        after = await box.instances("web")
        assert {i.metadata.uid for i in after} == before, "no replacement"
        for instance in after:
            assert instance.status.last_exit is not None
            assert instance.status.last_exit.code is None, "nobody saw how the power failed, so no exit code is invented"
        assert workloads(box) == 6


@needs_root
@pytest.mark.slow
async def test_a_pid_of_another_boot_is_never_taken_for_our_process(tmp_path: Path) -> None:
    """After a reboot the old numbers belong to others: they are neither adopted nor signalled."""
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        agent = await box.node("node-1", controller, prefix=another_boot(tmp_path))
        await box.deploy("web", ["sleep", "1234"], replicas=1)
        await box.until(lambda: box.available("web", 1))
        (before,) = await box.instances("web")
        agent.kill()

        # The process goes on, but in the eyes of the next agent it is from another boot, so only its number is the same.
        await box.agent("node-1", controller.url, prefix=another_boot(tmp_path))

        async def new_run() -> bool:
            (now,) = await box.instances("web")
            return now.status.ready and now.status.pid != before.status.pid

        await box.until(new_run, what="a new run")
        assert is_running(before.status.pid or 0), "what cannot be identified is not signalled"
