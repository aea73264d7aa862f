"""Functions on texts, and regular expressions. Registered by being imported."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from plum_flow.cel.errors import Budget, EvaluationError
from plum_flow.cel.functions import define, to_string
from plum_flow.cel.values import MAX_TEXT, kind_of, no_overload, text


@define("contains", "string", ("string",), "bool", budget=True)
def contains(budget: Budget, value: str, part: str) -> bool:
    budget.spend((len(value) + len(part)) // 10)
    return part in value


@define("startsWith", "string", ("string",), "bool", budget=True)
def starts_with(budget: Budget, value: str, part: str) -> bool:
    budget.spend(len(part) // 10)
    return value.startswith(part)


@define("endsWith", "string", ("string",), "bool", budget=True)
def ends_with(budget: Budget, value: str, part: str) -> bool:
    budget.spend(len(part) // 10)
    return value.endswith(part)


@define("charAt", "string", ("int",), "string")
def char_at(value: str, index: int) -> str:
    if not 0 <= index <= len(value):
        raise EvaluationError(f"index out of range: {index}")
    return value[index : index + 1]


@define("indexOf", "string", ("string",), "int", budget=True)
@define("indexOf", "string", ("string", "int"), "int", budget=True)
def index_of(budget: Budget, value: str, part: str, start: int = 0) -> int:
    budget.spend(len(value) // 10)
    if not 0 <= start <= len(value):
        raise EvaluationError(f"index out of range: {start}")
    return value.find(part, start)


@define("lastIndexOf", "string", ("string",), "int", budget=True)
@define("lastIndexOf", "string", ("string", "int"), "int", budget=True)
def last_index_of(budget: Budget, value: str, part: str, end: int | None = None) -> int:
    budget.spend(len(value) // 10)
    if end is not None and not 0 <= end <= len(value):
        raise EvaluationError(f"index out of range: {end}")
    return value.rfind(part) if end is None else value.rfind(part, 0, end + len(part))


define("lowerAscii", "string", (), "string", budget=True)(
    lambda budget, value: text("".join(c.lower() if c.isascii() else c for c in value), budget)
)
define("upperAscii", "string", (), "string", budget=True)(
    lambda budget, value: text("".join(c.upper() if c.isascii() else c for c in value), budget)
)
define("trim", "string", (), "string", budget=True)(lambda budget, value: text(value.strip(), budget))
define("reverse", "string", (), "string", budget=True)(lambda budget, value: text(value[::-1], budget))


@define("replace", "string", ("string", "string"), "string", budget=True)
@define("replace", "string", ("string", "string", "int"), "string", budget=True)
def replace(budget: Budget, value: str, old: str, new: str, limit: int = -1) -> str:
    budget.spend(len(value) // 10)
    count = value.count(old) if limit < 0 else min(limit, value.count(old))
    if len(value) + count * (len(new) - len(old)) > MAX_TEXT:
        raise EvaluationError(f"a text of more than {MAX_TEXT} characters")
    return text(value.replace(old, new, limit if limit >= 0 else -1), budget)


@define("split", "string", ("string",), "list", budget=True)
@define("split", "string", ("string", "int"), "list", budget=True)
def split(budget: Budget, value: str, separator: str, limit: int = -1) -> list[str]:
    budget.spend(1 + len(value) // 10)
    if limit == 0:
        return []
    parts = list(value) if not separator else value.split(separator, limit - 1 if limit > 0 else -1)
    if not separator and 0 < limit < len(parts):
        parts = [*parts[: limit - 1], "".join(parts[limit - 1 :])]
    budget.spend(len(parts))
    return parts


@define("substring", "string", ("int",), "string", budget=True)
@define("substring", "string", ("int", "int"), "string", budget=True)
def substring(budget: Budget, value: str, start: int, end: int | None = None) -> str:
    end = len(value) if end is None else end
    if not 0 <= start <= end <= len(value):
        raise EvaluationError(f"index out of range: {start}, {end}")
    return text(value[start:end], budget)


@define("join", "list", (), "string", budget=True)
@define("join", "list", ("string",), "string", budget=True)
def join(budget: Budget, values: list[Any], separator: str = "") -> str:
    budget.spend(len(values))
    if not all(isinstance(value, str) for value in values):
        raise no_overload("join", values)
    if sum(map(len, values)) + len(separator) * len(values) > MAX_TEXT:
        raise EvaluationError(f"a text of more than {MAX_TEXT} characters")
    return text(separator.join(values), budget)


@define("format", "string", ("list",), "string", budget=True)
def format_text(budget: Budget, pattern: str, values: list[Any]) -> str:
    out, rest, left = [], pattern, list(values)
    while "%" in rest:
        before, _, rest = rest.partition("%")
        out.append(before)
        if rest.startswith("%"):
            out.append("%")
            rest = rest[1:]
            continue
        digits = ""
        if rest.startswith("."):
            digits = rest[1 : 1 + len(rest[1:]) - len(rest[1:].lstrip("0123456789"))]
            rest = rest[1 + len(digits) :]
        if not rest or not left or len(digits) > 2:
            raise EvaluationError("the format has more clauses than there are values, or one that is not complete")
        out.append(_clause(budget, rest[0], digits, left.pop(0)))
        rest = rest[1:]
    return text("".join([*out, rest]), budget)


def _clause(budget: Budget, letter: str, digits: str, value: Any) -> str:
    try:
        match letter:
            case "s":
                return _shown(budget, value)
            case "d":
                return str(int(value)) if kind_of(value) in ("int", "uint") else _shown(budget, value)
            case "f" | "e":
                return f"{value:.{int(digits or 6)}{letter}}"
            case "b" | "o" | "x" | "X":
                if isinstance(value, str | bytes):
                    raw = value.encode() if isinstance(value, str) else value
                    return raw.hex().upper() if letter == "X" else raw.hex()
                return format(int(value), letter)
    except (ValueError, TypeError):
        pass
    raise EvaluationError(f"%{letter} cannot show a {kind_of(value)}")


def _shown(budget: Budget, value: Any) -> str:
    kind = kind_of(value)
    budget.spend(1)
    if kind == "list":
        return "[" + ", ".join(_shown(budget, item) for item in value) + "]"
    if kind == "map":
        return "{" + ", ".join(f"{_shown(budget, k)}: {_shown(budget, v)}" for k, v in sorted(value.items(), key=str)) + "}"
    if kind == "null":
        return "null"
    if kind == "type":
        return str(value.name)
    return to_string(budget, value)


# ---- regular expressions: RE2, which takes time in proportion to the text whatever the pattern


@lru_cache(maxsize=256)
def pattern_of(pattern: str) -> Any:
    """Raises `EvaluationError`."""
    import re2  # type: ignore[import-untyped]  # a native library that rules without patterns do not need

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise EvaluationError(f"{pattern[:100]!r} is no regular expression of RE2: {error}") from None


def _spend_on_pattern(budget: Budget, value: str, pattern: str) -> Any:
    budget.spend(1 + (len(value) // 10 + 1) * (len(pattern) // 4 + 1))
    return pattern_of(pattern)


@define("matches", None, ("string", "string"), "bool", budget=True)
@define("matches", "string", ("string",), "bool", budget=True)
def matches(budget: Budget, value: str, pattern: str) -> bool:
    return _spend_on_pattern(budget, value, pattern).search(value) is not None


@define("find", "string", ("string",), "string", budget=True)
def find(budget: Budget, value: str, pattern: str) -> str:
    found = _spend_on_pattern(budget, value, pattern).search(value)
    return text(found.group() if found is not None else "", budget)


@define("findAll", "string", ("string",), "list", budget=True)
@define("findAll", "string", ("string", "int"), "list", budget=True)
def find_all(budget: Budget, value: str, pattern: str, limit: int = -1) -> list[str]:
    found: list[str] = []
    for match in _spend_on_pattern(budget, value, pattern).finditer(value):
        if 0 <= limit <= len(found):
            break
        found.append(match.group())
        budget.spend(1)
    return found
