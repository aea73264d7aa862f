"""The API on a socket: uvicorn with our protocol, started and stopped by the program instead of by uvicorn.

    ApiServer.start -> serves -> ApiServer.close: no new connections, watches end, requests finish

uvicorn's signal handling, logging setup and lifespan are not used; its one clock tick per second is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

import uvicorn
from uvicorn.lifespan.off import LifespanOff

from plum_controller.api.api import Api
from plum_controller.api.asgi import Asgi, Mounted
from plum_controller.api.protocol import Protocol, Sweeper
from plum_controller.settings import Settings

HANDSHAKE_SECONDS = 10.0
"""How long a client may take to agree on TLS. Its connection is nobody's until then."""
GOODBYE_SECONDS = 0.5
"""How long a client may take to agree to the end of TLS. Those that keep a connection in a pool never do."""
LAST_WORDS_SECONDS = 0.02
"""Time in which the tasks of ended watches write their last chunk, before connections are closed."""


class ApiServer:
    """One listener. `docs` builds the FastAPI application when somebody first asks for it."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        listener: socket.socket,
        docs: Callable[[], Mounted] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._api = api
        self._listener = listener
        self._tls = tls
        config = uvicorn.Config(
            Asgi(api, settings, docs),
            interface="asgi3",
            http=Protocol,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=2048,
            timeout_keep_alive=max(1, int(settings.idle_timeout_seconds)),
            timeout_graceful_shutdown=max(1, int(settings.shutdown_seconds)),
            ws_max_size=1024 * 1024,
            ws_ping_interval=15.0,
            ws_ping_timeout=15.0,
        )
        config.load()
        self._config = config
        self._server = uvicorn.Server(config)
        self._server.lifespan = LifespanOff(config)
        self._sweeper = Sweeper(self._server.server_state.connections, settings.read_timeout_seconds)
        self._clock: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()[:2]
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def start(self) -> None:
        """Accept connections."""
        await self._server.on_tick(0)
        loop = asyncio.get_running_loop()
        # As uvicorn starts, but with a limit on the time of a handshake.
        accepting = await loop.create_server(
            self._make_protocol,
            sock=self._listener,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=None if self._tls is None else GOODBYE_SECONDS,
            backlog=self._config.backlog,
        )
        self._server.servers = [accepting]
        self._sweeper.start()
        self._clock = asyncio.create_task(self._tick(), name="date-header")

    def _make_protocol(self) -> asyncio.Protocol:
        return Protocol(config=self._config, server_state=self._server.server_state, app_state=self._server.lifespan.state)

    async def close(self) -> None:
        """Finish what was begun, then let go of the socket."""
        if self._clock is not None:
            self._clock.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clock
        self._sweeper.stop()
        for accepting in self._server.servers:
            accepting.close()
        self._api.close()
        await asyncio.sleep(LAST_WORDS_SECONDS)
        await self._server.shutdown(sockets=[self._listener])

    async def _tick(self) -> None:
        """Keep the date header right."""
        while True:
            await asyncio.sleep(1.0)
            await self._server.on_tick(0)
