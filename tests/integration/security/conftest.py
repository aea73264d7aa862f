"""One controller with a TLS listener for all tests of this folder, and ways to be somebody there."""

from __future__ import annotations

import dataclasses
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from plum_client import kubeconfig
from plum_client.kubeconfig import Server

from tests.support.server import RunningServer, started_server


@dataclasses.dataclass
class Caller:
    """Somebody who calls the TLS listener: with a token, a certificate, or nothing."""

    server: Server

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded answer."""
        data = None if body is None else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.server.token:
            names["Authorization"] = f"Bearer {self.server.token}"
        names.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.server.url + path, data, names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20, context=self.server.ssl_context()) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decoded(error.read())

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return self.call("GET", path, **headers)


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


@dataclasses.dataclass
class Site:
    """The controller and its administrator."""

    running: RunningServer
    admin: Caller

    @property
    def nobody(self) -> Caller:
        return self.bearer("")

    def bearer(self, token: str) -> Caller:
        """Somebody with a token, and without the administrator's certificate."""
        return Caller(dataclasses.replace(self.admin.server, token=token, client_certificate=b"", client_key=b""))

    def user(self, name: str, *groups: str, **spec: Any) -> Caller:
        """Somebody with a new token of their own."""
        body = {"metadata": {"generateName": "t-"}, "spec": {"user": name, "groups": list(groups), **spec}}
        status, made = self.admin.call("POST", "/apis/plum.dev/v1/tokens", body)
        assert status == 201, made
        return self.bearer(made["status"]["token"])

    def node(self, name: str) -> Caller:
        return self.user(f"system:node:{name}", "system:nodes")

    def make(self, path: str, body: Mapping[str, Any]) -> Any:
        """Create something as the administrator."""
        status, made = self.admin.call("POST", path, body)
        assert status == 201, made
        return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with started_server(tmp_path_factory.mktemp("server"), secure=True) as running:
        yield Site(running, Caller(kubeconfig.load(running.kubeconfig)))


@pytest.fixture
def ca(site: Site) -> Path:
    return site.running.data_dir / "pki" / "ca.crt"


@pytest.fixture
def trusting(ca: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca))
