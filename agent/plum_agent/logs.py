"""Logs of the agent: constant text, data in fields, one line per record, to stderr; stdout belongs to the ready line."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes every record has; whatever else a record carries was given as a field."""


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """What was passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class Formatter(logging.Formatter):
    """`text` for people, `json` for machines."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        level, error = record.levelname.lower(), self.formatException(record.exc_info) if record.exc_info else ""
        if self._as_json:
            line: dict[str, Any] = {"time": when, "level": level, "logger": record.name, "message": record.getMessage()}
            line.update(fields_of(record))
            if error:
                line["exception"] = error
            return msgspec.json.encode(line, enc_hook=str).decode()
        data = "".join(f" {name}={_quoted(str(value))}" for name, value in fields_of(record).items())
        return f"{when} {level:<7} {record.getMessage()} {data}" + (f"\n{error}" if error else "")


def _quoted(text: str) -> str:
    if text and not any(character in text for character in ' "=\n\t'):
        return text
    return msgspec.json.encode(text).decode()


def configure(as_json: bool, level: str) -> None:
    """Send all logs of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(as_json))
    logging.basicConfig(level=logging.getLevelNamesMapping().get(level, logging.INFO), handlers=[handler], force=True)
