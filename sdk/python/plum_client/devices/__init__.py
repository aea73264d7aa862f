"""Devices as their host sees them: sessions, reports and operations, the same for agents and the controller."""
