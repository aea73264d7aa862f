"""What can be wrong with an expression: when it is stored, and when it is evaluated."""

from __future__ import annotations


class ExpressionError(ValueError):
    """An expression that can never have a value. Refused when the object that holds it is stored."""

    def __init__(self, text: str, message: str, position: int = 0) -> None:
        super().__init__(f"{message} (at character {position + 1} of {_short(text)})")
        self.text = text
        self.position = position
        """Counts characters of the expression from 0."""


class UnresolvedError(ValueError):
    """An expression that has no value for these data, or that costs more than it may."""

    def __init__(self, text: str, message: str) -> None:
        super().__init__(f"{_short(text)}: {message}")
        self.text = text


def _short(text: str) -> str:
    return f"{text[:80]}..." if len(text) > 80 else text
