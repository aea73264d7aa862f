"""From a tree to a program: names and types are checked once, then each node is a closure.

    compile_expression("self.min <= self.max", {"self": type}) -> Program
    Program.evaluate({"self": {"min": 1, "max": 2}}, Budget(10_000)) -> True

A step costs one unit of the budget, and work that grows with the data costs by its size, so an evaluation ends however the
expression is written. Values of a schema's format (times, durations, bytes) are converted where they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plum_flow.cel import (
    kubernetes,  # noqa: F401 -- registers its functions, as the next two
    lists,  # noqa: F401
    syntax,
    texts,  # noqa: F401
)
from plum_flow.cel.comprehensions import Typed, item_types, items, macro_of
from plum_flow.cel.errors import Budget, CompileError, EvaluationError
from plum_flow.cel.functions import REGISTRY, Overload, fits
from plum_flow.cel.operators import BINARY, negate
from plum_flow.cel.reading import Run, converter, for_lists, item_at, read_dynamic, read_field, read_optional
from plum_flow.cel.types import BOOL, DYN, NULL, STRING, TIMESTAMP, UINT, Type, scalar
from plum_flow.cel.values import NONE, NUMBERS, Optional, TypeValue, kind_of, no_overload

_ARITHMETIC = {
    "+": {("int", "int"), ("uint", "uint"), ("double", "double"), ("string", "string"), ("bytes", "bytes"), ("list", "list"),
          ("timestamp", "duration"), ("duration", "timestamp"), ("duration", "duration")},
    "-": {("int", "int"), ("uint", "uint"), ("double", "double"), ("timestamp", "timestamp"), ("timestamp", "duration"),
          ("duration", "duration")},
    "*": {("int", "int"), ("uint", "uint"), ("double", "double")},
    "/": {("int", "int"), ("uint", "uint"), ("double", "double")},
    "%": {("int", "int"), ("uint", "uint")},
}  # fmt: skip
_ORDERED = frozenset({"bool", "string", "bytes", "timestamp", "duration"})
_TYPE_NAMES = frozenset({"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"})
_LIST_OF_TEXT = Type("list", STRING)


class Program:
    """A checked expression. Evaluating it changes nothing and may happen any number of times."""

    def __init__(self, run: Run, result: Type, slots: Mapping[str, int], size: int, used: frozenset[str]) -> None:
        self.result = result
        self.used = used
        """The variables that occur in it."""
        self._run = run
        self._slots = slots
        self._size = size

    def evaluate(self, values: Mapping[str, Any], budget: Budget) -> Any:
        """The value for these variables. Raises `EvaluationError`, among them `CostError`."""
        frame: list[Any] = [None] * self._size
        for name, slot in self._slots.items():
            if name in values:
                frame[slot] = values[name]
            elif name in self.used:
                raise EvaluationError(f"no such attribute: {name}")
        try:
            return self._run(frame, budget)
        except RecursionError:
            raise EvaluationError("the data are nested too deeply") from None


def compile_expression(expression: str, variables: Mapping[str, Type]) -> Program:
    """Raises `CompileError`."""
    try:
        tree = syntax.parse(expression)
    except RecursionError:
        raise CompileError("the expression is nested too deeply") from None
    return compile_tree(tree, variables)


def compile_tree(tree: Any, variables: Mapping[str, Type]) -> Program:
    """The program of a tree that was parsed, and perhaps changed, before. Raises `CompileError`."""
    compiler = _Compiler(variables)
    try:
        kind, run = compiler.compile(tree)
    except RecursionError:
        raise CompileError("the expression is nested too deeply") from None
    return Program(run, kind, {name: slot for slot, name in enumerate(variables)}, compiler.size, frozenset(compiler.used))


class _Compiler:
    def __init__(self, variables: Mapping[str, Type]) -> None:
        self._scope: dict[str, tuple[int, Type]] = {name: (slot, kind) for slot, (name, kind) in enumerate(variables.items())}
        self._free = set(variables)
        self.size = len(variables)
        self.used: set[str] = set()

    def compile(self, node: Any) -> Typed:
        method: Callable[[Any], Typed] = getattr(self, f"_{type(node).__name__.lower()}")
        return method(node)

    # ---- leaves

    def _literal(self, node: syntax.Literal) -> Typed:
        value = node.value
        kind = kind_of(value)
        return (NULL if value is None else UINT if kind == "uint" else scalar(kind)), _steady(value)

    def _ident(self, node: syntax.Ident) -> Typed:
        known = self._scope.get(node.name)
        if known is None:
            if node.name in _TYPE_NAMES:
                return scalar("type"), _steady(TypeValue(node.name))
            raise CompileError(f"undeclared reference to '{node.name}'", node.position)
        slot, kind = known
        if node.name in self._free:
            self.used.add(node.name)

        def run(frame: list[Any], budget: Budget) -> Any:
            budget.spend(1)
            return frame[slot]

        return kind, run

    # ---- fields and items

    def _select(self, node: syntax.Select) -> Typed:
        kind, operand = self.compile(node.operand)
        optional = node.optional
        inner = kind
        if kind.kind == "optional":
            inner, optional = kind.element or DYN, True
        name, found = self._field(inner, node)
        convert = converter(found)
        run = read_optional(operand, name, convert) if optional or kind.kind == "dyn" else read_field(operand, name, convert)
        if kind.kind == "dyn" and not optional:
            run = read_dynamic(operand, name)
        return (Type("optional", found) if optional else found), run

    @staticmethod
    def _field(kind: Type, node: syntax.Select) -> tuple[str, Type]:
        if kind.kind == "object":
            known = kind.fields.get(node.field)
            if known is None:
                raise CompileError(f"undefined field '{node.field}'", node.position)
            return known
        if kind.kind == "map":
            return node.field, kind.element or DYN
        if kind.kind == "dyn":
            return node.field, DYN
        raise CompileError(f"type '{kind}' does not support field selection", node.position)

    def _index(self, node: syntax.Index) -> Typed:
        kind, operand = self.compile(node.operand)
        at_kind, at = self.compile(node.index)
        optional, inner = node.optional, kind
        if kind.kind == "optional":
            inner, optional = kind.element or DYN, True
        if inner.kind not in ("list", "map", "dyn") or (
            inner.kind == "list" and at_kind.kind not in ("int", "uint", "double", "dyn")
        ):
            raise _mismatch("_[_]", node.position, kind, at_kind)
        found = inner.element or DYN
        convert = converter(found)

        def run(frame: list[Any], budget: Budget) -> Any:
            budget.spend(1)
            value, index = operand(frame, budget), at(frame, budget)
            if isinstance(value, Optional):
                if not value.present:
                    return NONE
                value = value.value
            try:
                item = item_at(value, index)
            except EvaluationError:
                if optional:
                    return NONE
                raise
            item = item if convert is None else convert(item)
            return Optional(item, present=True) if optional else item

        return (Type("optional", found) if optional else found), run

    # ---- constructors

    def _listof(self, node: syntax.ListOf) -> Typed:
        items = [(self.compile(item), optional) for item, optional in node.items]
        element = _common([kind for (kind, _), _ in items])
        runs = [(run, optional) for (_, run), optional in items]

        def run(frame: list[Any], budget: Budget) -> Any:
            budget.spend(1 + len(runs))
            made = []
            for get, optional in runs:
                value = get(frame, budget)
                if not optional:
                    made.append(value)
                elif isinstance(value, Optional) and value.present:
                    made.append(value.value)
            return made

        return Type("list", element), run

    def _mapof(self, node: syntax.MapOf) -> Typed:
        entries = [(self.compile(key), self.compile(value), optional) for key, value, optional in node.entries]
        runs = [(key[1], value[1], optional) for key, value, optional in entries]

        def run(frame: list[Any], budget: Budget) -> Any:
            budget.spend(1 + len(runs))
            made: dict[Any, Any] = {}
            for get_key, get, optional in runs:
                key, value = get_key(frame, budget), get(frame, budget)
                if kind_of(key) not in ("string", "int", "uint", "bool"):
                    raise no_overload("map key", key)
                if optional:
                    if not (isinstance(value, Optional) and value.present):
                        continue
                    value = value.value
                made[key] = value
            return made

        return Type("map", _common([value[0] for _, value, _ in entries]), _common([key[0] for key, _, _ in entries])), run

    # ---- calls

    def _call(self, node: syntax.Call) -> Typed:
        name, arguments = node.function, node.arguments
        if node.target is None:
            if name in ("&&", "||"):
                return self._logic(node)
            if name == "?:":
                return self._choice(node)
            if name in BINARY and len(arguments) == 2:
                return self._operator(node)
            if name in ("!", "negate"):
                return self._unary(node)
            if name == "has":
                return self._has(node)
            return self._function(node, name, None)
        if name in _MACROS and (macro := self._macro(node)) is not None:
            return macro
        target = node.target
        if isinstance(target, syntax.Ident) and target.name not in self._scope and f"{target.name}.{name}" in REGISTRY:
            return self._function(node, f"{target.name}.{name}", None)
        return self._function(node, name, self.compile(target))

    def _logic(self, node: syntax.Call) -> Typed:
        runs = []
        for argument in node.arguments:
            kind, run = self.compile(argument)
            if kind.kind not in ("bool", "dyn"):
                raise _mismatch(f"_{node.function}_", node.position, kind)
            runs.append(run)
        return BOOL, _logic(runs[0], runs[1], decides=node.function == "||")

    def _choice(self, node: syntax.Call) -> Typed:
        (condition, test), (yes_kind, yes), (no_kind, no) = map(self.compile, node.arguments)
        if condition.kind not in ("bool", "dyn"):
            raise _mismatch("_?_:_", node.position, condition, yes_kind, no_kind)

        def run(frame: list[Any], budget: Budget) -> Any:
            budget.spend(1)
            chosen = test(frame, budget)
            if chosen is True:
                return yes(frame, budget)
            if chosen is False:
                return no(frame, budget)
            raise no_overload("_?_:_", chosen)

        return _common([yes_kind, no_kind]), run

    def _operator(self, node: syntax.Call) -> Typed:
        (left_kind, left), (right_kind, right) = map(self.compile, node.arguments)
        name = node.function
        result = _result_of(name, left_kind, right_kind)
        if result is None:
            raise _mismatch("@in" if name == "in" else f"_{name}_", node.position, left_kind, right_kind)
        work = BINARY[name]
        if left_kind.list_type in ("set", "map") and name in ("==", "!=", "+"):
            work = for_lists(name, left_kind)

        def run(frame: list[Any], budget: Budget) -> Any:
            budget.spend(1)
            return work(left(frame, budget), right(frame, budget), budget)

        return result, run

    def _unary(self, node: syntax.Call) -> Typed:
        kind, operand = self.compile(node.arguments[0])
        if node.function == "!":
            if kind.kind not in ("bool", "dyn"):
                raise _mismatch("!_", node.position, kind)

            def run(frame: list[Any], budget: Budget) -> Any:
                budget.spend(1)
                value = operand(frame, budget)
                if value is True or value is False:
                    return not value
                raise no_overload("!_", value)

            return BOOL, run
        if kind.kind not in ("int", "double", "duration", "dyn"):
            raise _mismatch("-_", node.position, kind)
        return kind, lambda frame, budget: negate(operand(frame, budget))

    def _has(self, node: syntax.Call) -> Typed:
        if len(node.arguments) != 1 or not isinstance(node.arguments[0], syntax.Select):
            raise CompileError("invalid argument to has() macro: a field is needed, as in has(self.field)", node.position)
        select = node.arguments[0]
        kind, operand = self.compile(select.operand)
        name, _ = self._field(kind.element or DYN if kind.kind == "optional" else kind, select)

        def run(frame: list[Any], budget: Budget) -> Any:
            budget.spend(1)
            value = operand(frame, budget)
            if isinstance(value, Optional):
                value = value.value if value.present else {}
            if not isinstance(value, dict):
                raise no_overload("has", value)
            return value.get(name) is not None

        return BOOL, run

    def _function(self, node: syntax.Call, name: str, target: Typed | None) -> Typed:
        overloads = REGISTRY.get(name)
        if overloads is None:
            raise CompileError(f"undeclared reference to '{name}'", node.position)
        typed = [self.compile(argument) for argument in node.arguments]
        kinds = [kind.kind for kind, _ in typed]
        receiver = None if target is None else target[0].kind
        fitting = [overload for overload in overloads if _fits(overload, receiver, kinds)]
        if not fitting:
            shown = [kind for kind, _ in typed] if target is None else [target[0], *(kind for kind, _ in typed)]
            raise _mismatch(name, node.position, *shown)
        runs = [run for _, run in typed] if target is None else [target[1], *(run for _, run in typed)]
        result = _result(name, fitting, target, [kind for kind, _ in typed])
        known = len(fitting) == 1 and "dyn" not in kinds and receiver != "dyn"
        return result, _caller(name, fitting, runs, checked=known)

    # ---- macros: functions whose arguments are evaluated for every item

    def _macro(self, node: syntax.Call) -> Typed | None:
        names: list[str] = []
        arguments = node.arguments
        wanted = _MACROS[node.function].get(len(arguments))
        if wanted is None:
            return None
        variables, bodies = wanted
        for argument in arguments[:variables]:
            if not isinstance(argument, syntax.Ident):
                raise CompileError("argument must be a simple name", getattr(argument, "position", node.position))
            names.append(argument.name)
        kind, source = self.compile(node.target)
        if node.function in ("optMap", "optFlatMap"):
            return self._optional_macro(node, kind, source, names[0])
        if kind.kind not in ("list", "map", "dyn"):
            raise CompileError(f"expression of type '{kind}' cannot be range of a comprehension", node.position)
        types = item_types(kind, variables)
        before = dict(self._scope)
        free = set(self._free)
        slots = []
        for name, item in zip(names, types, strict=True):
            slots.append(self.size)
            self._scope[name] = (self.size, item)
            self._free.discard(name)
            self.size += 1
        compiled = [self.compile(body) for body in arguments[variables:]]
        self._scope, self._free = before, free
        if node.function in _TESTS and compiled[0][0].kind not in ("bool", "dyn"):
            raise _mismatch(node.function, node.position, compiled[0][0])
        walk = items(source, kind, slots, entries=node.function.startswith("transform") or variables == 2)
        return macro_of(node.function, walk, kind, compiled, bodies)

    def _optional_macro(self, node: syntax.Call, kind: Type, source: Run, name: str) -> Typed:
        if kind.kind not in ("optional", "dyn"):
            raise _mismatch(node.function, node.position, kind)
        before, slot = dict(self._scope), self.size
        self._scope[name] = (slot, kind.element or DYN)
        self.size += 1
        made, body = self.compile(node.arguments[1])
        self._scope = before
        flat = node.function == "optFlatMap"

        def run(frame: list[Any], budget: Budget) -> Any:
            budget.spend(1)
            value = source(frame, budget)
            if not isinstance(value, Optional):
                raise no_overload(node.function, value)
            if not value.present:
                return NONE
            frame[slot] = value.value
            result = body(frame, budget)
            return result if flat else Optional(result, present=True)

        return (made if flat else Type("optional", made)), run


_MACROS: dict[str, dict[int, tuple[int, int]]] = {
    "all": {2: (1, 1), 3: (2, 1)},
    "exists": {2: (1, 1), 3: (2, 1)},
    "exists_one": {2: (1, 1), 3: (2, 1)},
    "existsOne": {3: (2, 1)},
    "filter": {2: (1, 1)},
    "map": {2: (1, 1), 3: (1, 2)},
    "transformList": {3: (2, 1), 4: (2, 2)},
    "transformMap": {3: (2, 1), 4: (2, 2)},
    "optMap": {2: (1, 1)},
    "optFlatMap": {2: (1, 1)},
}
"""Macro -> number of arguments -> how many of them are names of variables, how many are expressions."""
_TESTS = frozenset({"all", "exists", "exists_one", "existsOne", "filter"})


def _mismatch(name: str, position: int, *kinds: Type) -> CompileError:
    return CompileError(f"found no matching overload for '{name}' applied to '({', '.join(map(str, kinds))})'", position)


def _steady(value: Any) -> Run:
    return lambda frame, budget: value


def _common(kinds: Sequence[Type]) -> Type:
    """The type of whichever of these a value has."""
    if not kinds:
        return DYN
    first = kinds[0]
    if all(kind is first or (str(kind) == str(first) and kind.kind != "object") for kind in kinds):
        return first
    return DYN


def _result_of(name: str, left: Type, right: Type) -> Type | None:
    """The type of an operator's result; None when it has no meaning for these types."""
    a, b = left.kind, right.kind
    if name in ("==", "!="):
        fine = "dyn" in (a, b) or a == b or "null" in (a, b) or (a in NUMBERS and b in NUMBERS) or {a, b} == {"object", "map"}
        return BOOL if fine else None
    if name == "in":
        fine = b == "dyn" or (b == "list") or (b == "map" and a in ("string", "dyn"))
        if b == "list" and right.element is not None and _result_of("==", left, right.element) is None:
            fine = False
        return BOOL if fine else None
    if name in ("<", ">", "<=", ">="):
        fine = "dyn" in (a, b) or (a == b and (a in _ORDERED or a in NUMBERS)) or (a in NUMBERS and b in NUMBERS)
        return BOOL if fine else None
    if a == "dyn" and b == "dyn":
        return DYN
    pairs = [pair for pair in _ARITHMETIC[name] if a in (pair[0], "dyn") and b in (pair[1], "dyn")]
    if not pairs:
        return None
    if "dyn" in (a, b):
        return DYN
    if (a, b) == ("timestamp", "timestamp"):
        return scalar("duration")
    if a == "list":
        return left if str(left) == str(right) else Type("list", DYN)
    return TIMESTAMP if "timestamp" in (a, b) else scalar(a)


