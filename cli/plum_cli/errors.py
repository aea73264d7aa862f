"""How the command fails: one error type, one table of exit codes.

A message names the object, the value and the next step. It goes to stderr; stdout carries only answers.
"""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
"""The request failed, or the answer is no: differences found, a rollout failed, a check of `doctor` failed."""
USAGE: Final = 2
"""The command line is wrong."""
NOT_FOUND: Final = 3
INVALID: Final = 4
"""A manifest or a value was refused, here or by the server. Nothing was changed."""
CONFLICT: Final = 5
"""Someone else changed or owns it: read again, or force."""
UNAVAILABLE: Final = 6
"""No server answered, or it refused who we are."""
TIMEOUT: Final = 7
"""What was waited for did not happen in time. It may still happen."""
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

EXIT_CODES: Final[tuple[tuple[int, str], ...]] = (
    (OK, "done"),
    (
        FAILED,
        "the request failed, or the answer is no (`diff`: differences; `rollout status`: it failed; `doctor`: a check failed)",
    ),
    (USAGE, "the command line is wrong; for `diff` also every failure that has no code of its own"),
    (NOT_FOUND, "the object, the kind or the file is not there"),
    (INVALID, "a manifest or a value was refused; nothing was changed"),
    (CONFLICT, "someone else changed it or owns the field; read again, or use `--force-conflicts`"),
    (UNAVAILABLE, "no server answered, or it did not accept the credentials"),
    (TIMEOUT, "what was waited for did not happen in time; it may still happen"),
    (INTERRUPTED, "interrupted by Ctrl-C"),
    (BROKEN_PIPE, "the reader of the output went away"),
)


class CliError(Exception):
    """Ends the command with a sentence for people and an exit code for scripts."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class UsageError(CliError):
    """The arguments do not make sense together."""

    def __init__(self, message: str) -> None:
        super().__init__(message, USAGE)
