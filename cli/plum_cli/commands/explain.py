"""`plum explain`: why an object is not where it should be; or what a field means."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import FAILED, OK

if TYPE_CHECKING:
    from plum_client.explaining.findings import Finding, Situation

    from plum_cli.schema import Field, Schemas
    from plum_cli.session import Session

WIDTH = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum explain`."""
    arguments.describe(
        parser,
        """
        With KIND/NAME: say what an object that is not where it should be waits for, and since when. It looks at its
        conditions, at what it owns, at the nodes that refused it and why, at the last exits and at recent warnings.

        With KIND or KIND.FIELD: say what the fields are, from the schema that the server validates with.
        """,
        """
        plum explain deployment/web                 why is it not available?
        plum explain node/node-1                    why does nothing run there?
        plum explain run/inspect-area-x7k2p         what waits for what, since when?
        plum explain deployment.spec.strategy       what can be set?
        plum explain instance.status --recursive    all fields below
        """,
    )
    parser.add_argument("what", nargs="+", metavar="KIND/NAME | KIND[.FIELD...]", help="an object, or a kind or field")
    arguments.server(parser)
    parser.add_argument("--recursive", action="store_true", help="fields: all levels, without their texts")
    parser.add_argument("--exit-code", action="store_true", help="objects: exit with 1 when it is not where it should be")


def run(args: argparse.Namespace) -> int:
    """Explain the object or the field."""
    from plum_cli import session

    if "/" in args.what[0] or len(args.what) > 1:
        return session.run(args, lambda connected: explain_object(args, connected))
    return session.run(args, lambda connected: explain_field(args, connected))


# ---- objects


async def explain_object(args: argparse.Namespace, session: Session) -> int:
    """Print sentences about each object."""
    from plum_client.explaining.objects import explain

    settled = True
    for target in await session.targets(args.what):
        item = await session.get(target)
        if item["kind"] == "WorkflowRun":
            finding = await _run(session, item)
        else:
            finding = explain(item, await situation_of(session, item))
        settled = settled and finding.settled
        for line in finding.lines():
            print(line)
    return FAILED if args.exit_code and not settled else OK


async def _run(session: Session, item: dict[str, Any]) -> Finding:
    """A run of a workflow is explained by the rows of its nodes."""
    from plum_client.explaining.runs import explain_run

    from plum_cli.commands.runs import inner_runs, pages

    rows = [row async for page in pages(session, item["metadata"]["name"]) for row in page["items"]]
    return explain_run(item, rows, datetime.now(UTC), await inner_runs(session, rows))


async def situation_of(session: Session, item: dict[str, Any]) -> Situation:
    """Everything around an object that the explanation needs."""
    import asyncio

    from plum_client.explaining.findings import Situation

    from plum_cli.events import in_order
    from plum_cli.owned import owned_objects

    nodes, bound, owned, events, workers = await asyncio.gather(
        _nodes(session), _bound(session, item), owned_objects(session, item), _events(session, item), _workers(session, item)
    )
    uids = {item["metadata"]["uid"], *(child["metadata"]["uid"] for child in owned)}
    about = [event for event in in_order(events) if (event.get("involvedObject") or {}).get("uid") in uids]
    return Situation(datetime.now(UTC), owned, nodes, bound, workers, about)


async def _nodes(session: Session) -> dict[str, Any]:
    return {node["metadata"]["name"]: node for node in await session.api.list(await session.kind("nodes.plum.dev"))}


async def _bound(session: Session, item: dict[str, Any]) -> list[dict[str, Any]]:
    if item["kind"] != "Node":
        return []
    selector = f"spec.nodeName={item['metadata']['name']}"
    return (await session.api.list(await session.kind("instances.plum.dev"), fields=selector)).items


async def _workers(session: Session, item: dict[str, Any]) -> list[dict[str, Any]]:
    if item["kind"] != "TaskRun":
        return []
    return (await session.api.list(await session.kind("workers.plum.dev"), item["metadata"]["namespace"])).items


async def _events(session: Session, item: dict[str, Any]) -> list[dict[str, Any]]:
    return (await session.api.list(await session.kind("events"), item["metadata"].get("namespace") or "")).items


# ---- fields


async def explain_field(args: argparse.Namespace, session: Session) -> int:
    """Print what a kind or a field is."""
    from plum_cli.schema import load_schemas

    info, path = await _kind_and_path(session, args.what[0])
    schemas = await load_schemas(session, info)
    field = schemas.walk(path)
    print(f"KIND:     {info.kind}\nVERSION:  {info.api_version}")
    if path:
        print(f"FIELD:    {field.path} <{schemas.type_text(field.schema)}>{' (required)' if field.required else ''}")
    for line in facts(field):
        print(line)
    text = str(field.schema.get("description") or "")
    if text:
        print("\n" + textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  "))
    below = list(tree(schemas, field) if args.recursive else listing(schemas, field))
    if below:
        print("\nFIELDS:")
        print("\n".join(below))
    return OK


async def _kind_and_path(session: Session, word: str) -> tuple[Any, str]:
    """`deployment.spec`, `deployments.plum.dev.spec`: the kind and what is left of the path."""
    name, _, path = word.partition(".")
    info = await session.kind(name)
    for known in await session.api.discover():
        prefix = f"{name}.{known.group}"
        if (
            known.group
            and name.lower() in (known.plural, known.singular, *known.short_names)
            and (word == prefix or word.startswith(prefix + "."))
        ):
            return known, word[len(prefix) + 1 :]
    return info, path


def facts(field: Field) -> Iterator[str]:
    """Default, allowed values and limits."""
    import json

    schema = field.schema
    if "default" in schema:
        yield f"DEFAULT:  {json.dumps(schema['default'])}"
    if schema.get("enum"):
        yield f"ONE OF:   {', '.join(str(value) for value in schema['enum'])}"
    names = {
        "minimum": "at least",
        "maximum": "at most",
        "minLength": "shortest",
        "maxLength": "longest",
        "maxItems": "most items",
        "pattern": "pattern",
    }
    limits = [f"{text} {schema[name]}" for name, text in names.items() if name in schema]
    if limits:
        yield f"LIMITS:   {', '.join(limits)}"


def listing(schemas: Schemas, field: Field) -> Iterator[str]:
    """The fields one level below, with their texts."""
    for below in schemas.fields(field.schema, field.path):
        extra = "  required" if below.required else ""
        if below.schema.get("enum"):
            extra += f"  ({' | '.join(str(value) for value in below.schema['enum'])})"
        if "default" in below.schema and below.schema["default"] != {}:
            extra += f"  default: {below.schema['default']}"
        yield f"  {below.name}  <{schemas.type_text(below.schema)}>{extra}"
        text = str(below.schema.get("description") or "")
        if text:
            yield textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="    ")


def tree(schemas: Schemas, field: Field, depth: int = 1) -> Iterator[str]:
    """All fields below, without their texts."""
    for below in schemas.fields(field.schema, field.path):
        yield f"{'  ' * depth}{below.name}  <{schemas.type_text(below.schema)}>{' required' if below.required else ''}"
        if depth < 12:
            yield from tree(schemas, below, depth + 1)
