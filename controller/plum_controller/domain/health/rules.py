"""Rules in CEL that say when an object of a user-defined kind is healthy. Compiled once, evaluated under a cost limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plum_controller.domain.cel import DYN, Budget, CompileError, EvaluationError, Program, compile_expression
from plum_controller.domain.health.verdict import HEALTHY, Health

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


def compile_rule(healthy: str, failed: str = "") -> Rule:
    """Raises `CompileError` with a sentence that names the expression."""
    return Rule(_compile(healthy), healthy, _compile(failed) if failed else None)


def _compile(text: str) -> Program:
    try:
        program = compile_expression(text, {"self": DYN})
    except CompileError as error:
        raise CompileError(f"the expression {text!r} cannot be used: {error}", error.position) from error
    if program.result.kind not in ("bool", "dyn"):
        raise CompileError(f"the expression {text!r} gives {program.result}; true or false is expected")
    return program
