"""A controller with packages and an agent that runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plum_client.http_transport import HttpTransport
from plum_schemas.instance import Instance, InstanceStatus

from tests.support.agent import Site
from tests.support.packages import good_zip

META = b"name=demo-app\nversion=%b\nservice=orders:http:8080\n"


def package(version: str = "1.0.0", start: str = "exec sleep 1000", files: Mapping[str, bytes] | None = None) -> bytes:
    """A zip whose start.sh does that."""
    script = f"#!/bin/sh\n{start}\n".encode()
    return good_zip({"start.sh": script, "meta.ini": META % version.encode(), **(files or {})})


async def push(site: Site, data: bytes, namespace: str = "default") -> dict[str, Any]:
    """Upload a package. The Artifact."""
    import json

    transport = site.api.transport
    assert isinstance(transport, HttpTransport)
    answer = await transport.request("POST", f"/v1/artifacts/{namespace}", {"Content-Type": "application/zip"}, data)
    assert answer.status in (200, 201), answer.body
    artifact: dict[str, Any] = json.loads(answer.body)
    return artifact


async def create(site: Site, name: str, version: str = "1.0.0", **template: Any) -> Instance:
    """An instance of the package."""
    return await site.create(name, template.pop("command", []), artifact={"name": "demo-app", "version": version}, **template)


async def refused(site: Site, name: str, reason: str, seconds: float = 40.0) -> InstanceStatus:
    """The status once its condition Prepared says why it cannot start."""

    def is_refused(status: InstanceStatus) -> bool:
        return any(one.type == "Prepared" and one.status == "False" and one.reason == reason for one in status.conditions)

    return await site.wait(name, is_refused, seconds)
