"""How a machine becomes a node and stays one: certificates for keys that never leave the node.

    GET  /agent/v1/ca            anybody                             -> the authority; a token to join with names its SHA-256
    POST /agent/v1/join          token to join with, signing request -> certificate, once
    POST /agent/v1/certificate   current certificate, request        -> the next certificate

Each certificate is a Token object with `spec.certificate`: deleting that is revoking it. Every step may be repeated, because
answers get lost: a token that was used gives certificates to the same key again, and to no other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.names import is_subdomain
from plum_schemas.selectors import FieldRequirement, FieldSelector

from plum_controller.api.authentication import TOKENS
from plum_controller.api.identity import NODE_PREFIX, NODES
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.logs import fields
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import ApiStatusError, bad_request, too_large, unprocessable
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Key

if TYPE_CHECKING:
    from plum_controller.pki.authority import Authority, SigningRequest

logger = logging.getLogger(__name__)

KEY_ANNOTATION = "plum.dev/public-key"
"""On the Token of a certificate: SHA-256 of the public key."""
MANAGER = "plum-controller"
MOST_CERTIFICATES = 16
"""Of one node that count at the same time. There are more than two only when answers get lost."""
MOST_BYTES = 16 * 1024
"""Of a request. Ours has 500."""
ATTEMPTS = 5
"""To write down who uses a token, when several do at once."""


class Joining:
    """Answers what is asked below `/agent/v1`. Without a listener with TLS it refuses, and says so."""

    def __init__(self, service: ResourceService, days: float) -> None:
        """`days` is the life of a certificate."""
        self._service = service
        self._days = days
        self._authority: Authority | None = None
        self._trust = ""
        self._controller = ""

    def open(self, authority: Authority, trust: str, controller: str) -> None:
        """From now on there is a listener with TLS. `trust` (PEM) is empty when its certificate is not of this authority."""
        self._authority, self._trust, self._controller = authority, trust, controller

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None: the path is about something else. Raises `ApiStatusError`."""
        name = request.path[2] if len(request.path) == 3 and request.path[1] == "v1" else ""
        if name not in ("ca", "join", "certificate"):
            return None
        if self._authority is None:
            text = "this controller has no listener with TLS, and nodes join over TLS only; start it with --secure-listen"
            raise ApiStatusError(409, "Conflict", text)
        if request.method != ("GET" if name == "ca" else "POST"):
            raise ApiStatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if name == "ca":
            return Answer(msgspec.json.encode({"authority": self._trust, "controller": self._controller}))
        wanted = _signing_request(request.body)
        return await (self._join(request, wanted) if name == "join" else self._renew(request, wanted))

    # ---- joining

    async def _join(self, request: ApiRequest, wanted: SigningRequest) -> Answer:
        node, token = _node_of(wanted), request.identity.credential
        for _ in range(ATTEMPTS):
            live = self._token(token)
            if live is None or live["spec"].get("join") is None:
                raise _refused(f"{request.user} has no token to join with; make one with plum node token create")
            if self._may_join(live, node, wanted.key_digest):
                break
            live["status"] = {"used": _use(node, wanted.key_digest, request.peer)}
            try:
                options = WriteOptions(field_manager=MANAGER, subresource="status", user=request.user)
                await self._service.update(self._kind, ObjectKey("", token), live, options)
            except ApiStatusError as error:
                if error.code != 409:
                    raise
                continue  # somebody was quicker: look at who that was
            logger.info("node joined", extra=fields(node=node, token=token, address=request.peer))
            break
        else:
            raise ApiStatusError(503, "ServiceUnavailable", "too many ask for this token at once", {"retryAfterSeconds": 1})
        # A name is one machine: what an earlier one was given under it ends, and whoever joins again gets a clean start.
        await self._end([one for one in self._certificates(node) if _key_of(one) != wanted.key_digest])
        return await self._issue(request, wanted, node)

    def _may_join(self, token: Json, node: str, key: str) -> bool:
        """Whether this key has joined with the token before; false: nobody has, and it may. Raises `ApiStatusError`."""
        bound, used = token["spec"]["join"].get("node"), (token.get("status") or {}).get("used")
        if bound and bound != node:
            raise _refused(f"this token is for node {bound!r} alone, and {node!r} asks; start the agent with --node {bound}")
        if used and (used["node"], used["key"]) != (node, key):
            raise ApiStatusError(
                409,
                "Conflict",
                f"this token was used at {used['at']} by node {used['node']!r} from {used.get('address') or 'this machine'}, "
                f"and is good for one node once. If that was not you, revoke it: plum node revoke {used['node']}. Another token: "
                f"plum node token create --node {node}",
            )
        if not used and not bound and (self._service.cache.get(Key("nodes.plum.dev", "", node)) or self._certificates(node)):
            raise _refused(
                f"there is a node {node!r} already, and this token is for a new one. To put this machine in its place, make a "
                f"token for this name: plum node token create --node {node}"
            )
        return bool(used)

    # ---- renewing

    async def _renew(self, request: ApiRequest, wanted: SigningRequest) -> Answer:
        identity, node = request.identity, _node_of(wanted)
        current = self._token(identity.credential) if identity.certificate else None
        if current is None:
            raise _refused(f"{request.user} has no certificate of a node to renew; join with plum node token create")
        if node != identity.node:
            raise _refused(f"the agent of node {identity.node!r} gets no certificate of node {node!r}")
        # Whoever shows this certificate has it on disk, so those before it are needed no more.
        before = current["metadata"]["creationTimestamp"]
        certificates = self._certificates(node)
        older = [one for one in certificates if one["metadata"]["creationTimestamp"] < before]
        await self._end(older)
        return await self._issue(request, wanted, node)

    # ---- certificates

    async def _issue(self, request: ApiRequest, wanted: SigningRequest, node: str) -> Answer:
        assert self._authority is not None  # noqa: S101 -- looked at first
        try:
            signed = self._authority.sign(wanted, [NODES], self._days)
        except ValueError as error:
            raise unprocessable(f"node {node!r} can have no certificate: {error}") from error
        known = sorted(self._certificates(node), key=lambda one: int(one["metadata"]["resourceVersion"]))
        used = request.identity.credential
        surplus = [one for one in known if one["metadata"]["name"] != used][: max(0, len(known) - MOST_CERTIFICATES + 1)]
        await self._end(surplus)
        name = f"node-{node}-{signed.digest[:10]}"
        stored = {
            "apiVersion": "plum.dev/v1",
            "kind": "Token",
            "metadata": {
                "name": name,
                "annotations": {KEY_ANNOTATION: wanted.key_digest},
            },
            "spec": {
                "user": NODE_PREFIX + node,
                "groups": [NODES],
                "certificate": signed.digest,
                "expiresAt": signed.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "description": f"certificate, issued to {request.peer or 'this machine'}",
            },
        }
        await self._service.create(self._kind, "", stored, WriteOptions(field_manager=MANAGER, user=request.user))
        logger.info("certificate issued", extra=fields(node=node, token=name, address=request.peer))
        life = (signed.expires - datetime.now(UTC)).total_seconds()
        answer = {"certificate": signed.pem.decode(), "authority": self._trust, "lifeSeconds": life}
        return Answer(msgspec.json.encode(answer), status=201, headers=((b"cache-control", b"no-store"),))

    def _certificates(self, node: str) -> list[Json]:
        """The Tokens of a node's certificates."""

        def found() -> Iterator[Json]:
            whose = FieldSelector([FieldRequirement("spec.user", "=", NODE_PREFIX + node)])
            for entry in self._service.cache.list(TOKENS, "", None, whose):
                token = decode(entry.value)
                if token["spec"].get("certificate"):
                    yield token

        return list(found())

    async def _end(self, tokens: list[Json]) -> None:
        """Delete Tokens. Those that are gone already are no error."""
        for token in tokens:
            name = token["metadata"]["name"]
            try:
                await self._service.delete(self._kind, ObjectKey("", name), DeleteOptions(user=MANAGER))
            except ApiStatusError as error:
                if error.code != 404:
                    raise
            logger.info("certificate replaced", extra=fields(token=name))

    @property
    def _kind(self) -> Any:
        return self._service.registry.require(TOKENS)

    def _token(self, name: str) -> Json | None:
        entry = self._service.cache.get(Key(TOKENS, "", name)) if name else None
        return None if entry is None else decode(entry.value)


