"""Token: a bearer token of a user or a service account. What is stored is its hash; the token is shown once.

create, without a hash -> the server makes the token -> answer with status.token, stored with spec.hash
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, field

from plum_schemas.base import Column, KindInfo, Object, Struct
from plum_schemas.markers import ATOMIC
from plum_schemas.validation import FieldError, forbidden, required


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
    expires_at: datetime | None = None
    """When it ends; never if absent."""
    description: Annotated[str, Meta(max_length=256)] = ""
    """What it is for."""


class Token(Object):
    """A bearer token. Deleting it takes effect at once."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Token",
        plural="tokens",
        namespaced=False,
        has_status=False,
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

    def validate(self, old: Token | None) -> Iterator[FieldError]:
        spec = self.spec
        if not spec.user:
            yield required("spec.user", "whose token it is")
        if old is None:
            return
        before = old.spec
        for name in ("user", "groups", "uid", "hash"):
            if getattr(spec, name) != getattr(before, name):
                yield forbidden(f"spec.{name}", "may not be changed; make another token")
        if before.expires_at is not None and (spec.expires_at is None or spec.expires_at > before.expires_at):
            yield forbidden("spec.expiresAt", "may only be made earlier; make another token")


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
