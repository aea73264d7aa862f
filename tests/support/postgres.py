"""A real PostgreSQL for tests, in a folder of its own, on a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD = "plum", "pass/word"


def found() -> bool:
    """Whether the programs are here."""
    return shutil.which("postgres") is not None and (shutil.which("initdb") is not None or _beside("initdb") is not None)


def _beside(name: str) -> str | None:
    """A program of PostgreSQL that is not on the path lies beside the server."""
    server = shutil.which("postgres")
    path = Path(os.path.realpath(server)).with_name(name) if server else None
    return str(path) if path is not None and path.exists() else None


def _as_somebody(folder: Path) -> dict[str, str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = next(entry for name in ("postgres", "nobody") for entry in pwd.getpwall() if entry.pw_name == name)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    for parent in folder.parents:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o711)
    return {"user": user.pw_name, "group": str(user.pw_gid)}


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The URL of a database that is there for the block."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "password").write_text(PASSWORD)
    who = _as_somebody(folder)
    how = {"user": who["user"], "group": int(who["group"])} if who else {}
    initdb = shutil.which("initdb") or _beside("initdb") or "initdb"
    flags = [
        "-D",
        str(folder / "data"),
        "-U",
        USER,
        "-A",
        "scram-sha-256",
        "--pwfile",
        str(folder / "password"),
        "-N",
        "-E",
        "UTF8",
    ]
    subprocess.run([initdb, *flags, "--locale=C"], check=True, capture_output=True, cwd=folder, **how)  # type: ignore[call-overload]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [shutil.which("postgres") or "postgres", "-D", str(folder / "data"), "-p", str(port), "-h", "127.0.0.1", "-F"]
    command += ["-c", "unix_socket_directories=", "-c", "shared_buffers=1MB", "-c", "max_connections=10"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=log, **how)  # type: ignore[call-overload]
    try:
        _wait(port, process)
        yield f"postgresql://{USER}:{PASSWORD.replace('/', '%2F')}@localhost:{port}/postgres"
    finally:
        process.terminate()
        process.wait(20)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    import time

    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname="postgres").close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
