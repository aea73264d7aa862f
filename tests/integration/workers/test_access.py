"""Workers from other machines: TLS with our own authority, a token, and roles; revoked tokens end their streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport
from plum_schemas.base import KindInfo
from plum_worker import Worker

from tests.support.raw_worker import connected, raw_worker, register
from tests.support.server import RunningServer, started_server

TOKENS = KindInfo("Token", "tokens", namespaced=False, has_status=False)
BINDINGS = KindInfo("RoleBinding", "rolebindings", group="rbac.authorization.k8s.io")
ROLES = KindInfo("Role", "roles", group="rbac.authorization.k8s.io")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with started_server(tmp_path_factory.mktemp("access"), env={"CONTROLLER_GRPC_ADDR": "0.0.0.0:0"}) as running:
        yield running


@dataclass
class Access:
    """The listener for workers as other machines see it, and an administrator."""

    api: ApiClient
    address: str
    ca_file: str

    @property
    def ca(self) -> bytes:
        return Path(self.ca_file).read_bytes()

    async def token(self, user: str, **spec: Any) -> str:
        body = {"apiVersion": "plum.dev/v1", "kind": "Token", "metadata": {"name": user}, "spec": {"user": user, **spec}}
        return str((await self.api.create(body, kind=TOKENS))["status"]["token"])

    async def bind(self, user: str, kind: str, role: str) -> None:
        subject = {"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": user, "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [subject],
        }
        await self.api.create(body, kind=BINDINGS)


@pytest.fixture
async def access(server: RunningServer) -> AsyncIterator[Access]:
    api = ApiClient(HttpTransport(server.url), field_manager="test")
    yield Access(api, f"127.0.0.1:{server.workers.rpartition(':')[2]}", str(server.data_dir / "pki" / "ca.crt"))
    await api.close()


async def refusal(access: Access, token: str, name: str, *tasks: str) -> tuple[grpc.StatusCode, str]:
    async with connected(access.address, token=token, ca=access.ca) as worker:
        await worker.say(register=register(name, "default", tasks))
        return await worker.end()


async def test_without_a_token_or_with_a_wrong_one_nobody_gets_in(access: Access) -> None:
    nobody, words = await refusal(access, "", "w1", "t")
    wrong, _ = await refusal(access, "plum_wrong", "w1", "t")

    assert (nobody, wrong) == (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAUTHENTICATED)
    assert "PLUM_TOKEN" in words


async def test_the_listener_speaks_tls_only(access: Access) -> None:
    async with grpc.aio.insecure_channel(access.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        call = channel.stream_stream("/plum.worker.v1.WorkerService/Connect")(wait_for_ready=False)
        with pytest.raises(grpc.aio.AioRpcError):
            await call.write(b"")
        assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_role_is_needed_and_may_name_the_tasks(access: Access) -> None:
    token = await access.token("rosa")
    code, words = await refusal(access, token, "w1", "t")
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert 'User "rosa" cannot create resource "workers"' in words

    rules = [
        {"apiGroups": ["plum.dev"], "resources": ["workers"], "verbs": ["create"]},
        {"apiGroups": ["plum.dev"], "resources": ["taskdefinitions"], "resourceNames": ["photo"], "verbs": ["execute"]},
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "photographer", "namespace": "default"},
        "rules": rules,
    }
    await access.api.create(role, kind=ROLES)
    await access.bind("rosa", "Role", "photographer")

    code, words = await refusal(access, token, "w1", "photo", "launch")
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert '"launch"' in words
    async with raw_worker(access.address, "w1", "default", tasks=["photo"], token=token, ca=access.ca) as worker:
        assert worker.registered.session_id


async def test_a_stream_ends_with_its_token(access: Access) -> None:
    token = await access.token("rita")
    await access.bind("rita", "ClusterRole", "plum:worker")
    async with raw_worker(access.address, "w2", "default", token=token, ca=access.ca) as worker:
        await access.api.delete(TOKENS, "rita")
        revoked, words = await worker.end()
    soon = (datetime.now(UTC) + timedelta(seconds=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    brief = await access.token("bea", expiresAt=soon)
    await access.bind("bea", "ClusterRole", "plum:worker")
    async with raw_worker(access.address, "w3", "default", token=brief, ca=access.ca) as worker:
        expired, _ = await worker.end()

    assert revoked is grpc.StatusCode.UNAUTHENTICATED
    assert "revoked" in words
    assert expired is grpc.StatusCode.UNAUTHENTICATED


async def test_the_sdk_speaks_tls_with_a_token(access: Access) -> None:
    token = await access.token("sven")
    await access.bind("sven", "ClusterRole", "plum:worker")
    worker = Worker(f"https://{access.address}", worker_id="w4", token=token, ca_file=access.ca_file)
    worker.task("t")(lambda: None)
    serving = asyncio.create_task(worker.serve())
    async with asyncio.timeout(20):
        await worker.wait_registered()
    worker.stop()
    await serving
