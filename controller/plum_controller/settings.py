"""What can be set from outside, in one table: `Settings` is the table, `docs/settings.md` is generated from it.

    environment  over  .env in the working directory  over  the default      (flags of the command line are over all three)

Names are those of the system whose users bring their environment along, where it has one, else `PLUM_...`.
A value that cannot be read stops the start with the setting's name; nothing is guessed.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plum_client.outgoing_rules import parse_allow_list


class SettingError(ValueError):
    """A setting has a value that cannot be used. The message names the setting, the value and what is expected."""


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ValueError("use true or false")


def _number(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ValueError("use a whole number") from None
    if value < 0:
        raise ValueError("use 0 or more")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("use a number of seconds") from None
    if not 0 <= value < float("inf"):
        raise ValueError("use 0 or more seconds")
    return value


def _days(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("use a number of days") from None
    if not 0 < value <= 3650:
        raise ValueError("use more than 0 and at most 3650 days")
    return value


def _lease(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("use a number of seconds") from None
    if not 1 <= value <= 3600:
        raise ValueError("use 1 to 3600 seconds")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _allow_list(text: str) -> str:
    parse_allow_list(text)
    return text.strip()


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"use one of {', '.join(allowed)}")
        return text.lower()

    return parse


def _setting(names: str, default: Any, description: str, parse: Callable[[str], Any] = str) -> Any:
    return field(default=default, metadata={"names": tuple(names.split()), "description": description, "parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The controller's settings. The order is the order of the documentation."""

    listen: str = _setting(
        "CONTROLLER_ADDR",
        "127.0.0.1:8080",
        "Address and port of the API. Port 0 takes a free one; the ready line names it. "
        "Plain HTTP stays on loopback addresses; any other is served with TLS and authentication.",
    )
    secure_listen: str = _setting(
        "PLUM_SECURE_LISTEN",
        "",
        "Address and port of a second listener, with TLS and authentication: `0.0.0.0:8443`. None if empty.",
    )
    worker_listen: str = _setting(
        "CONTROLLER_GRPC_ADDR",
        "",
        "Address and port of the listener for workers (gRPC), or `off`. Default: `127.0.0.1:9090`, or a free port if that one is "
        "taken or the API was given port 0; the ready line names it. Addresses other than loopback get TLS and need tokens.",
    )
    worker_lease_seconds: float = _setting(
        "PLUM_WORKER_LEASE_SECONDS",
        15.0,
        "How long a silent worker keeps what it holds; then others get it. Workers send a sign of life every third of it.",
        _lease,
    )
    tls_cert_file: str = _setting(
        "PLUM_TLS_CERT_FILE", "", "Certificate chain (PEM) to serve instead of Plum's own; read again when it changes."
    )
    tls_key_file: str = _setting("PLUM_TLS_KEY_FILE", "", "Its key, if it is not in the same file.")
    tls_names: tuple[str, ...] = _setting(
        "PLUM_TLS_NAMES", (), "Further names and addresses, comma separated, for which Plum's own certificate is made.", _names
    )
    node_certificate_days: float = _setting(
        "PLUM_NODE_CERTIFICATE_DAYS",
        365.0,
        "Life of the certificates of nodes, in days. An agent gets the next one after two thirds of it; one that is away for "
        "longer than the rest must join again.",
        _days,
    )
    session_seconds: float = _setting(
        "PLUM_SESSION_SECONDS",
        12 * 3600.0,
        "How long a browser stays logged in. A session never outlives the token it was opened with.",
        _seconds,
    )
    ui_dir: str = _setting("PLUM_UI_DIR", "", "Folder with another build of the web UI. Default: the one in the package.")
    data_dir: str = _setting("CONTROLLER_DATA_DIR", ".plum", "Folder of everything the controller keeps.")
    store: str = _setting(
        "CONTROLLER_DB",
        "",
        "The store: `sqlite:///PATH`, a path, or `memory:` (forgets at the end). Default: `plum.db` in the data folder.",
    )
    sync_folders: tuple[str, ...] = _setting(
        "PLUM_SYNC",
        (),
        "Folders of manifests, comma separated, to which the store is made equal (as `--sync DIR`): each becomes a Sync of its "
        "name in the namespace `default`.",
        _names,
    )
    log_level: str = _setting(
        "PLUM_LOG_LEVEL", "info", "`debug`, `info`, `warning` or `error`.", _one_of("debug", "info", "warning", "error")
    )
    log_format: str = _setting("PLUM_LOG_FORMAT", "text", "`text` for people, `json` for machines.", _one_of("text", "json"))
    failover_enabled: bool = _setting(
        "AUTO_MIGRATION_ENABLED FAILOVER_ENABLED",
        True,
        "Start instances of a lost node on other nodes. A Deployment can say otherwise with `spec.failover.enabled`.",
        _boolean,
    )
    service_ttl_seconds: float = _setting(
        "SERVICE_HEALTH_TTL_SEC",
        15.0,
        "How long an endpoint that an application registered itself counts as healthy without a heartbeat.",
        _seconds,
    )
    controllers_enabled: bool = _setting(
        "PLUM_CONTROLLERS_ENABLED", True, "Run the built-in controllers in this process. Off: it only serves the API.", _boolean
    )
    outgoing_allow: str = _setting(
        "PLUM_OUTGOING_ALLOW",
        "*",
        "What http tasks, webhooks and notifications may call: `https://*.example.com, 10.1.0.0/16, host:8443`, or `*`. "
        "Link-local and metadata addresses and the controller's own plain port are refused unless the very address or network "
        "is listed.",
        _allow_list,
    )
    smtp_url: str = _setting(
        "PLUM_SMTP_URL",
        "",
        "Mail server of `email` steps that name none: `smtp://user:password@host:587?security=starttls`, or `smtps://...`.",
    )
    stage_control_base: str = _setting(
        "STAGE_CONTROL_BASE", "", "Main-control application of runs whose `taskPayload` has a `taskId` and names no other."
    )
    llm_url: str = _setting(
        "PLUM_LLM_URL", "", "Address of the language model of `llm` steps that name none: `http://127.0.0.1:11434/v1`."
    )
    database_dir: str = _setting(
        "PLUM_DATABASE_DIR",
        "",
        "Folder of the SQLite files that `database` steps may open. Default: `databases` in the data folder.",
    )
    tasks_in_flight: int = _setting(
        "PLUM_TASKS_IN_FLIGHT",
        256,
        "Attempts that the controller itself executes at once (builtins, service, http, plugins).",
        _number,
    )
    task_lost_seconds: float = _setting(
        "PLUM_TASK_LOST_SECONDS",
        60.0,
        "How long a node may be away before a task it runs counts as lost, if other nodes may run it.",
        _seconds,
    )
    operation_lost_seconds: float = _setting(
        "PLUM_OPERATION_LOST_SECONDS",
        86_400.0,
        "How long a node may be away with operations of devices before nobody waits for their end any more.",
        _seconds,
    )
    operations_kept_seconds: float = _setting(
        "PLUM_OPERATIONS_KEPT_SECONDS", 604_800.0, "How long an Operation is kept that has ended.", _seconds
    )
    operations_kept: int = _setting(
        "PLUM_OPERATIONS_KEPT", 10_000, "Most ended Operations kept in a namespace; the oldest go first. 0: no limit.", _number
    )
    tasks_kept_seconds: float = _setting(
        "PLUM_TASKS_KEPT_SECONDS", 86_400.0, "How long a finished TaskRun is kept that does not say `spec.keepFor`.", _seconds
    )
    tasks_kept: int = _setting(
        "PLUM_TASKS_KEPT", 10_000, "Most finished TaskRuns kept in a namespace; the oldest go first. 0: no limit.", _number
    )
    allowed_hosts: tuple[str, ...] = _setting(
        "PLUM_ALLOWED_HOSTS",
        (),
        "Further names, comma separated, that the `Host` and `Origin` headers may carry besides the loopback names.",
        _names,
    )
    body_limit_bytes: int = _setting(
        "PLUM_BODY_LIMIT_BYTES", 3 * 1024 * 1024, "Largest request body; a larger one is answered with 413.", _number
    )
    artifact_limit_bytes: int = _setting(
        "PLUM_ARTIFACT_LIMIT_BYTES", 2 * 1024**3, "Largest package that may be uploaded; a larger one gets 413.", _number
    )
    engine: str = _setting(
        "DOCKER_HOST",
        "unix:///var/run/docker.sock",
        "Container engine of this machine, whose images `/v1/apps/docker-images` lists. Nothing else uses it here.",
        str,
    )
    header_limit_bytes: int = _setting(
        "PLUM_HEADER_LIMIT_BYTES", 64 * 1024, "Largest request line plus headers; a larger one is answered with 431.", _number
    )
    read_timeout_seconds: float = _setting(
        "PLUM_READ_TIMEOUT_SECONDS",
        30.0,
        "How long a client may take to send the head of a request, and again its body; then 408.",
        _seconds,
    )
    idle_timeout_seconds: float = _setting(
        "PLUM_IDLE_TIMEOUT_SECONDS", 75.0, "How long a connection without a request is kept open.", _seconds
    )
    reads_in_flight: int = _setting(
        "PLUM_READS_IN_FLIGHT", 400, "Reading requests answered at once; more get 429 and `Retry-After`. 0: no limit.", _number
    )
    writes_in_flight: int = _setting(
        "PLUM_WRITES_IN_FLIGHT", 400, "Writing requests answered at once; more get 429 and `Retry-After`. 0: no limit.", _number
    )
    peer_rate: int = _setting(
        "PLUM_PEER_RATE",
        40_000,
        "Requests per second of one client address, with twice as many in a burst; more get 429. 0: no limit.",
        _number,
    )
    connection_limit: int = _setting("PLUM_CONNECTION_LIMIT", 10_000, "Open connections; more are answered with 503.", _number)
    watch_seconds: float = _setting(
        "PLUM_WATCH_SECONDS",
        1800.0,
        "A watch that does not say `timeoutSeconds` ends after this time up to twice it, so that not all return at once.",
        _seconds,
    )
    bookmark_seconds: float = _setting(
        "PLUM_BOOKMARK_SECONDS", 60.0, "Time between bookmarks on a watch that asked for them.", _seconds
    )
    watch_buffer_bytes: int = _setting(
        "PLUM_WATCH_BUFFER_BYTES",
        8 * 1024 * 1024,
        "Unsent bytes of one watch at which it is cut with an error it can resume from.",
        _number,
    )
    history_seconds: float = _setting(
        "PLUM_HISTORY_SECONDS",
        3600.0,
        "How long old revisions are kept for time travel, history, rollback and watches that resume.",
        _seconds,
    )
    history_revisions: int = _setting(
        "PLUM_HISTORY_REVISIONS",
        1_000_000,
        "Most changes kept beyond the last five minutes, so that a burst of writes cannot fill the disk.",
        _number,
    )
    audit_level: str = _setting(
        "PLUM_AUDIT",
        "changes",
        "What the audit log writes down: `changes` that somebody decided, logins, commands and refusals; `all` also reports of "
        "state, heartbeats and entries of the key-value store; `off`.",
        _one_of("changes", "all", "off"),
    )
    audit_bytes: int = _setting(
        "PLUM_AUDIT_BYTES",
        64 * 1024 * 1024,
        "Most bytes of the audit log; the oldest sixteenth goes beyond them.",
        _number,
    )
    shutdown_seconds: float = _setting(
        "PLUM_SHUTDOWN_SECONDS", 10.0, "How long requests under way may take to finish after SIGTERM.", _seconds
    )