def _signing_request(body: bytes) -> SigningRequest:
    """The request in a body. Raises `ApiStatusError`."""
    from plum_controller.pki.authority import PkiError, read_request

    if len(body) > MOST_BYTES:
        raise too_large(f"limit is {MOST_BYTES}")
    try:
        return read_request(str(msgspec.json.decode(body, type=dict[str, str]).get("request") or ""))
    except msgspec.MsgspecError as error:
        raise bad_request(f'the body is not {{"request": "-----BEGIN CERTIFICATE REQUEST-----..."}}: {error}') from error
    except PkiError as error:
        raise unprocessable(str(error)) from error


def _node_of(wanted: SigningRequest) -> str:
    """The node that a request is for. Raises `ApiStatusError`."""
    node = wanted.user.removeprefix(NODE_PREFIX)
    if not wanted.user.startswith(NODE_PREFIX) or not is_subdomain(node):
        raise unprocessable(f"the common name of the signing request is {wanted.user!r}; use {NODE_PREFIX}NAME")
    return node


def _use(node: str, key: str, address: str) -> Json:
    return {"node": node, "key": key, "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "address": address}


def _key_of(token: Json) -> str:
    return str((token["metadata"].get("annotations") or {}).get(KEY_ANNOTATION) or "")


def _refused(message: str) -> ApiStatusError:
    return ApiStatusError(403, "Forbidden", f"forbidden: {message}", {})
