"""Health: whether an object is as its kind wants it, judged for every kind from the object alone.

    assess(object, rule) -> Health("Progressing", "2 of 3 instances are available")

A rule in CEL goes first, then what is known of built-in kinds, then the conditions and phases that kinds have by convention.
"""

from plum_controller.domain.health.assessing import assess
from plum_controller.domain.health.rules import Rule, RuleError, compile_rule
from plum_controller.domain.health.verdict import Health

__all__ = ["Health", "Rule", "RuleError", "assess", "compile_rule"]
