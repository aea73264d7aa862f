"""`plum device`: what devices say, what they should be, and what they are asked to do."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import FAILED, INVALID, OK, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session

ENDED = frozenset({"Succeeded", "Failed", "Expired", "Canceled", "Unknown"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum device`."""
    arguments.describe(
        parser,
        """
        Look at devices, set what they should be, and operate them. Devices are objects of kind Resource, what they are asked
        to do is an object of kind Operation: `plum get`, `plum describe`, `plum explain` and kubectl work on both as well.
        """,
        """
        plum device list
        plum device get radar-1
        plum device set radar-1 range=1500 mode=scan --wait
        plum device operate radar-1 scan sector=3 --wait --not-after 10s
        plum device operations radar-1
        plum device cancel radar-1-scan-x7k2p
        plum device history radar-1 temperature --since 1h
        plum device watch radar-1
        plum device simulate radar radar-1        # a device to try all this with
        """,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _action(actions, "list", "devices and whether they are there")
    arguments.all_namespaces(listing)

    get = _action(actions, "get", "one device: what it is, what it should be, what it can do")
    get.add_argument("name", metavar="NAME")
    arguments.output(get, "text", "json", "yaml", default="text")

    change = _action(actions, "set", "set what a device should be")
    change.add_argument("name", metavar="NAME")
    change.add_argument("values", nargs="*", default=[], metavar="PROPERTY=VALUE")
    change.add_argument(
        "--unset", action="append", default=[], metavar="PROPERTY", help="do not ask for a value; may be repeated"
    )
    change.add_argument("--wait", action="store_true", help="until the device reports these values; exit code 7 if it does not")
    arguments.timeout(change, "1m", "how long --wait waits")

    operate = _action(actions, "operate", "ask a device to do something")
    operate.add_argument("name", metavar="NAME")
    operate.add_argument("method", metavar="METHOD")
    operate.add_argument("values", nargs="*", default=[], metavar="ARGUMENT=VALUE")
    operate.add_argument("--wait", action="store_true", help="until it has ended, and print the result; exit code 1 if it failed")
    operate.add_argument("--not-after", default="", metavar="DURATION", help="it must not begin later than so long from now")
    operate.add_argument("--run-timeout", default="", metavar="DURATION", help="longest time of the execution")
    operate.add_argument(
        "--delivery", default="", choices=("AtMostOnce", "AtLeastOnce"), help="AtLeastOnce is sent until the device confirms it"
    )
    operate.add_argument("--idempotency-key", default="", metavar="TEXT", help="the device executes operations with one key once")
    arguments.timeout(operate, "1h", "how long --wait waits")

    operations = _action(actions, "operations", "what devices were asked to do")
    operations.add_argument("name", nargs="?", default="", metavar="NAME", help="only of this device")

    cancel = _action(actions, "cancel", "stop operations")
    cancel.add_argument("names", nargs="+", metavar="OPERATION")

    history = _action(actions, "history", "what a device reported, over time")
    history.add_argument("name", metavar="NAME")
    history.add_argument("properties", nargs="*", metavar="PROPERTY", help="all if absent")
    history.add_argument("--since", default="1h", metavar="TIME", help="10m (ago), 14:30 or a date; default: 1h")
    history.add_argument("--until", default="", metavar="TIME", help="the same; default: now")
    history.add_argument("--step", default="", metavar="DURATION", help="one line for each span, with least, most and mean")
    history.add_argument(
        "--limit", type=arguments.count, default=20, metavar="N", help="lines of the table; default: the last 20"
    )
    arguments.output(history, "table", "json")

    watch = _action(actions, "watch", "what devices report, as it comes")
    watch.add_argument("name", nargs="?", default="", metavar="NAME", help="only this device")

    simulate = _action(actions, "simulate", "be a device that is not there")
    _simulator(simulate)


def _simulator(parser: argparse.ArgumentParser) -> None:
    """As `plum_worker.simulator.program` declares them: loading it would slow down every other action."""
    parser.add_argument("kind", choices=("radar", "thermostat", "valve"), help="what to simulate")
    parser.add_argument("name", nargs="?", default="", help="name of the device (default: KIND-1)")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="simulate N of them: NAME-1 to NAME-N")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="NUMBER", help="the same seed gives the same behaviour (default 0)"
    )
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two reports (default 1)")
    parser.add_argument("--speed", type=float, default=1.0, metavar="FACTOR", help="how much faster its time runs (default 1)")
    parser.add_argument(
        "--heartbeat", type=float, default=5.0, metavar="SECONDS", help="how often it reports at least (default 5)"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="KIND=VALUE", help="drop=0.2, slow=2s or offline=30s; may be repeated"
    )


