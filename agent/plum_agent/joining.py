"""One request for a certificate, as a process of its own: makes a key, proves that it has it, stores what it gets.

    stdin: Job -> key (kept until it has a certificate) -> signing request -> POST /agent/v1/join or /agent/v1/certificate
               -> node.pem, written beside, flushed and renamed -> stdout: Outcome

The key is on disk before anybody hears of it, so a lost answer, or a crash at any point, ends with the same request made
again. The token goes only to a controller whose authority is the one that the token names.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plum_agent.identity import FILE, Job, JoinToken, Outcome, Stored, render

SECONDS = 15.0
"""For one answer. Slow links are slower than any handshake."""
PENDING = "pending.pem"
FINAL = (400, 401, 403, 404, 405, 409, 413, 422)
"""Answers that asking again does not change."""


class RequestError(Exception):
    """No certificate came."""

    def __init__(self, message: str, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def main() -> int:
    """Do one job."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        perform(job)
        outcome = Outcome()
    except RequestError as error:
        outcome = Outcome(str(error), error.final)
    except OSError as error:
        outcome = Outcome(f"{error.filename or job.folder}: {error.strerror or error}")
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    return 0


def perform(job: Job) -> None:
    """Get a certificate and store it. Raises `RequestError`, `OSError`."""
    folder = Path(job.folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder):
        stored = Stored.load(folder)
        digest = JoinToken(job.token, job.pin).digest if job.token else stored.token if stored is not None else ""
        if job.token and stored is not None and stored.token == digest:
            (folder / PENDING).unlink(missing_ok=True)
            return  # the one before us got it, and may not have come to its end
        if not job.token and stored is None:
            raise RequestError(f"{folder / FILE} is gone; join again", final=True)
        key = _pending_key(folder)
        request = _signing_request(key, job.node)
        authority = _pinned_authority(job) if job.token else stored.authority if stored is not None else ""
        answer = _ask(job, authority, request)
        new = Stored(job.node, digest, time.time(), float(answer["lifeSeconds"]), str(answer.get("authority") or authority))
        _write_private(folder / FILE, render(new, key, str(answer["certificate"])))
        (folder / PENDING).unlink(missing_ok=True)


# ---- key and request


def _pending_key(folder: Path) -> str:
    """The key that the certificate will be for, as PEM: the one of the attempt before, if that had no answer."""
    path = folder / PENDING
    if path.exists():
        key = path.read_text(encoding="ascii")
        identity = folder / FILE
        if not identity.exists() or key.strip() not in identity.read_text(encoding="ascii"):
            return key
    made = ec.generate_private_key(ec.SECP256R1())
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key = made.private_bytes(serialization.Encoding.PEM, form, plain).decode()
    _write_private(path, key)
    return key


def _signing_request(key: str, node: str) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}")])
    try:
        private = serialization.load_pem_private_key(key.encode(), None)
    except ValueError as error:
        raise RequestError(f"{PENDING} is damaged ({error}); remove it", final=True) from error
    assert isinstance(private, ec.EllipticCurvePrivateKey)  # noqa: S101 -- we made it
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(private, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


# ---- the controller


def _pinned_authority(job: Job) -> str:
    """The controller's authority, read from whoever answers, and taken only if it is the one that the token names."""
    if not job.pin or job.ca_file:
        return ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    authority = str(_exchange(job, context, "GET", "/agent/v1/ca").get("authority") or "")
    try:
        found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority)).hexdigest()
    except ValueError:
        found = "none"
    if found != job.pin:
        raise RequestError(
            f"{job.controller} is not the controller that made this token, or somebody stands between: the SHA-256 of its "
            f"authority is {found}, and the token names {job.pin}. The token was not sent",
            final=True,
        )
    return authority


def _ask(job: Job, authority: str, request: str) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=job.ca_file or None, cadata=None if job.ca_file else authority or None)
    if job.token:
        return _exchange(job, context, "POST", "/agent/v1/join", request)
    context.load_cert_chain(Path(job.folder) / FILE)
    return _exchange(job, context, "POST", "/agent/v1/certificate", request)


def _exchange(job: Job, context: ssl.SSLContext, method: str, path: str, request: str = "") -> dict[str, Any]:
    parts = urlsplit(job.controller)
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port or 443, timeout=SECONDS, context=context)
    headers = {"Content-Type": "application/json", "User-Agent": "plum-agent-joining"}
    if request and job.token:
        headers["Authorization"] = f"Bearer {job.token}"
    body = msgspec.json.encode({"request": request}) if request else None
    try:
        connection.request(method, parts.path.rstrip("/") + path, body, headers)
        answer = connection.getresponse()
        status, content = answer.status, answer.read()
    except ssl.SSLCertVerificationError as error:
        raise _unverified(job, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise RequestError(f"{job.controller} does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    try:
        decoded = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.MsgspecError:
        decoded = {}
    if status >= 300:
        raise RequestError(str(decoded.get("message") or f"{job.controller} answered {status}"), status in FINAL)
    return decoded


def _unverified(job: Job, error: ssl.SSLCertVerificationError) -> RequestError:
    if error.verify_code in (9, 10):  # not valid yet, or no longer
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        return RequestError(f"{job.controller}: {error.verify_message}; the clock of this machine says {now}, is it right?")
    return RequestError(f"{job.controller} cannot be trusted: {error.verify_message}", final=True)


# ---- files


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time: an agent that is started again does not wait for the request of the one before it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_private(path: Path, content: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


if __name__ == "__main__":
    raise SystemExit(main())
