"""Devices that are not there: a radar, a thermostat and a valve that behave like real ones, the same way with the same seed."""
