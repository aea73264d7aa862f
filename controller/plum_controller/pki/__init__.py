"""Plum's own certificates: one authority per controller, made at the first start, and what it signs."""
