"""One server per file, over HTTPS, and kubectl with its administrator's kubeconfig."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kubectl import Kubectl, require
from tests.support.server import RunningServer, started_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """With all its controllers, without agents: Deployments get instances, and nothing starts them."""
    with started_server(tmp_path_factory.mktemp("server"), secure=True) as running:
        yield running


@pytest.fixture(scope="module")
def kubectl(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(require(), server.kubeconfig, tmp_path_factory.mktemp("kubectl"))
