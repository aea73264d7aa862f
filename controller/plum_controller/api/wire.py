"""Answers as the bytes of HTTP/1.1, written at once instead of through two ASGI messages.

    Answer -> status line, headers and body in one buffer -> the connection

uvicorn checks every header of every answer with regular expressions; ours are made of constants and of values that are
made safe here, once.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from plum_controller.api.requests import Answer

_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
_UNSAFE = re.compile(r"[^\x20-\x7e]")
_PLAIN_JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
JOIN_BELOW = 64 * 1024
"""Bytes of a body below which one write is cheaper than two."""
CHUNKED = ((b"transfer-encoding", b"chunked"),)


def warning_value(text: str) -> bytes:
    """A warning as the value of a `Warning` header, in Kubernetes' form."""
    quoted = _UNSAFE.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
    return b'299 - "%b"' % quoted.encode()


def answer_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """All headers of an answer but its length."""
    headers = [(b"content-type", answer.content_type)] if answer.body or answer.status not in (204, 304) else []
    headers.extend(answer.headers)
    if answer.revision:
        headers.append((b"x-plum-revision", b"%d" % answer.revision))
    headers.extend((b"warning", warning_value(text)) for text in answer.warnings)
    return headers


_TYPE, _COLON, _END = b"content-type: ", b": ", b"\r\n"


def head(status: int, headers: list[tuple[bytes, bytes]], common: bytes, keep_alive: bool) -> bytes:
    """The head of an answer. `common` are header lines that every answer has."""
    parts = [_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, common]
    parts.extend([b"%b: %b\r\n" % header for header in headers])
    parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    return b"".join(parts)


def encode(answer: Answer, common: bytes, keep_alive: bool, *, with_body: bool = True) -> list[bytes]:
    """A whole answer, in one piece or, when it is big, two: joining would copy it."""
    body = answer.body
    plain = answer.status == 200 and answer.content_type == b"application/json"
    if plain and keep_alive and with_body and not (answer.headers or answer.revision or answer.warnings):
        start = b"%b%d\r\n%b\r\n" % (_PLAIN_JSON, len(body), common)
    elif answer.warnings or answer.status in (204, 304):
        headers = answer_headers(answer)
        if answer.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(body)))
        start = head(answer.status, headers, common, keep_alive)
    else:
        # The same as above, for answers that are small and many.
        parts = [_LINES.get(answer.status) or b"HTTP/1.1 %d \r\n" % answer.status, common, _TYPE, answer.content_type, _END]
        for name, value in answer.headers:
            parts += (name, _COLON, value, _END)
        if answer.revision:
            parts.append(b"x-plum-revision: %d\r\n" % answer.revision)
        parts.append(b"content-length: %d\r\n" % len(body))
        parts.append(_END if keep_alive else b"connection: close\r\n\r\n")
        start = b"".join(parts)
    if not with_body:
        return [start]
    return [start + body] if len(body) < JOIN_BELOW else [start, body]