def _action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    arguments.server(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from plum_cli import device_history, session

    if args.action == "simulate":
        return simulate(args)
    actions = {
        "list": listed,
        "get": get,
        "set": change,
        "operate": operate,
        "operations": operations,
        "cancel": cancel,
        "history": device_history.show,
        "watch": device_history.watch,
    }
    return session.run(args, lambda connected: actions[args.action](args, connected), "plum-device")


async def table(
    session: Session, kind: str, query: dict[str, str], empty: str, *, everywhere: bool = False, sort_by: str = ""
) -> int:
    """Print the server's table of a kind."""
    from plum_client.transport import Request

    from plum_cli.session import TABLE
    from plum_cli.tables import TableOptions, TableView

    info = await session.kind(kind)
    namespace = session.namespace_of(info, everywhere)
    answer = await session.ask(Request("GET", info, namespace, query=query, accept=TABLE))
    view = TableView(TableOptions(with_namespace=everywhere, sort_by=sort_by))
    rows = view.rows(answer)
    print("\n".join(view.lines(rows)) if rows else empty)
    return OK


async def listed(args: argparse.Namespace, session: Session) -> int:
    """All devices."""
    empty = f"no devices in namespace {session.namespace}; `plum device simulate radar` makes one to try"
    return await table(session, "resources.plum.dev", {}, empty, everywhere=args.all_namespaces)


async def operations(args: argparse.Namespace, session: Session) -> int:
    """What devices were asked to do."""
    query = {"fieldSelector": f"spec.resourceRef={args.name}"} if args.name else {}
    empty = f"no operations in namespace {session.namespace}"
    return await table(session, "operations.plum.dev", query, empty, sort_by=".metadata.creationTimestamp")


async def resource(session: Session, name: str) -> dict[str, Any]:
    """One device. Raises `NotFoundError`."""
    from plum_cli.session import Target

    return await session.get(Target(await session.kind("resources.plum.dev"), name))


async def get(args: argparse.Namespace, session: Session) -> int:
    """One device in words."""
    from plum_cli.output import print_objects

    found = await resource(session, args.name)
    if args.output != "text":
        print_objects([found], args.output, single=True, managed_fields=False)
        return OK
    from plum_cli.device_history import describe

    describe(found)
    return OK


async def change(args: argparse.Namespace, session: Session) -> int:
    """Set desired values."""
    import asyncio

    from plum_cli.device_values import parse_values
    from plum_cli.errors import TIMEOUT
    from plum_cli.session import Target

    if not args.values and not args.unset:
        raise UsageError("name what to set: PROPERTY=VALUE, or --unset PROPERTY")
    spec = (await resource(session, args.name)).get("spec") or {}
    models = (spec.get("model") or {}).get("properties") or []
    writable = [model for model in models if not model.get("readOnly")]
    values = parse_values(args.values, writable if models else [], "property")
    if models and not writable and values:
        raise CliError(f"{args.name} has no property that can be set", INVALID)
    target = Target(await session.kind("resources.plum.dev"), args.name)
    await session.merge(target, {"spec": {"desired": {**values, **dict.fromkeys(args.unset)}}})
    print(
        f"{args.name} should be: "
        + ", ".join([f"{name}={value}" for name, value in values.items()] + [f"{n} unset" for n in args.unset])
    )
    if not args.wait or not values:
        return OK
    left: dict[str, Any] = values
    try:
        async with asyncio.timeout(args.timeout):
            while left:
                reported = ((await resource(session, args.name)).get("status") or {}).get("reported") or {}
                left = {name: value for name, value in values.items() if (reported.get(name) or {}).get("value") != value}
                if left:
                    await asyncio.sleep(0.2)
    except TimeoutError:
        waits = ", ".join(f"{name} is {(reported.get(name) or {}).get('value')}" for name in left)
        raise CliError(
            f"{args.name} does not report what it should be: {waits}\n  plum explain resource/{args.name}", TIMEOUT
        ) from None
    print(f"{args.name} is there")
    return OK


async def operate(args: argparse.Namespace, session: Session) -> int:
    """Make an Operation, and perhaps wait for its end."""
    from plum_cli.device_values import parse_values, signature

    model = ((await resource(session, args.name)).get("spec") or {}).get("model") or {}
    known = {str(operation["name"]): operation for operation in model.get("operations") or ()}
    if known and args.method not in known:
        lines = "\n".join(f"  {signature(operation)}" for operation in known.values())
        raise CliError(f"{args.name} has no operation {args.method!r}\n{lines}", INVALID)
    chosen = known.get(args.method) or {}
    if known and not chosen.get("arguments") and args.values:
        raise CliError(f"operation {args.method} takes no arguments", INVALID)
    given = parse_values(args.values, chosen.get("arguments") or [], "argument")
    missing = [a["name"] for a in chosen.get("arguments") or () if a.get("required") and a["name"] not in given]
    if missing:
        raise CliError(f"operation {args.method} needs {', '.join(missing)}\n  {signature(chosen)}", INVALID)
    spec: dict[str, Any] = {"resourceRef": args.name, "method": args.method, "arguments": given}
    options = {
        "notAfter": args.not_after,
        "timeout": args.run_timeout,
        "delivery": args.delivery,
        "idempotencyKey": args.idempotency_key,
    }
    spec |= {name: value for name, value in options.items() if value}
    info = await session.kind("operations.plum.dev")
    base = f"{args.name}-{args.method.lower()}"
    name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-.") else "-" for letter in base)[:50].strip(
        "-."
    )
    body = {"apiVersion": info.api_version, "kind": info.kind, "metadata": {"generateName": f"{name}-"}, "spec": spec}
    path = f"/apis/plum.dev/v1/namespaces/{session.namespace}/operations"
    made = await session.raw("POST", path, {"fieldManager": "plum"}, body)
    name = made["metadata"]["name"]
    if not args.wait:
        print(f"operation {name} is on its way; `plum get operation {name} -w` follows it")
        return OK
    return await ended(session, name, args.timeout)


