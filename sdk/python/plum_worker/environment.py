"""Where a worker connects to and who it is: arguments over the environment that the agent injects over defaults.

WORKER_ID, PLUM_INSTANCE_ID, PLUM_APP_NAME, PLUM_APP_VERSION, WORKER_NODE_ID     who
CONTROLLER_GRPC_ADDR, CONTROLLER_BASE                                            where
PLUM_TOKEN, PLUM_CA_FILE, PLUM_NAMESPACE                                         with what right
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_PORT = 9090
GRACE_SECONDS = 8.0
"""For what is under way after SIGTERM: less than the ten seconds that an instance has by default."""


class WorkerConfigError(ValueError):
    """A worker cannot start like this. The message names the setting, its value and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Everything a worker needs to know to connect."""

    address: str
    """`host:port` of the controller's listener for workers."""
    worker_id: str
    """Name of the Worker object; the same after a restart."""
    namespace: str = "default"
    token: str = ""
    tls: bool = False
    ca: bytes = b""
    """PEM of the authority that signed the controller's certificate; the machine's own if empty."""
    node: str = ""
    instance: str = ""
    app: str = ""
    app_version: str = ""
    capacity: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    grace_seconds: float = GRACE_SECONDS


def load(
    *,
    address: str = "",
    worker_id: str = "",
    namespace: str = "",
    token: str = "",
    ca_file: str = "",
    capacity: int | None = None,
    labels: Mapping[str, str] | None = None,
    grace_seconds: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> WorkerOptions:
    """Arguments that are empty come from the environment. Raises `WorkerConfigError`."""
    env = os.environ if environ is None else environ
    given = address or env.get("CONTROLLER_GRPC_ADDR", "") or _from_base(env.get("CONTROLLER_BASE", ""))
    target, tls = split_address(given)
    instance = env.get("PLUM_INSTANCE_ID", "")
    places = capacity if capacity is not None else _number("PLUM_WORKER_CAPACITY", env.get("PLUM_WORKER_CAPACITY", "1"))
    if not 1 <= places <= 10_000:
        raise WorkerConfigError(f"capacity is {places}; use 1 to 10000")
    path = ca_file or env.get("PLUM_CA_FILE", "")
    grace = env.get("PLUM_WORKER_GRACE_SECONDS", "")
    try:
        ca = Path(path).read_bytes() if path and tls else b""
        seconds = grace_seconds if grace_seconds is not None else float(grace) if grace else GRACE_SECONDS
    except OSError as error:
        raise WorkerConfigError(f"PLUM_CA_FILE is {path!r}, which cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise WorkerConfigError(f"PLUM_WORKER_GRACE_SECONDS is {grace!r}; use a number of seconds") from error
    return WorkerOptions(
        address=target,
        worker_id=worker_id or env.get("WORKER_ID", "") or instance or f"{socket.gethostname()}-{os.getpid()}",
        namespace=namespace or env.get("PLUM_NAMESPACE", "") or "default",
        token=token or env.get("PLUM_TOKEN", ""),
        tls=tls,
        ca=ca,
        node=env.get("WORKER_NODE_ID", ""),
        instance=instance,
        app=env.get("PLUM_APP_NAME", ""),
        app_version=env.get("PLUM_APP_VERSION", ""),
        capacity=places,
        labels=dict(labels or {}),
        grace_seconds=seconds,
    )


def split_address(text: str) -> tuple[str, bool]:
    """`host:port` and whether TLS is spoken: always but on this machine, unless `http://` or `https://` says so."""
    scheme, separator, rest = text.rpartition("://")
    host, colon, port = rest.rstrip("/").rpartition(":")
    if not colon:
        host, port = rest, str(DEFAULT_PORT)
    host = host or "127.0.0.1"
    if (separator and scheme not in ("http", "https", "grpc", "grpcs")) or not port.isdigit() or not 0 < int(port) < 65536:
        raise WorkerConfigError(f"CONTROLLER_GRPC_ADDR is {text!r}; use HOST:PORT, such as 127.0.0.1:9090")
    tls = scheme in ("https", "grpcs") if separator else not _is_loopback(host)
    return f"{host}:{port}", tls


def _from_base(base: str) -> str:
    """The same machine as the HTTP API, on the usual port."""
    host = urlsplit(base).hostname if base else ""
    if not host:
        return f"127.0.0.1:{DEFAULT_PORT}"
    return f"[{host}]:{DEFAULT_PORT}" if ":" in host else f"{host}:{DEFAULT_PORT}"


def _is_loopback(host: str) -> bool:
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise WorkerConfigError(f"{name} is {text!r}; use a whole number") from None
