"""JSONPath templates, as `kubectl -o jsonpath=` has them: `{range .items[*]}{.metadata.name}{"\\n"}{end}`.

    text --parse_template--> nodes --render(value)--> text
    path --parse_path--> steps --find(value)--> list of values

Supported: fields (with escaped dots and `['quoted']` names), indexes and slices, unions, wildcards, `..`, filters
`[?(@.type=="Ready")]` with == != < <= > >= and existence, `range`/`end`, texts in quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from plum_cli.errors import USAGE, CliError

Step = Callable[[Any, Any], list[Any]]
"""From the root and one value to the values one step further."""


class JsonPathError(CliError):
    """The template cannot be read."""

    def __init__(self, message: str) -> None:
        super().__init__(f"jsonpath: {message}", USAGE)


class Text(NamedTuple):
    """Text that is printed as it is."""

    text: str


class Path(NamedTuple):
    """Values that are printed, separated by a blank."""

    steps: tuple[Step, ...]
    absolute: bool


class Range(NamedTuple):
    """A part that is printed once for each value."""

    path: Path
    body: tuple[Text | Path | Range, ...]


Node = Text | Path | Range
_FIELD = re.compile(r"(?:[^\\.\[\]{}\s,()=!<>'\"]|\\.)+")
_FILTER = re.compile(r"^(?P<left>.+?)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<right>.+))?$", re.DOTALL)


def render(template: str, value: Any) -> str:
    """The template's text for a value. Raises `JsonPathError`."""
    return "".join(_render(parse_template(template), value, value))


def find(path: str, value: Any) -> list[Any]:
    """Every value at a path such as `.spec.replicas` (braces and the first dot may be left out)."""
    return evaluate(parse_path(path), value, value)


def parse_path(text: str) -> Path:
    """One path, with or without braces."""
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    if text and text[0] not in ".[$@":
        text = "." + text
    return _Parser(text).path()


def parse_template(template: str) -> tuple[Node, ...]:
    """The nodes of a template. A template without braces is one path."""
    if "{" not in template:
        return (parse_path(template),)
    stack: list[tuple[Path, list[Node]]] = [(Path((), False), [])]
    for is_text, part in _split(template):
        if is_text:
            stack[-1][1].append(Text(part))
        elif part == "end":
            if len(stack) == 1:
                raise JsonPathError("{end} without {range}")
            path, body = stack.pop()
            stack[-1][1].append(Range(path, tuple(body)))
        elif part.startswith(("range ", "range\t")):
            stack.append((parse_path(part[6:]), []))
        elif part[:1] in "\"'":
            stack[-1][1].append(Text(_unquote(part)))
        else:
            stack[-1][1].append(parse_path(part))
    if len(stack) > 1:
        raise JsonPathError("{range} without {end}")
    return tuple(stack[0][1])


def evaluate(path: Path, root: Any, current: Any) -> list[Any]:
    """The values at a path, from the root or from the current value."""
    values = [root if path.absolute else current]
    for step in path.steps:
        values = [found for value in values for found in step(root, value)]
    return values


def show(value: Any) -> str:
    """A value as the template prints it: texts bare, everything else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _render(nodes: tuple[Node, ...], root: Any, current: Any) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Text):
            yield node.text
        elif isinstance(node, Path):
            yield " ".join(show(value) for value in evaluate(node, root, current))
        else:
            for value in evaluate(node.path, root, current):
                yield from _render(node.body, root, value)


def _split(template: str) -> Iterator[tuple[bool, str]]:
    """Pieces of a template: (True, text outside braces) or (False, content of braces)."""
    position = 0
    while position < len(template):
        start = template.find("{", position)
        if start < 0:
            yield True, template[position:]
            return
        if start > position:
            yield True, template[position:start]
        end = _closing(template, start + 1, "}")
        yield False, template[start + 1 : end].strip()
        position = end + 1


def _closing(text: str, position: int, closer: str) -> int:
    """Where the closer stands, quotes skipped."""
    quote = ""
    while position < len(text):
        letter = text[position]
        if letter == "\\" and quote:
            position += 1
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == closer:
            return position
        position += 1
    raise JsonPathError(f"a {closer!r} is missing in {text!r}")


def _unquote(text: str) -> str:
    if len(text) < 2 or text[0] != text[-1]:
        raise JsonPathError(f"a quote is missing in {text!r}")
    if text[0] == '"':
        try:
            return str(json.loads(text, strict=False))
        except ValueError as error:
            raise JsonPathError(f"{text} is no text: {error}") from error
    return text[1:-1].replace("\\'", "'").replace("\\n", "\n").replace("\\t", "\t")


class _Parser:
    """Reads one path."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def path(self) -> Path:
        absolute = self._text.startswith("$")
        if self._text[:1] in ("$", "@"):
            self._at = 1
        steps: list[Step] = []
        while self._at < len(self._text):
            steps.append(self._step())
        return Path(tuple(steps), absolute)

    def _step(self) -> Step:
        letter = self._text[self._at]
        if letter == "[":
            end = _closing_bracket(self._text, self._at)
            inside = self._text[self._at + 1 : end].strip()
            self._at = end + 1
            return _bracket(inside)
        if letter == ".":
            self._at += 1
            if self._text.startswith(".", self._at):
                self._at += 1
                return _descend(self._name())
            if self._at == len(self._text) or self._text[self._at] == "[":
                return _identity
            name = self._name()
            return _wildcard if name == "*" else _field(name)
        raise JsonPathError(f"{self._text[self._at :]!r} was not expected in {self._text!r}")

    def _name(self) -> str:
        match = _FIELD.match(self._text, self._at)
        if match is None:
            raise JsonPathError(f"a field name is missing in {self._text!r}")
        self._at = match.end()
        return re.sub(r"\\(.)", r"\1", match.group())


