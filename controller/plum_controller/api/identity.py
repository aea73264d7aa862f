"""Who makes a request, as far as the server knows.

loopback without credentials -> LOCAL        token, certificate -> Identity        TLS without credentials -> ANONYMOUS
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from plum_controller.domain.access import MASTERS

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
NODES = "system:nodes"
NODE_PREFIX = "system:node:"
BOOTSTRAPPERS = "system:bootstrappers"
"""Those with a token to join with: they get a certificate of a node with it, and nothing else."""
ACCOUNT_PREFIX = "system:serviceaccount:"
ACCOUNTS = "system:serviceaccounts"

NO_EXTRA: Mapping[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Identity:
    """A user with their groups."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NO_EXTRA)
    credential: str = ""
    """Name of the Token that proved it; empty for everything else."""
    expires: float = 0.0
    """Unix seconds after which the credential is worth nothing; 0 for never."""
    certificate: str = ""
    """SHA-256 of the client certificate that proved it; empty for everything else."""
    may_all: bool = field(init=False)
    """Member of `system:masters`: no rule is asked."""
    node: str = field(init=False)
    """The node this is the agent of; empty for everybody else."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "may_all", MASTERS in self.groups)
        is_node = NODES in self.groups and self.name.startswith(NODE_PREFIX)
        object.__setattr__(self, "node", self.name.removeprefix(NODE_PREFIX) if is_node else "")

    @property
    def is_anonymous(self) -> bool:
        return UNAUTHENTICATED in self.groups

    @property
    def account(self) -> tuple[str, str] | None:
        """Namespace and name of a service account."""
        if not self.name.startswith(ACCOUNT_PREFIX):
            return None
        namespace, _, name = self.name.removeprefix(ACCOUNT_PREFIX).partition(":")
        return (namespace, name) if namespace and name else None

    def seconds_left(self, asked: float | None) -> float | None:
        """How long a stream may last: as long as was asked for, and no longer than the credential. None: nobody says."""
        if not self.expires:
            return asked
        left = max(0.1, self.expires - time.time())
        return min(asked or left, left)

    def user_info(self) -> dict[str, object]:
        """As `authentication.k8s.io` shows a user."""
        info: dict[str, object] = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            info["uid"] = self.uid
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


def account_identity(namespace: str, name: str, uid: str, credential: str = "", expires: float = 0.0) -> Identity:
    """The identity of a service account."""
    groups = (ACCOUNTS, f"{ACCOUNTS}:{namespace}", AUTHENTICATED)
    return Identity(f"{ACCOUNT_PREFIX}{namespace}:{name}", groups, uid, credential=credential, expires=expires)


LOCAL = Identity("system:admin", (MASTERS, AUTHENTICATED))
"""Who a caller on loopback is: the person at this machine, who may do everything."""
CONTROLLER = Identity("system:plum-controller", (MASTERS, AUTHENTICATED))
"""The controllers inside this process."""
ANONYMOUS = Identity("system:anonymous", (UNAUTHENTICATED,))
