"""From what a request carries to who makes it.

    Authorization: Bearer plum_... --sha256--> Token object --> Identity     expired, unknown: 401
    Cookie: plum-session=... -------sha256--> Token with spec.login --> Identity     (`api/ui/sessions.py`)
    client certificate (verified by TLS) --CN, O--> Identity               of a node: its Token object must be there, or 401
    nothing, over plain HTTP on loopback --> the local user          over TLS --> anonymous

Tokens are found by their hash in one look; they hold 256 random bits, so a plain SHA-256 cannot be turned back. A failed
attempt costs the address it came from: after some of them it waits.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from plum_controller.api.access import unauthorized
from plum_controller.api.identity import (
    ACCOUNT_PREFIX,
    ANONYMOUS,
    AUTHENTICATED,
    BOOTSTRAPPERS,
    NODES,
    Identity,
    account_identity,
)
from plum_controller.api.limits import PeerRate
from plum_controller.resources.encode import decode
from plum_controller.store.base import Key
from plum_controller.store.cache import WatchCache, Watcher, WatchEvent

if TYPE_CHECKING:
    import ssl

PREFIX = "plum_"
"""So that scanners of source code and logs recognise a token that should not be there."""
FAILURES_PER_SECOND = 5
TOKENS = "tokens.plum.dev"
ACCOUNTS_RESOURCE = "serviceaccounts"


class _Known(NamedTuple):
    name: str
    user: str
    groups: tuple[str, ...]
    uid: str
    expires: float
    use: str
    """`bearer`, `session` or `link`: each is good for that and for nothing else."""
    parent: str
    """The Token that a login was opened with."""


def new_token() -> tuple[str, str]:
    """A token and its hash."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, hash_of(token)


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Authenticator:
    """Knows the tokens that there are, from `follow` to `close`."""

    def __init__(self) -> None:
        self._by_hash: dict[str, _Known] = {}
        self._hashes: dict[str, str] = {}
        """What proves each Token: the hash of a token, or that of a certificate."""
        self._certified: dict[str, Identity] = {}
        """By the hash of a certificate."""
        self._certificates: dict[str, str] = {}
        """By name of the Token that stands for it."""
        self._children: dict[str, set[str]] = {}
        """Logins by the Token that they were opened with."""
        self._cache: WatchCache | None = None
        self._watchers: list[Watcher] = []
        self._failures = PeerRate(FAILURES_PER_SECOND)
        self.on_revoked: Callable[[str], None] = lambda credential: None
        """Told the name of a Token that is no longer worth anything."""

    def follow(self, cache: WatchCache) -> None:
        """Know all tokens, and from now on every change before it is answered."""
        self._cache = cache
        self._watchers.append(cache.watch(TOKENS, "", None, None, None, self._token_changed))
        self._watchers.append(cache.watch(ACCOUNTS_RESOURCE, "", None, None, None, self._account_changed))

    def close(self) -> None:
        """Stop following. Safe to repeat."""
        for watcher in self._watchers:
            watcher.close()
        self._watchers.clear()

    def bearer(self, header: bytes, peer: str) -> Identity:
        """Whose token an `Authorization` header carries. Raises `ApiStatusError` 401, 429 for too many failures."""
        scheme, _, token = header.decode("latin-1").strip().partition(" ")
        identity = self.identity_of(token.strip()) if scheme.lower() == "bearer" else None
        if identity is None:
            self.count_failure(peer)
            raise unauthorized("this token is not known here; it may have been revoked, or it has expired")
        return identity

    def count_failure(self, peer: str) -> None:
        """Remember an attempt that failed. Raises `ApiStatusError` 429 when an address has made too many."""
        self._failures.take(peer)

    def identity_of(self, token: str) -> Identity | None:
        """Whose token it is; None when it is worth nothing."""
        return self._known(token, "bearer")

    def session_of(self, secret: str) -> Identity | None:
        """Whose session a cookie is; None when it has ended."""
        return self._known(secret, "session")

    def link_of(self, code: str) -> tuple[Identity, str] | None:
        """Who a one-time link lets in, and the Token behind it; None when it is worth nothing."""
        identity = self._known(code, "link")
        return None if identity is None else (identity, self._by_hash[hash_of(code)].parent)

    def _known(self, secret: str, use: str) -> Identity | None:
        known = self._by_hash.get(hash_of(secret))
        if known is None or known.use != use or (known.expires and known.expires <= time.time()):
            return None
        if known.parent and known.parent not in self._hashes:
            return None
        if known.user.startswith(ACCOUNT_PREFIX):
            return self._account(known)
        groups = known.groups if {AUTHENTICATED, BOOTSTRAPPERS} & set(known.groups) else (*known.groups, AUTHENTICATED)
        return Identity(known.user, groups, known.uid, credential=known.name, expires=known.expires)

    def certified(self, shown: Identity) -> Identity:
        """Who somebody is who showed this certificate. Those of nodes count as long as their Token objects are there.
        Raises `ApiStatusError` 401."""
        if NODES not in shown.groups:
            return shown
        known = self._certified.get(shown.certificate)
        if known is None or known.name != shown.name or known.expires <= time.time():
            raise unauthorized(
                f"the certificate of {shown.name} is not worth anything here any more; it was revoked, replaced, or has expired. "
                f"Let the node join again: plum node token create --node {shown.node or 'NAME'}"
            )
        return known

    def certificate_of(self, credential: str) -> str:
        """The hash of the certificate that a Token stands for, also in the moment in which it goes; empty for other Tokens."""
        return self._certificates.get(credential, "")

    def is_valid(self, credential: str) -> bool:
        """Whether the Token of this name is still there; always for those who came without one."""
        return not credential or credential in self._hashes

    def _account(self, known: _Known) -> Identity | None:
        """A service account must still be the one that the token was made for."""
        namespace, _, name = known.user.removeprefix(ACCOUNT_PREFIX).partition(":")
        entry = self._cache.get(Key(ACCOUNTS_RESOURCE, namespace, name)) if self._cache is not None else None
        if entry is None:
            return None
        uid = decode(entry.value)["metadata"]["uid"]
        if known.uid and known.uid != uid:
            return None
        return account_identity(namespace, name, uid, known.name, known.expires)

    def _token_changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            name = event.entry.key.name
            old = self._hashes.pop(name, None)
            if old is not None:
                self._by_hash.pop(old, None)
                self._certified.pop(old, None)
            data = decode(event.entry.value)
            spec, metadata = data["spec"], data["metadata"]
            if event.type == "DELETED" or "deletionTimestamp" in metadata:
                self._end_children(name)
                self.on_revoked(name)
                self._certificates.pop(name, None)
                continue
            digest, certificate = spec.get("hash"), spec.get("certificate")
            if not digest and not certificate:
                continue
            expires, groups = _seconds(spec.get("expiresAt")), tuple(spec.get("groups") or ())
            self._hashes[name] = digest or certificate
            if digest:
                login = spec.get("login")
                use = "bearer" if login is None else "link" if login.get("link") else "session"
                parent = (login or {}).get("parent") or ""
                self._by_hash[digest] = _Known(name, spec["user"], groups, spec.get("uid") or "", expires, use, parent)
                if parent:
                    self._children.setdefault(parent, set()).add(name)
            elif expires:
                self._certificates[name] = certificate
                self._certified[certificate] = Identity(
                    spec["user"], (*groups, AUTHENTICATED), credential=name, certificate=certificate, expires=expires
                )
            if old is not None and expires and expires <= time.time():
                self.on_revoked(name)

    def _end_children(self, name: str) -> None:
        """A Token goes: the logins that were opened with it are worth nothing from now on, before they are deleted."""
        for child in self._children.pop(name, ()):
            digest = self._hashes.pop(child, None)
            if digest is not None:
                self._by_hash.pop(digest, None)
                self._end_children(child)
                self.on_revoked(child)

    def _account_changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            if event.type == "DELETED":
                key = event.entry.key
                user = f"{ACCOUNT_PREFIX}{key.namespace}:{key.name}"
                for known in list(self._by_hash.values()):
                    if known.user == user:
                        self.on_revoked(known.name)


def certificate_identity(shown: ssl.SSLObject | None) -> Identity:
    """The user of the client certificate that TLS has verified: its common name, with its organisations as groups."""
    certificate: Any = None if shown is None else shown.getpeercert()
    if not certificate or shown is None:
        return ANONYMOUS
    name, groups = "", []
    for part in certificate.get("subject", ()):
        for field, value in part:
            if field == "commonName":
                name = value
            elif field == "organizationName":
                groups.append(value)
    if not name:
        return ANONYMOUS
    digest = hashlib.sha256(shown.getpeercert(binary_form=True) or b"").hexdigest()
    return Identity(name, (*groups, AUTHENTICATED), certificate=digest)


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
