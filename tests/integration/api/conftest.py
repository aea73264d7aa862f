"""One controller for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import RunningServer, started_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A controller that serves the API and runs no controllers, so that objects stay as they were written."""
    with started_server(tmp_path_factory.mktemp("server"), env={"PLUM_CONTROLLERS_ENABLED": "false"}) as running:
        yield running
