"""Questions about rights, of authorization.k8s.io/v1 and authentication.k8s.io/v1. They are answered and never stored."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from plum_schemas.base import KindInfo, Object, Struct
from plum_schemas.markers import SET


def _info(kind: str, group: str = "authorization.k8s.io", namespaced: bool = False) -> KindInfo:
    return KindInfo(
        kind=kind,
        plural=f"{kind.lower()}s",
        group=group,
        categories=(),
        namespaced=namespaced,
        has_status=False,
        has_generation=False,
    )


class ResourceAttributes(Struct):
    """A request for objects."""

    namespace: str = ""
    """Namespace; empty for all, or for cluster-wide kinds."""
    verb: str = ""
    """get, list, watch, create, update, patch, delete, ...; `*` is all."""
    group: str = ""
    """API group; `*` is all."""
    version: str = ""
    """API version; `*` is all."""
    resource: str = ""
    """Plural name of the kind; `*` is all."""
    subresource: str = ""
    """Subresource, such as `status`."""
    name: str = ""
    """Name of the object; empty for all."""


class NonResourceAttributes(Struct):
    """A request for a path."""

    path: str = ""
    """The path."""
    verb: str = ""
    """The method in lower case."""


class SelfAccessSpec(Struct):
    """May I do this?"""

    resource_attributes: ResourceAttributes | None = None
    """A request for objects."""
    non_resource_attributes: NonResourceAttributes | None = None
    """A request for a path."""


class AccessSpec(SelfAccessSpec):
    """May somebody do this?"""

    user: str = ""
    """Who."""
    groups: Annotated[list[str], SET] = []
    """Groups they belong to."""
    uid: str = ""
    """Unique id of the user."""
    extra: dict[str, list[str]] = {}
    """More about the user, from the authenticator."""


class AccessStatus(Struct):
    """The answer."""

    allowed: bool = False
    """A rule allows it."""
    denied: bool = False
    """Something forbids it, whatever the rules say."""
    reason: str = ""
    """Why."""
    evaluation_error: str = ""
    """What went wrong while the rules were read."""


class SelfSubjectAccessReview(Object):
    """May I do this?"""

    info: ClassVar[KindInfo] = _info("SelfSubjectAccessReview")

    spec: SelfAccessSpec
    """The question."""
    status: AccessStatus = field(default_factory=AccessStatus)
    """The answer."""


class SubjectAccessReview(Object):
    """May somebody do this?"""

    info: ClassVar[KindInfo] = _info("SubjectAccessReview")

    spec: AccessSpec
    """The question."""
    status: AccessStatus = field(default_factory=AccessStatus)
    """The answer."""


class LocalSubjectAccessReview(Object):
    """May somebody do this in one namespace?"""

    info: ClassVar[KindInfo] = _info("LocalSubjectAccessReview", namespaced=True)

    spec: AccessSpec
    """The question."""
    status: AccessStatus = field(default_factory=AccessStatus)
    """The answer."""


class RulesSpec(Struct):
    """What may I do in a namespace?"""

    namespace: str = ""
    """The namespace."""


class ResourceRule(Struct):
    """Verbs on resources that are allowed."""

    verbs: list[str]
    """Verbs; `*` is all."""
    api_groups: list[str] = []
    """API groups; `*` is all."""
    resources: list[str] = []
    """Plural names; `*` is all."""
    resource_names: list[str] = []
    """Names of objects; all if empty."""


class NonResourceRule(Struct):
    """Verbs on paths that are allowed."""

    verbs: list[str]
    """Verbs; `*` is all."""
    non_resource_urls: list[str] = field(default_factory=list, name="nonResourceURLs")
    """Paths; `*` is all."""


class RulesStatus(Struct):
    """The answer."""

    resource_rules: list[ResourceRule] = []
    """Verbs on resources that are allowed."""
    non_resource_rules: list[NonResourceRule] = []
    """Verbs on paths that are allowed."""
    incomplete: bool = False
    """There may be more."""
    evaluation_error: str = ""
    """What went wrong while the rules were read."""


class SelfSubjectRulesReview(Object):
    """What may I do in a namespace?"""

    info: ClassVar[KindInfo] = _info("SelfSubjectRulesReview")

    spec: RulesSpec
    """The question."""
    status: RulesStatus = field(default_factory=RulesStatus)
    """The answer."""


class UserInfo(Struct):
    """A user as the authenticator sees them."""

    username: str = ""
    """Name."""
    uid: str = ""
    """Unique id."""
    groups: list[str] = []
    """Groups they belong to."""
    extra: dict[str, list[str]] = {}
    """More, from the authenticator."""


class SelfStatus(Struct):
    """The answer."""

    user_info: UserInfo = field(default_factory=UserInfo)
    """Who you are."""


class SelfSubjectReview(Object):
    """Who am I?"""

    info: ClassVar[KindInfo] = _info("SelfSubjectReview", "authentication.k8s.io")

    status: SelfStatus = field(default_factory=SelfStatus)
    """The answer."""


class TokenSpec(Struct):
    """Whose token is this?"""

    token: str = ""
    """The token."""
    audiences: list[str] = []
    """For whom it must be meant."""


class TokenStatus(Struct):
    """The answer."""

    authenticated: bool = False
    """The token is valid."""
    user: UserInfo = field(default_factory=UserInfo)
    """Whose it is."""
    audiences: list[str] = []
    """For whom it is meant."""
    error: str = ""
    """Why it could not be checked."""


class TokenReview(Object):
    """Whose token is this?"""

    info: ClassVar[KindInfo] = _info("TokenReview", "authentication.k8s.io")

    spec: TokenSpec
    """The question."""
    status: TokenStatus = field(default_factory=TokenStatus)
    """The answer."""
