"""The node towards the controller: registration, logs through the tunnel, drains, a whole fleet in one process."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from plum_schemas.instance import Instance
from plum_schemas.node import ARCH_LABEL, HOSTNAME_LABEL, Node

from tests.support.agent import NODE, Site, alive, running_site, until_async

pytestmark = pytest.mark.slow


async def get_log(site: Site, name: str, query: str = "") -> tuple[int, bytes]:
    """Status and body of `GET .../log`, whole."""
    return await read_log(*await open_log(site, name, query))


async def open_log(site: Site, name: str, query: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(site.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    path = f"/apis/plum.dev/v1/namespaces/default/instances/{name}/log?{query}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.hostname}\r\nConnection: close\r\n\r\n".encode())
    return reader, writer


async def read_log(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
    async with asyncio.timeout(30):
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    if b"transfer-encoding: chunked" in head.lower():
        body = unchunk(body)
    return int(head.split()[1]), body


def unchunk(data: bytes) -> bytes:
    out = bytearray()
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        out += data[:length]
        data = data[length + 2 :]
        if length == 0:
            break
    return bytes(out)


async def test_a_node_registers_with_its_facts_and_corrects_what_others_change(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        node = await until_async(lambda: site.api.get(Node, NODE), lambda node: node is not None and node.status.boot_id)

        assert node.metadata.labels[HOSTNAME_LABEL] == NODE
        assert ARCH_LABEL in node.metadata.labels
        assert node.status.runtimes == ["process"]
        assert {address.type for address in node.status.addresses} == {"InternalIP", "Hostname"}
        assert {"cpu", "memory", "instances"} <= set(node.status.capacity)
        await site.api.patch(Node, NODE, {"status": {"arch": "pdp11"}}, subresource="status")
        await until_async(lambda: site.api.get(Node, NODE), lambda found: found.status.arch == node.status.arch)


async def test_logs_of_both_streams_tail_and_previous(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        lines = "echo run; for i in 1 2 3; do echo out $i; echo err $i >&2; done"
        script = f"{lines}; [ -f again ] && exec sleep 1000; touch again; exit 1"
        await site.create("web", ["sh", "-c", script], backoff={"initial": "100ms"})
        await site.wait("web", lambda status: status.restarts == 1 and status.phase == "Running")

        async def whole() -> tuple[int, bytes]:
            return await get_log(site, "web")

        status, text = await until_async(whole, lambda answer: answer[1].count(b"\n") == 7)
        assert status == 200
        assert sorted(text.split(b"\n")) == sorted(b"run\nout 1\nout 2\nout 3\nerr 1\nerr 2\nerr 3\n".split(b"\n"))
        assert (await get_log(site, "web", "previous=true"))[1].count(b"\n") == 7
        assert (await get_log(site, "web", "tailLines=2"))[1].count(b"\n") == 2
        stamped = (await get_log(site, "web", "timestamps=true&tailLines=1"))[1]
        assert stamped[:2] == b"20"
        assert b"Z " in stamped
        assert (await get_log(site, "web", "sinceSeconds=3600"))[1].count(b"\n") == 7
        assert (await get_log(site, "none"))[0] == 404


async def test_a_followed_log_is_complete_although_the_reader_is_slow(tmp_path: Path) -> None:
    """More than every buffer on the way holds, so that credit is what keeps the agent's memory bounded."""
    async with running_site(tmp_path) as site:
        script = "import sys\nfor i in range(60000): print(i, 'x' * 90)\nsys.stdout.flush()"
        await site.create("big", ["python3", "-c", script], restartPolicy="Never")
        await site.wait("big", lambda status: status.phase in ("Running", "Succeeded"))
        reader, writer = await open_log(site, "big", "follow=true")
        await asyncio.sleep(1)
        assert site.agent is not None
        resident = int(Path(f"/proc/{site.agent.pid}/status").read_text().partition("VmRSS:")[2].split()[0])

        status, text = await read_log(reader, writer)

        lines = text.splitlines()
        assert status == 200
        assert [int(line.split()[0]) for line in lines] == list(range(60000))
        assert resident < 48 * 1024


