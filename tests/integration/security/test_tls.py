"""The TLS listener: its certificates, who they are for, and what happens to connections that are none."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from plum_client import kubeconfig
from plum_controller.pki import authority as authorities
from plum_controller.pki.authority import PkiError, open_authority, read_pair
from plum_controller.pki.serving import Serving

from tests.integration.security.conftest import Caller, Site
from tests.support.server import running_server, started_server

SECRETS = "/api/v1/namespaces/default/secrets"


def test_the_administrators_kubeconfig_works_and_is_private(site: Site) -> None:
    status, review = site.admin.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})

    assert status == 201
    assert review["status"]["userInfo"] == {"username": "plum-admin", "groups": ["system:masters", "system:authenticated"]}
    assert site.running.kubeconfig.stat().st_mode & 0o77 == 0
    for name in ("ca.pem", "server.pem", "admin.pem"):
        assert (site.running.data_dir / "pki" / name).stat().st_mode & 0o77 == 0


def test_certificates_of_others_are_refused(site: Site, tmp_path: Path) -> None:
    stranger = open_authority(tmp_path / "pki").client("plum-admin", ["system:masters"], 1)
    impostor = dataclasses.replace(site.admin.server, client_certificate=stranger.certificate, client_key=stranger.key)

    with pytest.raises((ssl.SSLError, OSError)):
        Caller(impostor).get(SECRETS)


def test_an_expired_certificate_is_refused(site: Site) -> None:
    ours = open_authority(site.running.data_dir / "pki")
    over = ours.client("plum-admin", ["system:masters"], 1e-9)
    late = dataclasses.replace(site.admin.server, client_certificate=over.certificate, client_key=over.key)

    with pytest.raises((ssl.SSLError, OSError)):
        Caller(late).get(SECRETS)


def test_clients_that_trust_somebody_else_do_not_talk_to_us(site: Site, tmp_path: Path) -> None:
    wrong = dataclasses.replace(site.admin.server, ca=open_authority(tmp_path / "pki").pem)

    with pytest.raises(OSError, match="certificate verify failed"):
        Caller(wrong).get("/healthz")


def test_old_tls_is_refused(site: Site, trusting: ssl.SSLContext) -> None:
    with pytest.warns(DeprecationWarning):
        trusting.maximum_version = ssl.TLSVersion.TLSv1_1
    host, port = site.running.secure_url.removeprefix("https://").split(":")

    with socket.create_connection((host, int(port)), 10) as raw, pytest.raises((ssl.SSLError, OSError)):
        trusting.wrap_socket(raw, server_hostname=host).close()


async def test_plain_http_and_silence_on_the_tls_port_harm_nobody(site: Site) -> None:
    host, port = site.running.secure_url.removeprefix("https://").split(":")
    silent = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert not (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 200")
    assert (await asyncio.to_thread(site.admin.get, SECRETS))[0] == 200
    for _, open_writer in [*silent, (reader, writer)]:
        open_writer.close()


def test_the_certificate_is_for_all_names_of_this_machine_and_more(tmp_path: Path) -> None:
    serving = Serving(tmp_path, names=["plum.example.com", "192.0.2.7"])
    _, certificate = read_pair(tmp_path / "server.pem")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    shown = {str(name.value) for name in names}

    assert {"localhost", "127.0.0.1", "::1", "plum.example.com", "192.0.2.7", socket.gethostname().lower()} <= shown
    serving.refresh()
    assert read_pair(tmp_path / "server.pem")[1] == certificate
    Serving(tmp_path, names=["another.example.com", "plum.example.com", "192.0.2.7"])
    assert read_pair(tmp_path / "server.pem")[1] != certificate


def test_certificates_are_renewed_before_they_end_and_the_authority_stays(tmp_path: Path) -> None:
    Serving(tmp_path, days=1e-6)
    first, authority = read_pair(tmp_path / "server.pem")[1], (tmp_path / "ca.crt").read_bytes()

    Serving(tmp_path, days=1)
    second = read_pair(tmp_path / "server.pem")[1]

    assert second != first and second.not_valid_after_utc > datetime.now(UTC) + timedelta(hours=20)
    assert (tmp_path / "ca.crt").read_bytes() == authority


async def test_a_brought_certificate_is_served_and_read_again_when_it_changes(tmp_path: Path) -> None:
    own = open_authority(tmp_path / "own")
    file = tmp_path / "site.pem"

    def bring(days: float) -> bytes:
        pair = own.server(["127.0.0.1"], days)
        file.write_bytes(pair.key + pair.certificate)
        return ssl.PEM_cert_to_DER_cert(pair.certificate.decode())

    first = bring(10)
    serving = Serving(tmp_path / "pki", certificate_file=str(file))
    context = ssl.create_default_context(cadata=own.pem.decode())
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=serving.context)
    port = server.sockets[0].getsockname()[1]

    async def served() -> bytes:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return found

    assert await served() == first
    second = bring(20)
    serving.refresh()
    assert await served() == second
    file.write_bytes(b"nonsense")
    with pytest.raises(PkiError, match=r"site\.pem cannot be used"):
        serving.refresh()
    assert await served() == second
    server.close()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "ca.pem").write_bytes(b"x"), "is damaged"),
        (lambda folder: (folder / "ca.pem").unlink(), "is missing, but"),
        (
            lambda folder: (folder / "ca.pem").write_bytes(
                (folder / "ca.pem").read_bytes().split(b"-----BEGIN CERT")[0] + open_authority(folder.parent / "other").pem
            ),
            "do not belong together",
        ),
    ],
)
def test_a_damaged_authority_stops_the_start_with_advice(tmp_path: Path, damage: object, words: str) -> None:
    folder = tmp_path / "pki"
    open_authority(folder)
    damage(folder)  # type: ignore[operator]

    with pytest.raises(PkiError, match=words):
        open_authority(folder)


def test_a_crash_between_writing_and_renaming_leaves_a_working_authority(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from plum_controller.pki import authority\n"
        "real = Path.replace\n"
        "def replace(self, target):\n"
        "    if int(sys.argv[2]) == replace.calls: os._exit(9)\n"
        "    replace.calls += 1; return real(self, target)\n"
        "replace.calls = 0; Path.replace = replace\n"
        "authority.open_authority(Path(sys.argv[1]))\n"
    )
    for crash in range(2):
        folder = tmp_path / str(crash)
        done = subprocess.run([sys.executable, "-c", program, str(folder), str(crash)], timeout=30, check=False)
        assert done.returncode == 9
        assert authorities.open_authority(folder).pem.startswith(b"-----BEGIN CERTIFICATE")


def test_the_authority_and_kubeconfigs_survive_a_restart(tmp_path: Path) -> None:
    with started_server(tmp_path, secure=True) as first:
        port = first.secure_url.rpartition(":")[2]
        before = kubeconfig.load(first.kubeconfig)
    with started_server(tmp_path, "--secure-listen", f"127.0.0.1:{port}") as second:
        assert Caller(before).get(SECRETS)[0] == 200
        assert second.secure_url.endswith(port)


async def test_an_address_that_others_reach_is_served_with_tls_only(tmp_path: Path) -> None:
    async with running_server(tmp_path, "--listen", "0.0.0.0:0") as server:
        assert server.url.startswith("https://0.0.0.0:")
        admin = Caller(kubeconfig.load(server.kubeconfig))
        assert (await asyncio.to_thread(admin.get, SECRETS))[0] == 200
        stranger = Caller(dataclasses.replace(admin.server, client_certificate=b"", client_key=b""))
        assert (await asyncio.to_thread(stranger.get, SECRETS))[0] == 401


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="KUBECTL IS MISSING: nothing proves that it works over TLS")
def test_kubectl_works_over_tls_with_certificate_and_token(site: Site, tmp_path: Path) -> None:
    def kubectl(*arguments: str, config: Path = site.running.kubeconfig) -> tuple[int, str]:
        env = {**os.environ, "KUBECONFIG": str(config), "HOME": str(tmp_path)}
        done = subprocess.run(["kubectl", *arguments], env=env, capture_output=True, text=True, timeout=40, check=False)
        return done.returncode, done.stdout + done.stderr

    assert "plum-admin" in kubectl("auth", "whoami")[1]
    assert kubectl("create", "sa", "robot") == (0, "serviceaccount/robot created\n")
    code, token = kubectl("create", "token", "robot", "--duration=10m")
    assert code == 0 and token.startswith("plum_")
    assert kubectl("create", "rolebinding", "robot", "--clusterrole=view", "--serviceaccount=default:robot")[0] == 0
    config = tmp_path / "robot.kubeconfig"
    server = dataclasses.replace(site.admin.server, token=token.strip(), client_certificate=b"", client_key=b"")
    kubeconfig.write(config, server)

    assert "system:serviceaccount:default:robot" in kubectl("auth", "whoami", config=config)[1]
    assert kubectl("auth", "can-i", "list", "deployments.plum.dev", config=config) == (0, "yes\n")
    assert kubectl("auth", "can-i", "delete", "deployments.plum.dev", config=config)[0] == 1
    assert "cannot list resource" in kubectl("get", "secrets", config=config)[1]
    assert kubectl("get", "secrets", "--as", "jane")[0] == 1
    assert kubectl("delete", "sa", "robot")[0] == 0
    assert "You must be logged in" in kubectl("get", "deployments", config=config)[1]


async def test_stopping_ends_tls_watches_cleanly(tmp_path: Path) -> None:
    async with running_server(tmp_path, secure=True) as server:
        found = kubeconfig.load(server.kubeconfig)
        parts = found.url.removeprefix("https://").split(":")
        reader, writer = await asyncio.open_connection(parts[0], int(parts[1]), ssl=found.ssl_context())
        writer.write(b"GET /api/v1/namespaces?watch=true HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b'"ADDED"')
        assert await server.stop(signal.SIGTERM) == 0
        assert (await asyncio.wait_for(reader.read(), 10)).endswith(b"0\r\n\r\n")
        writer.close()
