"""Real agents join over TLS, lose power and answers at every point, are refused, and meet the wrong controller."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plum_client import kubeconfig
from plum_controller.pki.authority import open_authority

from tests.integration.security.conftest import Caller, Site
from tests.integration.security.test_join import credentials, join_token
from tests.support.clocks import compiler, make_clock
from tests.support.joining_machine import Machine, until
from tests.support.server import started_server

PLUM = "/apis/plum.dev/v1"
INSTANCES = f"{PLUM}/namespaces/default/instances"
HOUR = 3600


def plum(site: Site, *arguments: str) -> str:
    """The output of a command of the administrator."""
    env = {**os.environ, "KUBECONFIG": str(site.running.kubeconfig)}
    done = subprocess.run(
        [sys.executable, "-m", "plum_cli", *arguments], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def token_for(site: Site, node: str = "") -> str:
    return plum(site, "node", "token", "create", "-o", "token", *(["--node", node] if node else [])).strip()


def condition(site: Site, node: str, type: str) -> dict[str, Any]:
    status, found = site.admin.get(f"{PLUM}/nodes/{node}")
    conditions = (found.get("status") or {}).get("conditions") or [] if status == 200 else []
    return next((one for one in conditions if one["type"] == type), {})


def is_ready(site: Site, node: str) -> bool:
    return condition(site, node, "Ready").get("status") == "True"


def start_instance(site: Site, name: str, node: str) -> int:
    """The pid of a program on a node, once it runs."""
    spec = {"nodeName": node, "template": {"command": ["sleep", "600"], "terminationGracePeriodSeconds": 1}}
    site.make(INSTANCES, {"metadata": {"name": name, "finalizers": ["plum.dev/instance"]}, "spec": spec})
    return int(until(lambda: status_of(site, name).get("phase") == "Running" and status_of(site, name).get("pid")))


def status_of(site: Site, name: str) -> dict[str, Any]:
    return dict(site.admin.get(f"{INSTANCES}/{name}")[1].get("status") or {})


def runs(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.fixture
def machine(site: Site, tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """Makes machines, and ends their agents and workloads."""
    made: list[Machine] = []

    def make(node: str, controller: str = "", environment: dict[str, str] | None = None) -> Machine:
        made.append(Machine(tmp_path, node, controller or site.running.secure_url, environment))
        return made[-1]

    yield make
    for one in made:
        one.end()
        for ledger in one.data.glob("*/*/runs/*/process"):
            with contextlib.suppress(ValueError, ProcessLookupError):
                os.kill(int(re.findall(r"\d+", ledger.read_text())[0]), signal.SIGKILL)


def test_one_printed_line_makes_a_machine_a_node_for_good(site: Site, machine: Callable[..., Machine]) -> None:
    line = shlex.split(plum(site, "node", "token", "create", "--node", "line-1"))
    assert line[:6] == ["plum", "agent", "--node", "line-1", "--controller", site.running.secure_url]
    here = machine("line-1")
    here.run(join=line[-1])
    assert until(lambda: is_ready(site, "line-1")), here.log[-3000:]
    pid = start_instance(site, "line-1", "line-1")
    assert here.agent is not None
    maps = Path(f"/proc/{here.agent.pid}/maps").read_text()

    listed = plum(site, "node", "token", "list")
    assert re.search(r"^join-\w+ +line-1 +\S+ +line-1 from 127.0.0.1", listed, re.M), listed
    assert "_rust" not in maps, "the agent itself loads cryptography, which costs megabytes"
    assert here.identity.stat().st_mode & 0o77 == 0 and here.identity.parent.stat().st_mode & 0o77 == 0
    for join in ("", line[-1]):  # the token is needed once; given again it is ignored
        here.end(signal.SIGKILL)
        before = here.identity.read_text()
        here.run(join)
        assert until(lambda: is_ready(site, "line-1")) and here.identity.read_text() == before
    assert until(lambda: site.admin.get(f"{INSTANCES}/line-1/log")[0] == 200)
    assert status_of(site, "line-1")["pid"] == pid and len(credentials(site, "line-1")) == 1
    site.admin.call("DELETE", f"{INSTANCES}/line-1")
    assert until(lambda: site.admin.get(f"{INSTANCES}/line-1")[0] == 404)


def test_a_token_that_was_used_expired_or_is_for_another_name_is_refused_in_words(
    site: Site, machine: Callable[..., Machine]
) -> None:
    token = token_for(site)
    first, second = machine("first"), machine("second")
    first.run(token)

    assert re.search(r"used at 20.* by node 'first' from 127.0.0.1", second.refused(token))
    bound = token_for(site, "third")
    assert "start the agent with --node third" in second.refused(bound)
    plum(site, "node", "revoke", "third")
    assert "not known here" in second.refused(bound)
    short = plum(site, "node", "token", "create", "--ttl", "1s", "-o", "token").strip()
    assert until(lambda: short and "join-" not in _tokens_ending(site))
    assert "not known here" in second.refused(short)
    assert not second.identity.exists()


def _tokens_ending(site: Site) -> str:
    """Names of tokens to join with that nobody used."""
    items = site.admin.get(f"{PLUM}/tokens")[1]["items"]
    unused = [one for one in items if "join" in one["spec"] and not (one.get("status") or {}).get("used")]
    return " ".join(one["metadata"]["name"] for one in unused)


def test_a_token_is_not_sent_to_another_controller(site: Site, machine: Callable[..., Machine], tmp_path: Path) -> None:
    token = token_for(site)
    heard: list[bytes] = []
    with impostor(tmp_path, heard) as url:
        words = machine("fooled", url).refused(token)

    assert "is not the controller that made this token" in words and "The token was not sent" in words
    assert heard and heard[0].startswith(b"GET /agent/v1/ca")
    assert token.split(".")[0].encode() not in b"".join(heard)


@contextlib.contextmanager
def impostor(folder: Path, heard: list[bytes]) -> Iterator[str]:
    """Somebody else's server, which shows an authority of its own and writes down what it is told."""
    authority = open_authority(folder / "impostor")
    pair = authority.server(["127.0.0.1"], 1)
    file = folder / "impostor.pem"
    file.write_bytes(pair.key + pair.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    listener = socket.create_server(("127.0.0.1", 0))
    body = json.dumps({"authority": authority.pem.decode(), "controller": ""}).encode()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listener.accept()
                with context.wrap_socket(raw, server_side=True) as connection:
                    heard.append(connection.recv(65536))
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                    )

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


