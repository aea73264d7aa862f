"""A lock in the key-value store: held in a block, renewed by a thread, with a token that tells a late holder.

    acquire -> token -> renewed every third of its time -> release
                           refused, or nobody answered in time -> lost: `lock.lost` is set, `lock.check()` raises

Being told that a lock is lost can come too late for a program that was stopped for a while. What cannot come too late is
the store's own look: writes with `lock=` are refused as soon as somebody else could hold the lock.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import threading
import time
from types import TracebackType
from urllib.parse import quote

from plum_worker.kv_errors import KvConflictError, KvError, LockLostError
from plum_worker.kv_http import Http, path_of

logger = logging.getLogger("plum_worker.kv")

WAIT_AT_ONCE = 5.0
"""Seconds that one request waits for the lock."""
_PART = re.compile(r"([0-9.]+)(ms|us|µs|ns|s|m|h|d)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Lock:
    """Not held, held, lost. Each use has one holder: a second `with` of the same object acquires it anew."""

    def __init__(self, http: Http, namespace: str, name: str, ttl: str, wait: float, holder: str) -> None:
        self.name = name
        self.holder = (
            holder or f"{os.environ.get('PLUM_INSTANCE_ID') or socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        )
        self.token = 0
        """Grows with every holder of the lock."""
        self.lost = threading.Event()
        """Set when the lock is not held any more."""
        self._http = http
        self._namespace = namespace
        self._ttl = ttl
        self._seconds = seconds_of(ttl)
        self._wait = wait
        self._ended = threading.Event()
        self._until = 0.0
        self._thread: threading.Thread | None = None

    @property
    def header(self) -> str:
        """What a write sends along. Raises `LockLostError` where it would be refused anyway."""
        if not self.token:
            raise LockLostError(f"the lock {self.name!r} is not held")
        return f"{quote(self.name, safe='')}={self.token}"

    def check(self) -> None:
        """Raises `LockLostError` when the lock is known to be lost."""
        if not self.token or self.lost.is_set() or time.monotonic() > self._until:
            raise LockLostError(f"the lock {self.name!r} is not held any more")

    def acquire(self) -> Lock:
        """Raises `KvConflictError` when another holds it after the time to wait, `KvUnavailableError`."""
        deadline = time.monotonic() + self._wait
        while True:
            left = max(0.0, min(deadline - time.monotonic(), WAIT_AT_ONCE))
            query = {"lock": "acquire", "holder": self.holder, "ttl": self._ttl, "wait": f"{int(left * 1000)}ms" if left else ""}
            try:
                found = self._http.ask("POST", path_of(self._namespace, self.name, query)).json()
                break
            except KvConflictError:
                if time.monotonic() >= deadline:
                    raise
        self._until = time.monotonic() + self._seconds  # what only warns; the store decides by its own time
        self.token = int(found["token"])
        self.lost.clear()
        self._ended.clear()
        self._thread = threading.Thread(target=self._renew, name=f"lock-{self.name}", daemon=True)
        self._thread.start()
        return self

    def release(self) -> None:
        """Give it back. One that was lost is left alone. Safe to repeat."""
        token, self.token = self.token, 0
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        if not token:
            return
        query = {"lock": "release", "token": str(token)}
        try:
            self._http.ask("POST", path_of(self._namespace, self.name, query))
        except KvConflictError:
            self.lost.set()
        except KvError as error:
            logger.warning("lock was not given back and runs out by itself", extra={"lock": self.name, "error": str(error)})

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def _renew(self) -> None:
        query = {"lock": "renew", "token": str(self.token), "ttl": self._ttl}
        path = path_of(self._namespace, self.name, query)
        pause = self._seconds / 3
        while not self._ended.wait(pause):
            began = time.monotonic()
            try:
                self._http.ask("POST", path)
            except KvConflictError as error:
                logger.warning("lock was lost", extra={"lock": self.name, "error": str(error)})
                self.lost.set()
                return
            except KvError:
                pause = min(1.0, self._seconds / 10)  # nobody answers: try more often, as long as there is time
                if time.monotonic() > self._until:
                    self.lost.set()
            else:
                self._until = began + self._seconds
                pause = self._seconds / 3


def seconds_of(ttl: str) -> float:
    """A time such as `30s` or `1m30s`. Raises `ValueError`."""
    parts = _PART.findall(ttl)
    if not parts or "".join(number + unit for number, unit in parts) != ttl:
        raise ValueError(f"ttl is {ttl!r}; use a time such as 500ms, 30s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
