"""One server per file, and a kubeconfig for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kubernetes_clients import Cluster, cluster_of
from tests.support.server import started_server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server with all its controllers, as a user starts it; bookmarks come soon."""
    folder = tmp_path_factory.mktemp("cluster")
    with started_server(folder, env={"PLUM_BOOKMARK_SECONDS": "0.5"}) as server:
        yield cluster_of(server, folder / "client")
