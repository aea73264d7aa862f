"""The TLS side of a listener: its certificate, made and renewed by our authority or brought by the operator.

    Serving.refresh (at the start, then every minute) -> a new file? a new certificate due? -> the same SSL context, reloaded

Connections that are open go on with what they began with; new ones get the new certificate. The listener never closes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from plum_controller.logs import fields
from plum_controller.pki.authority import Authority, Pair, PkiError, open_authority, read_pair, write_private

logger = logging.getLogger(__name__)

SERVER_DAYS = 365
ADMIN_DAYS = 365
RENEW_AT = 2 / 3
"""Share of its life after which a certificate of ours is made anew."""
REFRESH_SECONDS = 60.0
ADMIN = "plum-admin"
MASTERS = "system:masters"


class Serving:
    """Owns the folder `pki` of a data folder."""

    def __init__(
        self,
        directory: Path,
        names: Sequence[str] = (),
        certificate_file: str = "",
        key_file: str = "",
        days: float = SERVER_DAYS,
    ) -> None:
        """`names` come on top of those of this machine. With `certificate_file` that is served instead of our own."""
        self.authority: Authority = open_authority(directory)
        self._directory = directory
        self._names = sorted({*own_names(), *names})
        self._days = days
        self._files = (certificate_file, key_file or certificate_file) if certificate_file else None
        self._loaded: object = None
        self._task: asyncio.Task[None] | None = None
        self.context = self._make_context()
        self.refresh()

    def refresh(self) -> None:
        """Take a changed certificate file, or renew our own when it is time. Raises `PkiError`; the old one stays then."""
        if self._files is None:
            path = self._directory / "server.pem"
            self._renew(path)
            files = (str(path), str(path))
        else:
            files = self._files
        try:
            state = tuple((file, Path(file).stat().st_mtime_ns, Path(file).stat().st_ino) for file in files)
            if state == self._loaded:
                return
            self.context.load_cert_chain(*files)
        except (OSError, ssl.SSLError) as error:
            raise PkiError(f"the server's certificate {files[0]} cannot be used: {error}") from error
        self._loaded = state

    def start(self) -> None:
        """Refresh every minute."""
        self._task = asyncio.create_task(self._keep_fresh(), name="certificates")

    async def stop(self) -> None:
        """Safe to repeat."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def pair(self) -> tuple[bytes, bytes]:
        """Key and certificate chain as they are served now, for listeners that are not made of our context. Raises `OSError`."""
        certificate, key = self._files or (str(self._directory / "server.pem"),) * 2
        return Path(key).read_bytes(), Path(certificate).read_bytes()

    @property
    def trust(self) -> bytes:
        """What clients need to trust us; empty for a certificate that the operator brought."""
        return b"" if self._files is not None else self.authority.pem

    def admin(self) -> Pair:
        """The certificate of this machine's administrator; kept, and made anew when a third of its life is left."""
        path = self._directory / "admin.pem"
        found = self._valid(path)
        if found is None:
            pair = self.authority.client(ADMIN, [MASTERS], ADMIN_DAYS)
            write_private(path, pair.key + pair.certificate)
            return pair
        content = path.read_bytes()
        at = content.index(b"-----BEGIN CERTIFICATE")
        return Pair(content[at:], content[:at])

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                self.refresh()
            except (PkiError, OSError) as error:
                logger.error("certificate was not renewed", extra=fields(error=str(error)))

    def _renew(self, path: Path) -> None:
        found = self._valid(path)
        if found is not None and _names_of(found) >= set(self._names):
            return
        pair = self.authority.server(self._names, self._days)
        write_private(path, pair.key + pair.certificate)

    def _valid(self, path: Path) -> x509.Certificate | None:
        """A certificate of our authority that is still young enough."""
        try:
            _, certificate = read_pair(path)
        except (PkiError, OSError):
            return None
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if datetime.now(UTC) > begin + (end - begin) * RENEW_AT or not self.authority.signed(certificate):
            return None
        return certificate

    def _make_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self.authority.pem.decode())
        context.set_alpn_protocols(["http/1.1"])
        return context


def own_names() -> set[str]:
    """Names and addresses at which clients may reach this machine."""
    names = {"localhost", "127.0.0.1", "::1", socket.gethostname().lower(), socket.getfqdn().lower()}
    try:
        found = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        found = []
    names |= {str(address[4][0]).partition("%")[0] for address in found}
    names |= {_routed(socket.AF_INET, "192.0.2.1"), _routed(socket.AF_INET6, "2001:db8::1")}
    return {name for name in names if name}


def outside_address() -> str:
    """The address from which this machine speaks to others; its name if it has none."""
    return _routed(socket.AF_INET, "192.0.2.1") or _routed(socket.AF_INET6, "2001:db8::1") or socket.gethostname().lower()


def _routed(family: socket.AddressFamily, target: str) -> str:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:  # sends nothing: only asks the routing table
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _names_of(certificate: x509.Certificate) -> set[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}