CRASH = """
import os, sys
from pathlib import Path
from plum_agent import joining

def dying(real, after=False):
    def call(*arguments, **keywords):
        global left
        left -= 1
        if left == 0 and not after: os._exit(9)
        answer = real(*arguments, **keywords)
        if left == 0: os._exit(9)
        return answer
    return call

left = int(sys.argv[1])
Path.replace, Path.unlink, os.fsync = dying(Path.replace), dying(Path.unlink), dying(os.fsync)
joining._exchange = dying(joining._exchange, after=True)
raise SystemExit(joining.main())
"""


def test_power_cuts_at_every_step_of_joining_end_with_one_key(site: Site, machine: Callable[..., Machine]) -> None:
    """The key is on disk before anybody hears of it, so the attempt after the crash asks for the same one."""
    trust = site.nobody.get("/agent/v1/ca")[1]["authority"]
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(trust)).hexdigest()
    step, code = 0, 9
    while code == 9:
        step += 1
        node = f"power-{step}"
        here = machine(node)
        token = join_token(site, node)[1].server.token
        job = {
            "controller": here.controller, "node": node, "folder": str(here.identity.parent), "token": token, "pin": pin,
        }  # fmt: skip

        code, _ = joining(["-c", CRASH, str(step)], job)
        assert joining(["-m", "plum_agent.joining"], job) == (0, {"error": "", "final": False})

        items = site.admin.get(f"{PLUM}/tokens?fieldSelector=spec.user%3Dsystem:node:{node}")[1]["items"]
        assert len({one["metadata"]["annotations"]["plum.dev/public-key"] for one in items}) == 1, step
        assert sorted(os.listdir(here.identity.parent)) == ["lock", "node.pem"], step
    assert (step, code) == (10, 0), "it is killed at nine steps, and there is no tenth"
    here.run()
    assert until(lambda: is_ready(site, node)), here.log[-3000:]


def joining(program: list[str], job: dict[str, str]) -> tuple[int, Any]:
    """Exit code and answer of one attempt."""
    done = subprocess.run(
        [sys.executable, *program], input=json.dumps(job).encode(), capture_output=True, timeout=30, check=False
    )
    assert done.returncode in (0, 9), done.stderr.decode()
    return done.returncode, json.loads(done.stdout or b"{}")


def test_an_agent_killed_while_it_joins_joins_when_it_is_back(site: Site, machine: Callable[..., Machine]) -> None:
    token, here = token_for(site), machine("killed")
    here.start(token)
    folder = here.identity.parent
    assert until(lambda: (folder / "pending.pem").exists() or here.identity.exists(), every=0.001)
    here.cut_power()

    here.run(token)

    assert until(lambda: is_ready(site, "killed")), here.log[-3000:]


