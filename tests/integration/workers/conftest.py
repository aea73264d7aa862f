"""One controller with a short worker lease for all tests of this folder; each test takes a namespace of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Namespace

from tests.integration.tasks.support import Tasks
from tests.support.server import RunningServer, started_server

_NUMBERS = itertools.count(1)
LEASE_SECONDS = 3


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with started_server(tmp_path_factory.mktemp("workers"), env={"PLUM_WORKER_LEASE_SECONDS": str(LEASE_SECONDS)}) as running:
        yield running


@pytest.fixture
async def tasks(server: RunningServer) -> AsyncIterator[Tasks]:
    client = ApiClient(HttpTransport(server.url), field_manager="test")
    name = f"workers-{next(_NUMBERS)}"
    await client.create(Namespace(metadata=ObjectMeta(name=name)))
    yield Tasks(client, name)
    await client.close()
