"""Endpoints outside the fleet, asked by a real controller over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from plum_client.client import ApiClient
from plum_client.errors import InvalidObjectError
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.endpoint import Endpoint, EndpointSpec
from plum_schemas.probes import HttpAction, TcpAction
from plum_schemas.service import HealthCheck, Service, ServiceSpec

from tests.support.agent import until, until_async


class Device:
    """Something that listens: it answers with `status`, or not at all while it hangs."""

    def __init__(self) -> None:
        self.status = 200
        self.hangs = False
        self.asked = 0
        self.port = 0
        self.answering = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.answering += 1
        try:
            await reader.readline()
            self.asked += 1
            while self.hangs:
                await asyncio.sleep(0.02)
            writer.write(f"HTTP/1.1 {self.status} said\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()
            await writer.wait_closed()
        except OSError:
            writer.transport.abort()
        finally:
            self.answering -= 1


@asynccontextmanager
async def device(port: int = 0) -> AsyncIterator[Device]:
    made = Device()
    server = await asyncio.start_server(made.answer, "127.0.0.1", port)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.hangs = False
        server.close()
        await until(lambda: not made.answering)


class Site:
    """Endpoints of the service `radar` in one namespace."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    async def put(self, name: str, port: int, address: str = "127.0.0.1", **spec: Any) -> Endpoint:
        typed = EndpointSpec(service="radar", address=address, port=port, **spec)
        return await self.api.create(Endpoint(metadata=ObjectMeta(name=name, namespace=self.namespace), spec=typed))

    async def state(self, name: str) -> tuple[str, str]:
        endpoint = await self.api.get(Endpoint, name, self.namespace)
        assert endpoint is not None
        return endpoint.status.state, endpoint.status.message

    async def until(self, name: str, state: str, seconds: float = 10.0) -> str:
        found = await until_async(lambda: self.state(name), lambda found: found[0] == state, seconds)
        return str(found[1])


@pytest.fixture
def site(api: ApiClient, namespace: str) -> Site:
    return Site(api, namespace)


def http(**fields: Any) -> HealthCheck:
    return HealthCheck(http=HttpAction(port="own", path="/health"), period="100ms", timeout="300ms", **fields)


async def test_an_http_check_follows_what_the_device_answers(site: Site) -> None:
    async with device() as radar:
        await site.put("one", radar.port, health_check=http(failure_threshold=2))
        await site.until("one", "passing")

        radar.status = 500
        assert "GET /health answered 500" in await site.until("one", "critical")
        radar.status = 204
        await site.until("one", "passing")

        radar.hangs = True
        assert "no answer within 0.3 s" in await site.until("one", "critical")


async def test_a_tcp_check_sees_a_device_go_and_come(site: Site) -> None:
    check = HealthCheck(tcp=TcpAction(port="own"), period="100ms", timeout="300ms", failure_threshold=2)
    async with device() as radar:
        port = radar.port
        await site.put("one", port, health_check=check)
        await site.until("one", "passing")
    assert "refused" in (await site.until("one", "critical")).lower()
    async with device(port):
        await site.until("one", "passing")


async def test_failures_during_the_startup_grace_do_not_count(site: Site) -> None:
    async with device() as radar:
        radar.status = 503
        await site.put("one", radar.port, health_check=http(failure_threshold=1, startup_grace="1h"))
        await until_async(lambda: site.state("one"), lambda found: found[1].startswith("still starting"), 10)
        before = radar.asked
        await until_async(lambda: asyncio.sleep(0, radar.asked), lambda asked: asked > before + 3, 10)
        assert (await site.state("one"))[0] == "warning"

        radar.status = 200
        await site.until("one", "passing")
        radar.status = 503
        await site.until("one", "critical")


async def test_a_service_lends_its_check_to_endpoints_without_one_and_counts_them(site: Site) -> None:
    async with device() as good, device() as bad:
        bad.status = 500
        spec = ServiceSpec(health_check=http(failure_threshold=1))
        await site.api.create(Service(metadata=ObjectMeta(name="radar", namespace=site.namespace), spec=spec))
        await site.put("good", good.port)
        await site.put("bad", bad.port)
        await site.until("good", "passing")
        await site.until("bad", "critical")

        async def counted() -> tuple[int, int]:
            service = await site.api.get(Service, "radar", site.namespace)
            assert service is not None
            return service.status.passing, service.status.endpoints

        await until_async(counted, lambda found: found == (1, 2))


async def test_a_hanging_device_delays_no_other(site: Site) -> None:
    async with device() as hung, device() as good:
        hung.hangs = True
        slow = HealthCheck(http=HttpAction(port="own"), period="100ms", timeout="20s")
        for number in range(60):
            await site.put(f"hung-{number}", hung.port, address=f"127.0.0.{number + 1}", health_check=slow)
        await until_async(lambda: asyncio.sleep(0, hung.asked), lambda asked: asked >= 1, 10)

        await site.put("good", good.port, health_check=http())
        await site.until("good", "passing", 10.0)
        before = good.asked
        await asyncio.sleep(1.0)
        assert good.asked - before >= 5


async def test_addresses_of_the_surroundings_are_not_asked(site: Site) -> None:
    await site.put("metadata", 80, address="169.254.169.254", health_check=http(failure_threshold=1))

    assert "link-local" in await site.until("metadata", "critical")


async def test_an_endpoint_without_a_check_is_passing_and_a_check_that_is_added_counts(site: Site) -> None:
    await site.put("one", 9)
    await site.until("one", "passing")

    check = {"tcp": {"port": 9}, "period": "100ms", "failureThreshold": 1}
    await site.api.patch(Endpoint, ObjectKey(site.namespace, "one"), {"spec": {"healthCheck": check}})
    await site.until("one", "critical")


async def test_a_check_that_asks_nothing_or_all_the_time_is_refused(site: Site) -> None:
    for check in (HealthCheck(), HealthCheck(tcp=TcpAction(port=1), http=HttpAction(port=1)), http()):
        check.period = "0s" if check.http and not check.tcp else check.period
        with pytest.raises(InvalidObjectError):
            await site.put("wrong", 80, health_check=check)
