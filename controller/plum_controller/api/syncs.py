"""Plans of Syncs and the webhook that makes one read its repository at once.

    GET  /apis/plum.dev/v1/namespaces/NS/syncs/NAME/plan     what a sync would do now
    POST /hooks/NS/syncs/NAME                                signed with the secret of spec.source.git.webhookSecretRef

The Sync controller answers; where it does not run in this process, both say so.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import Any, Protocol

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.sync import Sync

from plum_controller.api.limits import PeerRate
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError, method_not_allowed, not_found, unavailable
from plum_controller.sources.base import SourceError

logger = logging.getLogger(__name__)

OBJECTS = ["apis", "plum.dev", "v1", "namespaces"]
HOOKS = "hooks"
FAILURES_PER_SECOND = 5
"""Of one address: calls of webhooks that are not genuine."""


class Syncs(Protocol):
    """What the Sync controller offers."""

    async def plan(self, key: ObjectKey) -> dict[str, Any] | None:
        """What a sync would do now; None when there is no such Sync. Raises `SourceError`."""

    def webhook_secret(self, key: ObjectKey) -> str:
        """What calls of its webhook are signed with; empty when it has none. Raises `SourceError`."""

    def source_changed(self, key: ObjectKey) -> None:
        """Have its source read again."""


class SyncsApi:
    """Answers these routes."""

    def __init__(self) -> None:
        self.syncs: Syncs | None = None
        """Set while the controller runs."""
        self._failures = PeerRate(FAILURES_PER_SECOND)

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None when the path is none of these. Raises `ApiStatusError`."""
        path = request.path
        if len(path) == 4 and path[0] == HOOKS and path[2] == "syncs":
            return self._hook(request, ObjectKey(path[1], path[3]))
        if len(path) == 8 and path[:4] == OBJECTS and path[5] == "syncs" and path[7] == "plan":
            if request.method not in ("GET", "HEAD"):
                raise method_not_allowed(Sync.info, request.method.lower(), path[6])
            return await self._plan(ObjectKey(path[4], path[6]))
        return None

    async def _plan(self, key: ObjectKey) -> Answer:
        try:
            plan = await self._running().plan(key)
        except SourceError as error:
            raise ApiStatusError(422, "Invalid", f"sync {key.name} cannot be planned: {error}", {}) from error
        if plan is None:
            raise not_found(Sync.info, key.name)
        return Answer(msgspec.json.encode(plan))

    def _hook(self, request: ApiRequest, key: ObjectKey) -> Answer:
        if request.method != "POST":
            raise ApiStatusError(405, "MethodNotAllowed", "this webhook takes POST requests")
        syncs = self._running()
        try:
            secret = syncs.webhook_secret(key)
        except SourceError as error:
            raise unavailable(str(error)) from error
        if not secret or not _genuine(request, secret):
            self._failures.take(request.peer)
            logger.warning("webhook refused", extra=fields(key=key, peer=request.peer))
            raise ApiStatusError(
                401, "Unauthorized", "Unauthorized: no such webhook, or the signature is not that of this request", {}
            )
        syncs.source_changed(key)
        return Answer(b"", status=202)

    def _running(self) -> Syncs:
        if self.syncs is None:
            raise unavailable("the Sync controller does not run in this process")
        return self.syncs


def _genuine(request: ApiRequest, secret: str) -> bool:
    """GitHub's and Gitea's signature over the body, or GitLab's token."""
    signature = request.headers.get(b"x-hub-signature-256", b"").strip()
    expected = b"sha256=" + hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest().encode()
    token = request.headers.get(b"x-gitlab-token", b"").strip()
    return hmac.compare_digest(signature, expected) or hmac.compare_digest(token, secret.encode())
