"""Devices in the controller: what they say is stored, their operations are handed out, and those without a node are served."""
