"""Expressions in workflows, tasks and triggers: `${{ params.x + 1 }}`, `{{variables.x}}`, and conditions.

    compile_value({"zone": "${{ params.zone }}"}, names) -> Template.evaluate({"params": {...}}) -> {"zone": 7}
    compile_condition("nodes.scan.output.n > 0", names)  -> Expression.is_true({"nodes": {...}}) -> True

The language is CEL (`domain/cel`) under a cost limit, so none can hold up whoever evaluates it. Errors at compile time are
`ExpressionError`, for the moment the text is stored; errors at run time are `UnresolvedError`.
"""

from plum_flow.expressions.errors import ExpressionError, UnresolvedError
from plum_flow.expressions.expression import Expression, References, compile_condition
from plum_flow.expressions.secret_values import Redactor, secret_values
from plum_flow.expressions.template import Template, check_condition, check_value, compile_value

__all__ = [
    "Expression",
    "ExpressionError",
    "Redactor",
    "References",
    "Template",
    "UnresolvedError",
    "check_condition",
    "check_value",
    "compile_condition",
    "compile_value",
    "secret_values",
]
