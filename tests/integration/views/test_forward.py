"""Ports of instances as ports of this machine: kubectl of every release, the plum command, and libraries."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.command import eventually
from tests.support.kubectl_program import RELEASES
from tests.support.remote_site import RemoteSite, remote_site, resident

ECHO = """
import asyncio, hashlib, json, sys

async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def digest(reader, writer):
    known = hashlib.sha256()
    while data := await reader.read(65536):
        known.update(data)
    writer.write(known.hexdigest().encode())
    writer.close()

async def deaf(reader, writer):
    await asyncio.sleep(1000)

async def main():
    servers = [await asyncio.start_server(one, "127.0.0.1", 0) for one in (echo, digest, deaf)]
    print(json.dumps([one.sockets[0].getsockname()[1] for one in servers]), flush=True)
    await asyncio.sleep(10000)

asyncio.run(main())
"""
SERVER = """
import http.server, os
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
BIG = 50_000_000


class Ports:
    """What listens in the instance."""

    def __init__(self, site: RemoteSite) -> None:
        site.create("web", [sys.executable, "-c", ECHO])
        assert eventually(lambda: site.plum("logs", "web").out)
        self.site = site
        self.echo, self.digest, self.deaf = json.loads(site.plum.ok("logs", "web").out)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    with remote_site(tmp_path_factory.mktemp("forward")) as site:
        yield Ports(site)


