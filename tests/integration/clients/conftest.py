"""One server per file, reached over HTTPS with the kubeconfig of its administrator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kubernetes_clients import Cluster
from tests.support.server import started_server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server with all its controllers, as a user starts it; bookmarks come soon."""
    folder = tmp_path_factory.mktemp("cluster")
    with started_server(folder, env={"PLUM_BOOKMARK_SECONDS": "0.5"}, secure=True) as server:
        yield Cluster(server, server.kubeconfig)
