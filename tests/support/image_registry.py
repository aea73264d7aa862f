"""A real image registry of a test's own: Debian's docker-registry, with or without a password. Beside it, a proxy can cut it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.docker_engine import Engine, install

USERS = "someone:$2y$05$vcrjxOtsbi0iaiy5yzpHJuWrvA37df/wxqGb0JoOELexyOknXEg0e\n"
"""`someone` with the password `secret`, as `htpasswd -nbB` writes it: the registry takes bcrypt only."""


class Registry:
    """Where it is, and how images get into it."""

    def __init__(self, port: int, folder: Path) -> None:
        self.address = f"127.0.0.1:{port}"
        self.folder = folder

    def push(self, engine: Engine, local: str, name: str, login: tuple[str, str] | None = None) -> str:
        """Put an image of an engine into it, and take the name from the engine. The full name."""
        full = f"{self.address}/{name}"
        engine.docker("tag", local, full)
        config = self.folder / "client"
        if login is not None:
            engine.docker("--config", str(config), "login", "-u", login[0], "-p", login[1], self.address)
        engine.docker("--config", str(config), "push", "-q", full)
        engine.docker("rmi", full)
        return full


@contextmanager
def registry(folder: Path, users: str = "") -> Iterator[Registry]:
    """`users`: the content of a htpasswd file; nobody else gets in."""
    install({"docker-registry": "docker-registry"})
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = [
        "version: 0.1", "log: {level: error}", f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}",
        f"http: {{addr: '127.0.0.1:{port}'}}",
    ]  # fmt: skip
    if users:
        (folder / "users").write_text(users)
        settings.append(f"auth: {{htpasswd: {{realm: test, path: {folder}/users}}}}")
    (folder / "config.yml").write_text("\n".join(settings))
    log = (folder / "log").open("ab")
    program = shutil.which("docker-registry")
    assert program is not None
    environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
    process = subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
        yield Registry(port, folder)
    finally:
        process.kill()
        process.wait()
        log.close()
