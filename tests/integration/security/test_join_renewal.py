"""Certificates that live for seconds: renewed under load, warned about when that fails, over when it is too late."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from plum_client import kubeconfig
from plum_client.http_transport import HttpTransport

from tests.integration.security.conftest import Caller, Site
from tests.integration.security.test_join import credentials
from tests.integration.security.test_join_agents import (
    INSTANCES,
    condition,
    is_ready,
    plum,
    runs,
    start_instance,
    status_of,
    token_for,
)
from tests.support.joining_machine import Machine, until
from tests.support.server import started_server

LIFE = 15.0
"""Seconds. A certificate is renewed after ten, and has five left for it."""
EXPIRING = "CertificateExpiring"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A controller whose nodes have certificates for seconds."""
    with started_server(tmp_path / "server", secure=True, env={"PLUM_NODE_CERTIFICATE_DAYS": str(LIFE / 86400)}) as running:
        yield Site(running, Caller(kubeconfig.load(running.kubeconfig)))


@pytest.fixture
def here(site: Site, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path, "brief", site.running.secure_url)
    yield machine
    machine.end()


@pytest.mark.slow
def test_renewing_under_load_disturbs_nothing(site: Site, here: Machine) -> None:
    here.run(token_for(site, "brief"))
    assert until(lambda: is_ready(site, "brief")), here.log[-3000:]
    pid = start_instance(site, "steady", "brief")
    since = condition(site, "brief", "Ready")["lastTransitionTime"]
    served: list[str] = []
    over = threading.Event()

    def load() -> None:
        """Instances that come and go: each needs the watch, the status and the tunnel."""
        while not over.is_set():
            name = f"load-{len(served)}"
            assert start_instance(site, name, "brief")
            assert until(lambda name=name: site.admin.get(f"{INSTANCES}/{name}/log")[0] == 200)  # type: ignore[misc]
            site.admin.call("DELETE", f"{INSTANCES}/{name}")
            assert until(lambda name=name: site.admin.get(f"{INSTANCES}/{name}")[0] == 404)  # type: ignore[misc]
            served.append(name)

    first = here.identity.read_text()
    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    assert until(lambda: here.log.count("certificate renewed") >= 2, 40), here.log[-3000:]
    expired = time.monotonic() + 6  # the connections of the first certificate are ended by now, those of the second soon
    assert until(lambda: time.monotonic() > expired)
    over.set()
    thread.join(30)

    assert not thread.is_alive() and len(served) >= 5
    assert status_of(site, "steady")["pid"] == pid and not status_of(site, "steady").get("restarts") and runs(pid)
    ready = condition(site, "brief", "Ready")
    assert (ready["status"], ready["lastTransitionTime"]) == ("True", since)
    assert "credential" not in here.log and "lease is lost" not in here.log
    assert here.identity.read_text() != first and len(credentials(site, "brief")) <= 2
    site.admin.call("DELETE", f"{INSTANCES}/steady")
    assert until(lambda: not runs(pid))


async def test_requests_after_a_renewal_carry_the_new_certificate(site: Site) -> None:
    """The connection of the one before is open and idle, and is not used again."""
    nobody = dataclasses.replace(site.admin.server, client_certificate=b"", client_key=b"")
    contexts = [site.admin.server.ssl_context(), nobody.ssl_context()]
    transport = HttpTransport(site.admin.server.url, ssl_context=lambda: contexts[0])  # type: ignore[arg-type,return-value]

    before = [(await transport.request("GET", "/api/v1/secrets")).status for _ in range(2)]
    contexts.pop(0)
    after = (await transport.request("GET", "/api/v1/secrets")).status
    await transport.close()

    assert (before, after) == ([200, 200], 401)


@pytest.mark.slow
def test_a_certificate_that_cannot_be_renewed_is_told_and_one_that_is_over_needs_a_token(site: Site, here: Machine) -> None:
    here.run(token_for(site, "brief"))
    assert until(lambda: is_ready(site, "brief")), here.log[-3000:]
    pid = start_instance(site, "steady", "brief")
    obstacle = here.identity.with_name(".node.pem.new")
    obstacle.mkdir()  # the agent runs as root in some places, where permissions stop nobody

    assert until(lambda: condition(site, "brief", EXPIRING).get("status") == "True", LIFE), here.log[-3000:]
    warned = condition(site, "brief", EXPIRING)
    obstacle.rmdir()
    assert until(lambda: condition(site, "brief", EXPIRING).get("status") == "False", LIFE), here.log[-3000:]
    here.end(signal.SIGKILL)
    time.sleep(LIFE + 1)  # the life of the certificate, away from the controller
    here.run()

    assert warned["reason"] == "NotRenewed" and "Is a directory" in warned["message"]
    assert until(lambda: "the certificate of this node is over" in here.log), here.log[-3000:]
    assert "plum node token create --node brief" in here.log
    assert runs(pid)
    here.end()
    here.run(token_for(site, "brief"))
    assert until(lambda: is_ready(site, "brief") and status_of(site, "steady").get("pid") == pid), here.log[-3000:]
    site.admin.call("DELETE", f"{INSTANCES}/steady")
    assert until(lambda: not runs(pid))
    assert "token" in plum(site, "node", "revoke", "brief")
