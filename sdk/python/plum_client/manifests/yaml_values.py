"""YAML nodes as JSON values, and back from a field's path to the line where it is written.

The parser of PyYAML keeps a mark with each node and its constructor throws the marks away; so values are built here.
Values are exactly what JSON can say: a date stays the text that was written.
"""

from __future__ import annotations

from typing import Any

import yaml

from plum_client.manifests.paths import matches

MAX_NODES = 2_000_000
"""Values in one document, aliases counted as often as they are used: more is a mistake or an attack on memory."""
MAX_DEPTH = 100
"""Levels of nesting. No manifest comes near; an alias to its own parent would never end."""
TAG = "tag:yaml.org,2002:"
FIELD_ON = "on"
"""A field of edges and hooks in workflows, which YAML 1.1 takes for true: written as it is, it is the field."""
_BOOLEAN_WORDS = frozenset({"yes", "no", "on", "off"})


class Builder:
    """Turns YAML nodes into JSON values, and notes duplicate keys and words that YAML 1.1 reads in a surprising way."""

    def __init__(self, loader: yaml.CSafeLoader) -> None:
        self._loader = loader
        self._count = 0
        self._depth = 0
        self.failures: list[tuple[int, str]] = []
        """Line and message of what cannot be used."""
        self.warnings: list[tuple[int, str]] = []
        """Line and message of what may mean something else than its writer thought."""

    def build(self, node: yaml.Node, path: str) -> Any:
        self._count += 1
        if self._count > MAX_NODES:
            raise yaml.YAMLError(f"the document has more than {MAX_NODES} values")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if self._depth >= MAX_DEPTH:
            raise yaml.YAMLError(f"the document is nested more than {MAX_DEPTH} levels deep")
        self._depth += 1
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self.build(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        finally:
            self._depth -= 1

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == TAG + "merge":
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in reversed(sources):
                    value = self.build(source, path)
                    if isinstance(value, dict):
                        merged.update(value)
                continue
            key = self._key(key_node, path)
            if key in lines:
                self._fail(line, f"{join(path, key)} is there twice, in line {lines[key]} and in line {line}; keep one")
            lines[key] = line
            own[key] = self.build(value_node, join(path, key))
        return {**merged, **own}

    def _key(self, node: yaml.Node, path: str) -> str:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.ScalarNode):
            self._fail(line, f"a key of {path or 'the document'} is not a text")
            return ""
        if node.tag == TAG + "bool" and node.value != FIELD_ON:
            self._fail(line, f"the key {node.value!r} means {self._boolean(node)} in YAML 1.1; write it in quotes")
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        tag = node.tag.removeprefix(TAG)
        line = node.start_mark.line + 1
        if tag in ("str", "timestamp", "value"):
            return str(node.value)
        if tag == "null":
            return None
        if tag == "bool":
            if node.value.lower() in _BOOLEAN_WORDS:
                meant = "true" if self._boolean(node) else "false"
                text = f'{path}: {node.value} means {meant} in YAML 1.1; write {meant}, or "{node.value}" in quotes for the text'
                self._warn(line, text)
            return self._boolean(node)
        if tag == "int":
            whole = int(self._loader.construct_yaml_int(node))
            if ":" in node.value:
                text = f'{path}: {node.value} means the number {whole} in YAML 1.1; write "{node.value}" in quotes for the text'
                self._warn(line, text)
            return whole
        if tag == "float":
            number = float(self._loader.construct_yaml_float(node))
            if number != number or number in (float("inf"), float("-inf")):
                self._fail(line, f"{path} is {node.value}; JSON has no such number")
            return number
        self._fail(line, f"{path or 'the document'} has the tag {node.tag}, which JSON cannot say; remove it")
        return None

    def _boolean(self, node: yaml.ScalarNode) -> bool:
        return bool(self._loader.construct_yaml_bool(node))

    def _fail(self, line: int, message: str) -> None:
        self.failures.append((line, message))

    def _warn(self, line: int, message: str) -> None:
        self.warnings.append((line, message))


def join(path: str, key: str) -> str:
    """The path of a member."""
    return f"{path}.{key}" if path else key


def find_line(node: yaml.Node, path: str) -> int:
    """The line, from 1, of the field at `spec.env[0].name` or `spec.env[name="A"].value`, or of its nearest written parent."""
    line = int(node.start_mark.line) + 1
    rest = path
    while rest:
        step = _step(node, rest)
        if step is None:
            break
        line, node, rest = step
    return line


def _step(node: yaml.Node, path: str) -> tuple[int, yaml.Node, str] | None:
    path = path.lstrip(".")
    if isinstance(node, yaml.MappingNode):
        best: tuple[int, int, yaml.Node] | None = None
        bracket = path.startswith("[")
        text = path[1:] if bracket else path
        for key_node, value_node in node.value:
            # A key may hold dots (`plum.dev/site`), so the longest key that fits is the one that is meant.
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else ""
            fits = text.startswith(key) and (len(text) == len(key) or text[len(key)] in ("]" if bracket else ".["))
            if key and fits and (best is None or len(key) > best[0]):
                best = (len(key), key_node.start_mark.line + 1, value_node)
        if best is None:
            return None
        return best[1], best[2], text[best[0] :].removeprefix("]")
    if isinstance(node, yaml.SequenceNode) and path.startswith("[") and "]" in path:
        inside, _, rest = path[1:].partition("]")
        if inside.isdigit():
            found = node.value[int(inside)] if int(inside) < len(node.value) else None
        else:
            found = next((item for item in node.value if matches(inside, _plain(item))), None)
        return None if found is None else (found.start_mark.line + 1, found, rest)
    return None


def _plain(item: yaml.Node) -> Any:
    """The texts of a node, as far as they tell items of a list apart."""
    if isinstance(item, yaml.MappingNode):
        return {str(key.value): str(value.value) for key, value in item.value if isinstance(value, yaml.ScalarNode)}
    return str(item.value)
