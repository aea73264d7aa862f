"""Logins of browsers: a token or a one-time link becomes a cookie, and a cookie becomes somebody.

    POST   /session        {"token": T} or {"link": L} --> Set-Cookie, who you are     (the link is used up)
    GET    /session        who you are, what unsafe requests must carry, until when; 401 when nobody is logged in
    DELETE /session        the session ends, with everything that goes on in it
    POST   /session/links  a link for who asks, or for {"user": U, "groups": [G]} they may act as; good once, for minutes

A session is a Token object with `spec.login`: stored as a hash, ended by deleting it, cleared away when its time is over, known
after a restart. It ends with the token it was opened with. Its cookie holds 256 random bits, is out of reach of scripts, and
is sent by this site's own pages only. Whatever changes something must in addition carry `X-Plum-CSRF`, which only a page that
may read our answers knows; a WebSocket, which cannot, must come from our own origin.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from plum_schemas.base import ObjectKey

from plum_controller.api.access import USER, Gate, unauthorized
from plum_controller.api.authentication import TOKENS, Authenticator, new_token
from plum_controller.api.bodies import read_object
from plum_controller.api.identity import AUTHENTICATED, BOOTSTRAPPERS, LOCAL, NODE_PREFIX, NODES, Identity
from plum_controller.api.limits import READING
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.resources.errors import ApiStatusError, Cause, invalid_option
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.service import ResourceService

PATH = ["session"]
LINKS_PATH = ["session", "links"]
PAGE = "/ui/login#link="
"""Where a link leads. What follows `#` is never sent to a server, so it is in nobody's log, and no program that looks at links
for people uses it up."""

SECURE_COOKIE = "__Host-plum-session"
"""Over TLS. The prefix makes browsers insist on `Secure`, on the path `/` and on this very host."""
LOCAL_COOKIE = "plum-session-"
"""On loopback, with the port behind it: cookies know no ports, and two controllers should not take each other's."""
CSRF = b"x-plum-csrf"
LINK_SECONDS = 600
MOST_LINK_SECONDS = 24 * 3600

_encode = msgspec.json.Encoder().encode


def cookie_name(secure: bool, host: bytes | None) -> str:
    """The name of our cookie on this listener."""
    if secure:
        return SECURE_COOKIE
    return LOCAL_COOKIE + ((host or b"").decode("latin-1").rpartition(":")[2] or "80")


def cookie_of(headers: Mapping[bytes, bytes], name: str) -> str:
    """The value of our cookie; empty without it."""
    for part in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        key, equals, value = part.strip().partition("=")
        if equals and key == name:
            return value
    return ""


def csrf_of(secret: str) -> str:
    """What unsafe requests of a session carry: follows from the cookie and does not lead back to it."""
    return hmac.new(secret.encode(), b"plum csrf", hashlib.sha256).hexdigest()[:32]


def identify(
    authenticator: Authenticator, secret: str, method: str, headers: Mapping[bytes, bytes], same_origin: bool | None
) -> Identity:
    """Who a cookie stands for. `same_origin`: what the request's Origin says, None without one; of a WebSocket.

    Raises `ApiStatusError` 401 for a session that has ended, 403 for a request that no page of ours made.
    """
    identity = authenticator.session_of(secret)
    if identity is None:
        raise unauthorized("this session has ended; log in again")
    if b"sec-websocket-key" in headers:
        if same_origin is not True:
            raise ApiStatusError(403, "Forbidden", "forbidden: with a session, a WebSocket is opened by a page of this server")
    elif method not in READING:
        shown = headers.get(CSRF, b"").decode("latin-1")
        if not hmac.compare_digest(shown, csrf_of(secret)):
            raise ApiStatusError(
                403,
                "Forbidden",
                "forbidden: X-Plum-CSRF is missing or is not this session's; send the csrfToken that GET /session tells",
            )
    return identity


