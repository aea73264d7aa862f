"""Commands in instances: kubectl of every release, the plum command, and libraries, over TLS where they can."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import eventually
from tests.support.kubectl_program import RELEASES
from tests.support.kubernetes_clients import Cluster, kr8s_api
from tests.support.remote_site import NODE, RemoteSite, remote_site

STREAMS = "echo out; echo err >&2; exit 3"
BIG = 50_000_000
API = """\
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: api}
spec: {replicas: 2, template: {command: [sleep, '1000']}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteSite]:
    with remote_site(tmp_path_factory.mktemp("exec")) as made:
        made.create("web", ["sleep", "1000"], env=[{"name": "GREETING", "value": "it's me"}])
        yield made


@pytest.mark.parametrize(
    "release",
    [
        pytest.param(release, marks=pytest.mark.client(f"kubectl {release}", "exec: streams, input, exit code"))
        for release in RELEASES
    ],
)
def test_kubectl_of_every_release_runs_commands(site: RemoteSite, release: str) -> None:
    kubectl = site.kubectl(release)

    process = kubectl.start("exec", "web", "--", "sh", "-c", STREAMS)
    out, err = process.communicate(timeout=40)
    piped = kubectl.run("exec", "-i", "web", "--", "sh", "-c", "cat; echo $GREETING", stdin="hello\n")

    assert (out, process.returncode) == ("out\n", 3)
    assert err == "err\ncommand terminated with exit code 3\n"
    assert piped == "hello\nit's me\n"


def test_plum_runs_commands(site: RemoteSite) -> None:
    done = plum(site, "exec", "web", "--", "sh", "-c", STREAMS)
    piped = plum(site, "exec", "-i", "web", "--", "sh", "-c", "cat; echo $GREETING", stdin=b"hello\n")
    words = plum(site, "exec", "instance/web", "--", "printf", "%s|", "a b", "--", "$HOME", "ü")

    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)
    assert (piped.stdout, piped.returncode) == (b"hello\nit's me\n", 0)
    assert words.stdout.decode() == "a b|--|$HOME|ü|"


def test_plum_picks_a_running_instance_of_a_deployment(site: RemoteSite) -> None:
    site.plum.ok("apply", "-f", "-", stdin=API)
    assert eventually(lambda: site.plum("exec", "deployment/api", "--", "true").code == 0)
    site.plum.ok("scale", "deployment/api", "--replicas=0")
    assert eventually(lambda: "no instances" in site.plum("exec", "deployment/api", "--", "true").err)


@pytest.mark.slow
@pytest.mark.parametrize("client", [
    pytest.param("1.32", marks=pytest.mark.client("kubectl 1.32", "exec -i: 50 MB in and out, over WebSocket")),
    pytest.param("1.28", marks=pytest.mark.client("kubectl 1.28", "exec -i: 50 MB in and out, over SPDY")),
    "plum",
])  # fmt: skip
def test_fifty_megabytes_go_in_and_out_without_loss(site: RemoteSite, client: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    digest = hashlib.sha256()
    with source.open("wb") as file:
        for _ in range(BIG // 1_000_000):
            piece = os.urandom(1_000_000)
            digest.update(piece)
            file.write(piece)
    command = [sys.executable, "-m", "plum_cli"] if client == "plum" else [site.kubectl(client).program]
    environment = {**site.plum.environment, "KUBECONFIG": str(site.server.kubeconfig)}

    with source.open("rb") as file:
        back = subprocess.run(
            [*command, "exec", "-i", "web", "--", "cat"],
            stdin=file,
            stdout=subprocess.PIPE,
            env=environment,
            timeout=50,
            check=True,
        )

    assert len(back.stdout) == BIG
    assert hashlib.sha256(back.stdout).digest() == digest.digest()


@pytest.mark.client("kubectl 1.32", "cp to and from an instance")
def test_kubectl_copies_files(site: RemoteSite, tmp_path: Path) -> None:
    kubectl = site.kubectl()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(os.urandom(300_000))

    kubectl.run("cp", str(tmp_path / "tree"), "web:copied")
    kubectl.run("cp", "web:copied/a", str(tmp_path / "back"))

    assert (tmp_path / "back").read_bytes() == (tmp_path / "tree" / "a").read_bytes()
    assert (site.folder / "agent" / NODE / "default_web" / "work" / "copied" / "a").exists()


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, argv: list[str], environment: dict[str, str], columns: int, rows: int) -> None:
        self.descriptor, theirs = pty.openpty()
        self.theirs = theirs
        self.resize(columns, rows)
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True, preexec_fn=self._take
        )
        self.said = b""

    def _take(self) -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def until(self, text: str, seconds: float = 20.0) -> None:
        """Read until it has said this."""
        deadline = time.monotonic() + seconds
        while text.encode() not in self.said:
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {self.said!r}"
            self.said += os.read(self.descriptor, 4096)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.descriptor)
        os.close(self.theirs)


