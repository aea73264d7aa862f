"""Selectors: which objects a list, a watch or a service means, by labels and by fields.

    "app=web,tier in (a,b),!old"  --parse_label_selector-->  LabelSelector.matches(labels)
    "spec.nodeName=node-1"        --parse_field_selector-->  FieldSelector.matches(getter)

The grammar and the error texts are Kubernetes' (apimachinery `labels` and `fields`), because clients show them.
`requirements` is what an index reads: all of them must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from plum_schemas.names import check_label_key, check_label_value

LabelOperator = Literal["=", "!=", "in", "notin", "exists", "!", "gt", "lt"]
FieldOperator = Literal["=", "!="]


class SelectorError(ValueError):
    """The selector cannot be understood. The text is the one to answer with 400."""


class LabelRequirement(NamedTuple):
    """One demand on a label. `values` are sorted; `=`, `!=`, `gt`, `lt` have exactly one, `exists` and `!` none."""

    key: str
    operator: LabelOperator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "=" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        if value is None:
            return False
        number = _integer(value)
        bound = _integer(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator == "gt" else number < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values) or ','})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
        return f"{self.key}{self.operator}{self.values[0]}"


class LabelSelector:
    """All of its requirements must hold; without any it selects everything."""

    __slots__ = ("requirements",)

    def __init__(self, requirements: Iterable[LabelRequirement] = ()) -> None:
        self.requirements: tuple[LabelRequirement, ...] = tuple(sorted(requirements))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> LabelSelector:
        """Objects with exactly these values."""
        return cls(LabelRequirement(key, "=", (value,)) for key, value in labels.items())

    @classmethod
    def from_object(cls, selector: Mapping[str, Any] | None) -> LabelSelector | None:
        """From `{matchLabels, matchExpressions}`. None stays None, which means: nothing is selected. Raises SelectorError."""
        if selector is None:
            return None
        requirements = [_requirement(key, "=", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
        for expression in selector.get("matchExpressions") or ():
            operator = _OBJECT_OPERATORS.get(expression.get("operator"))
            if operator is None:
                raise SelectorError(f'"{expression.get("operator")}" is not a valid label selector operator')
            requirements.append(_requirement(expression.get("key", ""), operator, expression.get("values") or ()))
        return cls(requirements)

    def __bool__(self) -> bool:
        """False when it selects everything."""
        return bool(self.requirements)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSelector) and self.requirements == other.requirements

    def __hash__(self) -> int:
        return hash(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"LabelSelector({str(self)!r})"


class FieldRequirement(NamedTuple):
    """One demand on a field."""

    path: str
    operator: FieldOperator
    value: str

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
        return f"{self.path}{self.operator}{value}"


class FieldSelector:
    """All of its requirements must hold; without any it selects everything."""

    __slots__ = ("requirements",)

    def __init__(self, requirements: Iterable[FieldRequirement] = ()) -> None:
        self.requirements: tuple[FieldRequirement, ...] = tuple(sorted(requirements))

    def matches(self, getter: Callable[[str], str]) -> bool:
        """`getter` gives the text at a path, the empty text when there is none."""
        for requirement in self.requirements:  # asked for every watcher with a selector and every change
            if (getter(requirement.path) == requirement.value) is not (requirement.operator == "="):
                return False
        return True

    def check(self, supported: Iterable[str]) -> None:
        """Raise SelectorError if a path is none of those that can be selected by."""
        known = frozenset(supported)
        for requirement in self.requirements:
            if requirement.path not in known:
                raise SelectorError(f"field label not supported: {requirement.path}")

    def __bool__(self) -> bool:
        """False when it selects everything."""
        return bool(self.requirements)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldSelector) and self.requirements == other.requirements

    def __hash__(self) -> int:
        return hash(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"FieldSelector({str(self)!r})"


def parse_label_selector(text: str) -> LabelSelector:
    """Parse `a=b,c!=d,e in (f,g),h,!i,j>1`. Raises SelectorError with Kubernetes' text."""
    return LabelSelector(_LabelParser(text).parse())


def parse_field_selector(text: str) -> FieldSelector:
    """Parse `path=value,path!=value`; a backslash escapes `,`, `=` and itself. Raises SelectorError with Kubernetes' text."""
    requirements = []
    for term in _split_escaped(text, ","):
        if not term:
            continue
        path, operator, value = _split_term(text, term)
        requirements.append(FieldRequirement(path, operator, _unescape(value)))
    return FieldSelector(requirements)


