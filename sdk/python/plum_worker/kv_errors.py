"""Errors of the key-value store, and what a caller does about each.

- KvError
  - KvConflictError      409, 412  the entry, or the lock, is not as demanded; read again and decide
    - LockLostError                somebody else may hold the lock; stop what it protected
  - KvRefusedError       4xx       the request makes no sense, or is not allowed; a person must act
  - KvUnavailableError   5xx, no answer   retry later; the write may have happened
    - QueueFullError               too many writes wait for the controller; this one was not kept
"""

from __future__ import annotations


class KvError(Exception):
    """Base of all errors of the key-value store."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        """HTTP status; 0 without an answer."""


class KvConflictError(KvError):
    """The entry or the lock is not as demanded. Nothing was written."""


class LockLostError(KvConflictError):
    """The lock is not held any more."""


class KvRefusedError(KvError):
    """The request makes no sense, or is not allowed. Nothing was written."""


class KvUnavailableError(KvError):
    """The controller gave no usable answer. A write may have happened."""


class QueueFullError(KvUnavailableError):
    """Too many writes wait for the controller. This one was not kept."""
