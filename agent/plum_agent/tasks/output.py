"""The part of an attempt's output that goes into its status: the end of each stream, bounded as it is sent."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

MAX_BYTES = 1024 * 1024
"""Of one stream, as JSON. The rest is only in the file."""


def read_end(path: Path) -> str:
    """The end of a file as text, so much of it that its JSON has `MAX_BYTES` at most. A missing file is empty."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, MAX_BYTES, max(0, size - MAX_BYTES))
    finally:
        os.close(descriptor)
    if size > MAX_BYTES:
        data = data.lstrip(b"\0")  # rotation gave this part of the file back
        while data and data[0] & 0xC0 == 0x80:  # the middle of a character
            data = data[1:]
    return bounded(data.decode("utf-8", "replace"))


def bounded(text: str) -> str:
    """The end of a text, so much of it that its JSON has `MAX_BYTES` at most: control characters take six bytes there."""
    while text and (size := len(msgspec.json.encode(text)) - 2) > MAX_BYTES:
        text = text[max(1, len(text) - len(text) * MAX_BYTES // size) :]
    return text
