"""Reasons and sentences that programs can say, read from their source.

    files --ast--> {"NoNodeFits": {file}}, {"placed on {0}": file}

A sentence is a text with at least two words, its holes numbered in the order they stand. Texts for logs, command lines and
tables of columns are left out: nobody reads them in the web UI.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_REASON = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z0-9]*)*")
_SENTENCE = re.compile(r"[a-z]{2,} .*[a-z]{2,}|[a-z]{2,} \{|\} [a-z]{2,}")
_ARE_REASONS = {
    "Refusal", "Condition", "RefusedError", "Outcome", "Verdict", "Hold", "End", "TaskFailedError", "StartError", "CallError",
    "Problem",
}  # fmt: skip
"""Calls that take a reason as one of their values."""
_NO_REASONS = {"Not", "Apply", "Update", "Exact", "NotOlderThan", "ServiceAccount", "ApprovedAnnotation", "UnapprovedAnnotation"}
"""Words of Kubernetes' protocol that stand where reasons do, and the first part of composed ones."""
_NOT_SHOWN = {
    "warning", "info", "debug", "exception", "critical", "log", "Column", "column", "startswith", "endswith", "Field", "error_of",
    "compile", "getLogger", "TypeError", "AssertionError", "AttributeError", "FakeClock",
}  # fmt: skip


def _files(root: Path, paths: Iterable[str]) -> Iterator[Path]:
    for path in paths:
        found = root / path
        yield from sorted(found.rglob("*.py")) if found.is_dir() else [found]


def _name(call: ast.Call) -> str:
    called = call.func
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def _texts(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def _reasons(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="reason", value=value):
                yield from _texts(value)
            case ast.Call(args=[_, _, reason, *_]) if _name(node) == "event":
                yield from _texts(reason)
            case ast.Call(args=args) if _name(node) in _ARE_REASONS:
                for arg in args:
                    if isinstance(arg, ast.Constant):
                        yield from _texts(arg)
            case ast.Assign(targets=[ast.Name(id="reason")], value=value):
                yield from _texts(value)
            case ast.FunctionDef(name=name) if "reason" in name:
                yield from _texts(node)


def reasons_in(root: Path, paths: Iterable[str]) -> dict[str, set[str]]:
    """Reasons, with the files that say them."""
    found: dict[str, set[str]] = {}
    for file in _files(root, paths):
        if "fake" in file.name or "views" in file.parts:
            continue
        for text in _reasons(ast.parse(file.read_text())):
            if _REASON.fullmatch(text) and text not in _NO_REASONS:
                found.setdefault(text, set()).add(file.name)
    return found


def _template(node: ast.AST) -> str | None:
    """A text, or an f-string with numbered holes."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    text, holes = "", 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            text, holes = f"{text}{{{holes}}}", holes + 1
    return text


def _said(node: ast.AST, silent: set[int]) -> Iterator[str]:
    """Texts at or below a node, without those of calls that nobody sees in the UI."""
    if id(node) in silent:
        return
    text = _template(node)
    if text is not None:
        yield text
        return
    if isinstance(node, ast.Call) and _name(node) in _NOT_SHOWN:
        return
    for child in ast.iter_child_nodes(node):
        yield from _said(child, silent)


def sentences_in(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Sentences, each with a file that says it."""
    found: dict[str, str] = {}
    for file in _files(root, paths):
        tree = ast.parse(file.read_text())
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for text in _said(tree, docs):
            sentence = text.strip()
            if _SENTENCE.search(sentence) and len(sentence) > 8 and "\n" not in sentence:
                found.setdefault(sentence, file.name)
    return found
