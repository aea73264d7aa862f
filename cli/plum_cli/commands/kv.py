"""`plum kv`: entries of the key-value store, and locks."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from plum_cli import arguments
from plum_cli.errors import CONFLICT, FAILED, NOT_FOUND, OK, CliError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from plum_cli.session import Session

TAKES_WORDS = True
TYPES = ("string", "int", "double", "bool", "bytes", "json")
TITLES = ("KEY", "TYPE", "SIZE", "REVISION", "EXPIRES")
VALUE_TITLES = ("KEY", "TYPE", "VALUE", "REVISION", "EXPIRES")
SHOWN = 60
"""Characters of a value in a table."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum kv`."""
    arguments.describe(
        parser,
        """
        Read and write entries of the key-value store, watch them, and hold locks. Entries are in namespaces (-n); one comes
        into being with its first entry.
        """,
        """
        plum kv put -n plant level 80 --type int
        plum kv get -n plant level
        plum kv put -n plant config --file config.json --type json --ttl 1h
        plum kv list -n plant alarm/ --values
        plum kv watch -n plant
        plum kv add -n plant counter -- -5
        plum kv delete -n plant level --if-revision 42
        plum kv txn -n plant -f swap.yaml
        plum kv lock -n plant deploy -- ./deploy.sh      # one at a time; PLUM_LOCK_TOKEN says with which token
        """,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    get = _action(actions, "get", "print a value", "Print the value of a key, as it is. No such entry is exit code 3.")
    get.add_argument("key", metavar="KEY")
    arguments.output(get, "value", "json", default="value")

    put = _action(actions, "put", "set a value", "Set the value of a key. It keeps its type unless another is named.")
    put.add_argument("key", metavar="KEY")
    put.add_argument("value", nargs="?", metavar="VALUE", help="- reads it from standard input")
    arguments.completes(put.add_argument("--file", metavar="FILE", help="take the value from a file"), arguments.FILE_COMPLETION)
    put.add_argument("--type", default="", choices=TYPES, help="default: that of the entry; string for a new one")
    put.add_argument("--ttl", default="", metavar="DURATION", help="delete it so long after this write")
    put.add_argument("--new", action="store_true", help="only if there is no such entry; else exit code 5")
    _demands(put)

    delete = _action(actions, "delete", "delete entries", "Delete entries by key, or all whose keys begin with a prefix.")
    delete.add_argument("keys", nargs="*", metavar="KEY")
    delete.add_argument("--prefix", default="", metavar="TEXT", help="all whose keys begin so")
    _demands(delete)

    listing = _action(actions, "list", "entries by prefix and range", "List entries in the order of their keys.")
    listing.add_argument("prefix", nargs="?", default="", metavar="PREFIX")
    listing.add_argument("--start", default="", metavar="KEY", help="from this key on")
    listing.add_argument("--end", default="", metavar="KEY", help="up to this key, without it")
    listing.add_argument("--values", action="store_true", help="with their values")
    listing.add_argument("-A", "--all-namespaces", action="store_true", help="only the namespaces that hold entries")
    arguments.output(listing, "table", "json", "key")

    watch = _action(actions, "watch", "what is there and every change", "Print entries and every change of them, until Ctrl-C.")
    watch.add_argument("prefix", nargs="?", default="", metavar="PREFIX")
    watch.add_argument("--since", default="", metavar="REVISION", help="only changes after this revision")
    arguments.output(watch, "table", "json")

    add = _action(actions, "add", "add to a number", "Add to a number where it is, and print the sum. A new one begins at 0.")
    add.add_argument("key", metavar="KEY")
    add.add_argument("by", nargs="?", default="1", metavar="NUMBER", help="default: 1")

    txn = _action(actions, "txn", "compare, then do or else do", "A transaction over entries and objects: docs/transactions.md.")
    action = txn.add_argument("-f", "--filename", required=True, metavar="FILE|-", help="YAML or JSON")
    arguments.completes(action, arguments.FILE_COMPLETION)
    txn.add_argument("--dry-run", action="store_true", help="check everything, write nothing")

    lock = _action(actions, "lock", "run a command while holding a lock", "Hold a lock while a command runs.")
    lock.add_argument("name", metavar="LOCK")
    lock.add_argument("--ttl", default="30s", metavar="DURATION", help="how long it outlives this command; default: 30s")
    lock.add_argument("--wait", default="1m", metavar="DURATION", help="how long to wait for it; default: 1m")
    lock.add_argument("words", nargs="*", metavar="-- COMMAND", help="program and arguments; no shell looks at them")
    parser.set_defaults(words=[])


def _action(actions: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=description)
    arguments.server(parser)
    return parser


def _demands(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--if-revision", default="", metavar="N", help="only if the entry is at this revision; else exit code 5")
    parser.add_argument("--if-lock", default="", metavar="LOCK=TOKEN", help="only while this lock is held with this token")


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from plum_cli import session

    if args.words and args.action != "lock":
        _take_words(args)
    actions = {"get": get, "put": put, "delete": delete, "list": listed, "watch": watch, "add": add, "txn": txn, "lock": lock}
    return session.run(args, lambda connected: actions[args.action](args, connected))


def _take_words(args: argparse.Namespace) -> None:
    """What stands behind `--`: a value that begins with a dash."""
    if args.action == "put" and args.value is None and len(args.words) == 1:
        args.value = args.words[0]
    elif args.action == "add" and len(args.words) == 1:
        args.by = args.words[0]
    else:
        raise UsageError(f"plum kv {args.action} takes nothing behind --: {' '.join(args.words)}")


# ---- entries


async def get(args: argparse.Namespace, session: Session) -> int:
    """Print one value."""
    from plum_client.errors import NotFoundError

    try:
        entry = await session.raw("GET", path(session, args.key), {"as": "entry"})
    except NotFoundError as error:
        text = f"there is no entry {args.key!r} in namespace {session.namespace}"
        raise CliError(f"{text}\n  plum kv list -n {session.namespace} shows what there is", NOT_FOUND) from error
    if args.output == "json":
        print(json.dumps(entry, ensure_ascii=False))
    elif entry["type"] == "bytes":
        sys.stdout.flush()
        sys.stdout.buffer.write(base64.b64decode(entry["value"]))
    else:
        print(text_of(entry))
    return OK


async def put(args: argparse.Namespace, session: Session) -> int:
    """Set one value."""
    if (args.value is None) is (args.file is None):
        raise UsageError("give one value: VALUE, - for standard input, or --file FILE")
    if args.file is not None:
        content = content_of(args.file)
    elif args.value == "-":
        content = content_of("-")
    else:
        content = args.value.encode("utf-8", "surrogateescape")
    query = {"fieldManager": "plum"} | {name: given for name, given in (("type", args.type), ("ttl", args.ttl)) if given}
    headers = demands(args) | ({"If-None-Match": "*"} if args.new else {})
    answer = await send(session, "PUT", path(session, args.key), query, content, headers)
    state = "created" if answer.get("created") else "unchanged" if answer.get("unchanged") else "changed"
    print(f"{args.key} {state} at revision {answer['revision']}")
    return OK


async def delete(args: argparse.Namespace, session: Session) -> int:
    """Delete by key or by prefix."""
    if bool(args.keys) is bool(args.prefix):
        raise UsageError("name keys, or a --prefix")
    if args.prefix:
        answer = await send(session, "DELETE", f"/kv/{session.namespace}", {"prefix": args.prefix}, b"", {})
        print(f"{answer['deleted']} entries deleted")
        return OK
    for key in args.keys:
        await send(session, "DELETE", path(session, key), {}, b"", demands(args))
        print(f"{key} deleted")
    return OK


async def listed(args: argparse.Namespace, session: Session) -> int:
    """Print entries, page by page."""
    from plum_cli.output import print_rows

    if args.all_namespaces:
        for name in (await session.raw("GET", "/kv"))["namespaces"]:
            print(name)
        return OK
    asked = {"prefix": args.prefix, "start": args.start, "end": args.end, "values": "true" if args.values else ""}
    query = {name: given for name, given in asked.items() if given}
    entries: list[dict[str, Any]] = []
    while True:
        page = await session.raw("GET", f"/kv/{session.namespace}", query)
        entries += page["entries"]
        if "continue" not in page:
            break
        query["continue"] = page["continue"]
    if args.output == "json":
        print(json.dumps(entries, ensure_ascii=False))
    elif args.output == "key":
        for entry in entries:
            print(entry["key"])
    elif not entries:
        print(f"no entries in namespace {session.namespace}", file=sys.stderr)
    else:
        print_rows(VALUE_TITLES if args.values else TITLES, [row(entry) for entry in entries])
    return OK


async def watch(args: argparse.Namespace, session: Session) -> int:
    """Print changes until Ctrl-C."""
    async for name, data in changes(session, args.prefix, args.since):
        if args.output == "json":
            print(json.dumps({"event": name, **data}, ensure_ascii=False), flush=True)
        elif name == "put":
            print(f"{data['revision']}\tput\t{data['key']}\t{short(text_of(data))}", flush=True)
        elif name == "delete":
            print(f"{data['revision']}\tdelete\t{data['key']}", flush=True)
    return OK


async def add(args: argparse.Namespace, session: Session) -> int:
    """Print the sum."""
    answer = await send(session, "POST", path(session, args.key), {"add": args.by, "fieldManager": "plum"}, b"", {})
    print(json.dumps(answer["value"], ensure_ascii=False))
    return OK


async def txn(args: argparse.Namespace, session: Session) -> int:
    """Do a transaction, and print what it did. Exit code 1: the comparison did not hold and `else` was done."""
    import yaml

    try:
        body = yaml.safe_load(content_of(args.filename))
    except yaml.YAMLError as error:
        raise UsageError(f"{args.filename} is neither YAML nor JSON: {error}") from error
    if not isinstance(body, dict):
        raise UsageError(f"{args.filename} holds no transaction; it has the fields compare, then and else")
    query = {"txn": "true", "fieldManager": "plum", **({"dryRun": "All"} if args.dry_run else {})}
    result = await session.raw("POST", f"/kv/{session.namespace}", query, body)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    return OK if result["succeeded"] else FAILED


# ---- locks


async def lock(args: argparse.Namespace, session: Session) -> int:
    """Run a command while holding a lock; its exit code is this one's. Exit code 5: another holds the lock, or it was lost."""
    import os
    import secrets
    import socket

    from plum_cli.times import parse_seconds

    if not args.words:
        raise UsageError("name the command to run behind --: plum kv lock NAME -- COMMAND")
    holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    where = path(session, args.name)
    query = {"lock": "acquire", "holder": holder, "ttl": args.ttl, "wait": args.wait}
    held = await send(session, "POST", where, query, b"", {}, patience=parse_seconds(args.wait))
    try:
        return await _run_held(session, where, held, args.words, parse_seconds(args.ttl))
    finally:
        try:
            await send(session, "POST", where, {"lock": "release", "token": str(held["token"])}, b"", {})
        except Exception as error:  # it runs out by itself, and the command has ended
            print(f"plum: the lock {args.name} was not given back: {error}", file=sys.stderr)


async def _run_held(session: Session, where: str, held: Mapping[str, Any], command: list[str], ttl: float) -> int:
    """The command, ended when the lock is lost."""
    import asyncio
    import os

    from plum_client.errors import ApiUnavailableError, ConflictError

    environment = {**os.environ, "PLUM_LOCK_TOKEN": str(held["token"]), "PLUM_LOCK": str(held["key"])}
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment)
    except OSError as error:
        raise CliError(f"{command[0]} cannot be started: {error.strerror}", NOT_FOUND) from error
    try:
        return await _guarded(session, where, held, process, ttl)
    except (ConflictError, ApiUnavailableError) as error:
        raise CliError(f"the lock was lost, and {command[0]} was ended: {error}", CONFLICT) from error
    finally:
        # Also after Ctrl-C: it must not go on without the lock.
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _guarded(session: Session, where: str, held: Mapping[str, Any], process: Any, ttl: float) -> int:
    """The exit code of the process. Raises `ConflictError`, `ApiUnavailableError` when the lock is lost before it has ended."""
    import asyncio

    from plum_client.errors import ApiUnavailableError

    ended = asyncio.ensure_future(process.wait())
    loop = asyncio.get_running_loop()
    until = loop.time() + ttl
    while True:
        done, _ = await asyncio.wait([ended], timeout=min(ttl / 3, max(0.05, (until - loop.time()) / 3)))
        if done:
            code: int = ended.result()
            return code if code >= 0 else 128 - code
        asked = loop.time()
        try:
            await send(session, "POST", where, {"lock": "renew", "token": str(held["token"])}, b"", {})
            until = asked + ttl
        except ApiUnavailableError:
            if loop.time() >= until:
                raise


# ---- inside


def content_of(file: str) -> bytes:
    """A file, or standard input for `-`. Raises `CliError`."""
    if file == "-":
        return sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}", NOT_FOUND) from error


