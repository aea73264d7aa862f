"""The rules of a schema (`x-kubernetes-validations`), checked against an object and the one it replaces.

    schema --SchemaRules--> a tree of the places that have rules --check(new, old)--> causes

`self` is the value at the place of the rule, `oldSelf` the one it replaces, which is found through properties, keys of maps
and keys of list maps. All rules of an object share one budget: an object that would take too long is refused, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from plum_flow.cel.errors import Budget, CompileError, CostError, EvaluationError
from plum_flow.cel.program import Program, compile_expression
from plum_flow.cel.types import Type, type_of
from plum_flow.cel.values import NONE, Optional
from plum_schemas.validation import quote

from plum_controller.resources.errors import INVALID, Cause

RULES = "x-kubernetes-validations"
RULE_UNITS = 100_000
"""Of one rule for one value: about 30 ms."""
OBJECT_UNITS = 200_000
"""Of all rules for one object."""
REASONS = {
    "FieldValueInvalid": "Invalid value: {value}: ",
    "FieldValueForbidden": "Forbidden: ",
    "FieldValueRequired": "Required value: ",
    "FieldValueDuplicate": "Duplicate value: {value}: ",
}


class Rule(NamedTuple):
    """One rule, ready to run."""

    program: Program
    text: str
    message: str
    message_program: Program | None
    reason: str
    field_path: str
    is_transition: bool
    """It speaks of the value before."""
    takes_optional: bool
    """The value before is an optional, so the rule also holds for new values."""


class _Place(NamedTuple):
    rules: tuple[Rule, ...]
    properties: Mapping[str, _Place]
    items: _Place | None
    values: _Place | None
    """Of a map with free keys."""
    keys: tuple[str, ...]
    """Of a list map: what finds the item before."""


def check_rules(schema: Mapping[str, Any], *, is_resource: bool = True) -> Iterator[Cause]:
    """What is wrong with the rules of a schema, with paths as in a CustomResourceDefinition."""
    yield from _problems(schema, "", is_resource, correlates=True)


def _problems(schema: Mapping[str, Any], path: str, is_resource: bool, correlates: bool) -> Iterator[Cause]:
    for index, rule in enumerate(schema.get(RULES) or ()):
        where = f"{path}.{RULES}[{index}]".lstrip(".")
        yield from _rule_problems(schema, rule, where, is_resource, correlates)
    prefix = f"{path}." if path else ""
    for name, part in (schema.get("properties") or {}).items():
        if isinstance(part, Mapping):
            yield from _problems(part, f"{prefix}properties[{name}]", False, correlates)
    items, values = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, Mapping):
        named = schema.get("x-kubernetes-list-type") == "map"
        yield from _problems(items, f"{prefix}items", False, correlates and named)
    if isinstance(values, Mapping):
        yield from _problems(values, f"{prefix}additionalProperties", False, correlates)


def _rule_problems(
    schema: Mapping[str, Any], data: Mapping[str, Any], where: str, is_resource: bool, correlates: bool
) -> Iterator[Cause]:
    text = str(data.get("rule") or "")
    if not text.strip():
        yield Cause("FieldValueRequired", "Required value: rule is not specified", f"{where}.rule")
        return
    message = data.get("message")
    if message is not None and (not str(message).strip() or "\n" in str(message)):
        hint = "message must be a single line that is not empty"
        yield Cause(INVALID, f"Invalid value: {quote(message)}: {hint}", f"{where}.message")
    elif message is None and "\n" in text and not data.get("messageExpression"):
        yield Cause(
            "FieldValueRequired", "Required value: message must be specified if rule contains line breaks", f"{where}.message"
        )
    if data.get("reason") is not None and data["reason"] not in REASONS:
        known = ", ".join(quote(reason) for reason in sorted(REASONS))
        hint = f"Unsupported value: {quote(data['reason'])}: supported values: {known}"
        yield Cause("FieldValueNotSupported", hint, f"{where}.reason")
    try:
        rule = compile_rule(schema, data, is_resource)
    except _ExpressionError as error:
        shown = _pointed(error.text, error.problem)
        yield Cause(INVALID, f"Invalid value: {quote(error.text)}: compilation failed: {shown}", f"{where}.{error.field}")
        return
    if rule.is_transition and not correlates:
        hint = "oldSelf cannot be used on the uncorrelatable portion of the schema: items of lists that are no list maps"
        yield Cause(INVALID, f"Invalid value: {quote(text)}: {hint}", f"{where}.rule")
    if data.get("optionalOldSelf") and not rule.is_transition:
        hint = "may not be set if oldSelf is not used in rule"
        yield Cause(INVALID, f"Invalid value: true: {hint}", f"{where}.optionalOldSelf")


class _ExpressionError(Exception):
    def __init__(self, field: str, text: str, problem: CompileError) -> None:
        super().__init__(str(problem))
        self.field = field
        self.text = text
        self.problem = problem


def _pointed(text: str, problem: CompileError) -> str:
    """The problem with its place, as CEL's own compiler shows it."""
    before = text[: problem.position]
    line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
    source = (text.split("\n") or [""])[line]
    return f"ERROR: <input>:{line + 1}:{column + 1}: {problem}\n | {source}\n | {'.' * column}^"


