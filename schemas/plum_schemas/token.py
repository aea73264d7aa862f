"""Token: what proves who somebody is. A bearer token, a token to join with, the certificate of a node, or a browser's session.

create, without a hash -> the server makes the token -> answer with status.token, stored with spec.hash
create, with spec.join -> the same, for one node, once          -> status.used says who came
a browser logs in      -> a Token with spec.login: deleting it ends the session
the node joins         -> a Token with spec.certificate: deleting it ends the certificate
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, field

from plum_schemas.base import Column, KindInfo, Object, Struct
from plum_schemas.markers import ATOMIC
from plum_schemas.validation import FieldError, forbidden, invalid, required

BOOTSTRAP_PREFIX = "system:bootstrap:"
"""User names of tokens to join with begin so."""
BOOTSTRAPPERS = "system:bootstrappers"
"""Their only group."""


class JoinSpec(Struct):
    """What a token to join with is good for: one certificate of one node."""

    node: str = ""
    """Name of the only node that may join with it. Empty: any node that is not known yet."""


class LoginSpec(Struct):
    """How a browser was logged in. The cookie of a session counts as a cookie only, and a link opens one session."""

    link: bool = False
    """A one-time link that opens a session, and is deleted by that. False: an open session."""
    parent: Annotated[str, Meta(max_length=253)] = ""
    """Name of the Token that it was opened with; this one ends with that. Empty: a certificate, or a person at this machine."""
    address: Annotated[str, Meta(max_length=64)] = ""
    """Address that it was opened from."""
    user_agent: Annotated[str, Meta(max_length=256)] = ""
    """What the browser calls itself."""


class TokenSpec(Struct):
    """Whose token it is, and until when."""

    user: Annotated[str, Meta(max_length=253)]
    """User name: a person, `system:node:NAME`, or `system:serviceaccount:NAMESPACE:NAME`."""
    groups: Annotated[list[str], ATOMIC] = []
    """Groups the user belongs to when this token is used; `system:authenticated` comes by itself."""
    uid: str = ""
    """Uid of the service account: a token of one that was deleted and made again is worth nothing."""
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the token. Left out, the server makes a token and shows it once, in the answer's `status.token`."""
    certificate: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of a client certificate that counts instead of a token, as long as this object is there."""
    join: JoinSpec | None = None
    """Makes this a token to join with (`plum node token create`): good for nothing else, and for one node only."""
    login: LoginSpec | None = None
    """Makes this the session of a browser, or a one-time link to one (`plum ui`)."""
    expires_at: datetime | None = None
    """When it ends; never if absent."""
    description: Annotated[str, Meta(max_length=256)] = ""
    """What it is for."""


class JoinUse(Struct):
    """Who joined with a token."""

    node: str
    """Name of the node."""
    key: str
    """SHA-256 of its public key. Whoever holds this key may ask again; nobody else."""
    at: datetime
    """When it came."""
    address: str = ""
    """Address it came from."""


class TokenStatus(Struct):
    """What became of a token."""

    used: JoinUse | None = None
    """Who joined with it; absent until somebody has."""


class Token(Object):
    """A bearer token, a token to join with, a node's certificate, or a browser's session. Deleting it takes effect at once."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Token",
        plural="tokens",
        namespaced=False,
        columns=(
            Column("User", ".spec.user"),
            Column("Expires", ".spec.expiresAt"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Groups", ".spec.groups", priority=1),
            Column("Description", ".spec.description", priority=1),
        ),
        selectable_fields=(".spec.user",),
    )

    spec: TokenSpec
    """Whose it is."""
    status: TokenStatus = field(default_factory=TokenStatus)
    """What became of it."""

    def validate(self, old: Token | None) -> Iterator[FieldError]:
        spec = self.spec
        if not spec.user:
            yield required("spec.user", "whose token it is")
        if spec.certificate is not None and spec.hash is not None:
            yield forbidden("spec.hash", "a certificate counts instead of a token; leave one of them out")
        if spec.join is not None:
            yield from self._validate_join()
        if spec.login is not None:
            if spec.expires_at is None:
                yield required("spec.expiresAt", "a login must end")
            if spec.certificate is not None or spec.join is not None:
                yield forbidden("spec.login", "a certificate or a token to join with logs nobody in; leave one of them out")
        if old is None:
            return
        before = old.spec
        for name in ("user", "groups", "uid", "hash", "certificate", "join", "login"):
            if getattr(spec, name) != getattr(before, name):
                yield forbidden(f"spec.{name}", "may not be changed; make another token")
        if before.expires_at is not None and (spec.expires_at is None or spec.expires_at > before.expires_at):
            yield forbidden("spec.expiresAt", "may only be made earlier; make another token")

    def _validate_join(self) -> Iterator[FieldError]:
        spec = self.spec
        if not spec.user.startswith(BOOTSTRAP_PREFIX):
            yield invalid("spec.user", spec.user, f"whoever joins is {BOOTSTRAP_PREFIX}NAME until it has")
        if spec.groups != [BOOTSTRAPPERS]:
            yield invalid(
                "spec.groups", ",".join(spec.groups), f"a token to join with has the group {BOOTSTRAPPERS} and no other"
            )
        if spec.expires_at is None:
            yield required("spec.expiresAt", "a token to join with must end")
        if spec.certificate is not None:
            yield forbidden("spec.certificate", "a certificate does not join")


class ServiceAccountReference(Struct):
    """Names an object of the same namespace."""

    name: str = ""
    """Its name."""


class ServiceAccount(Object):
    """Who a program is. `kubectl create token NAME` gives it a token."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="ServiceAccount",
        plural="serviceaccounts",
        group="",
        short_names=("sa",),
        categories=(),
        has_status=False,
        has_generation=False,
        strategic_merge=True,
        columns=(Column("Age", ".metadata.creationTimestamp", "date"),),
    )

    secrets: list[ServiceAccountReference] = field(default_factory=list)
    """Secrets it may use; kept for Kubernetes' clients."""
    image_pull_secrets: list[ServiceAccountReference] = field(default_factory=list)
    """Secrets with credentials of image registries."""
    automount_service_account_token: bool | None = None
    """Kept for Kubernetes' clients."""
