"""CEL, the Common Expression Language, under a cost limit: for rules of user-defined kinds and conditions of workflows.

    compile_expression(text, {"self": Type}) -> Program.evaluate({"self": value}, Budget(units)) -> value

Why it is written here and not a library: docs/adr/0010. Nothing of it is loaded before a schema has a rule.
"""

from plum_flow.cel.errors import Budget, CompileError, CostError, EvaluationError
from plum_flow.cel.program import Program, compile_expression
from plum_flow.cel.types import DYN, Type, type_of

__all__ = ["DYN", "Budget", "CompileError", "CostError", "EvaluationError", "Program", "Type", "compile_expression", "type_of"]
