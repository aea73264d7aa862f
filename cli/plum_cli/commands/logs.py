"""`plum logs`: the output of instances, from the files on their nodes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import FAILED, NOT_FOUND, OK, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session

RETRY_SECONDS = 0.5
MAX_FOLLOWED = 50
"""Instances followed at once. Each is a connection here and a stream through a tunnel; nobody reads more."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum logs`."""
    arguments.describe(
        parser,
        """
        Print what instances wrote to stdout and stderr. Output outlives the process: --previous shows the run before.
        """,
        """
        plum logs web-7c2f-0                        an instance
        plum logs deployment/web                    one instance of a deployment
        plum logs -f deployment/web --all-instances all of them, each line with its instance
        plum logs instance/web-7c2f-0 --previous
        plum logs -f taskrun/resize-x7k2            a task on a node; --previous shows the attempt before
        plum logs -l app=web --since 10m --timestamps
        plum logs deployment/web --all-instances --previous --tail 20
        plum logs web-7c2f-0 --since 2026-01-31T12:00:00Z
        """,
    )
    parser.add_argument("what", nargs="*", metavar="NAME | KIND/NAME", help="an instance, or a deployment")
    arguments.server(parser)
    parser.add_argument("-l", "--selector", default="", metavar="SELECTOR", help="all instances with these labels")
    parser.add_argument("-f", "--follow", action="store_true", help="go on, until Ctrl-C; also with instances that come later")
    parser.add_argument("-p", "--previous", action="store_true", help="the run before the current one")
    parser.add_argument(
        "--since", default="", metavar="DURATION|TIME", help="only the last 10m, 1h, ..., or what came after a time"
    )
    parser.add_argument("--tail", type=int, default=-1, metavar="N", help="only the last lines of each instance; default: all")
    parser.add_argument("--timestamps", action="store_true", help="the time before each line")
    parser.add_argument("--stream", choices=["all", "stdout", "stderr"], default="all", help="default: all")
    parser.add_argument("--all-instances", action="store_true", help="of a deployment: all of them")
    parser.add_argument("--prefix", action="store_true", help="the instance's name before each line, also for a single one")


def run(args: argparse.Namespace) -> int:
    """Print the output."""
    from plum_cli import session

    if bool(args.what) == bool(args.selector):
        raise UsageError("say whose output: NAME, deployment/NAME, or -l SELECTOR")
    if args.follow and args.previous:
        raise UsageError("the previous run has ended; there is nothing to follow")
    since = _since(args.since)
    return session.run(args, lambda connected: _Logs(args, connected, since).run())


def _since(text: str) -> dict[str, str]:
    """`--since` as the server understands it. A duration is counted by the clock of the node. Raises `UsageError`."""
    from datetime import UTC, datetime

    from plum_cli.times import parse_moment, parse_seconds

    if not text:
        return {}
    try:
        return {"sinceSeconds": str(max(1, round(parse_seconds(text))))}
    except UsageError:
        return {"sinceTime": parse_moment(text, datetime.now(UTC))}


