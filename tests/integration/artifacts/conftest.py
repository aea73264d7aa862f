"""One controller for all tests of this folder; each takes a namespace of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Namespace

from tests.support.server import RunningServer, started_server

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("artifacts")
    with started_server(folder, env={"PLUM_ARTIFACT_LIMIT_BYTES": "3000000", "PLUM_READ_TIMEOUT_SECONDS": "1.5"}) as running:
        yield running


@pytest.fixture
async def api(server: RunningServer) -> AsyncIterator[ApiClient]:
    client = ApiClient(HttpTransport(server.url), field_manager="test")
    yield client
    await client.close()


@pytest.fixture
async def namespace(api: ApiClient) -> str:
    name = f"art-{next(_NUMBERS)}"
    await api.create(Namespace(metadata=ObjectMeta(name=name)))
    return name
