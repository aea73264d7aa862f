"""What every request passes before anybody looks at what it is about, whichever way it came in.

    Head, path, query --read--> host and origin, rate --> ApiRequest --judge--> who asks, whether they may
    what went wrong --refusal--> Answer --note--> audit log

Two steps, so that a refusal of the second one can be written down with what was asked.
"""

from __future__ import annotations

import logging

from plum_controller.api.access import GROUP, USER
from plum_controller.api.api import Api
from plum_controller.api.audit import REFUSED
from plum_controller.api.authentication import PREFIX
from plum_controller.api.heads import Head
from plum_controller.api.identity import ANONYMOUS, LOCAL, Identity
from plum_controller.api.limits import READING, HostGuard, InFlight, PeerRate
from plum_controller.api.requests import NO_QUERY, Answer, ApiRequest, error_answer, parse_query, split_path
from plum_controller.api.ui import sessions
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError, internal
from plum_controller.settings import Settings
from plum_controller.store.errors import StoreError

logger = logging.getLogger(__name__)

OWN_TOKEN = PREFIX.encode()


class Entrance:
    """The limits of one listener, and the identities and rights of its API."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self.api = api
        self.guard = HostGuard(settings.allowed_hosts)
        self.rate = PeerRate(settings.peer_rate)
        self.in_flight = InFlight(settings.reads_in_flight, settings.writes_in_flight)

    def read(self, method: str, raw_path: bytes, query_string: bytes, head: Head, peer: str, *, secure: bool) -> ApiRequest:
        """A request without its body. Raises `ApiStatusError` for one that nobody may make."""
        self.guard.check(head.host, head.origin, any_name=secure)
        self.rate.take(peer)
        return ApiRequest(
            method,
            split_path(raw_path),
            parse_query(query_string) if query_string else NO_QUERY,
            b"",
            head.accept,
            head.content_type,
            head.user_agent,
            LOCAL,
            head.rest,
            peer,
            raw_path,
        )

    def judge(self, request: ApiRequest, head: Head, shown: Identity | None) -> None:
        """Find out who asks, and whether they may. `shown` is who a client certificate names, None without TLS. Raises
        `ApiStatusError`."""
        headers = head.rest
        if shown is not None or b"authorization" in headers or b"cookie" in headers:
            request.identity = ANONYMOUS
            request.identity = self._identity(request, head, shown)
        if USER in headers or GROUP in headers:
            request.impersonator = request.identity.name
            request.identity = self.api.gate.impersonated(request.identity, headers, list(head.groups))
        if request.path[0] != "session":  # judged where it is answered
            self.api.gate.check(request)

    def _identity(self, request: ApiRequest, head: Head, shown: Identity | None) -> Identity:
        """Who makes a request with credentials, or over TLS: a token counts before a cookie, a cookie before a certificate.
        Raises `ApiStatusError` 401, 403 for what no page of ours sent."""
        secure, headers, host, origin = shown is not None, head.rest, head.host, head.origin
        header = headers.get(b"authorization")
        # Over plain HTTP on loopback only our own tokens count: clients send whatever their configuration holds.
        if header is not None and (secure or OWN_TOKEN in header):
            return self.api.authenticator.bearer(header, request.peer)
        if b"cookie" in headers and request.path != sessions.PATH:
            secret = sessions.cookie_of(headers, sessions.cookie_name(secure, host))
            if secret:
                same = None if origin is None or host is None else origin.lower().partition(b"://")[2] == host.lower()
                return sessions.identify(self.api.authenticator, secret, request.method, headers, same)
        if shown is None:
            return LOCAL
        return self.api.authenticator.certified(shown)

    def note(self, request: ApiRequest | None, answer: Answer, error: Exception | None = None) -> None:
        """Tell the audit log of an answer."""
        if request is None or (request.method in READING and answer.status not in REFUSED):
            return
        reason = error.reason if isinstance(error, ApiStatusError) else ""
        if request.path[0] == "session":
            self.api.audit.note_login(request, None, answer.status, reason)
        else:
            self.api.audit.note(request, answer.status, reason=reason, revision=answer.revision, body=answer.body)

    def refusal(self, error: Exception, method: str, path: str) -> Answer:
        """What is answered when an answer could not be made."""
        if isinstance(error, ApiStatusError):
            if error.code == 429:
                self.api.metrics.rejected += 1
            answer = error_answer(error)
            if error.code == 413:
                answer.headers += ((b"connection", b"close"),)
            return answer
        if isinstance(error, StoreError):
            logger.warning("store refused", extra=fields(path=path, error=str(error)))
            status = ApiStatusError(503, "ServiceUnavailable", f"the store does not answer: {error}", {"retryAfterSeconds": 1})
            return error_answer(status)
        logger.error("request failed", exc_info=error, extra=fields(method=method, path=path))
        return error_answer(internal(f"{type(error).__name__}; the server's log has more"))
