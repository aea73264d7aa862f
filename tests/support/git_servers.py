"""Git over https and ssh for tests: real protocols on loopback, with git's own programs behind them.

async with https_server(root, ca) as url:  git http-backend over TLS, with a password
async with ssh_server(root) as server:     asyncssh, that runs git-upload-pack
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ipaddress
import os
import shlex
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "geheim"


class Repository:
    """A repository made with the git program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        environment = {
            **os.environ,
            **{f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments], check=True, capture_output=True, text=True, env=environment
        )
        return done.stdout.strip()

    def commit(self, **files: str | None) -> str:
        """Write or remove files (`a` is `a.yaml`) and commit. The name of the commit."""
        for name, text in files.items():
            path = self.folder / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "step")
        return self.git("rev-parse", "HEAD")


@dataclass(frozen=True)
class Served:
    """Where a server is, and what it wants."""

    url: str
    ca: str = ""
    private_key: str = ""
    known_hosts: str = ""


@contextlib.asynccontextmanager
async def https_server(root: Path) -> AsyncIterator[Served]:
    """Serve the repositories below a folder over TLS, to user `git` with the password."""
    certificate, key = _certificate(root / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await _answer(root, reader, writer):
                pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Served(f"https://127.0.0.1:{port}", ca=certificate.read_text())
    finally:
        server.close()


async def _answer(root: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One request, by git http-backend."""
    line = (await reader.readline()).decode()
    if not line:
        return False
    method, target, _ = line.split()
    headers: dict[str, str] = {}
    while (text := (await reader.readline()).decode().strip()) != "":
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readline()).strip() or b"0", 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    wanted = "Basic " + base64.b64encode(f"git:{PASSWORD}".encode()).decode()
    if headers.get("authorization") != wanted:
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=git\r\nContent-Length: 0\r\n\r\n")
        return True
    path, _, query = target.partition("?")
    environment = {
        **os.environ, "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": method, "PATH_INFO": path,
        "QUERY_STRING": query, "CONTENT_TYPE": headers.get("content-type", ""), "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""), "GIT_PROTOCOL": headers.get("git-protocol", ""),
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        "git", "http-backend", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment
    )
    out, _ = await process.communicate(body)
    head, _, content = out.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    status = next((entry[8:] for entry in lines if entry.lower().startswith(b"status: ")), b"200 OK")
    kept = [entry for entry in lines if not entry.lower().startswith(b"status: ")]
    rest = b"".join(entry + b"\r\n" for entry in kept)
    writer.write(b"HTTP/1.1 " + status + b"\r\n" + rest + f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
    await writer.drain()
    return True


@contextlib.asynccontextmanager
async def ssh_server(root: Path) -> AsyncIterator[Served]:
    """Serve the repositories below a folder over ssh, to one key."""
    import asyncssh

    host_key, client_key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    allowed = asyncssh.import_authorized_keys(client_key.export_public_key().decode())

    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        words = shlex.split(process.command or "")
        assert words[0] == "git-upload-pack", words
        command = await asyncio.create_subprocess_exec(
            "git", "-c", "safe.directory=*", "upload-pack", words[1],
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert command.stdin is not None
        assert command.stdout is not None
        feeding = asyncio.create_task(_pump(process.stdin, command.stdin))
        while data := await command.stdout.read(65536):
            process.stdout.write(data)
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        process.exit(await command.wait())

    server = await asyncssh.create_server(
        asyncssh.SSHServer, "127.0.0.1", 0, server_host_keys=[host_key], authorized_client_keys=allowed,
        process_factory=run, encoding=None,
    )  # fmt: skip
    port = server.get_port()
    known = f"[127.0.0.1]:{port} {host_key.export_public_key().decode()}"
    try:
        yield Served(f"ssh://git@127.0.0.1:{port}", private_key=client_key.export_private_key().decode(), known_hosts=known)
    finally:
        server.close()
        await server.wait_closed()


async def _pump(reader: Any, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the loopback address that signs itself, and its key."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"
