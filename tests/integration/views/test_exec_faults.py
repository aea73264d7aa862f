"""Commands when something goes away or does not do its part: clients, links, agents, readers, rights."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.command import eventually
from tests.support.remote_site import RemoteSite, ends, remote_site

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteSite]:
    with remote_site(tmp_path_factory.mktemp("faults")) as made:
        made.create("web", ["sleep", "1000"])
        yield made


def start(site: RemoteSite, client: str, *argv: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
    """A client as a process with pipes."""
    program = [sys.executable, "-m", "plum_cli"] if client == "plum" else [site.kubectl(client).program]
    environment = {**site.plum.environment, "KUBECONFIG": str(site.server.kubeconfig)}
    return subprocess.Popen(
        [*program, *argv], stdin=stdin or subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


def close(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.mark.parametrize("client", ["plum", "1.32", "1.28"])
def test_a_client_that_vanishes_takes_its_command_along(site: RemoteSite, client: str) -> None:
    script = "trap '' HUP TERM INT; (setsid sh -c \"trap '' HUP; sleep 1101\" &); sleep 1102"
    process = start(site, client, "exec", "-i", "web", "--", "sh", "-c", script)
    assert eventually(lambda: site.commands("sleep 1101") and site.commands("sleep 1102"))

    process.kill()

    ends(site.commands, "commands run on")
    close(process)


@pytest.mark.slow
@pytest.mark.parametrize("client", ["1.32", "1.28"])
def test_so_does_one_whose_input_nobody_reads(site: RemoteSite, client: str) -> None:
    with Path("/dev/zero").open("rb") as zeros:
        process = start(site, client, "exec", "-i", "web", "--", "sleep", "1103", stdin=zeros.fileno())
        assert eventually(lambda: site.commands("sleep 1103"))
        time.sleep(1.0)  # every buffer on the way is full now, so that nothing reads from the client any more

        process.kill()

        ends(lambda: site.commands("sleep 1103"), "the command runs on", 30)
        close(process)


@pytest.mark.slow
@pytest.mark.parametrize("client", ["plum", "1.28"])
def test_a_slow_reader_costs_no_memory(site: RemoteSite, client: str) -> None:
    process = start(site, client, "exec", "web", "--", "sh", "-c", "yes 0123456789abcdef | head -c 60000000; echo end")
    assert process.stdout is not None
    assert process.stdout.read(1000)
    before = site.memory()
    assert eventually(lambda: stands_still(site.commands("yes")), 30)
    after = site.memory()

    assert all(now - then < 8 * MEGABYTE for then, now in zip(before, after, strict=True)), (before, after)
    assert process.poll() is None
    size, tail = 1000, b""
    while piece := process.stdout.read(MEGABYTE):
        size, tail = size + len(piece), piece[-4:]
    assert (size, tail) == (60_000_004, b"end\n")
    close(process)


def stands_still(pids: list[int]) -> bool:
    """Whether a process makes no progress for a moment."""
    if not pids:
        return False
    times = []
    for _ in range(2):
        times.append(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(") ")[2].split()[11:13])
        time.sleep(0.3)
    return times[0] == times[1]


@pytest.mark.parametrize("client", ["plum", "1.32", "1.28"])
def test_a_link_that_breaks_is_told_to_the_client_and_ends_the_command(site: RemoteSite, client: str) -> None:
    process = start(site, client, "exec", "web", "--", "sleep", "1104")
    assert eventually(lambda: site.commands("sleep 1104"))

    site.network.cut("reset")
    try:
        _, err = process.communicate(timeout=20)
        refused = site.plum("exec", "web", "--", "true")
    finally:
        site.network.heal()

    assert process.returncode != 0
    assert b"the connection to the agent of node node-1 broke" in err
    assert "the agent of node node-1 is not connected; it was last connected" in refused.err
    ends(lambda: site.commands("sleep 1104"), "the command runs on")
    assert eventually(lambda: site.plum("exec", "web", "--", "true").code == 0), "the tunnel did not come back"


def test_an_agent_that_is_killed_leaves_no_command_to_the_next(site: RemoteSite) -> None:
    process = start(site, "plum", "exec", "web", "--", "sleep", "1105")
    assert eventually(lambda: site.commands("sleep 1105"))

    site.end_agent(signal.SIGKILL)
    assert process.wait(20) != 0
    assert site.commands("sleep 1105")
    site.start_agent()

    ends(lambda: site.commands("sleep 1105"), "the command runs on")
    assert site.phase("web") == "Running"
    close(process)
    assert eventually(lambda: site.plum("exec", "web", "--", "true").code == 0)


def test_a_command_ends_with_its_instance(site: RemoteSite) -> None:
    site.create("short", ["sleep", "1000"])
    process = start(site, "plum", "exec", "short", "--", "sleep", "1106")
    assert eventually(lambda: site.commands("sleep 1106"))

    site.plum.ok("delete", "instance/short")

    assert process.wait(20) == 137
    assert not site.commands("sleep 1106")
    close(process)


@pytest.mark.parametrize("release", ["1.32", "1.28"])
@pytest.mark.parametrize("rules", [
    pytest.param([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}], id="reader"),
    pytest.param([{"apiGroups": [""], "resources": ["*"], "verbs": ["get", "list", "watch"]}], id="reader of everything"),
])  # fmt: skip
def test_without_the_right_nothing_runs(site: RemoteSite, release: str, rules: list[dict[str, list[str]]]) -> None:
    user = f"reader-{len(rules[0]['resources'][0])}-{release}"
    _, kubeconfig = site.user(user, *rules)
    kubectl = site.kubectl(release, kubeconfig)
    trace = site.folder / "trace"

    said = kubectl.refused("exec", "web", "--", "touch", str(trace))
    status, answer = upgrade(
        site, kubeconfig, f"/apis/plum.dev/v1/namespaces/default/instances/web/exec?command=touch&command={trace}"
    )

    assert 'cannot create resource "pods/exec"' in said
    assert status == 403
    assert 'cannot create resource "instances/exec"' in json.loads(answer)["message"]
    assert not trace.exists()
    assert f"stream refused  key=default/web user={user} what=exec" in site.log()


def upgrade(site: RemoteSite, kubeconfig: Path, path: str) -> tuple[int, str]:
    """Ask for an upgrade with a token over TLS, as a library would."""
    import ssl

    from plum_client import kubeconfig as kubeconfigs

    server = kubeconfigs.load(kubeconfig)
    parts = urlsplit(server.url)
    context = server.ssl_context()
    assert isinstance(context, ssl.SSLContext)
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=20)
    connection.request("POST", path + "&stdout=true", headers={
        "Authorization": f"Bearer {server.token}", "Connection": "Upgrade", "Upgrade": "SPDY/3.1",
        "X-Stream-Protocol-Version": "v4.channel.k8s.io", "Content-Length": "0",
    })  # fmt: skip
    answer = connection.getresponse()
    body = answer.read().decode() if answer.status != 101 else ""
    connection.close()
    return answer.status, body


def test_the_role_edit_runs_commands_and_view_does_not(site: RemoteSite) -> None:
    _, editor = site.user("an-editor", cluster_role="edit")
    _, viewer = site.user("a-viewer", cluster_role="view")

    for client in ("plum", "1.32"):
        allowed = start(site, client, "--kubeconfig", str(editor), "exec", "web", "--", "echo", "hello")
        refused = start(site, client, "--kubeconfig", str(viewer), "exec", "web", "--", "echo", "hello")
        assert allowed.communicate(timeout=30) == (b"hello\n", b"")
        out, err = refused.communicate(timeout=30)
        assert (out, refused.returncode) == (b"", 1)
        assert b'cannot create resource "' + (b"instances" if client == "plum" else b"pods") + b'/exec"' in err


def test_with_the_right_it_runs_and_is_written_down_until_the_token_is_revoked(site: RemoteSite) -> None:
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]},
    ]
    token, kubeconfig = site.user("operator", *rules)
    kubectl = site.kubectl("1.33", kubeconfig)

    assert kubectl.run("exec", "web", "--", "echo", "secret-word") == "secret-word\n"
    process = kubectl.start("exec", "web", "--", "sleep", "1107")
    assert eventually(lambda: site.commands("sleep 1107"))
    site.plum.ok("delete", "token", token)

    _, err = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "the credential was revoked" in err
    ends(lambda: site.commands("sleep 1107"), "the command runs on")
    lines = [line for line in site.log().splitlines() if "user=operator" in line]
    assert [re.split(r" {2,}", line)[2] for line in lines] == ["stream opened", "stream ended"] * 2
    assert 'what=exec protocol=v5.channel.k8s.io detail=echo outcome="exit code 0"' in lines[1]
    assert 'outcome="the credential was revoked"' in lines[3]
    assert not any("secret-word" in line for line in lines)


def test_a_broken_conversation_does_not_harm_the_server(site: RemoteSite) -> None:
    import socket

    address = (site.server.host, site.server.port)
    head = (
        "POST /apis/plum.dev/v1/namespaces/default/instances/web/exec?command=sleep&command=1108&stdout=true HTTP/1.1\r\n"
        f"Host: {site.server.host}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n"
    )
    for garbage in (b"\x80\x03\x00\x01\x00\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n" * 10, os.urandom(5000), b"\x80\x03\x00\x01"):
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(head.encode())
            assert b"101 Switching Protocols" in connection.recv(4096)
            connection.sendall(garbage)
    ends(lambda: site.commands("sleep 1108"), "a command runs on")

    assert site.plum("exec", "web", "--", "true").code == 0
    assert "Traceback" not in site.log()
