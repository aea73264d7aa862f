"""Step `database`: statements against a database that SQLAlchemy has a driver for.

    {url, query | statements, params, maxRows, timeout, readOnly}  ->  {columns, rows, rowCount, truncated}

All statements are one transaction. Values are bound (`:name`), never written into the text. Rows, bytes and time are limited.
SQLite files lie in one folder of the controller, which no statement can leave; other databases are reached over the network, at
addresses that the allow list opens.
"""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

import msgspec
from plum_client.outgoing import OutgoingError
from plum_flow.calls import TaskFailedError
from plum_flow.steps.config import Config, wrong

from plum_controller.tasks.steps.runners import Around

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Engine

    from plum_controller.workflows.steps import Step

FIELDS = ("url", "query", "statements", "params", "maxRows", "timeout", "readOnly")
DEFAULT_ROWS, MAX_ROWS = 1000, 10_000
MAX_BYTES = 900_000
"""Of the rows as JSON: an output may have a mebibyte."""
DEFAULT_SECONDS = 30.0
QUERY_OPTIONS = frozenset({"sslmode", "application_name", "charset", "options", "connect_timeout"})
"""What may follow the `?` of a URL: others name files of the controller, or other hosts."""
PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}


async def run(step: Step, around: Around) -> Any:
    """Connect, do the statements, disconnect."""
    config = Config(step.config, FIELDS)
    statements = config.names("statements") or [config.text("query")]
    limits = _Limits(
        config.number("maxRows", DEFAULT_ROWS, 0, MAX_ROWS), config.seconds("timeout", DEFAULT_SECONDS), config.flag("readOnly")
    )
    params = config.mapping("params")
    connect = await _connector(config.text("url"), around, limits)
    work = _Work(connect, statements, params, limits)
    thread = asyncio.ensure_future(asyncio.to_thread(work.do))
    try:
        async with asyncio.timeout(limits.seconds):
            return await asyncio.shield(thread)
    except TimeoutError:
        work.cancel()
        await asyncio.wait([thread], timeout=5.0)
        raise TaskFailedError(
            f"the database took longer than {limits.seconds:g} s; its transaction was rolled back", "Timeout"
        ) from None
    except asyncio.CancelledError:
        work.cancel()
        await asyncio.wait([thread], timeout=5.0)
        raise
    finally:
        thread.add_done_callback(lambda done: done.cancelled() or done.exception())


@dataclass(frozen=True, slots=True)
class _Limits:
    rows: int
    seconds: float
    read_only: bool


