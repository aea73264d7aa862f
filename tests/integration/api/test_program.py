"""The controller program: how it starts, refuses to start, stops, is killed, and dies with its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tests.support.server import running_server

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
NO_CONTROLLERS = {"PLUM_CONTROLLERS_ENABLED": "false"}


def run(*flags: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plum_controller", *flags],
        cwd=cwd,
        env={**os.environ, **environment},
        text=True,
        capture_output=True,
        timeout=30,
    )


@pytest.mark.parametrize("address", ["0.0.0.0:0", ":0", "[::]:0"])
async def test_plain_http_stays_on_loopback(tmp_path: Path, address: str) -> None:
    async with running_server(tmp_path, "--listen", address, env=NO_CONTROLLERS) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()

    assert server.url.startswith("https://")
    assert b"HTTP/1.1 200" not in answer


@pytest.mark.parametrize("address", ["10.1.2.3:80", "example.com:80", "127.0.0.1"])
def test_an_address_that_cannot_be_taken_is_named(tmp_path: Path, address: str) -> None:
    done = run("--listen", address, cwd=tmp_path)

    assert (done.returncode, done.stdout) in ((1, ""), (2, ""))
    assert address in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_setting_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# limits\nexport PLUM_READS_IN_FLIGHT='many'\n")

    done = run("--listen", "127.0.0.1:0", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (2, "plum-controller: PLUM_READS_IN_FLIGHT is 'many'; use a whole number\n")


def test_a_store_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    done = run("--listen", "127.0.0.1:0", "--store", "oracle://x", cwd=tmp_path)

    assert done.returncode == 1
    assert "use sqlite:///PATH" in done.stderr


async def test_a_second_controller_on_the_same_store_or_port_does_not_start(tmp_path: Path) -> None:
    async with running_server(tmp_path, env=NO_CONTROLLERS) as server:
        same_store = await asyncio.to_thread(lambda: run("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path), cwd=tmp_path))
        address = f"127.0.0.1:{server.port}"
        same_port = await asyncio.to_thread(lambda: run("--listen", address, "--data-dir", str(tmp_path / "other"), cwd=tmp_path))

    assert (same_store.returncode, same_store.stdout) == (1, "")
    assert same_store.stderr.startswith("plum-controller: ")
    assert same_port.returncode == 1
    assert f"the address {address} cannot be taken" in same_port.stderr


async def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    acknowledged: list[str] = []

    async with running_server(tmp_path, env=NO_CONTROLLERS) as server:

        async def write(number: int) -> None:
            for step in range(1000):
                name = f"kept-{number}-{step}"
                if (await server.request("POST", CONFIGMAPS, {"metadata": {"name": name}})).status == 201:
                    acknowledged.append(name)

        writers = [asyncio.create_task(write(number)) for number in range(8)]
        async with asyncio.timeout(30):
            while len(acknowledged) < 100:
                await asyncio.sleep(0.01)
        assert await server.stop(signal.SIGKILL) == -signal.SIGKILL
        await asyncio.gather(*writers, return_exceptions=True)

    async with running_server(tmp_path, env=NO_CONTROLLERS) as server:
        there = {item["metadata"]["name"] for item in (await server.get(CONFIGMAPS)).json()["items"]}
    assert set(acknowledged) <= there


async def test_sigterm_finishes_what_was_begun(tmp_path: Path) -> None:
    async with running_server(tmp_path, env=NO_CONTROLLERS) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        body = b'{"metadata":{"name":"late"}}'
        writer.write(f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        await server.get("/version")
        stopped = asyncio.create_task(server.stop())
        async with asyncio.timeout(10):
            while True:
                try:
                    await server.get("/version")
                except OSError:
                    break
                await asyncio.sleep(0.01)
        writer.write(body)
        answer = await asyncio.wait_for(reader.read(-1), 10)
        writer.close()
        assert await stopped == 0

    assert answer.startswith(b"HTTP/1.1 201 Created")
    async with running_server(tmp_path, env=NO_CONTROLLERS) as server:
        assert (await server.get(f"{CONFIGMAPS}/late")).status == 200


async def test_the_controllers_run_in_the_program(tmp_path: Path) -> None:
    deployment = {"metadata": {"name": "web"}, "spec": {"replicas": 2, "template": {"command": ["sleep", "1"]}}}

    async with running_server(tmp_path) as server:
        await server.request("POST", "/apis/plum.dev/v1/namespaces/default/deployments", deployment)
        async with asyncio.timeout(20):
            while len((await server.get("/apis/plum.dev/v1/instances")).json()["items"]) < 2:
                await asyncio.sleep(0.02)


async def test_logs_are_structured_and_ready_is_one_line_on_stdout(tmp_path: Path) -> None:
    async with running_server(tmp_path, "--log-format", "json", env=NO_CONTROLLERS) as server:
        await server.stop()
        assert server.process.stdout is not None and server.process.stdout.read() == b""
        import json

        lines = [json.loads(line) for line in server.log.read_text().splitlines()]

    assert [line["message"] for line in lines] == ["controller ready", "controller stops", "controller stopped"]
    assert lines[0]["url"] == server.url and lines[0]["level"] == "info"


def test_it_ends_with_its_parent_also_when_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-m", "plum_controller", "--listen", "127.0.0.1:0", "--data-dir", sys.argv[1],
                                  "--die-with-parent"], stdout=subprocess.PIPE)
        child.stdout.readline()
        print(child.pid, flush=True)
        time.sleep(60)
        """
    )
    with (tmp_path / "log").open("wb") as log:
        parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, stderr=log)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))

    parent.kill()
    parent.wait()
    parent.stdout.close()

    deadline = time.monotonic() + 15
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the controller outlived its parent"
        time.sleep(0.02)