class _Logs:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace, session: Session, since: dict[str, str]) -> None:
        self._args = args
        self._since = since
        self._session = session
        self._resource = "instances.plum.dev"
        """Of what is asked for its output."""
        self._colours: dict[str, str] = {}

    async def run(self) -> int:
        names, labels = await self._instances()
        several = bool(labels)
        if not several:
            await self._print(names[0], prefix=self._args.prefix)
            return OK
        if not self._args.follow:
            return await self._print_all(names)
        await self._follow_all(labels)
        return OK

    async def _print_all(self, names: list[str]) -> int:
        """One instance after the other. One without output, or on a node that is away, does not keep the others from it."""
        from plum_client.errors import ApiError

        from plum_cli.terminal import note

        shown = 0
        for name in names:
            try:
                await self._print(name, prefix=True)
                shown += 1
            except ApiError as error:
                note(f"[{name}] {error.message}")
        return OK if shown else FAILED

    async def _instances(self) -> tuple[list[str], str]:
        """The names of the instances, and the selector that finds all of them if several were meant. Raises `CliError`."""
        if self._args.selector:
            names = [item["metadata"]["name"] for item in await self._list(self._args.selector)]
            return self._some(names, f"with {self._args.selector}"), self._args.selector
        if len(self._args.what) > 2:
            raise UsageError("one instance or deployment at a time; select several with -l")
        words = (
            self._args.what
            if len(self._args.what) == 2 or "/" in self._args.what[0]
            else ["instances.plum.dev", self._args.what[0]]
        )
        target = await self._session.target(words)
        if target.info.kind == "TaskRun":
            self._resource = "taskruns.plum.dev"
        if target.info.kind in ("Instance", "TaskRun"):
            return [target.name], ""
        if target.info.kind != "Deployment":
            raise UsageError(f"{target} has no output; instances, deployments and taskruns have")
        await self._session.get(target)
        labels = f"plum.dev/deployment={target.name}"
        items = await self._list(labels)
        names = self._some([item["metadata"]["name"] for item in items], f"of {target}")
        if self._args.all_instances:
            return names, labels
        best = max(
            items,
            key=lambda item: (
                bool((item.get("status") or {}).get("ready")),
                str(item["metadata"].get("creationTimestamp")),
                item["metadata"]["name"],
            ),
        )
        if len(names) > 1:
            from plum_cli.terminal import note

            note(f"{target} has {len(names)} instances; this is {best['metadata']['name']} (--all-instances shows all)")
        return [best["metadata"]["name"]], ""

    def _some(self, names: list[str], which: str) -> list[str]:
        if not names:
            raise CliError(f"there is no instance {which} in namespace {self._session.namespace}", NOT_FOUND)
        return names

    async def _list(self, labels: str) -> list[dict[str, Any]]:
        info = await self._session.kind("instances.plum.dev")
        return (await self._session.api.list(info, self._session.namespace, labels=labels)).items

    # ---- printing

    async def _print(self, name: str, *, prefix: bool, again_since: float = 0.0) -> None:
        """Print the output of one instance; `again_since` seconds back when this goes on after an interruption."""
        shown = self._prefix(name) if prefix else ""
        out = sys.stdout.buffer
        async for line in self._lines(name, again_since):
            out.write(shown.encode() + line)
            out.flush()

    def _prefix(self, name: str) -> str:
        from plum_cli import terminal

        colour = self._colours.setdefault(name, terminal.PREFIX_COLOURS[len(self._colours) % len(terminal.PREFIX_COLOURS)])
        return terminal.paint(f"[{name}]", colour, sys.stdout) + " "

    async def _lines(self, name: str, again_since: float) -> AsyncIterator[bytes]:
        """Whole lines, each with its newline."""
        from plum_client.transport import Request

        info = await self._session.kind(self._resource)
        query = {"stream": self._args.stream}
        for option in ("follow", "previous", "timestamps"):
            if getattr(self._args, option):
                query[option] = "true"
        if again_since:
            query["sinceSeconds"] = str(int(again_since) + 1)
        else:
            query |= self._since
        if self._args.tail >= 0 and not again_since:
            query["tailLines"] = str(self._args.tail)
        request = Request("GET", info, self._session.namespace, name, "log", query=query, accept="text/plain")
        rest = b""
        async with self._session.stream(request) as chunks:
            async for chunk in chunks:
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line + b"\n"
        if rest:
            yield rest + b"\n"

    # ---- following several

    async def _follow_all(self, labels: str) -> None:
        """Follow every instance that matches, also those that come later."""
        import asyncio

        from plum_cli.terminal import note

        info = await self._session.kind("instances.plum.dev")
        running: dict[str, asyncio.Task[None]] = {}
        left_out: set[str] = set()

        def start(name: str) -> None:
            if name in running:
                return
            if sum(not task.done() for task in running.values()) < MAX_FOLLOWED:
                running[name] = asyncio.create_task(self._follow(name))
            elif name not in left_out:
                left_out.add(name)
                note(f"[{name}] is not followed: {MAX_FOLLOWED} instances are; name fewer with -l")

        try:
            while True:
                await self._watch(info, labels, start)
                await asyncio.sleep(0.1)
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    async def _watch(self, info: Any, labels: str, start: Callable[[str], None]) -> None:
        async with aclosing(self._session.api.watch(info, self._session.namespace, labels=labels)) as events:
            async for event in events:
                # Without a node there is no output yet; a later change of the object says when there is.
                if event.type != "DELETED" and (event.object.get("spec") or {}).get("nodeName"):
                    start(event.object["metadata"]["name"])

    async def _follow(self, name: str) -> None:
        import asyncio

        from plum_client.errors import ApiError, NotFoundError

        from plum_cli.terminal import note

        info = await self._session.kind("instances.plum.dev")
        broken_at = 0.0
        while True:
            started = time.monotonic()
            try:
                await self._print(name, prefix=True, again_since=time.monotonic() - broken_at if broken_at else 0.0)
                return
            except NotFoundError:
                # Without an object there is no more output; with one it has not been started yet.
                if await self._session.find(info, name, self._session.namespace) is None:
                    return
            except ApiError as error:
                note(f"[{name}] {error.message}; trying again")
                if not broken_at or time.monotonic() - started > 2 * RETRY_SECONDS:
                    broken_at = time.monotonic()
            await asyncio.sleep(RETRY_SECONDS)
