"""Plum's object model: typed objects, one file per kind. Pure: no clock, no I/O."""
