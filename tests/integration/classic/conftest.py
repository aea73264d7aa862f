"""One controller for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import RunningServer, started_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A controller with its own controllers, so that runs go on."""
    with started_server(tmp_path_factory.mktemp("server")) as running:
        yield running