def path(session: Session, key: str) -> str:
    """The path of an entry. Raises `UsageError` for the empty key."""
    if not key:
        raise UsageError("the key is empty")
    return f"/kv/{session.namespace}/{quote(key, safe='')}"


def demands(args: argparse.Namespace) -> dict[str, str]:
    """Headers of what must be so."""
    headers = {}
    if args.if_revision:
        headers["If-Match"] = f'"{args.if_revision}"'
    if args.if_lock:
        name, _, token = args.if_lock.rpartition("=")
        headers["If-Lock"] = f"{quote(name, safe='')}={token}"
    return headers


async def send(
    session: Session,
    method: str,
    where: str,
    query: Mapping[str, str],
    content: bytes,
    headers: Mapping[str, str],
    patience: float = 0.0,
) -> dict[str, Any]:
    """One request whose body is a value; the JSON of its answer. `patience`: seconds that the answer may take longer."""
    import asyncio

    from plum_client.errors import ConflictError, error_of

    deadline = asyncio.get_running_loop().time() + patience
    while True:
        left = deadline - asyncio.get_running_loop().time()
        asked = {**query, "wait": f"{max(0.0, min(left, 10.0)):.3f}s"} if patience else dict(query)
        if asked.get("wait") == "0.000s":
            del asked["wait"]
        target = f"{where}?{urlencode(asked)}" if asked else where
        kind = {"Content-Type": "text/plain"} if content else {}
        response = await session.transport.request(method, target, {**kind, **headers}, content)
        if response.status < 400:
            return json.loads(response.body) if response.body else {}
        error = error_of(response.status, response.body, f"{method} {where}")
        if not (patience and isinstance(error, ConflictError) and left > 0):
            raise error


