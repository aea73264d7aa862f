"""Endpoints of real processes on a real node: there when they are ready, gone before they stop, and no request lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from plum_client.resolver import Resolver
from plum_client.resolver_http import ServiceClient
from plum_schemas.base import ObjectKey
from plum_schemas.deployment import Deployment
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import Instance

from tests.support.programs import Sandbox, sandbox

pytestmark = pytest.mark.slow

SERVER = """
import http.server, os, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    def do_GET(self):
        body = os.environ["PLUM_INSTANCE_ID"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
def stop(*arguments):
    open("stopped", "w").write(repr(time.time()))
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
PROBE = {"http": {"port": "http"}, "period": "100ms", "timeout": "1s"}
OFFER = {
    "ports": [{"name": "http", "port": 0, "protocol": "http"}],
    "services": [{"name": "orders", "port": "http", "version": "1.0.0"}],
    "probes": {"readiness": PROBE},
}


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        await box.node("node-1", controller, lease_seconds=3)
        yield box


async def deploy(box: Sandbox, replicas: int, marker: str = "v1", **spec: Any) -> None:
    env = [{"name": "MARKER", "value": marker}]
    command = [sys.executable, "-E", "-S", "-c", SERVER]
    await box.deploy("web", command, replicas=replicas, template={**OFFER, "env": env}, **spec)


async def endpoints(box: Sandbox) -> list[Endpoint]:
    return list(await box.api().list(Endpoint, "default", fields="spec.service=orders"))


async def passing(box: Sandbox, count: int) -> bool:
    found = await endpoints(box)
    return len(found) == count and all(endpoint.status.state == "passing" for endpoint in found)


async def test_an_endpoint_comes_with_readiness_within_a_tenth_of_a_second_and_goes_before_the_signal(box: Sandbox) -> None:
    seen: dict[str, tuple[str, float]] = {}
    ready: dict[str, float] = {}
    gone: dict[str, float] = {}

    async def watch_endpoints() -> None:
        async with aclosing(box.api().watch(Endpoint, "default", fields="spec.service=orders")) as events:
            async for event in events:
                name = event.object.spec.instance_name
                if event.type == "DELETED":
                    gone[name] = time.time()
                elif event.object.status.state == "passing":
                    seen.setdefault(name, (event.object.spec.address, time.time()))

    async def watch_instances() -> None:
        async with aclosing(box.api().watch(Instance, "default")) as events:
            async for event in events:
                if event.object.status.ready:
                    ready.setdefault(event.object.metadata.name, time.time())

    watches = [asyncio.create_task(watch_endpoints()), asyncio.create_task(watch_instances())]
    await deploy(box, 3)
    await box.until(lambda: box.available("web", 3))
    await box.until(lambda: passing(box, 3))
    assert max(seen[name][1] - ready[name] for name in ready) < 0.1, "endpoint changes reach a watcher within 100 ms"

    folders = {
        i.metadata.name: box.root / "agents" / i.spec.node_name / f"default_{i.metadata.name}" / "work"
        for i in await box.instances("web")
    }
    await box.api().patch(Deployment, ObjectKey("default", "web"), {"spec": {"state": "Stopped"}})

    async def all_stopped() -> bool:
        return all((folder / "stopped").exists() for folder in folders.values())

    await box.until(all_stopped, what="all have got their signal")
    for name, folder in folders.items():
        signalled = float((folder / "stopped").read_text())
        assert gone[name] < signalled, "the removal precedes the stop signal"
        assert signalled - gone[name] < 1.5, "and costs little time"
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)


async def test_a_rolling_restart_under_load_loses_no_request(box: Sandbox) -> None:
    await deploy(box, 3, strategy={"maxSurge": 1, "maxUnavailable": 0})
    await box.until(lambda: box.available("web", 3))
    await box.until(lambda: passing(box, 3))
    answered: dict[str, int] = {}
    wrong: list[str] = []
    stop = asyncio.Event()

    async with Resolver(box.api()) as resolver, ServiceClient(resolver) as http:

        async def caller() -> None:
            while not stop.is_set():
                try:
                    answer = await http.request("GET", "orders", "/")
                except Exception as error:
                    wrong.append(repr(error))
                    return
                if answer.status != 200 or answer.body.decode() != answer.endpoint.spec.instance_name:
                    wrong.append(f"{answer.status} {answer.body!r} from {answer.endpoint.spec.instance_name}")
                answered[answer.body.decode()] = answered.get(answer.body.decode(), 0) + 1
                await asyncio.sleep(0.002)

        callers = [asyncio.create_task(caller()) for _ in range(8)]
        first = {i.metadata.name for i in await box.instances("web")}
        await deploy(box, 3, "v2", strategy={"maxSurge": 1, "maxUnavailable": 0})
        await box.until(lambda: replaced(box, first), 40)
        await asyncio.sleep(0.3)
        stop.set()
        await asyncio.gather(*callers)

    assert not wrong, wrong[:5]
    assert sum(answered.values()) > 100
    assert first < set(answered), "old and new ones answered"
    assert len(set(answered) - first) == 3


async def replaced(box: Sandbox, old: set[str]) -> bool:
    names = {i.metadata.name for i in await box.instances("web")}
    return not names & old and await box.available("web", 3) and await passing(box, 3)


async def test_nobody_is_led_to_what_was_killed_or_to_a_lost_node(box: Sandbox) -> None:
    await deploy(box, 2)
    await box.until(lambda: box.available("web", 2))
    await box.until(lambda: passing(box, 2))
    victim = (await box.instances("web"))[0]

    os.kill(victim.status.pid or 0, signal.SIGKILL)

    async def withdrawn() -> bool:
        return all(e.spec.instance_name != victim.metadata.name for e in await endpoints(box))

    await box.until(withdrawn)
    await box.until(lambda: passing(box, 2))

    agent = next(program for program in box.programs if program.name == "agent-node-1")
    agent.pause()
    await box.until(lambda: passing(box, 0), 3 + 2, what="a node without a lease has no endpoints")
    agent.resume()
    await box.until(lambda: passing(box, 2))


async def test_callers_keep_the_last_good_answer_while_the_controller_is_away(box: Sandbox) -> None:
    await deploy(box, 2)
    await box.until(lambda: box.available("web", 2))
    await box.until(lambda: passing(box, 2))
    controller = box.programs[0]
    async with Resolver(box.api()) as resolver, ServiceClient(resolver) as http:
        assert not (await resolver.resolve("orders")).stale
        names = {e.metadata.name for e in await endpoints(box)}

        controller.kill()

        async def is_stale() -> bool:
            return (await resolver.resolve("orders")).stale

        await box.until(is_stale)
        for _ in range(20):
            assert (await http.request("GET", "orders", "/")).status == 200

        await box.restarted(controller)  # type: ignore[arg-type]

        async def is_current() -> bool:
            return not await is_stale()

        await box.until(is_current, 20)
        assert {e.metadata.name for e in await endpoints(box)} == names, "a new controller withdraws nothing that serves"
