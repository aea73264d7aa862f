"""One file out of a form (`multipart/form-data`), as a body of its own, without holding more of it than a piece.

    receive, "multipart/form-data; boundary=..." -> file_of -> receive of the file's bytes | None when the form has no such part

Parts before the file are skipped; what follows it is read to the end of the body and left out.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]

MAX_HEAD_BYTES = 16 * 1024
"""Of the headers of one part."""
MAX_SKIPPED_BYTES = 1024 * 1024
"""Of the parts before the file: names and notes, not other files."""
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb';\s*name=(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE)


class FormError(Exception):
    """It is no form."""


class FormFile:
    """The body of one part. Call `find` first, then the object itself as an ASGI `receive`."""

    def __init__(self, receive: Receive, content_type: str) -> None:
        """Raises `FormError`."""
        match = _BOUNDARY.search(content_type)
        if not content_type.lower().startswith("multipart/form-data") or match is None:
            raise FormError("the content type is not multipart/form-data with a boundary")
        self._mark = b"\r\n--" + (match[1] or match[2]).encode("latin-1", "replace")
        self._receive = receive
        self._data = b"\r\n"  # so that the first boundary looks like the others
        self._more = True
        self._gone = False
        self._ended = False

    async def find(self, name: str) -> bool:
        """Go to the part of that name. False: there is none. Raises `FormError`."""
        await self._skip_to_mark()
        while True:
            head = await self._head()
            if head is None:
                return False
            match = _NAME.search(head)
            if match is not None and (match[1] or match[2] or b"") == name.encode():
                return True
            await self._skip_to_mark()

    async def __call__(self) -> Message:
        """The next piece of the file."""
        while not self._ended:
            if self._gone:
                return {"type": "http.disconnect"}
            end = self._data.find(self._mark)
            if end >= 0:
                piece, self._data, self._ended = self._data[:end], b"", True
                break
            kept = len(self._mark) - 1
            if len(self._data) > kept:
                piece, self._data = self._data[:-kept], self._data[-kept:]
                return {"type": "http.request", "body": piece, "more_body": True}
            if not self._more:
                self._gone = True  # the body ends inside the file
                continue
            await self._fill()
        else:
            piece = b""
        while self._more and not self._gone:  # the rest of the form
            await self._fill()
            self._data = b""
        return {"type": "http.request", "body": piece, "more_body": False}

    async def _fill(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone, self._more = True, False
            return
        self._data += message.get("body", b"")
        self._more = message.get("more_body", False)

    async def _skip_to_mark(self) -> None:
        skipped = 0
        while (end := self._data.find(self._mark)) < 0:
            if not self._more:
                raise FormError("the form ends in the middle")
            kept = len(self._mark) - 1
            skipped += max(0, len(self._data) - kept)
            if skipped > MAX_SKIPPED_BYTES:
                raise FormError(f"the form has more than {MAX_SKIPPED_BYTES} bytes before its file")
            self._data = self._data[-kept:]
            await self._fill()
        self._data = self._data[end + len(self._mark) :]

    async def _head(self) -> bytes | None:
        """The headers of the part behind a boundary; None behind the last one."""
        while b"\r\n\r\n" not in self._data and not self._data.startswith(b"--"):
            if len(self._data) > MAX_HEAD_BYTES:
                raise FormError("the headers of a part are too long")
            if not self._more:
                raise FormError("the form ends in the middle")
            await self._fill()
        if self._data.startswith(b"--"):
            return None
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        disposition = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-disposition:")]
        return disposition[0] if disposition else b""