def _closing_bracket(text: str, start: int) -> int:
    depth, position, quote = 0, start, ""
    while position < len(text):
        letter = text[position]
        if quote:
            if letter == "\\":
                position += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter == "[":
            depth += 1
        elif letter == "]":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    raise JsonPathError(f"a ']' is missing in {text!r}")


def _identity(_root: Any, value: Any) -> list[Any]:
    return [value]


def _wildcard(_root: Any, value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _field(name: str) -> Step:
    def step(_root: Any, value: Any) -> list[Any]:
        if isinstance(value, dict) and name in value:
            return [value[name]]
        return []

    return step


def _descend(name: str) -> Step:
    def step(root: Any, value: Any) -> list[Any]:
        found: list[Any] = []
        if name == "*":
            found += _wildcard(root, value)
        elif isinstance(value, dict) and name in value:
            found.append(value[name])
        for child in _wildcard(root, value):
            found += step(root, child)
        return found

    return step


def _bracket(inside: str) -> Step:
    if inside.startswith("?(") and inside.endswith(")"):
        return _filter(inside[2:-1].strip())
    if inside == "*":
        return _wildcard
    if inside[:1] in "\"'" and inside:
        names = [_unquote(part.strip()) for part in inside.split(",")]
        return _union([_field(name) for name in names])
    return _union([_index(part.strip()) for part in inside.split(",")])


def _union(steps: list[Step]) -> Step:
    return lambda root, value: [found for step in steps for found in step(root, value)]


def _index(text: str) -> Step:
    try:
        parts = [int(part) if part.strip() else None for part in text.split(":")]
    except ValueError as error:
        raise JsonPathError(f"[{text}] is no index, slice, filter or quoted name") from error
    if not text or len(parts) > 3:
        raise JsonPathError(f"[{text}] is no index or slice")

    def step(_root: Any, value: Any) -> list[Any]:
        if not isinstance(value, list):
            return []
        if len(parts) > 1:
            return value[slice(*parts)]
        index = parts[0] or 0
        return [value[index]] if -len(value) <= index < len(value) else []

    return step


def _filter(text: str) -> Step:
    match = _FILTER.match(text)
    if match is None:
        raise JsonPathError(f"the filter ({text}) cannot be read")
    left = parse_path(match["left"])
    operator, right = match["operator"], match["right"]
    literal, other = _operand(right.strip()) if right else (None, None)

    def step(root: Any, value: Any) -> list[Any]:
        return [item for item in _wildcard(root, value) if _holds(root, item, left, operator, literal, other)]

    return step


def _operand(text: str) -> tuple[Any, Path | None]:
    if text[0] in "@$":
        return None, parse_path(text)
    if text[0] in "\"'":
        return _unquote(text), None
    try:
        return json.loads(text), None
    except ValueError:
        return text, None


def _holds(root: Any, item: Any, left: Path, operator: str | None, literal: Any, other: Path | None) -> bool:
    found = evaluate(left, root, item)
    if operator is None:
        return bool(found)
    if not found:
        return False
    value = found[0]
    if other is not None:
        wanted = evaluate(other, root, item)
        if not wanted:
            return False
        literal = wanted[0]
    if operator == "==":
        return bool(value == literal)
    if operator == "!=":
        return bool(value != literal)
    try:
        return bool({"<": value < literal, "<=": value <= literal, ">": value > literal, ">=": value >= literal}[operator])
    except TypeError:
        return False
