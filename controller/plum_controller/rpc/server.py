"""The gRPC listener for workers: listening from the start, and made of gRPC only when somebody knocks.

    listen, without gRPC -> first connection -> import grpc, serve -> ... -> stop: goodbye, streams end

Loading gRPC takes a quarter of a second and 20 MB, which a controller without workers need not spend. The first connection is
refused for that moment; every gRPC client connects again by itself.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

from plum_controller.logs import fields
from plum_controller.rpc.gateway import Gateway
from plum_controller.rpc.sessions import Doorkeeper

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
PING_SECONDS = 10
"""Between pings on a silent connection; one without an answer for half of it is cut."""
GOODBYE_SECONDS = 0.5
"""For streams to end after they were told to. SIGTERM with connected workers must end in under 2 s."""

Certificates = tuple[bytes, bytes]
"""Key and certificate chain, PEM."""


class WorkerServer:
    """One listener for both protocols."""

    def __init__(
        self, gateway: Gateway, door: Doorkeeper, listener: socket.socket, certificates: Callable[[], Certificates] | None = None
    ) -> None:
        """`certificates` reads the newest ones, from any thread; with it the listener speaks TLS."""
        self._gateway = gateway
        self._door = door
        self._listener = listener
        self._certificates = certificates
        self._opening: asyncio.Task[None] | None = None
        self._server: Any = None
        host, port = listener.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def is_loaded(self) -> bool:
        """Whether somebody has knocked."""
        return self._server is not None

    def start(self) -> None:
        """Answer. Whoever comes first makes gRPC load."""
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._knocked)

    async def stop(self) -> None:
        """End all streams and let go of the address. Safe to repeat."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
        server, self._server = self._server, None
        if server is not None:
            await server.stop(GOODBYE_SECONDS)

    def _knocked(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener.fileno())
        self._opening = asyncio.create_task(self._open(), name="worker-listener")

    async def _open(self) -> None:
        try:
            await asyncio.to_thread(_load)
            self._listener.close()
            self._server = await self._make()
        except Exception as error:
            logger.error("workers cannot be served", extra=fields(address=self.address), exc_info=error)

    async def _make(self) -> Any:
        import grpc.aio
        from plum_proto.generated.plum.task import task_service_pb2_grpc
        from plum_proto.generated.plum.worker.v1 import worker_pb2_grpc

        from plum_controller.rpc.classic_stream import TaskService
        from plum_controller.rpc.worker_service import WorkerService

        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # an address that another program holds is an error
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_metadata_size", 16 * 1024),
                ("grpc.keepalive_time_ms", PING_SECONDS * 1000),
                ("grpc.keepalive_timeout_ms", PING_SECONDS * 500),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 1000),
                ("grpc.http2.max_ping_strikes", 0),
                ("grpc.max_concurrent_streams", 100),
            ]
        )
        secure = self._certificates is not None
        generated: Any = worker_pb2_grpc
        generated.add_WorkerServiceServicer_to_server(WorkerService(self._gateway, self._door, secure=secure), server)
        generated = task_service_pb2_grpc
        generated.add_TaskServiceServicer_to_server(TaskService(self._gateway, self._door, secure=secure), server)
        if self._certificates is None:
            server.add_insecure_port(self.address)
        else:
            server.add_secure_port(self.address, _credentials(self._certificates))
        await server.start()
        logger.info("workers are served", extra=fields(address=self.address, tls=secure))
        return server


def _load() -> None:
    """Import what takes long, outside of the event loop."""
    import grpc.aio  # noqa: F401

    import plum_controller.rpc.classic_stream
    import plum_controller.rpc.worker_service  # noqa: F401


def _credentials(certificates: Callable[[], Certificates]) -> Any:
    """Asked at every handshake, so that a renewed certificate is served without a restart."""
    import grpc

    served = certificates()

    def configuration(pair: Certificates) -> Any:
        return grpc.ssl_server_certificate_configuration([pair])

    def newest() -> Any:
        nonlocal served
        try:
            pair = certificates()
        except OSError:
            return None
        if pair == served:
            return None
        served = pair
        return configuration(pair)

    return grpc.dynamic_ssl_server_credentials(configuration(served), newest, require_client_authentication=False)
