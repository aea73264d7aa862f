"""Structured logs: constant text, data in fields, one line per record.

    logger.info("instance started", extra=fields(key=key, pid=pid))
        -> text  2025-01-01T00:00:00.000Z info  plum_controller.x  instance started  key=default/web-0 pid=4711
        -> json  {"time":"...","level":"info","logger":"...","message":"instance started","key":"default/web-0","pid":4711}

Logs go to stderr; stdout belongs to the one ready line of the program.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
"""Attributes every record has; whatever else a record carries was given as a field."""


def fields(**values: Any) -> dict[str, Any]:
    """Data of a log record, for its `extra` argument."""
    return {"fields": values}


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """What was passed as `extra`, whether through `fields` or one by one."""
    others = {name: value for name, value in vars(record).items() if name not in _STANDARD and name != "fields"}
    return {**(getattr(record, "fields", None) or {}), **others}


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class JsonFormatter(logging.Formatter):
    """One JSON object per line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(fields_of(record))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class TextFormatter(logging.Formatter):
    """One line with the fields behind the text, for people. An exception follows on its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        data = " ".join(f"{name}={_quoted(value)}" for name, value in fields_of(record).items())
        text = f"{_time(record)} {record.levelname.lower():<7} {record.name}  {record.getMessage()}"
        if data:
            text += f"  {data}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def _quoted(value: Any) -> str:
    text = str(value)
    if text and not any(character in text for character in ' "=\n\t'):
        return text
    return msgspec.json.encode(text).decode()


def configure(log_format: str, level: str) -> None:
    """Send all logs of this process to stderr as `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Our own lines say when the server starts and stops; uvicorn's would say it twice.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, root.level))
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, root.level))