_OBJECT_OPERATORS: Mapping[Any, LabelOperator] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def _requirement(key: str, operator: LabelOperator, values: Iterable[str]) -> LabelRequirement:
    """A checked requirement. Raises SelectorError."""
    ordered = tuple(sorted(set(values)))
    try:
        check_label_key(key)
    except ValueError as error:
        raise SelectorError(f'key: Invalid value: "{key}": {error}') from error
    if operator in ("in", "notin") and not ordered:
        raise SelectorError("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in ("exists", "!") and ordered:
        listed = ", ".join(f'"{value}"' for value in ordered)
        raise SelectorError(f"values: Invalid value: [{listed}]: values set must be empty for exists and does not exist")
    if operator in ("gt", "lt") and _integer(ordered[0]) is None:
        raise SelectorError(f"values[0]: Invalid value: \"{ordered[0]}\": for 'Gt', 'Lt' operators, the value must be an integer")
    for index, value in enumerate(ordered):
        try:
            check_label_value(value)
        except ValueError as error:
            raise SelectorError(f'values[{index}][{key}]: Invalid value: "{value}": {error}') from error
    return LabelRequirement(key, operator, ordered)


def _integer(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None


class _Token(NamedTuple):
    kind: str
    """`id`, `end`, or the symbol or word itself."""
    text: str


_SYMBOLS = frozenset({")", ",", "!", "(", "=", "==", "!=", ">", "<"})
_SPECIAL = frozenset("=!(),><")
_OPERATORS: Mapping[str, LabelOperator] = {
    "in": "in", "notin": "notin", "=": "=", "==": "=", "!=": "!=", ">": "gt", "<": "lt",
}  # fmt: skip


def _tokens(text: str) -> list[_Token]:
    tokens = []
    position = 0
    while position < len(text):
        start = position
        if text[position] in " \t\r\n":
            position += 1
        elif text[position] in _SPECIAL:
            position += 2 if text[position : position + 2] in _SYMBOLS else 1
            symbol = text[start:position]
            tokens.append(_Token(symbol, symbol))
        else:
            while position < len(text) and text[position] not in _SPECIAL and text[position] not in " \t\r\n":
                position += 1
            word = text[start:position]
            tokens.append(_Token(word if word in ("in", "notin") else "id", word))
    tokens.append(_Token("end", ""))
    return tokens


class _LabelParser:
    """Recursive descent with one token of look-ahead. `in` and `notin` are words only where an operator may stand."""

    def __init__(self, text: str) -> None:
        self._tokens: Sequence[_Token] = _tokens(text)
        self._position = 0

    def parse(self) -> list[LabelRequirement]:
        requirements: list[LabelRequirement] = []
        if self._peek().kind not in ("id", "!", "end"):
            raise SelectorError(f"found '{self._peek().text}', expected: !, identifier, or 'end of string'")
        while self._peek().kind in ("id", "!"):
            try:
                requirements.append(self._parse_requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from error
            token = self._take()
            if token.kind == "end":
                break
            if token.kind != ",":
                raise SelectorError(f"found '{token.text}', expected: ',' or 'end of string'")
            if self._peek().kind not in ("id", "!"):
                raise SelectorError(f"found '{self._peek().text}', expected: identifier after ','")
        return requirements

    def _parse_requirement(self) -> LabelRequirement:
        token = self._take()
        absent = token.kind == "!"
        if absent:
            token = self._take()
        if token.kind != "id":
            raise SelectorError(f"found '{token.text}', expected: identifier")
        key = token.text
        if absent:
            return _requirement(key, "!", ())
        if self._peek().kind in ("end", ","):
            return _requirement(key, "exists", ())
        operator = self._parse_operator()
        values = self._parse_values() if operator in ("in", "notin") else [self._parse_value()]
        return _requirement(key, operator, values)

    def _parse_operator(self) -> LabelOperator:
        token = self._tokens[self._position]
        self._position += 1
        operator = _OPERATORS.get(token.kind)
        if operator is None:
            raise SelectorError(f"found '{token.text}', expected: in, notin, =, ==, !=, gt, lt")
        return operator

    def _parse_value(self) -> str:
        if self._peek().kind in ("end", ","):
            return ""
        token = self._take()
        if token.kind != "id":
            raise SelectorError(f"found '{token.text}', expected: identifier")
        return token.text

    def _parse_values(self) -> list[str]:
        token = self._take()
        if token.kind != "(":
            raise SelectorError(f"found '{token.text}' expected: '('")
        if self._peek().kind not in ("id", ",", ")"):
            raise SelectorError(f"found '{self._peek().text}', expected: ',', ')' or identifier")
        if self._peek().kind == ")":
            self._take()
            return []
        values = []
        while True:
            values.append(self._take().text if self._peek().kind == "id" else "")
            token = self._take()
            if token.kind == ")":
                return values
            if token.kind != ",":
                expected = "',' or ')'" if values[-1] else "',', or identifier"
                raise SelectorError(f"found '{token.text}', expected: {expected}")

    def _peek(self) -> _Token:
        token = self._tokens[self._position]
        return _Token("id", token.text) if token.kind in ("in", "notin") else token

    def _take(self) -> _Token:
        token = self._peek()
        if token.kind != "end":
            self._position += 1
        return token


def _split_escaped(text: str, separator: str) -> list[str]:
    """Split where the separator stands without a backslash before it; backslashes stay."""
    parts = [""]
    escaped = False
    for character in text:
        if character == separator and not escaped:
            parts.append("")
            continue
        parts[-1] += character
        escaped = character == "\\" and not escaped
    return parts


def _split_term(text: str, term: str) -> tuple[str, FieldOperator, str]:
    for position in range(len(term)):
        rest = term[position:]
        if rest.startswith("!="):
            return term[:position], "!=", rest[2:]
        if rest.startswith("=="):
            return term[:position], "=", rest[2:]
        if rest.startswith("="):
            return term[:position], "=", rest[1:]
    raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")


def _unescape(value: str) -> str:
    characters = []
    escaped = False
    for character in value:
        if escaped:
            if character not in "\\,=":
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{character}")
            characters.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {character}")
        else:
            characters.append(character)
    if escaped:
        raise SelectorError("invalid field selector: invalid escape sequence: \\")
    return "".join(characters)
