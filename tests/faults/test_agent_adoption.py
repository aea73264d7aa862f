"""The agent is killed, replaced, killed together with shims: nothing of the workload is touched, nothing is started twice."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import msgspec
import pytest
from plum_agent.ledger import read_record, write_record

from tests.support.agent import NODE, Site, alive, kill, running_site, until
from tests.support.server import running_server

pytestmark = pytest.mark.slow


async def test_after_kill_9_the_next_agent_adopts_and_reports_true_exit_codes(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("stays", ["sleep", "1000"])
        await site.create("ends", ["sh", "-c", "while [ ! -f go ]; do sleep 0.05; done; exit 42"], restartPolicy="Never")
        await site.create("dies", ["sleep", "1000"], restartPolicy="Never")
        before = {name: (await site.running(name)).pid or 0 for name in ("stays", "ends", "dies")}
        started_at = (await site.running("stays")).started_at

        site.end_agent(signal.SIGKILL)
        assert all(alive(pid) for pid in before.values())
        (site.data / NODE / "default_ends" / "work" / "go").touch()
        kill(before["dies"], signal.SIGSEGV)
        await until(lambda: not alive(before["ends"]) and not alive(before["dies"]))
        site.start_agent()

        ended = await site.wait("ends", lambda status: status.phase == "Failed")
        died = await site.wait("dies", lambda status: status.phase == "Failed")
        stays = await site.running("stays")
        assert ended.exit is not None
        assert (ended.exit.code, ended.exit.signal) == (42, "")
        assert died.exit is not None
        assert (died.exit.code, died.exit.signal) == (139, "SIGSEGV")
        assert (stays.pid, stays.restarts, stays.started_at) == (before["stays"], 0, started_at)
        assert list(site.processes()) == [before["stays"]]


async def test_an_upgrade_keeps_every_process_and_its_output(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        script = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.01; done"
        for number in range(3):
            await site.create(f"w{number}", ["sh", "-c", script])
        before = [(await site.running(f"w{number}")).pid for number in range(3)]

        for _ in range(2):
            site.end_agent(signal.SIGTERM)
            await asyncio.sleep(0.2)
            site.start_agent()
            for number in range(3):
                status = await site.running(f"w{number}")
                assert (status.pid, status.restarts, status.ready) == (before[number], 0, True)

        lines = (site.run_folder("w0") / "stdout.log").read_text().splitlines()[:-1]
        assert lines == [f"line {number}" for number in range(len(lines))]
        assert len(lines) > 30


async def test_ready_does_not_flap_when_the_agent_is_replaced(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("web", ["sleep", "1000"], probes={"readiness": {"exec": {"command": ["true"]}, "period": "30s"}})
        before = await site.wait("web", lambda status: status.ready)
        revisions = []

        site.end_agent()
        site.start_agent()
        for _ in range(30):
            instance = await site.get("web")
            assert instance is not None
            assert instance.status.ready
            revisions.append(instance.metadata.resource_version)
            await asyncio.sleep(0.05)

        instance = await site.get("web")
        assert instance is not None
        assert instance.status.conditions == before.conditions


async def test_kill_9_of_agent_and_shim_leaves_the_workload_and_invents_no_exit_code(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("one", ["sleep", "1000"], restartPolicy="Never")
        await site.create("two", ["sleep", "1000"], backoff={"initial": "100ms"})
        one, two = (await site.running("one")).pid or 0, (await site.running("two")).pid or 0
        assert site.agent is not None

        kill(site.shim_of("one"))
        kill(site.shim_of("two"))
        site.end_agent()
        assert alive(one)
        assert alive(two)
        kill(two)
        await until(lambda: not alive(two))
        site.start_agent()

        status = await site.wait("two", lambda status: status.restarts == 1 and status.phase == "Running")
        assert status.last_exit is not None
        assert (status.last_exit.code, status.last_exit.reason) == (None, "Unknown")
        assert (await site.running("one")).pid == one
        await site.delete("one")
        await site.gone("one")
        assert not alive(one)


async def test_a_crash_between_intent_and_start_starts_once(tmp_path: Path) -> None:
    """The ledger says that a run was meant to be started, and nothing of it was: exactly one run is the result."""
    async with running_site(tmp_path) as site:
        await site.create("web", ["sleep", "1000"])
        pid = (await site.running("web")).pid or 0
        shim = site.shim_of("web")
        site.end_agent()
        kill(pid)
        await until(lambda: not site.processes() and not alive(shim))
        folder = site.run_folder("web")
        for file in ("shim", "process", "exit", "shim.err"):
            (folder / file).unlink(missing_ok=True)

        site.start_agent()

        status = await site.wait("web", lambda status: status.phase == "Running" and status.pid != pid)
        assert status.restarts == 0
        await asyncio.sleep(0.3)
        assert list(site.processes()) == [status.pid]


async def test_a_run_without_identity_files_is_found_by_its_marker(tmp_path: Path) -> None:
    """As after a crash in the moment between fork and the first file: the marker alone says that it runs."""
    async with running_site(tmp_path) as site:
        await site.create("web", ["sleep", "1000"])
        await site.running("web")
        site.end_agent()
        path = site.data / NODE / "default_web" / "ledger"
        path.write_bytes(b"garbage")
        before = site.processes()

        site.start_agent()

        await site.running("web")
        await asyncio.sleep(0.3)
        assert site.processes() == before
        assert list(path.parent.glob("ledger.corrupt-*"))


async def test_a_run_whose_record_and_object_are_gone_is_ended(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("web", ["sleep", "1000"])
        pid = (await site.running("web")).pid or 0
        site.end_agent()
        (site.data / NODE / "default_web" / "ledger").unlink()
        await site.api.patch(type(await site.get("web")), (await site.get("web")).key, {"metadata": {"finalizers": None}})  # type: ignore[union-attr,arg-type]
        await site.delete("web")
        await site.gone("web")

        site.start_agent()

        await until(lambda: not alive(pid))


async def test_an_instance_deleted_while_the_agent_was_away_is_stopped_and_forgotten(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("web", ["sleep", "1000"])
        pid = (await site.running("web")).pid or 0
        site.end_agent()
        await site.delete("web")

        site.start_agent()

        await site.gone("web")
        assert not alive(pid)
        await until(lambda: not (site.data / NODE / "default_web").exists())


async def test_a_node_boots_with_the_controller_away(tmp_path: Path) -> None:
    """Everything of the old boot is gone and no controller answers: what was last wanted runs within seconds."""
    async with running_server(tmp_path / "controller") as server:
        site = Site(tmp_path, server.url)
        site.start_agent()
        await site.registered()
        await site.create("always", ["sleep", "1000"], backoff={"initial": "5m"})
        await site.create("stopped", ["sleep", "1000"])
        await site.create("once", ["sleep", "1000"], restartPolicy="Never")
        for name in ("always", "stopped", "once"):
            await site.running(name)
        await site.patch("stopped", {"state": "Stopped"})
        await site.wait("stopped", lambda status: status.phase == "Stopped")
        site.end_agent()
    shims = [site.shim_of(name) for name in ("always", "stopped", "once")]
    for pid in (*shims, *site.processes()):
        kill(pid)
    await until(lambda: not site.processes() and not any(map(alive, shims)))
    for name in ("always", "stopped", "once"):
        path = site.data / NODE / f"default_{name}" / "ledger"
        record = read_record(path)
        assert record.run is not None
        record.run.boot_id = "another boot"
        write_record(path, msgspec.json.encode(record))
        (site.run_folder(name) / "exit").unlink(missing_ok=True)
    try:
        site.start_agent()
        await until(lambda: len(site.processes()) == 1, 40, "the instance that is wanted runs")
        await asyncio.sleep(0.3)
        (marker,) = site.processes().values()
        assert marker == read_record(site.data / NODE / "default_always" / "ledger").run.marker  # type: ignore[union-attr]

        port = site.url.rpartition(":")[2]
        async with running_server(tmp_path / "controller", "--listen", f"127.0.0.1:{port}"):
            always = await site.wait("always", lambda status: status.restarts == 1 and status.phase == "Running")
            once = await site.wait("once", lambda status: status.phase == "Failed")
            stopped = await site.wait("stopped", lambda status: status.phase == "Stopped")
            assert always.last_exit is not None
            assert (always.last_exit.code, always.last_exit.reason) == (None, "Unknown")
            assert once.exit is not None
            assert once.exit.code is None
            assert stopped.pid is None
    finally:
        await site.close()


async def test_statuses_that_could_not_be_delivered_survive_the_agent(tmp_path: Path) -> None:
    async with running_server(tmp_path / "controller") as server:
        site = Site(tmp_path, server.url)
        site.start_agent()
        await site.registered()
        await site.create("web", ["sh", "-c", "while [ ! -f go ]; do sleep 0.05; done; exit 9"], restartPolicy="Never")
        await site.running("web")
    try:
        (site.data / NODE / "default_web" / "work" / "go").touch()
        await until(lambda: list((site.data / NODE / "outbox").glob("[0-9]*")), what="the status is on disk")
        site.end_agent()
        site.start_agent()

        port = site.url.rpartition(":")[2]
        async with running_server(tmp_path / "controller", "--listen", f"127.0.0.1:{port}"):
            status = await site.wait("web", lambda status: status.phase == "Failed")
            assert status.exit is not None
            assert status.exit.code == 9
            await until(lambda: not list((site.data / NODE / "outbox").glob("[0-9]*")), what="the outbox is empty")
    finally:
        await site.close()