def compile_rule(schema: Mapping[str, Any], data: Mapping[str, Any], is_resource: bool) -> Rule:
    """One rule of a schema. Raises `_ExpressionError`."""
    kind = type_of(schema, is_resource=is_resource)
    optional = bool(data.get("optionalOldSelf"))
    variables = {"self": kind, "oldSelf": Type("optional", kind) if optional else kind}
    text = data["rule"]
    program = _compiled("rule", text, variables)
    if program.result.kind not in ("bool", "dyn"):
        problem = CompileError("cel expression must evaluate to a bool")
        raise _ExpressionError("rule", text, problem)
    message_program = None
    if data.get("messageExpression"):
        message_program = _compiled("messageExpression", data["messageExpression"], variables)
        if message_program.result.kind not in ("string", "dyn"):
            problem = CompileError("messageExpression must evaluate to a string")
            raise _ExpressionError("messageExpression", data["messageExpression"], problem)
    return Rule(
        program,
        text,
        str(data.get("message") or f"failed rule: {text.strip()}"),
        message_program,
        data.get("reason") or INVALID,
        str(data.get("fieldPath") or ""),
        "oldSelf" in program.used,
        optional,
    )


def _compiled(field: str, text: str, variables: Mapping[str, Type]) -> Program:
    try:
        return compile_expression(text, variables)
    except CompileError as error:
        raise _ExpressionError(field, text, error) from error


class SchemaRules:
    """All rules of one version of a kind. The schema has been checked: its rules compile."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = _place(schema, is_resource=True)

    def check(self, new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[Cause]:
        """Every rule that does not hold. `new` fits the schema."""
        causes: list[Cause] = []
        if self._root is not None:
            try:
                _check(self._root, new, old, "", Budget(OBJECT_UNITS), causes)
            except _ExhaustedError as error:
                causes.append(error.cause)
        return causes


class _ExhaustedError(Exception):
    """The rules cost too much: no further rule is asked."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


def _place(schema: Mapping[str, Any], *, is_resource: bool = False) -> _Place | None:
    """The part of a schema's tree that has rules; None if there is none."""
    rules = tuple(compile_rule(schema, rule, is_resource) for rule in schema.get(RULES) or ())
    properties = {}
    for name, part in (schema.get("properties") or {}).items():
        found = _place(part) if isinstance(part, Mapping) else None
        if found is not None:
            properties[name] = found
    items, values = schema.get("items"), schema.get("additionalProperties")
    item = _place(items) if isinstance(items, Mapping) else None
    value = _place(values) if isinstance(values, Mapping) else None
    if not (rules or properties or item or value):
        return None
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ()) if schema.get("x-kubernetes-list-type") == "map" else ()
    return _Place(rules, properties, item, value, keys)


def _check(place: _Place, new: Any, old: Any, path: str, budget: Budget, causes: list[Cause]) -> None:
    for rule in place.rules:
        cause = _broken(rule, new, old, path, budget)
        if cause is not None:
            causes.append(cause)
    prefix = f"{path}." if path else ""
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        for name, below in place.properties.items():
            if new.get(name) is not None:
                _check(below, new[name], before.get(name), f"{prefix}{name}", budget, causes)
        if place.values is not None:
            for name, value in new.items():
                if value is not None and name not in place.properties:
                    _check(
                        place.values,
                        value,
                        before.get(name),
                        f"{prefix}{name}" if _plain(name) else f"{path}[{name}]",
                        budget,
                        causes,
                    )
    elif isinstance(new, list) and place.items is not None:
        earlier = _by_key(old, place.keys) if place.keys and isinstance(old, list) else {}
        for index, item in enumerate(new):
            _check(place.items, item, earlier.get(_key(item, place.keys)), f"{path}[{index}]", budget, causes)


def _plain(name: str) -> bool:
    return "." not in name and "/" not in name


def _key(item: Any, keys: tuple[str, ...]) -> Any:
    return tuple(repr(item.get(key)) for key in keys) if isinstance(item, dict) else None


def _by_key(items: list[Any], keys: tuple[str, ...]) -> dict[Any, Any]:
    return {_key(item, keys): item for item in items}


def _broken(rule: Rule, new: Any, old: Any, path: str, total: Budget) -> Cause | None:
    values: dict[str, Any] = {"self": new}
    if rule.takes_optional:
        values["oldSelf"] = NONE if old is None else Optional(old, present=True)
    elif rule.is_transition:
        if old is None:
            return None  # nothing was there before, so there is no transition
        values["oldSelf"] = old
    elif old is not None:
        values["oldSelf"] = old
    budget = Budget(min(RULE_UNITS, total.left))
    before = budget.left
    try:
        holds = rule.program.evaluate(values, budget)
        problem = "" if holds is True else rule.message
        if problem and rule.message_program is not None:
            problem = _said(rule.message_program, values, budget) or problem
    except CostError as error:
        message = f"{error}; no further rules were asked: {rule.text}"
        raise _ExhaustedError(Cause(INVALID, f"Invalid value: {_shown(new)}: {message}", path or "<root>")) from None
    except EvaluationError as error:
        problem = f"{error} evaluating rule: {rule.message}"
    finally:
        total.left -= before - max(0, budget.left)
    if not problem:
        return None
    where = f"{path}{rule.field_path}".lstrip(".") if rule.field_path else path
    return Cause(rule.reason, REASONS[rule.reason].format(value=_shown(new)) + problem, where or "<root>")


def _said(program: Program, values: Mapping[str, Any], budget: Budget) -> str:
    """What a message expression says; empty when it says nothing that can be shown."""
    try:
        said = program.evaluate(values, budget)
    except CostError:
        raise
    except EvaluationError:
        return ""
    return said.strip() if isinstance(said, str) and "\n" not in said else ""


def _shown(value: Any) -> str:
    """A value as Kubernetes shows it in a refusal: the type of what has parts."""
    if isinstance(value, dict):
        return '"object"'
    if isinstance(value, list):
        return '"array"'
    return quote(value)
