"""Who a container runs as, by number: files that it is given must belong to them before it starts, and names mean something only
in its image.

    image, user of the template -> /etc/passwd, /etc/group of the image, read from a container that is never started -> uid, gid
"""

from __future__ import annotations

import asyncio
import io
import tarfile
from contextlib import suppress

from plum_agent.engine.client import EngineClient
from plum_agent.engine.errors import EngineError

Owner = tuple[int, int]

NAME_PREFIX = "plum-look-"
"""Of the container, with the image's own number: two agents that look at once share it, and a leftover is used and removed."""
MAX_BYTES = 1 << 20
"""Of a file of users. Images come from anywhere."""
MAX_ID = 2**32 - 2
TRIES = 5


class ImageUsers:
    """One per agent. What an image says never changes, so it is asked once."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self._known: dict[tuple[str, str], Owner | None] = {}
        self._looking = asyncio.Lock()

    async def find(self, image: str, user: str) -> Owner | None:
        """None: root, or somebody the image does not know; the engine will say so. Raises `EngineError`."""
        found = await self._client.request("GET", f"/images/{image}/json")
        user = user or (found.get("Config") or {}).get("User") or ""
        key = str(found["Id"]), user
        async with self._looking:  # many instances of one image may start at once
            if key not in self._known:
                self._known[key] = await self._look(key[0], user)
        return self._known[key]

    async def _look(self, image: str, user: str) -> Owner | None:
        name, _, group = user.partition(":")
        uid, gid = _number(name), _number(group)
        if uid is None or (group and gid is None):
            users, groups = await self._tables(image)
            entry = users.get(name, ())
            uid = uid if uid is not None else next(iter(entry[:1]), None)
            gid = gid if gid is not None else groups.get(group, (0,))[0] if group else next(iter(entry[1:2]), None)
        return (uid, gid or 0) if uid else None

    async def _tables(self, image: str) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """Names to numbers: uid and gid of each user, gid of each group."""
        name = f"{NAME_PREFIX}{image.removeprefix('sha256:')[:24]}"
        for left in reversed(range(TRIES)):
            try:
                await self._client.request("POST", "/containers/create", {"name": name}, {"Image": image, "Cmd": ["-"]})
            except EngineError as error:
                if error.status != 409:
                    raise
            try:
                return parse(await self._read(name, "/etc/passwd"), 2), parse(await self._read(name, "/etc/group"), 1)
            except EngineError as error:  # another agent has removed it meanwhile
                if error.status != 404 or not left:
                    raise
            finally:
                with suppress(EngineError):
                    await self._client.request("DELETE", f"/containers/{name}", {"force": "1"})
        raise AssertionError("unreachable")

    async def _read(self, container: str, path: str) -> str:
        """A file of the container; empty if there is none."""
        content = b""
        try:
            async with self._client.stream("GET", f"/containers/{container}/archive", {"path": path}) as pieces:
                async for piece in pieces:
                    content += piece
                    if len(content) > MAX_BYTES:
                        return ""
        except EngineError as error:
            if error.status == 404 and "No such container" not in str(error):
                return ""
            raise
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                member = archive.next()
                file = archive.extractfile(member) if member is not None and member.isfile() else None
                return file.read().decode("utf-8", "replace") if file is not None else ""
        except tarfile.TarError:
            return ""


def parse(text: str, count: int) -> dict[str, tuple[int, ...]]:
    """`name:password:number:number...` to name and its first numbers. Lines that are something else are left out."""
    found: dict[str, tuple[int, ...]] = {}
    for line in text.splitlines():
        name, *fields = line.split(":")
        numbers = [_number(field) for field in fields[1 : 1 + count]]
        if name and len(numbers) == count and None not in numbers:
            found.setdefault(name, tuple(number for number in numbers if number is not None))
    return found


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) <= MAX_ID else None