class Sessions:
    """Answers `/session`."""

    def __init__(self, service: ResourceService, authenticator: Authenticator, gate: Gate, seconds: float) -> None:
        self._service = service
        self._gate = gate
        self._authenticator = authenticator
        self._seconds = seconds

    async def answer(self, request: ApiRequest, *, secure: bool, host: bytes | None) -> Answer | None:
        """None when the path is something else. `request.identity` is who shows a token or a certificate, or who is local;
        cookies are looked at here. Raises `ApiStatusError`."""
        if request.path == LINKS_PATH:
            if request.method != "POST":
                raise _not_allowed("POST")
            return await self._make_link(request, secure=secure, host=host)
        if request.path != PATH:
            return None
        name = cookie_name(secure, host)
        secret = cookie_of(request.headers, name)
        if request.method in ("GET", "HEAD"):
            return self._tell(request, secret)
        if request.method == "DELETE":
            return await self._end(request, secret, name)
        if request.method == "POST":
            return await self._begin(request, name)
        raise _not_allowed("GET, POST or DELETE")

    def _tell(self, request: ApiRequest, secret: str) -> Answer:
        identity = request.identity
        if secret:
            found = self._authenticator.session_of(secret)
            if found is None:
                raise unauthorized("this session has ended; log in again")
            identity = found
        if identity.is_anonymous:
            raise unauthorized("nobody is logged in")
        return Answer(_encode(_description(identity, secret if identity is not request.identity else "")), headers=_PRIVATE)

    async def _begin(self, request: ApiRequest, cookie: str) -> Answer:
        if CSRF not in request.headers:
            raise ApiStatusError(403, "Forbidden", "forbidden: a login carries X-Plum-CSRF, with any value: it keeps forms out")
        body, _ = read_object(request)
        token, link = body.get("token") or "", body.get("link") or ""
        if not isinstance(token, str) or not isinstance(link, str) or bool(token) == bool(link):
            raise invalid_option("Session", [Cause("FieldValueRequired", "Required value: a token, or a link", "token")])
        if token:
            identity = self._authenticator.identity_of(token.strip())
            parent = identity.credential if identity is not None else ""
        else:
            identity, parent = await self._use_link(link.strip())
        if identity is None or identity.node or BOOTSTRAPPERS in identity.groups:
            what = "token is not known here; it may have been revoked, or it has expired" if token else _USED
            self._authenticator.count_failure(request.peer)
            raise unauthorized(f"this {what}")
        secret, digest = new_token()
        ends = time.time() + self._seconds
        ends = min(ends, identity.expires) if token and identity.expires else ends
        agent = request.user_agent[:120]
        made = await self._store(
            identity,
            digest,
            ends,
            {"parent": parent, "address": request.peer, "userAgent": agent},
            f"browser session from {request.peer or 'this machine'}",
        )
        request.identity = session = Identity(identity.name, identity.groups, identity.uid, credential=made, expires=ends)
        secured = "; Secure" if cookie == SECURE_COOKIE else ""
        life = max(1, int(ends - time.time()))
        text = f"{cookie}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life}{secured}"
        return Answer(_encode(_description(session, secret)), 201, headers=((b"set-cookie", text.encode()), *_PRIVATE))

    async def _use_link(self, link: str) -> tuple[Identity | None, str]:
        """Whose link it is, and the token behind it. It is deleted first: of two that come with it, one is too late."""
        found = self._authenticator.link_of(link)
        if found is None:
            return None, ""
        identity, parent = found
        try:
            await self._delete(identity.credential)
        except ApiStatusError as error:
            if error.code != 404:
                raise
            return None, ""
        return identity, parent

    async def _end(self, request: ApiRequest, secret: str, cookie: str) -> Answer:
        identity = self._authenticator.session_of(secret) if secret else None
        if identity is not None:
            request.identity = identify(self._authenticator, secret, "DELETE", request.headers, None)
            try:
                await self._delete(identity.credential)
            except ApiStatusError as error:
                if error.code != 404:
                    raise
        secured = "; Secure" if cookie == SECURE_COOKIE else ""
        gone = f"{cookie}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{secured}"
        return Answer(b"{}", headers=((b"set-cookie", gone.encode()), *_PRIVATE))

    async def _make_link(self, request: ApiRequest, *, secure: bool, host: bytes | None) -> Answer:
        identity = request.identity
        if identity.is_anonymous:
            raise unauthorized("a link is made by somebody who is logged in: show a token or a client certificate")
        if identity.node or BOOTSTRAPPERS in identity.groups:
            raise ApiStatusError(403, "Forbidden", f"forbidden: {identity.name} is no person; it gets no link")
        body = read_object(request)[0] if request.body else {}
        if body.get("user"):
            identity = self._other(identity, body)
            request.impersonator, request.identity = request.identity.name, identity
        seconds = body.get("seconds", LINK_SECONDS)
        if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= MOST_LINK_SECONDS:
            message = f"Invalid value: {seconds}: use 1 to {MOST_LINK_SECONDS} seconds"
            raise invalid_option("SessionLink", [Cause("FieldValueInvalid", message, "seconds")])
        code, digest = new_token()
        ends = min(time.time() + seconds, identity.expires or float("inf"))
        details = {"link": True, "parent": identity.credential, "address": request.peer}
        await self._store(identity, digest, ends, details, "one-time link for a browser")
        base = f"{'https' if secure else 'http'}://{(host or b'').decode('latin-1')}"
        made = {"url": f"{base}{PAGE}{code}", "link": code, "user": identity.name, "expiresAt": _when(ends)}
        return Answer(_encode(made), 201, headers=_PRIVATE)

    def _other(self, identity: Identity, body: Mapping[str, Any]) -> Identity:
        """The user that a link is wanted for. Raises `ApiStatusError` 403 when who asks may not act as them."""
        user, groups = body["user"], body.get("groups") or []
        if not isinstance(user, str) or not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            message = "Invalid value: user is a name and groups a list of names"
            raise invalid_option("SessionLink", [Cause("FieldValueInvalid", message, "user")])
        if user.startswith(NODE_PREFIX) or NODES in groups or BOOTSTRAPPERS in groups:
            raise ApiStatusError(403, "Forbidden", f"forbidden: {user} is no person; it gets no link")
        return self._gate.impersonated(identity, {USER: user.encode()}, [*groups])

    async def _store(self, identity: Identity, digest: str, ends: float, login: dict[str, Any], description: str) -> str:
        """Keep a login; answers with its name."""
        word = "link" if login.get("link") else "session"
        stored = {
            "apiVersion": "plum.dev/v1",
            "kind": "Token",
            "metadata": {"generateName": f"{word}-"},
            "spec": {
                "user": identity.name,
                "groups": [group for group in identity.groups if group != AUTHENTICATED],
                "uid": identity.uid,
                "hash": digest,
                "login": {name: value for name, value in login.items() if value},
                "expiresAt": _when(ends),
                "description": description,
            },
        }
        kind = self._service.registry.require(TOKENS)
        outcome = await self._service.create(kind, "", stored, WriteOptions(field_manager="plum-controller"))
        name: str = msgspec.json.decode(outcome.value)["metadata"]["name"]
        return name

    async def _delete(self, name: str) -> None:
        await self._service.delete(self._service.registry.require(TOKENS), ObjectKey("", name), DeleteOptions())


_USED = "link is not worth anything (any more): it is good once and for some minutes. Make another: plum ui"
_PRIVATE = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


def _description(identity: Identity, secret: str) -> dict[str, Any]:
    told: dict[str, Any] = {"user": identity.name, "groups": list(identity.groups), "local": identity is LOCAL}
    if secret:
        told |= {"csrfToken": csrf_of(secret), "session": identity.credential}
    if identity.expires:
        told["expiresAt"] = _when(identity.expires)
    return told


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _not_allowed(methods: str) -> ApiStatusError:
    return ApiStatusError(405, "MethodNotAllowed", f"the server does not allow this method here; use {methods}")
