"""Where streaming requests arrive, whatever they are spoken in, and where they are written down.

    GET, WebSocket   v5, v4.channel.k8s.io            -> ChannelRemote, ChannelPorts
                     SPDY/3.1+portforward.k8s.io      -> SpdyPorts
    POST, GET        Upgrade: SPDY/3.1                -> SpdyRemote, SpdyPorts     (kubectl before 1.30 and 1.31)

Everything that can be refused is refused before the upgrade, as an ordinary answer. Every command and every forward
leaves two lines in the log, who opened it on what and how it ended, and a record in the audit log. Arguments are in
neither: they may be secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from plum_controller.api.api import Api
from plum_controller.api.requests import ApiRequest
from plum_controller.api.sockets import Connection
from plum_controller.api.streaming import channels
from plum_controller.api.streaming.channels import V4, V5, ChannelPorts, ChannelRemote
from plum_controller.api.streaming.commands import run_command
from plum_controller.api.streaming.spdy_remote import EXEC_PROTOCOLS, PORT_PROTOCOLS, SpdyPorts, SpdyRemote
from plum_controller.api.streaming.targets import CommandQuery, StreamTarget, command_query, find_tunnel, ports_query
from plum_controller.api.streaming.upgrade import MessageCarrier, take_over
from plum_controller.api.streams import Receive, Scope, Send
from plum_controller.api.tunnel import RevokedError, Tunnel, TunnelStream
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError, bad_request

logger = logging.getLogger(__name__)

SPDY = "SPDY/3.1"
SPDY_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_UPGRADE = "upgrade request required: {} is spoken over WebSocket or SPDY/3.1, as kubectl, Kubernetes' libraries and plum do"


async def serve_websocket(
    api: Api, request: ApiRequest, target: StreamTarget, scope: Scope, receive: Receive, send: Send
) -> None:
    """A WebSocket that is not accepted yet. Raises `ApiStatusError` before it is."""
    tunnel = find_tunnel(api, target)
    offered = scope.get("subprotocols") or []
    if target.what == "exec":
        query = command_query(scope["query_string"])
        protocol = channels.choose(offered, (V5, V4))
        if protocol is None:
            raise bad_request(f"exec over WebSocket speaks {V5} and {V4}; the client offers {', '.join(offered) or 'nothing'}")
        async with tunnel.open("exec", query.params(target.key)) as command:
            await channels.accept(receive, send, protocol)
            remote = ChannelRemote(receive, send, protocol, stdin=query.stdin)
            session = _Session(api, request, target, tunnel, protocol, query.words[0], send)
            await session.run(run_command(command, remote, query))
        return
    protocol = channels.choose(offered, (SPDY_TUNNEL, V5, V4)) if offered else V4
    if protocol is None:
        names = f"{SPDY_TUNNEL}, {V5} and {V4}"
        raise bad_request(f"portforward over WebSocket speaks {names}; the client offers {', '.join(offered) or 'nothing'}")
    if protocol == SPDY_TUNNEL:
        await channels.accept(receive, send, protocol)
        session = _Session(api, request, target, tunnel, protocol, send=send)
        await session.run(_ports(SpdyPorts(MessageCarrier(receive, send), tunnel, target.key)))
        return
    ports = ports_query(scope["query_string"])
    if not ports:
        raise bad_request("there is no port to forward: ports is missing")
    params = [{"namespace": target.key.namespace, "instance": target.key.name, "port": port} for port in ports]
    forwarded = ChannelPorts(tunnel, params, receive, send, protocol)
    await channels.accept(receive, send, protocol if offered else None)
    session = _Session(api, request, target, tunnel, protocol, ",".join(map(str, ports)), send)
    await session.run(_ports(forwarded))


async def serve_http(api: Api, request: ApiRequest, target: StreamTarget, scope: Scope, connection: Connection | None) -> None:
    """A request that may ask for an upgrade to SPDY. Raises `ApiStatusError` before it was made."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    wanted = {value.decode("latin-1").lower() for name, value in headers if name == b"upgrade"}
    tunnel = find_tunnel(api, target)
    if SPDY.lower() not in wanted or request.method not in ("GET", "POST") or connection is None:
        raise bad_request(_UPGRADE.format(target.what))
    offered = [
        word.strip()
        for name, value in headers
        if name == b"x-stream-protocol-version"
        for word in value.decode("latin-1").split(",")
    ]
    known = EXEC_PROTOCOLS if target.what == "exec" else PORT_PROTOCOLS
    protocol = channels.choose(offered, known)
    if protocol is None:
        raise ApiStatusError(403, "Forbidden", f"{target.what} speaks {', '.join(known)}; the client offers {', '.join(offered)}")
    answer = {"connection": "Upgrade", "upgrade": SPDY, "x-stream-protocol-version": protocol}
    if target.what == "exec":
        query = command_query(scope["query_string"])
        async with tunnel.open("exec", query.params(target.key)) as command:
            session = _Session(api, request, target, tunnel, SPDY, query.words[0])
            async with contextlib.aclosing(take_over(connection.cycle, answer)) as carrier:
                await session.run(_spdy_command(command, SpdyRemote(carrier, query), query))
        return
    session = _Session(api, request, target, tunnel, SPDY)
    async with contextlib.aclosing(take_over(connection.cycle, answer)) as carrier:
        await session.run(_ports(SpdyPorts(carrier, tunnel, target.key)))


async def _spdy_command(command: TunnelStream, remote: SpdyRemote, query: CommandQuery) -> str:
    try:
        if not await remote.opened():
            return "the client did not open its streams"
        return await run_command(command, remote, query)
    finally:
        await remote.close()


async def _ports(ports: SpdyPorts | ChannelPorts) -> str:
    with contextlib.suppress(OSError):
        await ports.run()
    carried = ", ".join(f"{count} to port {port}" for port, count in sorted(ports.carried.items()))
    return f"connections: {carried or 'none'}"


@dataclass(frozen=True, slots=True)
class _Session:
    """One command, or ports forwarded on one connection, from the opening to the end."""

    api: Api
    request: ApiRequest
    target: StreamTarget
    tunnel: Tunnel
    protocol: str
    detail: str = ""
    """The program, or the ports if they are known from the start."""
    send: Send | None = None
    """Of a WebSocket, which can be told why it is closed."""

    async def run(self, work: Coroutine[Any, Any, str]) -> None:
        """Do it as long as the credential of the request is worth something, and write down who did what."""
        identity = self.request.identity
        who = {"key": self.target.key, "node": self.tunnel.node, "user": identity.name, "what": self.target.what}
        who |= {"protocol": self.protocol, "detail": self.detail}
        logger.info("stream opened", extra=fields(**who))
        self.api.audit.note(self.request, 101)
        started = time.monotonic()
        outcome, cut = "the server stopped", ""
        left = identity.expires - time.time() if identity.expires else None
        try:
            async with asyncio.timeout(left):
                with self.api.tunnels.revocable(identity.credential):
                    outcome = await work
        except TimeoutError:
            outcome = cut = "the credential has expired"
        except RevokedError:
            outcome = cut = "the credential was revoked"
        finally:
            logger.info("stream ended", extra=fields(**who, outcome=outcome, seconds=round(time.monotonic() - started, 3)))
        if cut and self.send is not None:
            await self.send({"type": "websocket.close", "code": 1008, "reason": cut})
