"""Decisions of a Sync: in which order objects are applied, what may be deleted, which revision holds, what drifted. Pure."""
