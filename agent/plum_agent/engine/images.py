"""The images of this node: what a template asks for is there when its container is made.

    image, policy -> in the engine? -> in a file of the node? -> pull, one for everybody who waits -> in the engine

Raises `RefusedError` with a reason that says who has to do something. Whoever waits is told how far it is; a pull that
nobody waits for any more is given up, and the engine goes on from the layers it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from plum_agent.engine.client import EngineClient
from plum_agent.engine.errors import EngineError, EngineUnavailableError
from plum_agent.engine.image_files import ImageFiles, check_name, normal_name
from plum_agent.engine.logins import Login, header_of, registry_of
from plum_agent.errors import RefusedError

logger = logging.getLogger(__name__)

STALL_SECONDS = 120.0
"""A pull that says nothing for so long is given up and tried again."""
PULLS = 2
"""At the same time: a thin link is better used by few that end than by many that do not."""

ReadLogins = Callable[[], Awaitable[Sequence[Login]]]
"""Asked only when something must be pulled. Raises `RefusedError`."""
Tell = Callable[[str, str], None]
"""Reason and sentence for the condition Prepared while it is not ready."""


@dataclass(slots=True, eq=False)
class _Pull:
    """One pull that several instances may wait for."""

    task: asyncio.Task[None]
    listeners: list[Tell] = field(default_factory=list)


class Images:
    """One per agent. Used from its event loop."""

    def __init__(self, client: EngineClient, folder: Path) -> None:
        self._client = client
        self._files = ImageFiles(folder)
        self._pulls: dict[tuple[str, str], _Pull] = {}
        self._slots = asyncio.Semaphore(PULLS)
        self._loading = asyncio.Lock()

    async def ensure(self, image: str, policy: str, read_logins: ReadLogins, tell: Tell) -> None:
        """Returns when the engine has the image. Cancel it freely. Raises `RefusedError`."""
        check_name(image)
        try:
            if policy != "Always":
                if await self._has(image) or await self._load(image, tell):
                    return
                if policy == "Never":
                    advice = f"load it, put its file into {self._files.folder}, or use another imagePullPolicy"
                    raise RefusedError("ImageMissing", f"image {image} is not on this node and must not be pulled; {advice}")
            await self._join_pull(image, await read_logins(), tell)
        except EngineUnavailableError as error:
            raise RefusedError("EngineUnavailable", str(error)) from error
        except EngineError as error:
            raise RefusedError("ImageUnavailable", f"image {image}: {_why(error)}") from error
        except OSError as error:
            raise RefusedError("ImageUnavailable", f"the file of image {image} could not be read: {error}") from error

    def close(self) -> None:
        for pull in self._pulls.values():
            pull.task.cancel()

    async def _has(self, image: str) -> bool:
        try:
            await self._client.request("GET", f"/images/{image}/json")
        except EngineError as error:
            if error.status in (400, 404):
                return False
            raise
        return True

    # ---- from a file

    async def _load(self, image: str, tell: Tell) -> bool:
        path = await asyncio.to_thread(self._files.find, image)
        if path is None:
            return False
        tell("LoadingImage", f"{image} from {path}")
        async with self._loading:
            if await self._has(image):
                return True
            async with self._client.upload("/images/load", {"quiet": "1"}, path) as answer:
                async for message in _messages(answer):
                    _raise_error(message)
        logger.info("image loaded", extra={"image": image, "path": str(path)})
        return await self._has(image)

    # ---- from a registry

    async def _join_pull(self, image: str, logins: Sequence[Login], tell: Tell) -> None:
        headers = header_of(image, logins)
        key = (image, headers.get("X-Registry-Auth", ""))  # who may not pull it does not get it by waiting beside one who may
        pull = self._pulls.get(key)
        if pull is None or pull.task.done():
            pull = self._pulls[key] = _Pull(asyncio.get_running_loop().create_task(self._pull(key, headers)))
        pull.listeners.append(tell)
        try:
            await asyncio.shield(pull.task)
        finally:
            pull.listeners.remove(tell)
            if not pull.listeners:
                pull.task.cancel()
                if self._pulls.get(key) is pull:
                    del self._pulls[key]

    async def _pull(self, key: tuple[str, str], headers: dict[str, str]) -> None:
        image = key[0]
        self._tell(key, f"{image} from {registry_of(image)}")
        name, tag = _split(image)
        progress = _Progress(image)
        async with self._slots:
            try:
                query = {"fromImage": name, "tag": tag}
                async with self._client.stream("POST", "/images/create", query, headers=headers) as answer:
                    messages = _messages(answer)
                    while True:
                        async with asyncio.timeout(STALL_SECONDS):
                            message = await anext(messages, None)
                        if message is None:
                            break
                        _raise_error(message)
                        progress.note(message)
                        self._tell(key, str(progress))
            except TimeoutError as error:
                sentence = f"image {image} was not pulled: nothing came for {STALL_SECONDS:.0f} s; it goes on from there"
                raise RefusedError("ImagePullFailed", sentence) from error
            except EngineUnavailableError:
                raise
            except EngineError as error:
                raise RefusedError("ImagePullFailed", f"image {image} could not be pulled: {_why(error)}") from error
        logger.info("image pulled", extra={"image": image})

    def _tell(self, key: tuple[str, str], message: str) -> None:
        pull = self._pulls.get(key)
        for tell in list(pull.listeners) if pull is not None else ():
            tell("PullingImage", message)


class _Progress:
    """How far a pull is, over all of its layers."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._layers: dict[str, tuple[int, int]] = {}

    def note(self, message: dict[str, Any]) -> None:
        detail = message.get("progressDetail") or {}
        if message.get("status") == "Downloading" and detail.get("total"):
            self._layers[message.get("id", "")] = (int(detail.get("current") or 0), int(detail["total"]))
        elif message.get("status") in ("Download complete", "Pull complete") and message.get("id") in self._layers:
            total = self._layers[message["id"]][1]
            self._layers[message["id"]] = (total, total)

    def __str__(self) -> str:
        have, total = (sum(column) for column in zip(*self._layers.values(), strict=True)) if self._layers else (0, 0)
        return f"{self._image}: {have / 2**20:.1f} of {total / 2**20:.1f} MiB" if total else self._image


async def _messages(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The lines of an answer that goes on."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield msgspec.json.decode(line, type=dict[str, Any])
    if rest.strip():
        yield msgspec.json.decode(rest, type=dict[str, Any])


def _raise_error(message: dict[str, Any]) -> None:
    """An engine that has begun to answer tells of failures inside its answer."""
    if "error" in message:
        raise EngineError(500, str(message["error"]))


def _why(error: EngineError) -> str:
    if "no space left" in str(error):
        return f"the disk of the container engine is full; free some room: {error}"
    return str(error)


def _split(image: str) -> tuple[str, str]:
    """Name and tag, or name and digest."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, normal_name(name).rpartition(":")[2])
