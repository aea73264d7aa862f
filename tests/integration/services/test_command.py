"""`plum resolve` and `plum get services|endpoints` against a real server, and the SDK's HTTP client over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Collection
from contextlib import AsyncExitStack

import pytest
from plum_client.client import ApiClient
from plum_client.errors import NoEndpointError
from plum_client.resolver import Resolver
from plum_client.resolver_http import ServiceClient
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.endpoint import Endpoint, EndpointSpec
from plum_schemas.service import Service, ServiceSpec

from tests.integration.services.test_probing import device
from tests.support.agent import until_async
from tests.support.programs import PROJECT
from tests.support.server import RunningServer


class Site:
    """The command in one namespace."""

    def __init__(self, server: RunningServer, api: ApiClient, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.environment = {**os.environ, "PLUM_SERVER": server.url, "NO_COLOR": "1"}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        command = [str(PROJECT / ".venv/bin/plum"), *arguments, "-n", self.namespace]
        return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=self.environment)

    async def plum(self, *arguments: str, code: int = 0) -> str:
        process = await self.start(*arguments)
        async with asyncio.timeout(20):
            out, err = await process.communicate()
        assert process.returncode == code, (out, err)
        return (out + err).decode()

    async def put(self, name: str, address: str, port: int = 80, **spec: str) -> None:
        typed = EndpointSpec(service="orders", address=address, port=port, protocol="http", **spec)  # type: ignore[arg-type]
        await self.api.create(Endpoint(metadata=ObjectMeta(name=name, namespace=self.namespace), spec=typed))
        await until_async(lambda: self.api.get(Endpoint, name, self.namespace), lambda found: found.status.state == "passing")


@pytest.fixture
def site(server: RunningServer, api: ApiClient, namespace: str) -> Site:
    return Site(server, api, namespace)


async def test_resolve_prints_one_or_all_and_says_when_nobody_is_there(site: Site) -> None:
    assert "nobody takes requests for service orders" in await site.plum("resolve", "orders", code=3)
    await site.put("one", "10.0.0.1", version="1.0.0")
    await site.put("two", "fd00::2", version="2.0.0")

    assert await site.plum("resolve", "orders", "--version", "1.0.0") == "10.0.0.1:80\n"
    assert await site.plum("resolve", "orders", "--version", "2.0.0") == "[fd00::2]:80\n"
    assert json.loads(await site.plum("resolve", "orders", "--strategy", "lazy", "-o", "json"))["serviceName"] == "orders"
    table = await site.plum("resolve", "orders", "--all")
    assert re.search(r"^10\.0\.0\.1:80 +true +http +1\.0\.0", table, re.MULTILINE), table


async def test_resolve_follows_changes(site: Site) -> None:
    process = await site.start("resolve", "orders", "-w")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"-\n"
            await site.put("one", "10.0.0.1")
            assert await process.stdout.readline() == b"10.0.0.1:80\n"
            await site.api.delete(Endpoint, ObjectKey(site.namespace, "one"))
            assert await process.stdout.readline() == b"-\n"
    finally:
        process.terminate()
        await process.communicate()


async def test_tables_show_what_people_look_for(site: Site) -> None:
    await site.api.create(Service(metadata=ObjectMeta(name="orders", namespace=site.namespace), spec=ServiceSpec()))
    await site.put("one", "10.0.0.1", version="1.0.0")

    await until_async(lambda: site.plum("get", "services"), lambda table: re.search(r"orders +1 +1 ", table))
    table = await site.plum("get", "endpoints")
    assert re.search(r"one +orders +passing +10\.0\.0\.1 +80 +http +1\.0\.0", table), table
    assert "1 of 1 endpoints take requests" in await site.plum("describe", "service", "orders")


async def test_the_http_client_tries_elsewhere_when_nobody_is_reached(site: Site) -> None:
    async with device() as good, device() as gone:
        port = gone.port
        await site.put("good", "127.0.0.1", good.port)
    async with device(good.port) as good:
        await site.put("gone", "127.0.0.1", port)
        async with Resolver(site.api, site.namespace) as resolver, ServiceClient(resolver) as http:
            answers = [await http.request("GET", "orders", "/") for _ in range(6)]
            assert {answer.status for answer in answers} == {200}
            assert {answer.endpoint.metadata.name for answer in answers} == {"good"}
            good.status = 503
            assert (await http.request("GET", "orders", "/")).status == 503
            with pytest.raises(NoEndpointError, match="has no endpoints"):
                await http.request("GET", "nobody", "/")


async def test_the_http_client_lets_go_of_withdrawn_endpoints_while_many_ask(site: Site) -> None:
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(device()) for _ in range(6)]
        old, new = {f"old-{one.port}": one.port for one in devices[:3]}, {f"new-{one.port}": one.port for one in devices[3:]}
        for name, port in old.items():
            await site.put(name, "127.0.0.1", port)
        resolver = await stack.enter_async_context(Resolver(site.api, site.namespace))
        http = await stack.enter_async_context(ServiceClient(resolver))

        async def ask(count: int) -> set[str]:
            answers = await asyncio.gather(*(http.request("GET", "orders", "/") for _ in range(count)))
            return {answer.endpoint.metadata.name for answer in answers}

        async def known(names: Collection[str]) -> bool:
            return {endpoint.metadata.name for endpoint in (await resolver.follow("orders")).list()} == set(names)

        assert await ask(6) == set(old)
        for name, port in new.items():
            await site.put(name, "127.0.0.1", port)
        for name in old:
            await site.api.delete(Endpoint, ObjectKey(site.namespace, name))
        await until_async(lambda: known(new), lambda done: done)

        assert await ask(12) == set(new)
