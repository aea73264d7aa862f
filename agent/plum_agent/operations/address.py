"""Where programs of this node speak for devices: a port of the loopback address, and a word for each namespace.

    PLUM_DEVICES=http://127.0.0.1:PORT/WORD      in the environment of every process; WORD stands for its namespace
    PLUM_DEVICES=unix:/.plum/devices/agent.sock  in containers with a network of their own; the folder is their namespace's

Port and secret are kept over restarts of the agent: programs run on meanwhile, and know the address from their start. A
program that was not told the word of a namespace can speak for no device in it. Containers see a folder, not a socket, so
that they find the next agent's; others than root cannot enter the folder of folders.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from plum_agent.environment import DEVICE_SOCKET
from plum_agent.ledger import sync_folder

logger = logging.getLogger(__name__)

FILE = "address"
SOCKETS = "sockets"
SOCKET = DEVICE_SOCKET


class _Kept(msgspec.Struct):
    port: int
    secret: str


class DeviceAddress:
    """The address of one node, taken when it is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        kept = _read(folder / FILE)
        self._secret = (kept.secret if kept is not None else secrets.token_hex(32)).encode()
        self.listener = _bind(kept.port if kept is not None else 0)
        self.port: int = self.listener.getsockname()[1]
        if kept is None or kept.port != self.port:
            if kept is not None:
                text = "the address of devices was taken; programs that run must be restarted to speak for their devices"
                logger.warning(text, extra={"before": kept.port, "now": self.port})
            _write(folder / FILE, _Kept(self.port, self._secret.decode()))
        self.sockets: dict[str, socket.socket] = {}
        """By namespace: where its containers speak for devices."""
        self.on_socket: Callable[[str, socket.socket], None] = lambda namespace, listener: None
        """Told of each that comes later."""
        self._listen_again()

    def _listen_again(self) -> None:
        """For containers that an agent before this one started."""
        with suppress(OSError):
            for one in sorted((self._folder / SOCKETS).iterdir()):
                try:
                    self.folder_of(one.name)
                except OSError as error:
                    text = "containers of a namespace do not reach their devices"
                    logger.warning(text, extra={"namespace": one.name, "error": str(error)})

    def folder_of(self, namespace: str) -> Path:
        """The folder that containers of a namespace see, with a socket that is listened to. Raises `OSError`."""
        folder = self._folder / SOCKETS / namespace
        if namespace not in self.sockets:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.parent.chmod(0o700)
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
            listener = self.sockets[namespace] = _bind_in(folder)
            self.on_socket(namespace, listener)
        return folder.absolute()

    def url(self, namespace: str) -> str:
        """What the programs of a namespace are told."""
        return f"http://127.0.0.1:{self.port}/{self.word(namespace)}"

    def word(self, namespace: str) -> str:
        return hmac.new(self._secret, namespace.encode(), hashlib.sha256).hexdigest()[:32]

    def allows(self, word: str, namespace: str) -> bool:
        return hmac.compare_digest(word.encode(), self.word(namespace).encode())

    def close(self) -> None:
        self.listener.close()
        for listener in self.sockets.values():
            listener.close()


def _bind_in(folder: Path) -> socket.socket:
    """A path of a socket has 107 bytes at most: it is named from the folder, which may be deep."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=descriptor)
        listener.bind(f"/proc/self/fd/{descriptor}/{SOCKET}")
        os.chmod(SOCKET, 0o666, dir_fd=descriptor)  # noqa: S103 -- whoever sees the folder may
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(descriptor)
    return listener


def _bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        if not port:
            raise
        listener.bind(("127.0.0.1", 0))
    return listener


def _read(path: Path) -> _Kept | None:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    return None


def _write(path: Path, kept: _Kept) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o711)
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, msgspec.json.encode(kept))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    sync_folder(path.parent)
