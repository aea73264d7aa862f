"""`plum node drain`: what runs moves first, what may not move is named, and the deadline ends the waiting."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.kubectl import deployment
from tests.support.view_site import COUNTING, ViewSite

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(two_nodes: ViewSite) -> ViewSite:
    """One that may run anywhere, and one that is wanted on node-1."""
    template: dict[str, Any] = {"command": COUNTING}
    pinned = {"apiVersion": "plum.dev/v1", "kind": "Deployment", "metadata": {"name": "sonar"}}
    pinned["spec"] = {"nodeReplicas": {"node-1": 1}, "template": template}
    spec = {"template": template, "strategy": {"maxSurge": 1, "maxUnavailable": 0}}
    two_nodes.apply(deployment("web", 2, spec=spec), pinned)
    two_nodes.pods("web", 2)
    two_nodes.pods("sonar", 1)
    return two_nodes


def nodes_of(site: ViewSite, name: str, count: int) -> set[str]:
    return {pod.spec.node_name for pod in site.pods(name, count)}


def test_a_drain_moves_what_can_move_and_names_what_stays(site: ViewSite) -> None:
    sonar = site.pods("sonar", 1)[0].metadata.name

    done = site.plum.ok("node", "drain", "node-1", "--timeout", "30s")

    assert f"node-1 is drained; default/{sonar} stays: it may run only here" in done.out
    assert nodes_of(site, "web", 2) == {"node-2"}
    assert f"default/{sonar} may run only here and stays" in site.plum.ok("describe", "node", "node-1").out


def test_a_drain_that_cannot_go_on_says_why_and_its_deadline_ends_it(site: ViewSite) -> None:
    stuck = site.plum("node", "drain", "node-2", "--deadline", "0", "--timeout", "2s")  # node-1 is cordoned still

    assert stuck.code == 7
    assert "not empty in time; the drain goes on by itself" in stuck.err
    assert "default/web-" in stuck.err
    pods = site.core.list_namespaced_pod("default", label_selector="plum.dev/deployment=web").items
    assert [pod.spec.node_name for pod in pods if pod.status.phase == "Running"] == ["node-2", "node-2"]  # none was given up

    done = site.plum.ok("node", "drain", "node-2", "--deadline", "1s", "--timeout", "30s")

    assert "node-2 is empty" in done.out

    site.plum.ok("node", "uncordon", "node-1", "node-2")

    assert nodes_of(site, "web", 2) <= {"node-1", "node-2"}