async def _connector(text: str, around: Around, limits: _Limits) -> Callable[[], Engine]:
    """What makes the engine. Raises `TaskFailedError` for a URL that cannot be used."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise wrong("url", "...", "write dialect://user:password@host/database or sqlite:///NAME") from None
    dialect = url.get_backend_name()
    if dialect == "sqlite":
        return _sqlite(url, around.databases, limits)
    extra = sorted(url.query.keys() - QUERY_OPTIONS)
    if extra:
        raise wrong("url", f"...?{extra[0]}", f"of the options only {', '.join(sorted(QUERY_OPTIONS))} may be used")
    if not url.host:
        raise wrong("url", f"{dialect}://", "name a host: sockets of the controller's machine are not used")
    port = url.port or PORTS.get(dialect, 0)
    if not port:
        raise wrong("url", f"{dialect}://", "name a port")
    try:
        addresses = await around.outgoing.resolve(dialect, url.host, port)
    except OutgoingError as error:
        raise TaskFailedError(error.message, error.reason, retryable=error.reason != "NotAllowed") from error
    return _network(url, dialect, addresses[0], limits)


def _network(url: URL, dialect: str, address: str, limits: _Limits) -> Callable[[], Engine]:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    arguments: dict[str, Any] = {}
    if dialect == "postgresql" and url.get_driver_name() in ("psycopg", "psycopg2"):
        # The name stays for the certificate, the address is the one that was checked.
        milliseconds = int(limits.seconds * 1000)
        arguments = {
            "hostaddr": address,
            "connect_timeout": max(2, int(limits.seconds)),
            "options": f"-c statement_timeout={milliseconds}",
        }
        if "options" in url.query:
            arguments["options"] += f" {url.query['options']}"
            url = url.difference_update_query(["options"])
    else:
        url = url.set(host=address)

    def make() -> Engine:
        try:
            return create_engine(url, poolclass=NullPool, connect_args=arguments)
        except ModuleNotFoundError as error:
            text = f"no driver for {dialect} is installed beside the controller: {error.name} is missing"
            raise TaskFailedError(text, "DriverMissing", retryable=False) from error

    return make


def _sqlite(url: URL, folder: Path, limits: _Limits) -> Callable[[], Engine]:
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    name = url.database or ":memory:"
    if url.query or "?" in name or name.startswith("file:"):
        raise wrong("url", str(url), "an SQLite URL takes no options")
    if name != ":memory:":
        root = folder.resolve()
        path = (root / name).resolve()
        if root not in path.parents:
            raise wrong("url", str(url), f"SQLite files lie in {root}; write sqlite:///NAME.db")
        path.parent.mkdir(parents=True, exist_ok=True)
        name = str(path)

    def make() -> Engine:
        engine = create_engine("sqlite://", poolclass=NullPool, creator=lambda: _open_sqlite(name, limits))
        # The driver begins transactions late and commits before DDL: begin by ourselves, so that all is one. Those that may write
        # wait for their turn at once: one that reads first cannot wait any more.
        begin = "BEGIN" if limits.read_only else "BEGIN IMMEDIATE"
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    return make


def _open_sqlite(name: str, limits: _Limits) -> sqlite3.Connection:
    target, is_uri = name, False
    if limits.read_only and name != ":memory:":
        target, is_uri = f"file:{quote(name)}?mode=ro", True
    connection = sqlite3.connect(target, limits.seconds, isolation_level=None, check_same_thread=False, uri=is_uri)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)  # neither ATTACH nor VACUUM INTO: no other file is opened
    return connection


class _Work:
    """The statements of one step, done in a thread. `cancel` ends them from another."""

    def __init__(self, connect: Callable[[], Engine], statements: list[str], params: Mapping[str, Any], limits: _Limits) -> None:
        self._connect = connect
        self._statements = statements
        self._params = dict(params)
        self._limits = limits
        self._lock = threading.Lock()
        self._driver: Any = None
        self._canceled = False

    def do(self) -> dict[str, Any]:
        """Raises `TaskFailedError`."""
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        engine = self._connect()
        try:
            with engine.connect() as connection:
                self._took(connection)
                with connection.begin():
                    if self._limits.read_only and engine.dialect.name == "postgresql":
                        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                    output: dict[str, Any] = {}
                    for statement in self._statements:
                        output = self._execute(connection, statement)
                    return output
        except DBAPIError as error:
            if self._canceled:
                raise TaskFailedError("the statement was ended", "Timeout") from error
            lost = error.connection_invalidated or type(error.orig).__name__ in ("OperationalError", "SerializationFailure")
            text = f"{type(error.orig).__name__}: {error.orig}"[:1000]
            raise TaskFailedError(text, type(error.orig).__name__, _sqlstate(error), retryable=lost) from error
        except SQLAlchemyError as error:
            raise TaskFailedError(str(error)[:1000], "DatabaseError", retryable=False) from error
        finally:
            with self._lock:
                self._driver = None
            engine.dispose()

    def cancel(self) -> None:
        """End what is under way; its transaction is rolled back."""
        with self._lock:
            self._canceled = True
            if isinstance(self._driver, sqlite3.Connection):
                self._driver.interrupt()
            elif self._driver is not None and hasattr(self._driver, "cancel"):
                threading.Thread(target=self._driver.cancel, daemon=True).start()

    def _took(self, connection: Connection) -> None:
        with self._lock:
            self._driver = connection.connection.driver_connection
            if self._canceled:
                raise TaskFailedError("the statement was ended", "Timeout")

    def _execute(self, connection: Connection, statement: str) -> dict[str, Any]:
        from sqlalchemy import text

        clause = text(statement)
        names = clause.compile().params.keys()
        missing = sorted(names - self._params.keys())
        if missing:
            raise wrong("params", sorted(self._params), f"the statement wants {missing[0]}")
        with connection.execute(clause, {name: self._params[name] for name in names}) as result:
            if not result.returns_rows:
                return {"columns": [], "rows": [], "rowCount": max(0, result.rowcount), "truncated": False}
            columns = list(result.keys())
            rows: list[dict[str, Any]] = []
            size, truncated = 0, False
            while len(rows) < self._limits.rows:
                row = result.fetchone()
                if row is None:
                    break
                shown = dict(zip(columns, map(_json, row), strict=True))
                size += len(msgspec.json.encode(shown))
                if size > MAX_BYTES:
                    truncated = True
                    break
                rows.append(shown)
            else:
                truncated = result.fetchone() is not None
            return {"columns": columns, "rows": rows, "rowCount": len(rows), "truncated": truncated}


def _json(value: Any) -> Any:
    """A value of a database as JSON has it."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _sqlstate(error: Any) -> str:
    return str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None) or "")
