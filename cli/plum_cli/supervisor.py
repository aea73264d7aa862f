"""Keeps processes running: starts them, passes their lines on, starts them again after a crash, ends them in order.

    Part.run: start -> lines -> ended? -> say so, wait (0.2 s, doubling to 10 s) -> start ...

Each process is asked to end with this one (`--die-with-parent`), so that nothing lingers when this one is killed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from plum_cli import terminal

FIRST_BACKOFF = 0.2
MAX_BACKOFF = 10.0
STEADY_SECONDS = 30.0
"""A part that ran for this long starts again without delay."""
LINE_BYTES = 1 << 20
"""Longest line that is passed on whole."""

Say = Callable[[str, str], None]
"""Takes the name of a part and a line."""


@dataclass(slots=True)
class Part:
    """One process that is to run until it is stopped."""

    name: str
    command: Callable[[], Sequence[str]]
    """Asked before each start: the address of the controller is known only after its first one."""
    say: Say
    environment: Mapping[str, str] | None = None
    on_line: Callable[[str], None] | None = None
    """Gets the lines of stdout."""
    only_once: bool = False
    """True until the first start has succeeded: a part that cannot start at all is not tried again."""
    process: Process | None = None
    starts: int = 0
    exit_text: str = ""
    """How the last process ended."""
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Run until `stop`. Returns earlier only while `only_once` holds."""
        backoff = FIRST_BACKOFF
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started = loop.time()
            code = await self._once()
            self.exit_text = describe_exit(code)
            if self._stopping.is_set() or self.only_once:
                return
            backoff = FIRST_BACKOFF if loop.time() - started > STEADY_SECONDS else backoff
            self.say(self.name, f"{self.exit_text}; starting it again in {backoff:.1f} s")
            try:
                await asyncio.wait_for(self._stopping.wait(), backoff)
            except TimeoutError:
                backoff = min(backoff * 2, MAX_BACKOFF)

    async def _once(self) -> int:
        """One process, from start to end. The exit code is negative for a signal."""
        self.process = await asyncio.create_subprocess_exec(
            *self.command(), stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=self.environment, limit=LINE_BYTES, process_group=0
        )
        self.starts += 1
        assert self.process.stdout is not None and self.process.stderr is not None  # noqa: S101 - both are pipes
        await asyncio.gather(self._read(self.process.stdout, self.on_line), self._read(self.process.stderr, None))
        return await self.process.wait()

    async def _read(self, stream: asyncio.StreamReader, handler: Callable[[str], None] | None) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                continue  # a line over the limit: the reader has dropped it
            if not line:
                return
            text = line.decode(errors="replace").rstrip("\n")
            if handler is not None:
                handler(text)
            else:
                self.say(self.name, text)

    async def stop(self, grace_seconds: float) -> None:
        """Ask it to end, and kill it when it has not after the grace period."""
        self._stopping.set()
        process = self.process
        if process is None or process.returncode is not None:
            return
        send(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), grace_seconds)
        except TimeoutError:
            self.say(self.name, f"did not end within {grace_seconds:.0f} s; killed")
            send(process, signal.SIGKILL)
            await process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._stopping.set()
        if self.process is not None and self.process.returncode is None:
            send(self.process, signal.SIGKILL)


def send(process: Process, number: signal.Signals) -> None:
    """Signal a process that may have ended meanwhile."""
    try:
        process.send_signal(number)
    except ProcessLookupError:
        pass


def describe_exit(code: int) -> str:
    """`ended with exit code 1`, `was ended by SIGKILL`."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def prefixed_printer() -> Say:
    """Prints lines on stderr behind the name of their part, each part in its colour."""
    colours: dict[str, str] = {}

    def say(name: str, line: str) -> None:
        colour = colours.setdefault(name, terminal.PREFIX_COLOURS[len(colours) % len(terminal.PREFIX_COLOURS)])
        print(f"{terminal.paint(f'{name:<10}', colour, sys.stderr)} {line}", file=sys.stderr, flush=True)

    return say
