"""What this node lets tasks run: `PLUM_TASK_ALLOW`.

    *                       everything (the default)
    none                    nothing
    /opt/tasks/*, python3   programs: by the path they are found at, or by a name on the node's own path
    image:tools:*           images of containers

A name is looked for where this node keeps its programs, never where a task's PATH says, and what was found is what is started.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from plum_agent.environment import DEFAULT_PATH
from plum_agent.errors import RefusedError

IMAGE = "image:"
SETTING = "PLUM_TASK_ALLOW"


@dataclass(frozen=True, slots=True)
class AllowList:
    """The patterns of one node."""

    patterns: tuple[str, ...] = ("*",)

    @staticmethod
    def parse(text: str) -> AllowList:
        """Patterns between commas. Raises `ValueError`."""
        patterns = tuple(part.strip() for part in text.split(",") if part.strip())
        if not patterns:
            return AllowList()
        if "none" in patterns and len(patterns) > 1:
            raise ValueError(f"{SETTING} is {text!r}; none stands alone, and means that no task runs on this node")
        for pattern in patterns:
            if "/" in pattern and not pattern.startswith(("/", IMAGE)) and pattern != "*":
                raise ValueError(
                    f"{SETTING} names {pattern!r}; write a name such as python3, or an absolute path such as /opt/tasks/*"
                )
        return AllowList(() if patterns == ("none",) else patterns)

    @property
    def allows_all(self) -> bool:
        return "*" in self.patterns

    def program(self, command: Sequence[str], work_directory: str) -> tuple[str, ...]:
        """The command as it may be started: its program as an absolute path where the list is narrow. Raises `RefusedError`."""
        if self.allows_all:
            return tuple(command)
        word = command[0]
        found = os.path.join(work_directory, word) if "/" in word else shutil.which(word, path=DEFAULT_PATH)  # noqa: PTH118
        path = os.path.realpath(found) if found else ""
        for pattern in self.patterns:
            if pattern.startswith("/"):
                if path and fnmatchcase(path, pattern):
                    return path, *command[1:]
            elif not pattern.startswith(IMAGE) and path:
                named = shutil.which(pattern, path=DEFAULT_PATH)
                if named and os.path.realpath(named) == path:
                    return os.path.normpath(found or path), *command[1:]
        where = f" ({path})" if path and path != word else ""
        raise RefusedError(
            "NotAllowed", f"this node does not let tasks run {word}{where}; its setting {SETTING} says what may run"
        )

    def image(self, image: str) -> None:
        """Raises `RefusedError` for an image that may not run."""
        if not self.allows_all and not any(
            pattern.startswith(IMAGE) and fnmatchcase(image, pattern.removeprefix(IMAGE)) for pattern in self.patterns
        ):
            text = f"this node does not let tasks run image {image}; its setting {SETTING} says what may run"
            raise RefusedError("NotAllowed", text)
