"""The certificate authority of a controller: makes itself once, signs the server's certificate and those of users and nodes.

    DATA_DIR/pki/ca.pem       key and certificate, 0600: whoever has it can be anybody
    DATA_DIR/pki/ca.crt       the certificate alone, for clients; made again from ca.pem at every start

Key and certificate are one file, written beside and renamed, so that no crash leaves one without the other.
"""

from __future__ import annotations

import hashlib
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
BACKDATED = timedelta(days=1)
"""Clocks of clients may be behind: those of machines that were off, or count summer twice, by hours."""
NODE_KEYS = (ec.SECP256R1, ec.SECP384R1)
"""Curves of keys that are signed for nodes: a weak key in the fleet is worth as much as the weakest."""
MAX_NAME = 64
"""Characters of a common name; X.509's limit."""


class PkiError(Exception):
    """A certificate or key cannot be used. The message names the file and what to do."""


class Pair(NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


class SigningRequest(NamedTuple):
    """What somebody wants to be signed. That they hold the private key has been proved."""

    user: str
    """The common name asked for; everything else in the request is ignored."""
    key_digest: str
    """SHA-256 of the public key."""
    key: ec.EllipticCurvePublicKey


class Signed(NamedTuple):
    """A certificate for somebody else's key."""

    pem: bytes
    digest: str
    """SHA-256 of the certificate, by which it is recognised."""
    expires: datetime


class Authority:
    """Signs certificates. Load it with `open_authority`."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._own = certificate

    @property
    def pem(self) -> bytes:
        """The certificate that clients trust."""
        return self._own.public_bytes(serialization.Encoding.PEM)

    def server(self, names: Iterable[str], days: float) -> Pair:
        """A certificate for a server with these host names and addresses."""
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plum-controller")])
        return self._issue(subject, days, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client(self, user: str, groups: Sequence[str], days: float) -> Pair:
        """A certificate that proves a user with these groups. Raises `ValueError` for a name that does not fit in."""
        return self._issue(_subject(user, groups), days, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def sign(self, request: SigningRequest, groups: Sequence[str], days: float) -> Signed:
        """A client certificate for a key that stays where it is. Raises `ValueError` for a name that does not fit in."""
        subject = _subject(request.user, groups)
        certificate = self._certificate(request.key, subject, timedelta(days=days), ExtendedKeyUsageOID.CLIENT_AUTH, None)
        digest = certificate.fingerprint(hashes.SHA256()).hex()
        return Signed(certificate.public_bytes(serialization.Encoding.PEM), digest, certificate.not_valid_after_utc)

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate is one of ours."""
        try:
            certificate.verify_directly_issued_by(self._own)
        except Exception:
            return False
        return True

    def _issue(
        self, subject: x509.Name, days: float, usage: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(key.public_key(), subject, timedelta(days=days), usage, names)
        return Pair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def _certificate(
        self,
        key: ec.EllipticCurvePublicKey,
        subject: x509.Name,
        life: timedelta,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._own.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(min(now + life, self._own.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def read_request(text: str) -> SigningRequest:
    """A signing request (PEM). Raises `PkiError` when it cannot be read, is not signed by its key, or has a key of a kind that is
    not signed."""
    try:
        request = x509.load_pem_x509_csr(text.encode())
        proved = request.is_signature_valid
        key = request.public_key()
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except Exception as error:  # the parser's errors have no common class
        raise PkiError(f"the signing request cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, NODE_KEYS):
        raise PkiError("the key of the signing request is not of a kind that is signed; make an ECDSA key on P-256")
    if not proved:
        raise PkiError("the signing request is not signed by its own key: whoever sent it does not hold the private key")
    if len(names) != 1:
        raise PkiError("the signing request must name one user, as its common name")
    public = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return SigningRequest(str(names[0].value), hashlib.sha256(public).hexdigest(), key)


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


def _subject(user: str, groups: Sequence[str]) -> x509.Name:
    if not 0 < len(user) <= MAX_NAME or any(not 0 < len(group) <= MAX_NAME for group in groups):
        raise ValueError(f"names of users and groups in certificates have 1 to {MAX_NAME} characters; use a token")
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])


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
