"""Counters of the API and gauges of the process, in Prometheus' text format.

    observe(...) per request --> numbers in memory --> /metrics

Counting costs under a microsecond; the text is made when somebody asks.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. From a read out of memory to a request that hit a limit."""

Sample = tuple[str, dict[str, str], float]
"""Name suffix, labels, value."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Metrics:
    """What `/metrics` shows. `gauge` adds something that is read when asked."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = {}
        self._durations: dict[str, list[float]] = {}
        self._gauges: list[tuple[str, str, str, Callable[[], Iterable[Sample]]]] = []
        self.watches = 0
        self.watch_events = 0
        self.watches_cut = 0
        self.rejected = 0
        self.started = time.time()

    def observe(self, method: str, code: int, seconds: float) -> None:
        """Count one finished request."""
        key = (method, code)
        self._requests[key] = self._requests.get(key, 0) + 1
        row = self._durations.get(method)
        if row is None:
            row = self._durations[method] = [0.0] * (len(BUCKETS) + 2)
        row[bisect_left(BUCKETS, seconds)] += 1
        row[-1] += seconds

    def gauge(self, name: str, kind: str, text: str, read: Callable[[], Iterable[Sample]]) -> None:
        """Add a family whose samples are read at scrape time. `kind` is `gauge` or `counter`."""
        self._gauges.append((name, kind, text, read))

    def render(self) -> bytes:
        lines: list[str] = []
        _family(
            lines, "plum_http_requests_total", "counter", "Requests answered, by method and status code.", self._request_samples()
        )
        lines.append("# HELP plum_http_request_duration_seconds Time from the head of a request to its answer, watches excepted.")
        lines.append("# TYPE plum_http_request_duration_seconds histogram")
        for method, row in sorted(self._durations.items()):
            self._histogram(lines, method, row)
        single: tuple[tuple[str, str, str, float], ...] = (
            ("plum_watches", "gauge", "Open watches.", self.watches),
            ("plum_watch_events_total", "counter", "Events sent to watchers.", self.watch_events),
            ("plum_watches_cut_total", "counter", "Watches that were cut because their client was too slow.", self.watches_cut),
            ("plum_http_requests_rejected_total", "counter", "Requests refused by a limit.", self.rejected),
            ("process_start_time_seconds", "gauge", "Start of the process, Unix seconds.", self.started),
        )
        for name, kind, text, value in single:
            _family(lines, name, kind, text, [("", {}, value)])
        for name, kind, text, value in _process():
            _family(lines, name, kind, text, [("", {}, value)])
        for name, kind, text, read in self._gauges:
            _family(lines, name, kind, text, read())
        return ("\n".join(lines) + "\n").encode()

    def _request_samples(self) -> list[Sample]:
        return [("", {"method": method, "code": str(code)}, count) for (method, code), count in sorted(self._requests.items())]

    @staticmethod
    def _histogram(lines: list[str], method: str, row: list[float]) -> None:
        name, total = "plum_http_request_duration_seconds", 0.0
        for bound, count in zip(BUCKETS, row, strict=False):
            total += count
            lines.append(f'{name}_bucket{{method="{method}",le="{bound}"}} {total:.17g}')
        total += row[len(BUCKETS)]
        lines.append(f'{name}_bucket{{method="{method}",le="+Inf"}} {total:.17g}')
        lines.append(f'{name}_sum{{method="{method}"}} {row[-1]:.9g}')
        lines.append(f'{name}_count{{method="{method}"}} {total:.17g}')


def _family(lines: list[str], name: str, kind: str, text: str, samples: Iterable[Sample]) -> None:
    lines.append(f"# HELP {name} {text}")
    lines.append(f"# TYPE {name} {kind}")
    for suffix, labels, value in samples:
        shown = ",".join(f'{label}="{_escape(item)}"' for label, item in labels.items())
        lines.append(f"{name}{suffix}{{{shown}}} {value:.17g}" if shown else f"{name}{suffix} {value:.17g}")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _process() -> list[tuple[str, str, str, float]]:
    times = os.times()
    return [
        ("process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes()),
        ("process_cpu_seconds_total", "counter", "User and system time.", times.user + times.system),
        ("process_open_fds", "gauge", "Open file descriptors.", sum(1 for _ in Path("/proc/self/fd").iterdir())),
    ]
