"""`plum get`: objects as a table, JSON, YAML or by a template; once, watched, or as they were."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import OK, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session, Target

PAGE = "500"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum get`."""
    arguments.describe(
        parser,
        """
        Show objects. Kinds may be named in any form (deployment, deployments, deploy, deployments.plum.dev), several
        with commas, and `all` stands for the kinds of an application.
        """,
        """
        plum get deployments                        those of the namespace
        plum get deploy,inst -A -o wide             of all namespaces, with more columns
        plum get deployment web -o yaml             one object
        plum get instances -l plum.dev/deployment=web -w
        plum get nodes -o jsonpath='{range .items[*]}{.metadata.name}{"\\n"}{end}'
        plum get instances -o custom-columns=NAME:.metadata.name,PID:.status.pid
        plum get deployment web --at 10m -o yaml    as it was ten minutes ago
        plum get deployments --at 4711              as they were at a revision
        """,
    )
    parser.add_argument("what", nargs="+", metavar="KIND [NAME ...] | KIND/NAME", help="what to show")
    arguments.server(parser)
    arguments.all_namespaces(parser)
    arguments.selectors(parser)
    parser.add_argument(
        "-o",
        "--output",
        default="table",
        metavar="FORMAT",
        help="table, wide, json, yaml, name, jsonpath=TEMPLATE, jsonpath-file=FILE or custom-columns=NAME:PATH,...",
    )
    parser.add_argument("-w", "--watch", action="store_true", help="go on with every change, until Ctrl-C")
    parser.add_argument("--watch-only", action="store_true", help="only the changes")
    parser.add_argument("--sort-by", default="", metavar="PATH", help="order by a field, such as .metadata.creationTimestamp")
    parser.add_argument("--at", default="", metavar="REVISION|TIME", help="as it was: a revision, 10m (ago), 14:30 or RFC 3339")
    parser.add_argument("-L", "--label-columns", default="", metavar="KEY,...", help="labels as columns")
    parser.add_argument("--show-labels", action="store_true", help="all labels as the last column")
    parser.add_argument("--show-managed-fields", action="store_true", help="keep metadata.managedFields in JSON and YAML")
    parser.add_argument("--no-headers", action="store_true", help="rows only")
    parser.add_argument("--ignore-not-found", action="store_true", help="a missing object is no failure")


def run(args: argparse.Namespace) -> int:
    """Show what was asked for."""
    from plum_cli import session
    from plum_cli.output import check_format

    args.output = check_format(args.output)
    args.watch = args.watch or args.watch_only
    if args.at and args.watch:
        raise UsageError("--at shows one moment and -w goes on; use one of them")
    return session.run(args, lambda connected: _Get(args, connected).run())