@contextlib.contextmanager
def terminal(site: RemoteSite, client: str, *words: str) -> Iterator[Terminal]:
    program = [sys.executable, "-m", "plum_cli"] if client == "plum" else [site.kubectl(client).program]
    environment = {**site.plum.environment, "KUBECONFIG": str(site.server.kubeconfig)}
    made = Terminal([*program, "exec", "-it", "web", "--", *words], environment, 101, 31)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("client", [
    "plum",
    pytest.param("1.33", marks=pytest.mark.client("kubectl 1.33", "exec -it: terminal, resize, Ctrl-C")),
    pytest.param("1.27", marks=pytest.mark.client("kubectl 1.27", "exec -it: terminal, resize, Ctrl-C")),
])  # fmt: skip
def test_a_shell_has_a_terminal_like_the_one_it_is_used_from(site: RemoteSite, client: str) -> None:
    script = "tty; trap 'echo caught' INT; trap 'exit 9' QUIT; while :; do stty size; sleep 0.1; done"

    with terminal(site, client, "sh", "-c", script) as shell:
        shell.until("/dev/pts/")
        shell.until("31 101")
        shell.resize(77, 22)
        shell.until("22 77")
        shell.type("\x03")
        shell.until("caught")
        shell.type("\x1c")

        assert shell.process.wait(20) == 9
        assert termios.tcgetattr(shell.theirs) == shell.before


def test_the_terminal_is_given_back_when_plum_is_ended(site: RemoteSite) -> None:
    with terminal(site, "plum", "sh", "-c", "echo ready; sleep 1003") as shell:
        shell.until("ready")
        assert termios.tcgetattr(shell.theirs) != shell.before
        shell.process.terminate()

        assert shell.process.wait(20) == 128 + 15
        assert termios.tcgetattr(shell.theirs) == shell.before
    assert eventually(lambda: not site.commands("sleep 1003"))


@pytest.mark.client("kubectl 1.32", "exec of what cannot be run", refused="command terminated with exit code 127")
def test_what_cannot_run_is_said_as_a_shell_says_it(site: RemoteSite) -> None:
    kubectl = site.kubectl()
    site.create("waits", ["sleep", "1"], node="", running=False, nodeSelector={"no": "node"})
    site.create("ended", ["true"], restartPolicy="Never", running=False)
    assert eventually(lambda: site.phase("ended") == "Succeeded")

    assert "nosuch: not found" in kubectl.run("exec", "web", "--", "nosuch", code=127)
    assert "ermission denied" in kubectl.run("exec", "web", "--", "/etc/passwd", code=126)
    assert 'instance "waits" is not running: it waits for a node' in kubectl.refused("exec", "waits", "--", "id")
    assert "completed pod; current phase is Succeeded" in kubectl.refused("exec", "ended", "--", "id")
    assert 'pods "nobody" not found' in kubectl.refused("exec", "nobody", "--", "id")
    assert site.plum("exec", "nobody", "--", "id").code == 3
    assert "instance default/ended is not running" in site.plum("exec", "ended", "--", "id").err


@pytest.mark.client("kubectl 1.32", "attach", refused="attach is not possible: the input of an instance is empty from its start.")
def test_attach_is_refused_with_what_to_use(site: RemoteSite) -> None:
    said = site.kubectl().refused("attach", "web")

    assert "plum exec -it web -- sh" in said
    assert "kubectl logs -f web" in said


def test_a_request_without_an_upgrade_is_told_what_to_do(site: RemoteSite) -> None:
    status, answer = site.ask("POST", "/apis/plum.dev/v1/namespaces/default/instances/web/exec?command=id&stdout=true")

    assert status == 400
    assert "upgrade request required" in answer["message"]


@pytest.mark.client("kubernetes 37", "stream: exec with input, exit code")
def test_the_kubernetes_library_runs_commands(site: RemoteSite) -> None:
    from kubernetes import client, config
    from kubernetes.stream import stream

    with config.new_client_from_config(str(site.server.kubeconfig)) as connection:
        core = client.CoreV1Api(connection)
        words = ["sh", "-c", "read line; echo got $line; echo bad >&2; exit 4"]
        running = stream(
            core.connect_get_namespaced_pod_exec, "web", "default", command=words,
            stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
        )  # fmt: skip
        running.write_stdin("hello\n")
        running.run_forever(timeout=20)

        assert running.read_stdout() == "got hello\n"
        assert running.read_stderr() == "bad\n"
        assert running.returncode == 4
        running.close()


@pytest.mark.client("kr8s 0.20", "Pod.exec")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kr8s leaves connections to the collector
def test_kr8s_runs_commands(site: RemoteSite) -> None:
    from kr8s.objects import Pod

    with kr8s_api(Cluster(site.server, site.server.kubeconfig)) as api:
        done = Pod.get("web", namespace="default", api=api).exec(["sh", "-c", "echo out; exit 5"], check=False)

    assert (done.stdout, done.returncode) == (b"out\n", 5)


def plum(site: RemoteSite, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The command as a process, with streams of bytes."""
    return subprocess.run(
        [sys.executable, "-m", "plum_cli", *argv],
        input=stdin,
        capture_output=True,
        env=site.plum.environment,
        timeout=40,
        check=False,
    )
