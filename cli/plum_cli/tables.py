"""Tables of the server on the terminal: which columns are shown, in which order, and rows that come later.

    Table JSON --TableView.rows--> texts --> aligned lines

The server decides on columns and cells; the client adds namespaces, kinds and labels where they were asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plum_cli.output import cell_text, format_rows


@dataclass(slots=True)
class TableOptions:
    """What the person asked to see."""

    wide: bool = False
    with_namespace: bool = False
    with_kind: str = ""
    """Put before each name: `deployment.plum.dev`."""
    show_labels: bool = False
    label_columns: Sequence[str] = ()
    headers: bool = True
    sort_by: str = ""


@dataclass(slots=True)
class TableView:
    """One table that may grow. Columns come with the first page and stay."""

    options: TableOptions
    titles: list[str] = field(default_factory=list)
    _shown: list[int] = field(default_factory=list)
    _name: int = -1
    _widths: list[int] = field(default_factory=list)
    _printed: bool = False

    def set_columns(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        """Take the columns of the server."""
        self._shown = [index for index, column in enumerate(definitions) if self.options.wide or not column.get("priority")]
        self._name = next((index for index, column in enumerate(definitions) if column.get("format") == "name"), -1)
        titles = [str(definitions[index]["name"]).upper() for index in self._shown]
        front = ["NAMESPACE"] if self.options.with_namespace else []
        back = [label.rpartition("/")[2].upper() for label in self.options.label_columns]
        self.titles = [*front, *titles, *back, *(["LABELS"] if self.options.show_labels else [])]

    def rows(self, table: Mapping[str, Any]) -> list[list[str]]:
        """The texts of a page or of one event."""
        if table.get("columnDefinitions"):
            self.set_columns(table["columnDefinitions"])
        rows = list(table.get("rows") or ())
        if self.options.sort_by:
            rows = sort_rows(rows, self.options.sort_by)
        return [self._row(row) for row in rows]

    def _row(self, row: Mapping[str, Any]) -> list[str]:
        metadata = (row.get("object") or {}).get("metadata") or {}
        labels = metadata.get("labels") or {}
        cells = list(row["cells"])
        if self.options.with_kind and self._name >= 0:
            cells[self._name] = f"{self.options.with_kind}/{cells[self._name]}"
        texts = [str(metadata.get("namespace", ""))] if self.options.with_namespace else []
        texts += [cell_text(cells[index]) for index in self._shown]
        texts += [str(labels.get(label, "")) for label in self.options.label_columns]
        if self.options.show_labels:
            texts.append(",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>")
        return texts

    def lines(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """Rows as lines, the titles before the first of them."""
        headers = self.options.headers and not self._printed
        self._printed = True
        return format_rows(self.titles, rows, headers=headers, stream=sys.stdout, widths=self._widths)


def sort_rows(rows: Sequence[Mapping[str, Any]], path: str) -> list[Mapping[str, Any]]:
    """Rows in the order of a value of their objects."""
    return sort_objects(rows, path, lambda row: row.get("object") or {})


def sort_objects(items: Sequence[Any], path: str, value: Any = lambda item: item) -> list[Any]:
    """Items in the order of the value at a JSONPath; those without one come first, numbers before texts."""
    from plum_cli import jsonpath

    parsed = jsonpath.parse_path(path)

    def rank(item: Any) -> tuple[int, float, str]:
        found = jsonpath.evaluate(parsed, value(item), value(item))
        if not found or found[0] is None:
            return (0, 0.0, "")
        if isinstance(found[0], int | float):
            return (1, float(found[0]), "")
        return (2, 0.0, jsonpath.show(found[0]))

    return sorted(items, key=rank)