class _Get:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace, session: Session) -> None:
        self._args = args
        self._session = session

    async def run(self) -> int:
        from plum_cli.output import needs_table

        targets = await self._session.targets(self._args.what)
        if self._args.watch:
            return await self._watch(targets)
        if needs_table(self._args.output):
            return await self._tables(targets)
        return await self._objects(targets)

    # ---- once

    async def _tables(self, targets: list[Target]) -> int:
        import asyncio

        from plum_cli.tables import TableView
        from plum_cli.terminal import note

        pages = await asyncio.gather(*(self._pages(target) for target in targets))
        several = len({target.info for target in targets}) > 1
        printed = 0
        views: dict[Any, TableView] = {}
        for target, tables in zip(targets, pages, strict=True):
            fresh = target.info not in views
            view = views.setdefault(target.info, TableView(self._options(target, several)))
            rows = [row for table in tables for row in view.rows(table)]
            if not rows:
                continue
            if printed and several and fresh:
                print()
            for line in view.lines(rows):
                print(line)
            printed += len(rows)
        if not printed and not self._args.ignore_not_found:
            everywhere = self._args.all_namespaces or not any(target.info.namespaced for target in targets)
            note("nothing found" if everywhere else f"nothing found in namespace {self._session.namespace}; -A looks in all")
        return OK

    async def _pages(self, target: Target) -> list[dict[str, Any]]:
        """All pages of one target as tables."""
        from plum_cli.session import TABLE

        query = self._query(target)
        if self._args.sort_by:
            query["includeObject"] = "Object"
            query.pop("limit", None)
        pages: list[dict[str, Any]] = []
        while True:
            page = await self._ask(target, query, TABLE)
            if page is None:
                return pages
            pages.append(page if page.get("kind") == "Table" else plain_table(page))
            token = (page.get("metadata") or {}).get("continue")
            if not token or target.name:
                return pages
            query = following(query, token)

    async def _objects(self, targets: list[Target]) -> int:
        from plum_cli.output import print_objects
        from plum_cli.tables import sort_objects

        found: list[dict[str, Any]] = []
        revision = ""
        for target in targets:
            query = self._query(target)
            while True:
                answer = await self._ask(target, query, "application/json")
                if answer is None:
                    break
                if target.name:
                    found.append(answer)
                    break
                revision = str(answer["metadata"].get("resourceVersion", ""))
                found += [
                    {"apiVersion": target.info.api_version, "kind": target.info.kind, **item}
                    for item in answer.get("items") or ()
                ]
                token = answer["metadata"].get("continue")
                if not token:
                    break
                query = {**query, "continue": token}
        if self._args.sort_by:
            found = sort_objects(found, self._args.sort_by)
        single = len(targets) == 1 and bool(targets[0].name)
        if single and not found:
            return OK
        print_objects(found, self._args.output, single=single, managed_fields=self._args.show_managed_fields, revision=revision)
        return OK

    async def _ask(self, target: Target, query: dict[str, str], accept: str) -> dict[str, Any] | None:
        from plum_client.errors import NotFoundError
        from plum_client.transport import Request

        namespace = self._session.namespace_of(target.info, self._args.all_namespaces and not target.name)
        try:
            return await self._session.ask(Request("GET", target.info, namespace, target.name, query=query, accept=accept))
        except NotFoundError:
            if self._args.ignore_not_found:
                return None
            raise

    def _query(self, target: Target) -> dict[str, str]:
        query: dict[str, str] = {}
        if not target.name:
            query["limit"] = PAGE
            if self._args.selector:
                query["labelSelector"] = self._args.selector
            if self._args.field_selector:
                query["fieldSelector"] = self._args.field_selector
        if self._args.at:
            query |= as_it_was(target, self._args.at)
        return query

    def _options(self, target: Target, several: bool) -> Any:
        from plum_cli.tables import TableOptions

        return TableOptions(
            wide=self._args.output == "wide",
            with_namespace=self._args.all_namespaces and target.info.namespaced,
            with_kind=str(target).partition("/")[0] if several and target.name else (_singular(target) if several else ""),
            show_labels=self._args.show_labels,
            label_columns=[label for label in self._args.label_columns.split(",") if label],
            headers=not self._args.no_headers,
            sort_by="" if self._args.watch else self._args.sort_by,
        )

    # ---- watched

    async def _watch(self, targets: list[Target]) -> int:
        if len({target.info for target in targets}) > 1:
            raise UsageError("-w watches one kind at a time")
        if sum(bool(target.name) for target in targets) > 1:
            raise UsageError("-w watches one object or all of a kind; select several with -l")
        from plum_cli.output import needs_table
        from plum_cli.tables import TableView
        from plum_cli.watching import Watching

        target = targets[0]
        view = TableView(self._options(target, several=False)) if needs_table(self._args.output) else None
        namespace = self._session.namespace_of(target.info, self._args.all_namespaces)
        query = {name: value for name, value in self._query(target).items() if name != "limit"}
        watching = Watching(self._session, target, namespace, query, view, self._text, self._args.watch_only)
        async for line in watching.lines():
            print(line, flush=True)
        return OK

    def _text(self, item: dict[str, Any]) -> str:
        """One object of a watch, on its own."""
        from plum_cli import output

        name, _, argument = self._args.output.partition("=")
        shown = item if self._args.show_managed_fields else output.without_managed_fields(item)
        if name == "name":
            return output.object_name(item)
        if name == "json":
            return json.dumps(shown, ensure_ascii=False)
        if name == "yaml":
            return "---\n" + output.to_yaml(shown).rstrip("\n")
        if name == "custom-columns":
            return "   ".join(output.column_rows([shown], argument)[1][0])
        from plum_cli.jsonpath import render

        return render(argument, shown).rstrip("\n")


def moment(text: str) -> str:
    """The value of `at`: a revision as it is, a time as RFC 3339."""
    from plum_cli.times import parse_moment

    return text if text.isdigit() else parse_moment(text, datetime.now(UTC))


def following(query: dict[str, str], token: str) -> dict[str, str]:
    """The parameters for the next page, which comes from the same snapshot by itself."""
    kept = {name: value for name, value in query.items() if not name.startswith("resourceVersion")}
    return {**kept, "continue": token}


def as_it_was(target: Target, at: str) -> dict[str, str]:
    """The parameters for an earlier state. Raises `UsageError`: a list is read at a revision, one object also at a time."""
    if target.name:
        return {"at": moment(at)}
    if not at.isdigit():
        raise UsageError(
            f"a list is read at a revision, and {at!r} is a time; `plum history KIND/NAME` shows revisions and their times"
        )
    return {"resourceVersion": at, "resourceVersionMatch": "Exact"}


def plain_table(page: dict[str, Any]) -> dict[str, Any]:
    """A table of names and ages, for a server that does not make tables."""
    from plum_client.explaining.times import age

    now = datetime.now(UTC)
    items = page.get("items", [page])
    return {
        "kind": "Table",
        "metadata": page.get("metadata") or {},
        "columnDefinitions": [{"name": "Name", "format": "name"}, {"name": "Age"}],
        "rows": [
            {"cells": [item["metadata"]["name"], age(item["metadata"].get("creationTimestamp"), now)], "object": item}
            for item in items
        ],
    }


def _singular(target: Target) -> str:
    return str(type(target)(target.info, "x"))[:-2]