def test_revoking_a_node_ends_its_connections_and_nothing_that_runs(site: Site, machine: Callable[..., Machine]) -> None:
    name = "out"
    here = machine(name)
    here.run(token_for(site, name))
    assert until(lambda: is_ready(site, name))
    pid = start_instance(site, name, name)
    assert until(lambda: site.admin.get(f"{INSTANCES}/{name}/log")[0] == 200)

    plum(site, "node", "revoke", name)

    assert until(lambda: site.admin.get(f"{INSTANCES}/{name}/log")[0] == 503), "its tunnel ends at once"
    assert until(lambda: "controller does not take this node's credential; what runs goes on" in here.log, 20), here.log[-3000:]
    assert f"plum node token create --node {name}" in here.log
    assert runs(pid) and here.agent is not None and here.agent.poll() is None
    here.end(signal.SIGKILL)
    here.run()  # still refused, and still looking after what runs
    assert until(lambda: here.log.count("controller does not take this node's credential") == 2, 20)
    here.end(signal.SIGTERM)
    here.run(token_for(site, name))
    assert until(lambda: status_of(site, name).get("pid") == pid and is_ready(site, name)), here.log[-3000:]
    assert runs(pid)
    site.admin.call("DELETE", f"{INSTANCES}/{name}")
    assert until(lambda: not runs(pid))


async def test_the_identity_of_one_node_is_worth_nothing_as_another(site: Site, machine: Callable[..., Machine]) -> None:
    here = machine("robbed")
    here.run(token_for(site, "robbed"))
    here.end()
    certificate = here.identity.read_bytes()
    key = certificate[: certificate.index(b"-----BEGIN CERTIFICATE")]
    thief = Caller(kubeconfig.Server(here.controller, ca=site.admin.server.ca, client_certificate=certificate, client_key=key))

    refused = {
        "instances": thief.get(f"{PLUM}/instances?fieldSelector=spec.nodeName%3Drich")[0],
        "node": thief.get(f"{PLUM}/nodes/rich")[0],
        "token": thief.call("POST", f"{PLUM}/tokens", {"spec": {"user": "root"}})[0],
        "join": thief.call("POST", "/agent/v1/join", {"request": ""})[0],
    }
    transport = thief.server.transport()
    with pytest.raises(Exception, match="is not the agent of node 'rich'"):
        await transport.open_websocket("/agent/v1/connect?node=rich")
    await transport.close()

    assert set(refused.values()) == {403}, refused
    assert "is the identity of node 'robbed', and this agent is 'rich'" in here.refused(node="rich")


@pytest.mark.skipif(compiler() is None, reason="moving the clock of a real program needs a C compiler")
@pytest.mark.parametrize("shift", [HOUR, -HOUR])
def test_a_clock_that_is_an_hour_wrong_joins_and_works(
    shift: int, site: Site, machine: Callable[..., Machine], tmp_path: Path
) -> None:
    clock = make_clock(tmp_path, "agent")
    clock.shift(shift)
    name = "ahead" if shift > 0 else "behind"
    here = machine(name, environment=clock.environment)

    here.run(token_for(site, name))

    assert until(lambda: is_ready(site, name)), here.log[-3000:]
    clock.shift(-shift)
    assert runs(start_instance(site, name, name))
    assert len(credentials(site, name)) <= 2


def test_a_machine_that_boots_before_its_controller_joins_when_that_is_there(tmp_path: Path) -> None:
    with started_server(tmp_path / "server", secure=True) as first:
        site = Site(first, Caller(kubeconfig.load(first.kubeconfig)))
        token, address = token_for(site, "early"), first.secure_url
    here = Machine(tmp_path, "early", address)
    try:
        here.start(token)
        assert until(lambda: "node has not joined yet" in here.log)
        with started_server(tmp_path / "server", "--secure-listen", address.removeprefix("https://")) as second:
            site = Site(second, Caller(kubeconfig.load(second.kubeconfig)))
            here.wait_ready()
            assert until(lambda: is_ready(site, "early"))
            second.process.kill()
            second.process.wait()
        with started_server(tmp_path / "server", "--secure-listen", address.removeprefix("https://")) as third:
            site = Site(third, Caller(kubeconfig.load(third.kubeconfig)))
            pid = start_instance(site, "early", "early")
            assert runs(pid) and here.log.count("node joined") == 1
            site.admin.call("DELETE", f"{INSTANCES}/early")
            assert until(lambda: not runs(pid))
    finally:
        here.end()
