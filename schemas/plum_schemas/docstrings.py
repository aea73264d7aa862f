"""Reads the docstrings below the fields of a class from its source, as one line each. Used only when schemas are generated."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache


def describe_class(cls: type) -> str:
    """The docstring of a class."""
    return _one_line(cls.__doc__ or "")


def describe_fields(cls: type) -> dict[str, str]:
    """Python name of every documented field, inherited ones included, to its docstring."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found.update(_module_fields(base.__module__).get(base.__qualname__, {}))
    return found


@cache
def _module_fields(module: str) -> dict[str, dict[str, str]]:
    """Class name to field name to docstring, for one module."""
    source = getattr(sys.modules.get(module), "__file__", None)
    if source is None or not source.endswith(".py"):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: _fields(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _fields(node: ast.ClassDef) -> dict[str, str]:
    fields = {}
    for statement, following in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            fields[statement.target.id] = _one_line(following.value.value)
    return fields


def _one_line(text: str) -> str:
    return " ".join(text.split())