@contextlib.contextmanager
def forward(
    site: RemoteSite, client: str, *argv: str, over_tls: bool = False
) -> Iterator[tuple[list[int], subprocess.Popen[str]]]:
    """A client that forwards; the ports on which it listens."""
    program = [sys.executable, "-u", "-m", "plum_cli"] if client == "plum" else [site.kubectl(client).program]
    environment = {**site.plum.environment, "KUBECONFIG": str(site.server.kubeconfig)}
    program += ["--kubeconfig", str(site.server.kubeconfig)] if over_tls else []
    process = subprocess.Popen(
        [*program, "port-forward", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    listening: list[int] = []
    try:
        for _ in argv[1:]:
            while not (found := re.search(r"127\.0\.0\.1:(\d+) ->", line := process.stdout.readline())):
                assert line, process.communicate()
            listening.append(int(found[1]))
        yield listening, process
    finally:
        process.kill()
        process.communicate()


def talk(port: int, *, say: bytes = b"hello") -> bytes:
    """What an echo answers to it."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(say)
        return exactly(connection, len(say))


def exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := connection.recv(65536)):
        data += piece
    return bytes(data)


@pytest.mark.parametrize(
    "release",
    [
        pytest.param(release, marks=pytest.mark.client(f"kubectl {release}", "port-forward: several ports and connections"))
        for release in RELEASES
    ],
)
def test_kubectl_of_every_release_forwards_ports(ports: Ports, release: str) -> None:
    with forward(ports.site, release, "web", f":{ports.echo}", f":{ports.digest}") as ([echo, digest], _):
        with socket.create_connection(("127.0.0.1", echo), timeout=20) as first:
            first.sendall(b"one")
            assert exactly(first, 3) == b"one"
            assert talk(echo, say=b"two") == b"two"
            first.sendall(b"three")
            assert exactly(first, 5) == b"three"
        with socket.create_connection(("127.0.0.1", digest), timeout=20):
            assert talk(echo, say=b"four") == b"four"
    numbers = sorted([(ports.echo, 3), (ports.digest, 1)])
    carried = ", ".join(f"{count} to port {port}" for port, count in numbers)
    assert eventually(lambda: f"connections: {carried}" in ports.site.log())


def test_plum_forwards_ports(ports: Ports) -> None:
    with forward(ports.site, "plum", "web", f":{ports.echo}", f":{ports.digest}", over_tls=True) as ([echo, digest], _):
        with ThreadPoolExecutor(8) as threads:
            said = [os.urandom(300_000) for _ in range(8)]
            assert list(threads.map(lambda text: talk(echo, say=text), said)) == said
        with socket.create_connection(("127.0.0.1", digest), timeout=20) as connection:
            connection.sendall(b"half a conversation")
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100).decode() == hashlib.sha256(b"half a conversation").hexdigest()
            assert connection.recv(100) == b""


@pytest.mark.slow
@pytest.mark.parametrize("client", [
    pytest.param("1.32", marks=pytest.mark.client("kubectl 1.32", "port-forward: 50 MB both ways, SPDY over WebSocket")),
    pytest.param("1.28", marks=pytest.mark.client("kubectl 1.28", "port-forward: 50 MB both ways, over SPDY")),
    "plum",
])  # fmt: skip
def test_fifty_megabytes_go_both_ways_without_loss(ports: Ports, client: str) -> None:
    block = os.urandom(1_000_000)
    wanted = hashlib.sha256(block * (BIG // len(block))).hexdigest()
    with (
        forward(ports.site, client, "web", f":{ports.echo}") as ([port], _),
        socket.create_connection(("127.0.0.1", port), timeout=40) as connection,
    ):
        sending = threading.Thread(target=lambda: [connection.sendall(block) for _ in range(BIG // len(block))])
        sending.start()
        known, size = hashlib.sha256(), 0
        while size < BIG and (data := connection.recv(1_000_000)):
            known.update(data)
            size += len(data)
        sending.join()

    assert (size, known.hexdigest()) == (BIG, wanted)


@pytest.mark.parametrize("client", ["plum", "1.33", "1.28"])
def test_a_port_that_is_not_the_instances_is_refused_in_words(ports: Ports, client: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        number = foreign.getsockname()[1]
        with forward(ports.site, client, "web", f":{number}") as ([port], process):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                assert connection.recv(10) == b""
            assert process.stderr is not None
            assert f"nothing of it listens on port {number} of 127.0.0.1" in process.stderr.readline()
        foreign.settimeout(0.1)
        with pytest.raises(TimeoutError):
            foreign.accept()


@pytest.mark.slow
def test_a_connection_that_is_not_read_costs_no_memory_and_holds_up_no_other(ports: Ports) -> None:
    site = ports.site
    with forward(site, "plum", "web", f":{ports.deaf}", f":{ports.echo}") as ([deaf, echo], process):
        before = (*site.memory(), resident(process.pid))
        with socket.create_connection(("127.0.0.1", deaf), timeout=1.0) as connection:
            sent = 0
            with pytest.raises(TimeoutError):
                while True:
                    sent += connection.send(b"x" * 65536)
            assert talk(echo) == b"hello"
            after = (*site.memory(), resident(process.pid))

    assert sent > 1_000_000
    assert all(now - then < 12_000_000 for then, now in zip(before, after, strict=True)), (before, after)


@pytest.mark.parametrize("client", ["plum", "1.32", "1.28"])
def test_a_link_that_breaks_ends_connections_and_the_next_ones_work_again(ports: Ports, client: str) -> None:
    site = ports.site
    with forward(site, client, "web", f":{ports.echo}") as ([port], _):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            site.network.cut("reset")
            try:
                assert ended(connection)
            finally:
                site.network.heal()
        if client == "plum":
            assert eventually(lambda: works(port))
    assert eventually(lambda: site.plum("exec", "web", "--", "true").code == 0)


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def works(port: int) -> bool:
    try:
        return talk(port) == b"hello"
    except OSError:
        return False


def test_a_client_that_vanishes_ends_the_connection_in_the_instance(ports: Ports) -> None:
    site = ports.site
    with forward(site, "1.32", "web", f":{ports.echo}") as ([port], process):
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        assert established(ports.echo)
        process.kill()

        assert eventually(lambda: not established(ports.echo))
        connection.close()


def established(port: int) -> bool:
    """Whether somebody is connected to a port of this machine."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


def test_plum_follows_a_deployment_from_instance_to_instance(ports: Ports) -> None:
    site = ports.site
    template = {"command": [sys.executable, "-c", SERVER], "ports": [{"name": "http", "port": 0}]}
    spec = {"replicas": 1, "template": template}
    manifest = {"apiVersion": "plum.dev/v1", "kind": "Deployment", "metadata": {"name": "api"}, "spec": spec}
    site.plum.ok("apply", "-f", "-", stdin=json.dumps(manifest))
    assert eventually(lambda: site.plum("exec", "deployment/api", "--", "true").code == 0)

    def answers(port: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(12) == b"HTTP/1.0 200"
        return False

    with forward(site, "plum", "deployment/api", ":http") as ([port], _):
        assert eventually(lambda: answers(port))
        name = site.plum.ok("get", "instances", "-l", "plum.dev/deployment=api", "-o", "jsonpath={.items[0].metadata.name}").out
        site.plum.ok("delete", f"instance/{name.strip()}")
        assert eventually(lambda: answers(port), 30)
    site.plum.ok("delete", "deployment/api")


def test_plum_refuses_ports_that_make_no_sense(ports: Ports) -> None:
    site = ports.site

    assert "no port named 'http'" in site.plum("port-forward", "web", ":http").err
    assert "up to 65535" in site.plum("port-forward", "web", "99999:80").err
    assert "from 1 to 65535" in site.plum("port-forward", "web", "80:0").err
    assert site.plum("port-forward", "nobody", "80").code == 3
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        assert f"127.0.0.1:{number} cannot be listened on" in site.plum("port-forward", "web", f"{number}:80").err


def test_without_the_right_no_port_is_reached(ports: Ports) -> None:
    _, kubeconfig = ports.site.user("reader", {"apiGroups": [""], "resources": ["*"], "verbs": ["get", "list", "watch"]})

    for release in ("1.32", "1.28"):
        said = ports.site.kubectl(release, kubeconfig).refused("port-forward", "web", f":{ports.echo}")
        assert 'cannot create resource "pods/portforward"' in said


@pytest.mark.client("kubernetes 37", "stream.portforward")
def test_the_kubernetes_library_forwards_ports(ports: Ports) -> None:
    from kubernetes import client, config
    from kubernetes.stream import portforward

    with config.new_client_from_config(str(ports.site.server.kubeconfig)) as connection:
        core = client.CoreV1Api(connection)
        opened = portforward(
            core.connect_get_namespaced_pod_portforward, "web", "default", ports=f"{ports.echo},{ports.digest},9"
        )
        echo, refused = opened.socket(ports.echo), opened.socket(9)
        echo.sendall(b"hello")
        echo.settimeout(20)
        assert exactly(echo, 5) == b"hello"
        assert refused.recv(10) == b""
        assert "nothing of it listens on port 9" in (opened.error(9) or "")
        for number in (ports.echo, ports.digest):
            opened.socket(number).close()


@pytest.mark.client("kr8s 0.20", "Pod.portforward")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kr8s leaves connections to the collector
async def test_kr8s_forwards_ports(ports: Ports) -> None:
    import kr8s.asyncio
    from kr8s.asyncio.objects import Pod

    api = await kr8s.asyncio.api(kubeconfig=str(ports.site.server.kubeconfig))
    try:
        pod = await Pod.get("web", namespace="default", api=api)
        async with pod.portforward(ports.echo, local_port="auto") as port:
            assert await asyncio.to_thread(talk, port) == b"hello"
    finally:
        await api._session.aclose()