def names_of(entry: dataclasses.Field[Any]) -> tuple[str, ...]:
    """The environment variables of a field, the first one that is set wins."""
    names: tuple[str, ...] = entry.metadata["names"]
    return names


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = None, **flags: Any) -> Settings:
    """Read the settings. `flags` are values from the command line; None means not given. Raises `SettingError`."""
    given = {**read_dotenv(Path(".env") if dotenv is None else dotenv), **(os.environ if environ is None else environ)}
    values: dict[str, Any] = {}
    for entry in dataclasses.fields(Settings):
        for name in names_of(entry):
            if name in given:
                try:
                    values[entry.name] = entry.metadata["parse"](given[name])
                except ValueError as error:
                    raise SettingError(f"{name} is {given[name]!r}; {error}") from error
                break
    values.update({name: value for name, value in flags.items() if value is not None})
    return Settings(**values)


def read_dotenv(path: Path) -> dict[str, str]:
    """`NAME=value` lines; blank lines, `#` comments, `export ` and quotes are understood. No file is no settings."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, separator, value = line.removeprefix("export ").partition("=")
        if not separator:
            raise SettingError(f"{path}:{number}: {line!r} is no NAME=value")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        values[name.strip()] = value
    return values


def documentation() -> str:
    """`docs/settings.md`: every setting with its default."""
    lines = [
        "# Settings of the controller",
        "",
        "Environment over `.env` (in the working directory) over the default; flags of the command line are over all of them.",
        "This file is generated: `python -m plum_controller.settings > docs/settings.md`.",
        "",
        "| name | default | meaning |",
        "|---|---|---|",
    ]
    for entry in dataclasses.fields(Settings):
        names = ", ".join(f"`{name}`" for name in names_of(entry))
        lines.append(f"| {names} | {_shown(entry.default)} | {entry.metadata['description']} |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float) and value.is_integer():
        return f"`{int(value)}`"
    return f"`{value}`" if value not in ("", ()) else ""


if __name__ == "__main__":
    sys.stdout.write(documentation())
