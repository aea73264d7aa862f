"""Errors inside the agent, and what a caller does about each.

- AgentError
  - RefusedError        the spec asks for something this node cannot do; shown in condition Prepared, tried again when it changes
  - StartError          the start failed; the same way as a run that failed: backoff, then again
  - LedgerCorruptError  what is on disk cannot be read; it is set aside, and rebuilt from what runs and from the API
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of the agent's own errors."""


class RefusedError(AgentError):
    """The spec asks for something this node cannot do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """CamelCase; the reason of condition Prepared=False."""
        self.message = message


class StartError(AgentError):
    """A run could not be started."""


class LedgerCorruptError(AgentError):
    """A record on disk is not what was written there."""
