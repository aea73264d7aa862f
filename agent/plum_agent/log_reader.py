"""Reading the output of a run: both streams merged by time, the tail of it, since a time, followed as it grows.

    stdout.log + times, stderr.log + times -> segments in order of time -> whole lines -> chunks of bytes

Memory stays bounded whatever the size of the files. A line that was cut by rotation at the front is left out.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from plum_schemas.base import Struct

from plum_agent.output import STREAMS, OutputKeeper, index_of, read_index

CHUNK = 65536
POLL_SECONDS = 5.0
"""How often a follower looks even if nobody told it that the file grew."""


class LogQuery(Struct):
    """What a reader asked for; the `params` of the tunnel's `open` frame."""

    namespace: str = ""
    instance: str = ""
    task: str = ""
    """Name of a TaskRun, instead of an instance."""
    follow: bool = False
    previous: bool = False
    """The run, or attempt, before the current one."""
    tail_lines: int | None = None
    since_seconds: float | None = None
    timestamps: bool = False
    stream: str = "all"
    """`all`, `stdout` or `stderr`."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """Part of one stream that was written at one time."""

    time: float
    stream: str
    begin: int
    end: int


@dataclass(slots=True)
class _Source:
    """One stream that is read forward."""

    stream: str
    path: Path
    descriptor: int
    offset: int = 0
    """Read so far."""
    rest: bytes = b""
    """Beginning of a line whose end was not read yet."""


@dataclass(slots=True)
class LogReader:
    """Reads one run. Close it by leaving `read`."""

    folder: Path
    query: LogQuery
    keeper: OutputKeeper | None
    is_running: Callable[[], bool]
    """False once the run has ended: then a follower ends too."""
    now: Callable[[], float]
    _sources: dict[str, _Source] = field(default_factory=dict)
    _skip: int = 0
    """Lines still to be left out before the tail begins."""

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Chunks of whole lines, ending when everything is read, or with `follow` when the run has ended too."""
        try:
            self._open()
            segments = self._segments()
            if self.query.since_seconds is not None:
                since = self.now() - self.query.since_seconds
                segments = self._from(segments, next((n for n, part in enumerate(segments) if part.time >= since), len(segments)))
            if self.query.tail_lines is not None:
                segments = self._tail(segments, self.query.tail_lines)
            for chunk in self._chunks(segments):
                yield chunk
            while self.query.follow:
                running = self.is_running()
                if running and self.keeper is not None and not self._growth():
                    await self.keeper.wait_for_growth(self.folder, POLL_SECONDS)
                self._open()  # a run that was being started has its files now
                for chunk in self._chunks(self._growth()):
                    yield chunk
                if not running:
                    break
            for source in self._sources.values():
                if source.rest:
                    yield self._stamp([source.rest], self.now()) if self._skip == 0 else b""
        finally:
            for source in self._sources.values():
                os.close(source.descriptor)
            self._sources.clear()

    def _open(self) -> None:
        """Open the files that are there and not open yet."""
        for stream in STREAMS:
            path = self.folder / f"{stream}.log"
            if stream not in self._sources and self.query.stream in ("all", stream) and path.exists():
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                source = _Source(stream, path, descriptor)
                try:
                    source.offset = os.lseek(descriptor, 0, os.SEEK_DATA)
                except OSError:
                    source.offset = os.fstat(descriptor).st_size if os.fstat(descriptor).st_blocks == 0 else 0
                if source.offset:
                    source.offset = self._next_line(source)
                self._sources[stream] = source

    def _next_line(self, source: _Source) -> int:
        offset = source.offset
        while piece := os.pread(source.descriptor, CHUNK, offset):
            found = piece.find(b"\n")
            if found >= 0:
                return offset + found + 1
            offset += len(piece)
        return offset

    def _segments(self) -> list[_Segment]:
        """What is there and not read yet, in order of time."""
        segments = []
        for source in self._sources.values():
            begin = source.offset
            for end, when in read_index(index_of(source.path)):
                if end > begin:
                    segments.append(_Segment(when, source.stream, begin, end))
                    begin = end
            size = os.fstat(source.descriptor).st_size
            if size > begin:
                segments.append(_Segment(self.now(), source.stream, begin, size))
        segments.sort(key=lambda segment: segment.time)
        return segments

    def _growth(self) -> list[_Segment]:
        """What was written since the last look, as written now."""
        sizes = [(source, os.fstat(source.descriptor).st_size) for source in self._sources.values()]
        return [_Segment(self.now(), source.stream, source.offset, size) for source, size in sizes if size > source.offset]

    def _from(self, segments: list[_Segment], position: int) -> list[_Segment]:
        """Leave out the segments before a position; a line that began in one of them is left out too."""
        for segment in segments[:position]:
            source = self._sources[segment.stream]
            source.offset = segment.end
            if os.pread(source.descriptor, 1, segment.end - 1) != b"\n":
                source.offset = self._next_line(source)
        return segments[position:]

    def _tail(self, segments: list[_Segment], lines: int) -> list[_Segment]:
        """Only the segments that hold the last lines; `_skip` takes away what is too much of the first of them."""
        count = sum(1 for source in self._sources.values() if self._ends_inside_line(source))
        position = len(segments)
        while position > 0 and count <= lines:
            position -= 1
            count += self._count_lines(segments[position])
        chosen = self._from(segments, position) if position else segments
        self._skip = max(0, self._count_all(chosen) - lines)
        return chosen

    def _count_all(self, segments: list[_Segment]) -> int:
        ends = {segment.stream for segment in segments}
        unfinished = sum(1 for stream in ends if self._ends_inside_line(self._sources[stream]))
        return unfinished + sum(self._count_lines(segment) for segment in segments)

    def _ends_inside_line(self, source: _Source) -> bool:
        size = os.fstat(source.descriptor).st_size
        return size > source.offset and os.pread(source.descriptor, 1, size - 1) != b"\n"

    def _count_lines(self, segment: _Segment) -> int:
        source = self._sources[segment.stream]
        count, offset = 0, max(segment.begin, source.offset)
        while offset < segment.end:
            piece = os.pread(source.descriptor, min(CHUNK, segment.end - offset), offset)
            if not piece:
                break
            count += piece.count(b"\n")
            offset += len(piece)
        return count

    def _chunks(self, segments: list[_Segment]) -> Iterator[bytes]:
        for segment in segments:
            source = self._sources[segment.stream]
            while source.offset < segment.end:
                piece = os.pread(source.descriptor, min(CHUNK, segment.end - source.offset), source.offset)
                if not piece:
                    break
                source.offset += len(piece)
                whole, newline, rest = (source.rest + piece).rpartition(b"\n")
                source.rest = rest
                if newline:
                    lines = whole.split(b"\n")
                    skipped = min(self._skip, len(lines))
                    self._skip -= skipped
                    if skipped < len(lines):
                        yield self._stamp([line + b"\n" for line in lines[skipped:]], segment.time)

    def _stamp(self, lines: list[bytes], when: float) -> bytes:
        if not self.query.timestamps:
            return b"".join(lines)
        stamp = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z ").encode()
        return b"".join(stamp + line for line in lines)