async def changes(session: Session, prefix: str, since: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Changes, each once; the connection is made again where it ended."""
    import asyncio

    from plum_client.errors import ApiUnavailableError, error_of

    last = since
    while True:
        query = {"watch": "true", **({"prefix": prefix} if prefix else {}), **({"since": last} if last else {})}
        try:
            async with session.transport.stream_path("GET", f"/kv/{session.namespace}?{urlencode(query)}") as stream:
                rest = b""
                async for chunk in stream.chunks:
                    if stream.status >= 400:
                        raise error_of(stream.status, chunk, "watch")
                    *whole, rest = (rest + chunk).split(b"\n\n")
                    for text in whole:
                        fields = dict(line.split(": ", 1) for line in text.decode().splitlines())
                        last = fields.get("id", last)
                        if fields["event"] in ("put", "delete"):
                            yield fields["event"], json.loads(fields["data"])
        except ApiUnavailableError as error:
            if not last or error.status:
                raise
        await asyncio.sleep(1)


def text_of(entry: Mapping[str, Any]) -> str:
    """A value as people read it."""
    return entry["value"] if isinstance(entry["value"], str) else json.dumps(entry["value"], ensure_ascii=False)


def short(text: str) -> str:
    """One line of bounded length."""
    line = text.replace("\n", "\\n")
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..."


def row(entry: Mapping[str, Any]) -> list[str]:
    """A row of the table."""
    middle = short(text_of(entry)) if "value" in entry else str(entry["size"])
    return [entry["key"], entry["type"], middle, entry["revision"], entry.get("expiresAt", "")]
