"""What can be wrong with an expression: before it runs, while it runs, and how much it costs."""

from __future__ import annotations


class CompileError(ValueError):
    """An expression that can never run: its syntax, a name or a type is wrong. `position` counts characters from 0."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class EvaluationError(ValueError):
    """An expression that has no value for these data: a missing key, a division by zero, an overflow."""


class CostError(EvaluationError):
    """An expression that would take too long for these data."""


class Budget:
    """What an evaluation may still spend. About one unit per step, and one per ten characters or per item looked at."""

    __slots__ = ("left",)

    def __init__(self, units: int) -> None:
        self.left = units

    def spend(self, units: int) -> None:
        """Raises `CostError`."""
        self.left -= units
        if self.left < 0:
            raise CostError("the rule costs more than it may; bound its lists and texts with maxItems and maxLength")
