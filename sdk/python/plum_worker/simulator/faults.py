"""What can go wrong with a simulated device: reports that get lost, answers that take long, a line that is dead for a while."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from plum_schemas.durations import parse_duration

from plum_worker.device_errors import DeviceUnavailableError
from plum_worker.device_link import DeviceLink
from plum_worker.kv_http import Stop

KINDS = ("none", "drop", "slow", "offline")


@dataclass(slots=True)
class Faults:
    """Which faults are on. Times are those of `now`, in seconds."""

    random: Random
    now: Callable[[], float] = time.monotonic
    drop_share: float = 0.0
    """Of all reports, 0 to 1."""
    slow_seconds: float = 0.0
    """More for each operation and each desired value."""
    _until: dict[str, float] = field(default_factory=dict)

    def begin(self, kind: str, seconds: float, share: float = 0.5) -> None:
        """Switch one on for a while, or all of them off."""
        if kind == "none":
            self._until.clear()
            self.drop_share = self.slow_seconds = 0.0
            return
        self._until[kind] = self.now() + seconds
        if kind == "drop":
            self.drop_share = share
        elif kind == "slow":
            self.slow_seconds = max(0.1, seconds / 10)

    def set(self, text: str) -> None:
        """One as people write it: `drop=0.2`, `slow=2s`, `offline=30s`. Raises `ValueError`."""
        kind, _, value = text.partition("=")
        try:
            if kind == "drop":
                share = float(value)
                if not 0 <= share <= 1:
                    raise ValueError
                self.drop_share = share
                return
            if kind == "slow":
                self.slow_seconds = parse_duration(value)
                return
            if kind == "offline":
                self.begin("offline", parse_duration(value))
                return
        except ValueError:
            pass
        raise ValueError(f"{text!r} is no fault; use drop=SHARE (0 to 1), slow=DURATION or offline=DURATION")

    @property
    def is_offline(self) -> bool:
        return self._is_on("offline")

    def drops(self) -> bool:
        """Whether the next report gets lost."""
        share = self.drop_share if self._is_on("drop", lasting=True) else 0.0
        return share > 0 and self.random.random() < share

    def delay(self) -> float:
        """Seconds that the next answer takes longer."""
        return self.slow_seconds if self._is_on("slow", lasting=True) else 0.0

    def _is_on(self, kind: str, *, lasting: bool = False) -> bool:
        until = self._until.get(kind)
        if until is None:
            return lasting  # set at the start, for good
        if self.now() < until:
            return True
        if kind == "drop":
            self.drop_share = 0.0
        elif kind == "slow":
            self.slow_seconds = 0.0
        del self._until[kind]
        return False


class FaultyLink(DeviceLink):
    """A link that is dead while the device is offline."""

    def __init__(self, address: str, token: str, tls: ssl.SSLContext | None, faults: Faults) -> None:
        super().__init__(address, token, tls=tls)
        self._faults = faults
        self._stream: Stop | None = None

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        if self._faults.is_offline:
            raise DeviceUnavailableError("the simulated line is dead")
        return super().ask(method, path, body)

    def lines(self, path: str, stop: Stop) -> Iterator[Any]:
        if self._faults.is_offline:
            raise DeviceUnavailableError("the simulated line is dead")
        self._stream = stop
        yield from super().lines(path, stop)

    def cut(self) -> None:
        """End the stream that is open."""
        if self._stream is not None:
            self._stream.set()