def _fits(overload: Overload, receiver: str | None, kinds: Sequence[str]) -> bool:
    if (overload.receiver is None) is not (receiver is None) or len(overload.arguments) != len(kinds):
        return False
    if overload.receiver is not None and receiver is not None and not fits(overload.receiver, receiver):
        return False
    return all(fits(wanted, kind) for wanted, kind in zip(overload.arguments, kinds, strict=True))


def _result(name: str, fitting: Sequence[Overload], target: Typed | None, kinds: Sequence[Type]) -> Type:
    if name in ("split", "findAll"):
        return _LIST_OF_TEXT
    if target is not None and target[0].element is not None and name in ("min", "max", "sum", "value"):
        return target[0].element
    if name == "orValue" and target is not None:
        return _common([target[0].element or DYN, *kinds])
    if name == "or" and target is not None:
        return target[0]
    if name == "optional.of" or name == "optional.ofNonZeroValue":
        return Type("optional", kinds[0])
    results = {overload.result for overload in fitting}
    if len(results) > 1:
        return DYN
    (kind,) = results
    return Type(kind, DYN) if kind in ("list", "optional") else Type("map", DYN, STRING) if kind == "map" else scalar(kind)


def _caller(name: str, fitting: Sequence[Overload], runs: Sequence[Run], *, checked: bool) -> Run:
    if checked:
        only = fitting[0]

        def run(frame: list[Any], budget: Budget) -> Any:
            budget.spend(1)
            values = [get(frame, budget) for get in runs]
            return only.call(budget, *values) if only.takes_budget else only.call(*values)

        return run

    def choose(frame: list[Any], budget: Budget) -> Any:
        budget.spend(1)
        values = [get(frame, budget) for get in runs]
        kinds = [kind_of(value) for value in values]
        for overload in fitting:
            receiver = None if overload.receiver is None else kinds[0]
            if _fits(overload, receiver, kinds if receiver is None else kinds[1:]):
                return overload.call(budget, *values) if overload.takes_budget else overload.call(*values)
        raise no_overload(name, *values)

    return choose


# ---- logic: an error on one side does not matter when the other side decides


def _logic(left: Run, right: Run, *, decides: bool) -> Run:
    name = "_||_" if decides else "_&&_"

    def run(frame: list[Any], budget: Budget) -> Any:
        budget.spend(1)
        failed: EvaluationError | None = None
        try:
            first = left(frame, budget)
            if first is decides:
                return decides
            if first is not (not decides):
                failed = no_overload(name, first)
        except EvaluationError as error:
            if budget.left < 0:
                raise
            failed = error
        second = right(frame, budget)
        if second is decides:
            return decides
        if failed is not None:
            raise failed
        if second is not (not decides):
            raise no_overload(name, second)
        return second

    return run
