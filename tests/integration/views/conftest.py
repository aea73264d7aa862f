"""One controller with two agents per file, and kubectl with its administrator's kubeconfig."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kubectl import Kubectl
from tests.support.view_site import ViewSite, view_site


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewSite]:
    with view_site(tmp_path_factory.mktemp("views")) as site:
        yield site


@pytest.fixture(scope="module")
def kubectl(two_nodes: ViewSite) -> Kubectl:
    return two_nodes.kubectl
