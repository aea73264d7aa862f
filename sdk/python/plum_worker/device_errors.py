"""Errors of a device's driver, and what is done about each.

- DeviceError
  - DeviceUnavailableError   nobody answers at the address: tried again, what was reported waits
  - DeviceRefusedError       the answer is no: `status` says which, the message what to change
"""

from __future__ import annotations


class DeviceError(Exception):
    """Also for drivers to raise: an operation that raises it ends as Failed, with the message as its error."""

    def __init__(self, message: str, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        """One word for programs, such as `OtherSession`."""


class DeviceUnavailableError(DeviceError):
    """Nobody answers, or not now."""


class DeviceRefusedError(DeviceError):
    """Asking the same again changes nothing."""
