"""What containers do beyond the contract of drivers: limits, rights, networks, names, and agents side by side."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import plum_agent.drivers
import pytest
from plum_agent.drivers.base import Bind, Exit, Handle, Published, Run
from plum_agent.drivers.container import ContainerDriver
from plum_agent.drivers.procfs import uptime_centiseconds
from plum_agent.engine.client import EngineClient
from plum_agent.errors import StartError
from plum_schemas.template import Capabilities, SeccompProfile, SecurityContext

from tests.integration.containers.conftest import Bench
from tests.support.agent import alive, until
from tests.support.docker_engine import Engine

FACTS = "grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status"


def inspect(engine: Engine, container_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(engine.docker("inspect", container_id).stdout)
    return found[0]


# ---- what it may do


async def test_rights_are_few_unless_they_are_asked_for(bench: Bench) -> None:
    words = await bench.output(FACTS)
    facts = dict(line.split(":\t") for line in words.splitlines())

    assert facts["NoNewPrivs"] == "1"
    assert facts["Seccomp"] == "2"
    assert int(facts["CapEff"], 16) & (1 << 21 | 1 << 12) == 0, "neither SYS_ADMIN nor NET_ADMIN"


async def test_rights_follow_the_template(bench: Bench) -> None:
    security = SecurityContext(
        allow_privilege_escalation=True,
        capabilities=Capabilities(add=["NET_ADMIN"], drop=["ALL"]),
        seccomp_profile=SeccompProfile(type="Unconfined"),
        read_only_root_filesystem=True,
    )
    words = await bench.output(
        f"{FACTS}; touch /new || echo read only; touch /data/new && echo written",
        container={"security": security, "binds": (Bind(bench.folder, "/data"),)},
    )

    assert "NoNewPrivs:\t0" in words
    assert "Seccomp:\t0" in words
    assert f"CapEff:\t{1 << 12:016x}" in words
    assert "read only" in words and "written" in words
    assert (bench.folder / "new").exists()


async def test_it_runs_as_the_user_that_is_asked_for_and_still_writes_its_output(bench: Bench) -> None:
    assert "uid=1234(other) gid=1234" in await bench.output("id", user="other")
    assert "uid=7 gid=8" in await bench.output(
        "id", user="7:8", container={"security": SecurityContext(read_only_root_filesystem=True)}
    )


async def test_mounts_may_be_read_only(bench: Bench) -> None:
    (bench.folder / "given").write_text("from the node")

    words = await bench.output(
        "cat /in/given; touch /in/new || echo refused", container={"binds": (Bind(bench.folder, "/in", read_only=True),)}
    )

    assert "from the node" in words and "refused" in words


async def test_the_environment_is_that_of_the_image_and_of_the_launch_only(bench: Bench) -> None:
    bench.engine.make_image("plum-test/env:1", "ENV FROM_IMAGE=yes", "WORKDIR /tmp", 'CMD ["sh", "-c", "env; pwd"]')
    launch = bench.launch(environment={"MINE": "a=b 'c' $d"}, container={"image": "plum-test/env:1"})
    object.__setattr__(launch, "command", ())
    await bench.driver.wait(launch.run, (await bench.driver.start(launch)).handle)
    lines = (launch.run.directory / "stdout.log").read_text().splitlines()

    assert lines[-1] == "/tmp"
    names = {line.partition("=")[0] for line in lines[:-1]}
    assert names <= {"PATH", "FROM_IMAGE", "MINE", "PLUM_RUN", "HOSTNAME", "HOME", "SHLVL", "PWD"}
    assert "MINE=a=b 'c' $d" in lines


# ---- limits


async def test_limits_are_enforced_and_an_end_for_memory_is_told(bench: Bench) -> None:
    launch, ended = await bench.ended(
        "x=a; while :; do x=$x$x$x; done", memory_bytes=16 * 2**20, cpu_millis=500, container={"pids": 20}
    )
    host = inspect(bench.engine, bench.engine.docker("ps", "-aq", "-f", f"label=plum.dev/run={launch.run.marker}").stdout.strip())

    assert ended.out_of_memory
    assert (ended.code, ended.signal) == (137, "SIGKILL")
    assert (host["HostConfig"]["NanoCpus"], host["HostConfig"]["PidsLimit"]) == (500_000_000, 20)
    assert host["HostConfig"]["Memory"] == host["HostConfig"]["MemorySwap"] == 16 * 2**20


async def test_too_many_processes_are_refused_by_the_kernel(bench: Bench) -> None:
    words = await bench.output("for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait", container={"pids": 5})

    assert "can't fork" in words


# ---- networks


async def test_a_private_network_publishes_its_ports_and_nothing_else(bench: Bench) -> None:
    with socket.socket() as probe:
        probe.bind(("", 0))
        outside = probe.getsockname()[1]
    launch = bench.launch(
        "mkdir /tmp/w; echo hello >/tmp/w/index.html; exec httpd -f -p 8000 -h /tmp/w",
        container={"network": "private", "published": (Published(8000, outside, "tcp"),)},
    )
    handle = (await bench.driver.start(launch)).handle

    async def fetch() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", outside)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    async with asyncio.timeout(10):
        while True:
            try:
                answer = await fetch()
                if answer:
                    break
            except OSError:
                pass
            await asyncio.sleep(0.05)

    assert b"hello" in answer
    reader, writer = await bench.driver.connect(launch.run, handle, 8000)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert b"hello" in await reader.read()
    writer.close()


async def test_a_run_without_a_network_has_none(bench: Bench) -> None:
    assert (await bench.output("cat /proc/net/dev | tail -n +3 | grep -v lo:", container={"network": "none"})).strip() == ""


async def test_a_connection_reaches_only_ports_of_the_container_itself(bench: Bench) -> None:
    launch = bench.launch("exec httpd -f -p 127.0.0.1:48213 -h /etc", container={"network": "host"})
    handle = (await bench.driver.start(launch)).handle
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        with pytest.raises(Exception, match="nothing of it listens on port"):
            await bench.driver.connect(launch.run, handle, foreign.getsockname()[1])

    async with asyncio.timeout(5):
        while True:
            try:
                reader, writer = await bench.driver.connect(launch.run, handle, 48213)
                break
            except Exception as error:
                assert "listens" in str(error)
                await asyncio.sleep(0.05)
    writer.write(b"GET /passwd HTTP/1.0\r\n\r\n")
    assert b"root:x:0:0" in await reader.read()
    writer.close()


# ---- names and neighbours


async def test_names_are_the_classic_ones_and_never_stand_in_the_way(bench: Bench) -> None:
    first, second = bench.launch(uid="one"), bench.launch(uid="two")

    for launch in (first, second):
        await bench.driver.start(launch)

    names = bench.engine.docker("ps", "--format", "{{.Names}}", "-f", f"label=plum.dev/agent={bench.agent}").stdout.split()
    assert f"plum-app-{bench.agent}-web" in names
    assert len(names) == 2


async def test_a_leftover_of_the_same_instance_makes_room(bench: Bench) -> None:
    _, ended = await bench.ended("exit 1")
    launch = bench.launch()
    await bench.driver.start(launch)

    names = bench.engine.docker("ps", "-a", "--format", "{{.Names}}", "-f", f"label=plum.dev/agent={bench.agent}").stdout.split()
    assert ended.code == 1
    assert names == [f"plum-app-{bench.agent}-web"]


async def test_agents_on_one_engine_do_not_touch_each_other(bench: Bench, engine: Engine, tmp_path: Path) -> None:
    other = Bench(engine, tmp_path, bench.agent + "other", ContainerDriver(EngineClient(engine.socket), tmp_path))
    try:
        theirs = other.launch(uid="same")
        handle = (await other.driver.start(theirs)).handle
        await other.ended("exit 0", uid="ended")
        mine = bench.launch(uid="same")
        await bench.driver.start(mine)

        assert await bench.driver.list_markers(f"{bench.agent}.") == [mine.run.marker]
        await bench.driver.clean(f"{bench.agent}.", lambda marker: False)
        await bench.driver.kill(mine.run, None)
        await bench.driver.release(mine.run)

        assert isinstance(await other.driver.find(theirs.run), Handle)
        assert alive(handle.pid)
        kept = engine.docker("ps", "-aq", "-f", f"label=plum.dev/agent={other.agent}").stdout.split()
        assert len(kept) == 2
    finally:
        await other.close()


async def test_containers_of_people_are_not_seen(bench: Bench) -> None:
    bench.engine.docker("run", "-d", "--name", f"{bench.agent}-own", "plum-test/busy:1", "sleep", "100")
    try:
        named = inspect(bench.engine, f"{bench.agent}-own")["Id"]
        found = await bench.driver._list("")
        assert named not in [one["Id"] for one in found]
        await bench.driver.clean(bench.agent, lambda marker: False)

        assert inspect(bench.engine, f"{bench.agent}-own")["State"]["Running"]
    finally:
        bench.engine.docker("rm", "-f", f"{bench.agent}-own")


# ---- the end, and after


async def test_the_container_goes_and_its_output_and_exit_stay(bench: Bench) -> None:
    launch, ended = await bench.ended("echo last words; exit 9")

    for _ in range(2):
        await bench.driver.release(launch.run)

    assert bench.engine.docker("ps", "-aq", "-f", f"label=plum.dev/run={launch.run.marker}").stdout == ""
    found = await bench.another().find(launch.run)
    assert isinstance(found, Exit)
    assert (found.code, ended.code) == (9, 9)
    assert (launch.run.directory / "stdout.log").read_text() == "last words\n"


async def test_the_next_agent_finds_what_ended_meanwhile(bench: Bench) -> None:
    codes = {}
    for script in ("sleep 0.3; exit 3", "sleep 0.3; kill -9 $$", "exec sleep 100"):
        launch = bench.launch(script, uid=str(len(codes)))
        await bench.driver.start(launch)
        codes[script] = launch.run
    await asyncio.sleep(0.6)
    after = bench.another()

    found = [await after.find(run) for run in codes.values()]

    assert [(one.code, one.signal) for one in found if isinstance(one, Exit)] == [(3, ""), (137, "SIGKILL")]
    assert isinstance(found[2], Handle)


async def test_a_container_that_was_made_and_never_started_was_never_a_run(bench: Bench) -> None:
    launch = bench.launch()
    started = await bench.driver.start(launch)
    await bench.driver.kill(launch.run, started.handle)
    await bench.driver.release(launch.run)
    marker = launch.run.marker
    bench.engine.docker("create", "--label", f"plum.dev/run={marker}", "--name", f"{bench.agent}-c", "plum-test/busy:1", "true")
    run = Run(marker, bench.folder / "fresh")
    run.directory.mkdir()
    (run.directory / "container").write_text("{}")

    assert await bench.another().find(run) is None
    assert bench.engine.docker("ps", "-aq", "-f", f"label=plum.dev/run={marker}").stdout == ""


async def test_a_container_that_somebody_removed_has_ended(bench: Bench) -> None:
    launch = bench.launch()
    handle = (await bench.driver.start(launch)).handle
    waiting = asyncio.create_task(bench.driver.wait(launch.run, handle))

    bench.engine.docker("rm", "-f", handle.container_id)
    async with asyncio.timeout(5):
        ended = await waiting

    assert ended.signal == "SIGKILL" or ended.code is None


async def test_an_image_that_must_be_process_1_is(bench: Bench) -> None:
    launch, ended = await bench.ended("echo $$; exit 200", container={"init": False})

    assert (launch.run.directory / "stdout.log").read_text() == "1\n"
    assert ended.code == 200


async def test_orphans_are_reaped(bench: Bench) -> None:
    words = await bench.output("(sh -c 'sleep 0.05 & exit' &); sleep 0.4; ps | grep -c '[Zz]ombie' || echo none")

    assert "none" in words


async def test_what_cannot_be_made_is_a_failed_start(bench: Bench) -> None:
    with pytest.raises(StartError, match="No such image"):
        await bench.driver.start(bench.launch(container={"image": "plum-test/nothing:1"}))
    with pytest.raises(StartError, match="bind source path does not exist"):
        await bench.driver.start(bench.launch(container={"binds": (Bind(Path("/nonexistent"), "/x"),)}))
    with pytest.raises(StartError, match="unable to find user nobody-here"):
        await bench.driver.start(bench.launch(user="nobody-here"))

    assert bench.engine.docker("ps", "-aq", "-f", f"label=plum.dev/agent={bench.agent}").stdout == ""


async def test_an_exclusive_run_ends_at_its_deadline_without_an_agent(bench: Bench) -> None:
    fence = bench.folder / "fence"
    fence.write_text(f"{uptime_centiseconds() + 150}\n")
    launch = bench.launch("trap '' TERM; while :; do sleep 1; done", fence=fence)
    handle = (await bench.driver.start(launch)).handle
    await asyncio.sleep(0.7)
    fence.write_text(f"{uptime_centiseconds() + 150}\n")  # renewed once
    await asyncio.sleep(1.0)
    assert alive(handle.pid)

    await until(lambda: not alive(handle.pid))

    found = await bench.another().find(launch.run)
    assert isinstance(found, Exit)
    assert found.fenced
    assert found.signal == "SIGKILL"


async def test_a_stop_signal_is_passed_on_as_it_is(bench: Bench) -> None:
    launch = bench.launch("trap 'echo hup; exit 1' HUP; echo ready; while :; do sleep 0.05; done")
    handle = (await bench.driver.start(launch)).handle
    await until(lambda: (launch.run.directory / "stdout.log").read_text() == "ready\n")

    await bench.driver.signal(launch.run, handle, signal.SIGHUP)

    assert (await bench.driver.wait(launch.run, handle)).code == 1
    assert "hup" in (launch.run.directory / "stdout.log").read_text()


async def test_the_first_process_is_what_its_source_says(bench: Bench) -> None:
    """Needs a compiler; without one the binaries are only run, by every other test here."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc to build it with")
    source, build, arch = Path(plum_agent.drivers.__path__[0]) / "container_init", bench.folder / "build", os.uname().machine
    build.mkdir()
    shutil.copy(source / "init.c", build)
    script = (source / "build.sh").read_text().replace("for arch in x86_64 aarch64", f"for arch in {arch}")
    (build / "build.sh").write_text(script)
    subprocess.run(["sh", str(build / "build.sh")], check=True, capture_output=True)
    bench.driver._init = build / f"init.{arch}"

    launch, ended = await bench.ended("echo built; kill -TERM $$")

    assert (ended.code, ended.signal) == (143, "SIGTERM")
    assert (launch.run.directory / "stdout.log").read_text() == "built\n"
