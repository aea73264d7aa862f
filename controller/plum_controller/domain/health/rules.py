"""Rules in CEL that say when an object of a user-defined kind is healthy. Compiled once, evaluated under a cost limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plum_controller.domain.health.verdict import HEALTHY, Health

if TYPE_CHECKING:
    from plum_flow.cel import Program

UNITS = 100_000
"""What one evaluation may spend: some 30 ms."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When an object is healthy, and when it has failed."""

    healthy: Program
    text: str
    failed: Program | None = None

    def assess(self, obj: Mapping[str, Any]) -> Health:
        """The verdict. An expression without a value for this object is Unknown, and says why."""
        from plum_flow.cel import Budget, EvaluationError

        try:
            if self.failed is not None and self.failed.evaluate({"self": obj}, Budget(UNITS)) is True:
                return Health("Degraded", "its rule says that it has failed")
            value = self.healthy.evaluate({"self": obj}, Budget(UNITS))
        except EvaluationError as error:
            return Health("Progressing" if "no such" in str(error) else "Unknown", f"{self.text}: {error}")
        if value is True:
            return HEALTHY
        if value is False:
            return Health("Progressing", f"not yet: {self.text}")
        return Health("Unknown", f"{self.text} gives no true or false")


class RuleError(ValueError):
    """An expression that can never run. The message names it."""


def compile_rule(healthy: str, failed: str = "") -> Rule:
    """Raises `RuleError`. The evaluator is loaded with the first rule."""
    return Rule(_compile(healthy), healthy, _compile(failed) if failed else None)


def _compile(text: str) -> Program:
    from plum_flow.cel import DYN, CompileError, compile_expression

    try:
        program = compile_expression(text, {"self": DYN})
    except CompileError as error:
        raise RuleError(f"the expression {text!r} cannot be used: {error}") from error
    if program.result.kind not in ("bool", "dyn"):
        raise RuleError(f"the expression {text!r} gives {program.result}; true or false is expected")
    return program