async def ended(session: Session, name: str, timeout: float) -> int:
    """Wait for the end of an operation, and print it."""
    import asyncio
    import json

    from plum_cli.errors import TIMEOUT
    from plum_cli.session import Target
    from plum_cli.terminal import note

    target, shown = Target(await session.kind("operations.plum.dev"), name), ""
    try:
        async with asyncio.timeout(timeout):
            while True:
                status = (await session.get(target)).get("status") or {}
                phase = str(status.get("phase") or "Queued")
                if phase != shown:
                    note(f"{name}: {phase}")
                    shown = phase
                if phase in ENDED:
                    break
                await asyncio.sleep(0.1)
    except TimeoutError:
        text = f"operation {name} is still {shown}\n  plum explain operation/{name}       plum device cancel {name}"
        raise CliError(text, TIMEOUT) from None
    if phase == "Succeeded":
        if status.get("result") is not None:
            print(json.dumps(status["result"], ensure_ascii=False))
        return OK
    raise CliError(
        f"operation {name} ended as {phase}: {status.get('error') or status.get('reason') or 'no reason given'}", FAILED
    )


async def cancel(args: argparse.Namespace, session: Session) -> int:
    """Ask operations to stop. One that has ended is left alone, and said so."""
    from plum_cli.session import Target
    from plum_cli.terminal import note

    info = await session.kind("operations.plum.dev")
    code = OK
    for word in args.names:
        target = Target(info, word.rpartition("/")[2])
        phase = str(((await session.get(target)).get("status") or {}).get("phase") or "Queued")
        if phase in ENDED:
            note(f"{target.name} has ended as {phase} already")
            code = FAILED
            continue
        await session.merge(target, {"spec": {"canceled": True}})
        print(f"{target.name} is to stop")
    return code


def simulate(args: argparse.Namespace) -> int:
    """Be a device until Ctrl-C."""
    import asyncio
    import os

    from plum_worker.device_errors import DeviceError
    from plum_worker.simulator import program

    from plum_cli.config import find_server

    address = os.environ.get("PLUM_DEVICES", "") if not args.server else ""
    namespace, token, tls = args.namespace or os.environ.get("PLUM_NAMESPACE", ""), "", None
    if not address:
        server = find_server(args)
        address, token, tls = server.url, server.token, server.ssl_context()
        namespace = namespace or server.namespace or "default"
    try:
        devices = program.simulate(args, address=address, namespace=namespace, token=token, tls=tls)
        names = ", ".join(one.device.name for one in devices[:5]) + (" ..." if len(devices) > 5 else "")
        print(f"{names}: {devices[0].model.type} at {address.partition('?')[0]}; Ctrl-C ends it", flush=True)
        asyncio.run(program.serve(devices))
    except DeviceError as error:
        raise CliError(error.message, FAILED) from error
    return OK
