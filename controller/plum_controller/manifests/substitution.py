"""`${NAME}` in manifests: values are put into the scalars of a document, so they cannot change its structure.

replicas: ${COUNT}          the value is read as YAML reads it: 3 is a number
text: "v${VERSION:-1}"      in quotes it stays a text; a default follows `:-`
command: $${HOME}           `$$` stands for a dollar sign before a brace
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import yaml
from plum_client.manifests.documents import RewriteError
from plum_client.manifests.yaml_values import TAG
from plum_schemas.sync import SUBSTITUTE_ANNOTATION

_VARIABLE = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_RESOLVER = yaml.resolver.Resolver()


def rewriter(values: Mapping[str, str]) -> Callable[[yaml.Node], None]:
    """What puts these values into a document. It raises `RewriteError` for names without value."""

    def rewrite(node: yaml.Node) -> None:
        if _is_disabled(node):
            return
        failures: list[tuple[int, str]] = []
        _walk(node, values, failures, set())
        if failures:
            raise RewriteError(failures)

    return rewrite


def _walk(node: yaml.Node, values: Mapping[str, str], failures: list[tuple[int, str]], seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        if "${" in node.value:
            _replace(node, values, failures)
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            _walk(value, values, failures, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _walk(item, values, failures, seen)


def _replace(node: yaml.ScalarNode, values: Mapping[str, str], failures: list[tuple[int, str]]) -> None:
    line = node.start_mark.line + 1

    def value_of(match: re.Match[str]) -> str:
        escaped, name, default = match.groups()
        if escaped:
            return match[0][1:]
        if name in values:
            return values[name]
        if default is not None:
            return str(default)
        text = f"${{{name}}} has no value; add it to spec.substitute, or write $${{{name}}} for the text itself"
        failures.append((line, text))
        return ""

    node.value = _VARIABLE.sub(value_of, node.value)
    if not node.style and node.tag == TAG + "str":
        node.tag = _RESOLVER.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]


def _is_disabled(node: yaml.Node) -> bool:
    annotations = _member(_member(node, "metadata"), "annotations")
    found = _member(annotations, SUBSTITUTE_ANNOTATION)
    return isinstance(found, yaml.ScalarNode) and found.value == "disabled"


def _member(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if isinstance(key, yaml.ScalarNode) and key.value == name), None)
