"""The certificate authority of a controller: makes itself once, signs the server's certificate and those of users.

    DATA_DIR/pki/ca.pem       key and certificate, 0600: whoever has it can be anybody
    DATA_DIR/pki/ca.crt       the certificate alone, for clients; made again from ca.pem at every start

Key and certificate are one file, written beside and renamed, so that no crash leaves one without the other.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
BACKDATED = timedelta(minutes=5)
"""Clocks of clients may be a little behind."""
MAX_NAME = 64
"""Characters of a common name; X.509's limit."""


class PkiError(Exception):
    """A certificate or key cannot be used. The message names the file and what to do."""


class Pair(NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates. Load it with `open_authority`."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @property
    def pem(self) -> bytes:
        """The certificate that clients trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, names: Iterable[str], days: float) -> Pair:
        """A certificate for a server with these host names and addresses."""
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plum-controller")])
        return self._issue(subject, days, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client(self, user: str, groups: Sequence[str], days: float) -> Pair:
        """A certificate that proves a user with these groups. Raises `ValueError` for a name that does not fit in."""
        if not 0 < len(user) <= MAX_NAME or any(not 0 < len(group) <= MAX_NAME for group in groups):
            raise ValueError(f"names of users and groups in certificates have 1 to {MAX_NAME} characters; use a token")
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._issue(subject, days, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate is one of ours."""
        try:
            certificate.verify_directly_issued_by(self._certificate)
        except Exception:
            return False
        return True

    def _issue(
        self, subject: x509.Name, days: float, usage: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        until = min(now + timedelta(days=days), self._certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return Pair(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), _key_pem(key))


def open_authority(directory: Path) -> Authority:
    """The authority in a folder, made if there is none. Raises `PkiError`."""
    path = directory / "ca.pem"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _refuse_lost_key(directory)
            pair = _make()
            write_private(path, pair.key + pair.certificate)
        key, certificate = read_pair(path)
        authority = Authority(key, certificate)
        _write(directory / "ca.crt", authority.pem, 0o644)
    except OSError as error:
        raise PkiError(f"{error.filename}: {error.strerror}") from error
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise PkiError(f"{path}: the authority has expired; remove it to make a new one, and give everybody new kubeconfigs")
    return authority


def _refuse_lost_key(directory: Path) -> None:
    if (directory / "ca.crt").exists():
        raise PkiError(
            f"{directory / 'ca.pem'} is missing, but {directory / 'ca.crt'} says that there was an authority. Put it back from a "
            "backup, or remove ca.crt to make a new authority: all certificates and kubeconfigs of the old one end then"
        )


def _make() -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"plum-ca-{now:%Y%m%d%H%M%S}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def read_pair(path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Key and certificate of one of our own files. Raises `PkiError`, `OSError`."""
    content = path.read_bytes()
    try:
        key = serialization.load_pem_private_key(content, None)
        certificate = x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise PkiError(f"{path}: is damaged ({error}); put it back from a backup, or remove it to have a new one made") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise PkiError(f"{path}: key and certificate do not belong together; remove the file to have a new one made")
    return key, certificate


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads: beside, flushed, and renamed."""
    _write(path, content, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