async def test_following_ends_with_the_run_and_other_streams_go_on(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create(
            "web", ["sh", "-c", "echo one; while [ ! -f go ]; do sleep 0.05; done; echo two"], restartPolicy="Never"
        )
        await site.running("web")
        follower = asyncio.create_task(read_log(*await open_log(site, "web", "follow=true")))
        await asyncio.sleep(0.5)
        assert not follower.done()
        assert (await get_log(site, "web"))[1] == b"one\n"

        (site.data / NODE / "default_web" / "work" / "go").touch()

        assert await asyncio.wait_for(follower, 10) == (200, b"one\ntwo\n")


async def test_logs_of_a_node_that_is_away_are_refused_with_its_name(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("web", ["sleep", "1000"])
        await site.running("web")
        site.end_agent()

        async def ask() -> tuple[int, bytes]:
            return await get_log(site, "web")

        _, text = await until_async(ask, lambda answer: answer[0] == 503)
        assert NODE.encode() in text


async def test_on_stop_drain_moves_everything_away_and_the_next_start_takes_it_back(tmp_path: Path) -> None:
    async with running_site(tmp_path, "--on-stop", "drain") as site:
        await site.create("web", ["sleep", "1000"])
        pid = (await site.running("web")).pid or 0
        assert site.agent is not None

        site.agent.send_signal(signal.SIGTERM)
        node = await until_async(lambda: site.api.get(Node, NODE), lambda node: node.spec.unschedulable)
        assert node.spec.drain is not None
        await site.delete("web")
        site.agent.wait(20)
        assert not alive(pid)
        site.agent = None

        site.start_agent()
        node = await until_async(lambda: site.api.get(Node, NODE), lambda node: not node.spec.unschedulable)
        assert node.spec.drain is None


async def test_two_agents_never_share_a_data_directory(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        first = site.agent
        assert first is not None
        with pytest.raises(AssertionError):
            await asyncio.to_thread(site.start_agent)
        assert b"another agent runs" in site.log.read_bytes()
        assert site.agent is not None
        site.agent.wait(5)
        site.agent = first


async def test_many_fake_nodes_run_in_one_process(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        site.end_agent()
        site.start_agent("--driver", "fake", "--count", "20", "--fake", "start=5ms,ready=20ms")
        names = [f"{NODE}-{number}" for number in range(1, 21)]

        async def ready() -> int:
            nodes = [node for node in await site.api.list(Node) if node.metadata.name in names]
            return sum(any(one.type == "Ready" and one.status == "True" for one in node.status.conditions) for node in nodes)

        await until_async(ready, lambda count: count == 20, 20)
        before = site.agent
        for number in range(60):
            await site.create(f"i{number}", ["x"], node=names[number % 20])
        began = time.monotonic()
        for number in range(60):
            await site.wait(f"i{number}", lambda status: status.ready)
        assert time.monotonic() - began < 10
        for number in range(60):
            await site.delete(f"i{number}")
        await until_async(lambda: site.api.list(Instance), lambda found: not found.items)
        assert site.agent is before


async def test_a_dead_child_of_the_agent_is_reaped(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        await site.create("web", ["true"], backoff={"initial": "50ms", "factor": 1})
        await site.wait("web", lambda status: status.restarts >= 5)
        assert site.agent is not None

        def zombies() -> int:
            assert site.agent is not None
            count = 0
            for folder in Path("/proc").iterdir():
                if folder.name.isdigit():
                    try:
                        fields = (folder / "stat").read_text().rpartition(") ")[2].split()
                    except OSError:
                        continue
                    count += fields[0] == "Z" and int(fields[1]) == site.agent.pid
            return count

        deadline = time.monotonic() + 5
        while zombies() > 1:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
