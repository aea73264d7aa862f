"""Objects as text: tables, YAML, JSON, names, JSONPath and own columns.

    Table of the server --print_table--> lines
    objects --print_objects--> YAML | JSON | ...

stdout is the same whatever the terminal is, except for colours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from plum_cli import terminal
from plum_cli.errors import UsageError

if TYPE_CHECKING:
    from plum_cli import jsonpath

FORMATS = "table, wide, json, yaml, name, jsonpath=TEMPLATE, jsonpath-file=FILE, custom-columns=NAME:PATH,..."


def check_format(text: str) -> str:
    """The format, if it is one. Templates are parsed here: a mistake is found before anything is asked. Raises `UsageError`."""
    name, separator, argument = text.partition("=")
    if name in {"table", "wide", "json", "yaml", "name"} and not separator:
        return text
    from plum_cli import jsonpath

    if name == "jsonpath" and argument:
        jsonpath.parse_template(argument)
        return text
    if name == "jsonpath-file" and argument:
        from pathlib import Path

        try:
            template = Path(argument).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise UsageError(f"cannot read {argument}: {error.strerror}") from error
        return check_format(f"jsonpath={template}")
    if name == "custom-columns" and argument:
        parse_columns(argument)
        return text
    raise UsageError(f"-o {text} is no format; use {FORMATS}")


def needs_table(output: str) -> bool:
    """Whether the server is asked for a table."""
    return output in {"table", "wide"}


def print_objects(
    objects: Sequence[Mapping[str, Any]], output: str, *, single: bool, managed_fields: bool, revision: str = ""
) -> None:
    """Print objects in a format that is no table. One object that was asked for by name stands alone, others come in a List."""
    name, _, argument = output.partition("=")
    if name == "name":
        for item in objects:
            print(object_name(item))
        return
    shown = [dict(item) if managed_fields else without_managed_fields(item) for item in objects]
    if name == "custom-columns":
        print_rows(*column_rows(shown, argument))
        return
    value: Any = (
        shown[0] if single else {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": revision}, "items": shown}
    )
    if name == "json":
        print(json.dumps(value, indent=4, ensure_ascii=False))
    elif name == "yaml":
        print(to_yaml(value), end="")
    else:
        from plum_cli.jsonpath import render

        text = render(argument, value)
        print(text, end="" if text.endswith("\n") else "\n")


def object_name(item: Mapping[str, Any]) -> str:
    """`deployment.plum.dev/web`, or `namespace/default` for the core group."""
    group = str(item.get("apiVersion", "")).rpartition("/")[0]
    kind = str(item.get("kind", "")).lower()
    return f"{kind}.{group}/{item['metadata']['name']}" if group else f"{kind}/{item['metadata']['name']}"


def without_managed_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without the field owners, which only tools read."""
    metadata = {key: value for key, value in (item.get("metadata") or {}).items() if key != "managedFields"}
    return {key: (metadata if key == "metadata" else value) for key, value in item.items()}


def to_yaml(value: Any) -> str:
    """YAML with the order of the object kept and texts of several lines as blocks."""
    import yaml

    class Dumper(yaml.CSafeDumper):
        """The C dumper with one change: texts of several lines are blocks."""

    def represent(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text and not any(line.endswith(" ") for line in text.split("\n")) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, represent)
    return str(yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=130, default_flow_style=False))


def parse_columns(text: str) -> list[tuple[str, jsonpath.Path]]:
    """`NAME:.metadata.name,REPLICAS:.spec.replicas`. Raises `UsageError`."""
    from plum_cli import jsonpath

    columns: list[tuple[str, jsonpath.Path]] = []
    for part in _split_columns(text):
        title, separator, path = part.partition(":")
        if not separator or not title or not path:
            raise UsageError(
                f"custom-columns: {part!r} is no NAME:PATH; write for example NAME:.metadata.name,REPLICAS:.spec.replicas"
            )
        columns.append((title.strip(), jsonpath.parse_path(path)))
    return columns


def _split_columns(text: str) -> Iterable[str]:
    depth, start = 0, 0
    for position, letter in enumerate(text):
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def column_rows(objects: Iterable[Mapping[str, Any]], text: str) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of own columns."""
    from plum_cli import jsonpath

    columns = parse_columns(text)
    rows = []
    for item in objects:
        found = [jsonpath.evaluate(path, item, item) for _, path in columns]
        rows.append([",".join(jsonpath.show(value) for value in values) if values else "<none>" for values in found])
    return [title for title, _ in columns], rows


def cell_text(value: Any) -> str:
    """A cell of a table of the server."""
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value).replace("\n", " ")


def print_rows(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, headers: bool = True, stream: TextIO | None = None
) -> None:
    """Rows under their titles, three blanks between the columns."""
    for line in format_rows(titles, rows, headers=headers, stream=stream or sys.stdout):
        print(line, file=stream or sys.stdout)


def format_rows(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    headers: bool = True,
    stream: TextIO | None = None,
    widths: list[int] | None = None,
) -> list[str]:
    """The lines of a table. `widths` is read and grown, so that rows that come later stand under the same titles."""
    table = [list(titles), *rows] if headers else [list(row) for row in rows]
    widths = widths if widths is not None else []
    widths += [0] * (len(titles) - len(widths))
    for row in table:
        for column, text in enumerate(row):
            widths[column] = max(widths[column], terminal.width(text))
    colour = stream is not None and terminal.has_colour(stream)
    lines = []
    for index, row in enumerate(table):
        cells = []
        for column, text in enumerate(row):
            padded = text if column == len(row) - 1 else text + " " * (widths[column] - terminal.width(text))
            if colour and stream is not None:
                style = "dim" if headers and index == 0 else terminal.state_style(text)
                padded = terminal.paint(text, style, stream) + padded[len(text) :] if style else padded
            cells.append(padded)
        lines.append("   ".join(cells).rstrip())
    return lines
