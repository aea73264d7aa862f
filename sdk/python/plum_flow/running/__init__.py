"""Drives a run: decisions stored, then carried out; by the controller, or by the node a run was delegated to."""
