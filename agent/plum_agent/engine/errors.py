"""Errors of the engine, and what a caller does about each.

- EngineError                 the engine refused; `status` tells why: 404 it is gone, 409 it is in another state, 5xx it failed
  - EngineUnavailableError    no engine answers; what was asked may have happened. Ask again when it is back
"""

from __future__ import annotations

from plum_agent.errors import AgentError


class EngineError(AgentError):
    """The engine refused, or failed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        """As of HTTP."""


class EngineUnavailableError(EngineError):
    """No engine answers."""

    def __init__(self, message: str) -> None:
        super().__init__(503, message)
