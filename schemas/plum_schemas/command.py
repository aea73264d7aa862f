"""Short forms of commands: one string becomes a list, split as a shell would, without a shell."""

from __future__ import annotations

import shlex
from typing import Any


def split_command(owner: dict[str, Any], name: str) -> None:
    """Replace a string by the list of its words, in place. Text that cannot be split is left for the schema to refuse."""
    command = owner.get(name)
    if isinstance(command, str):
        try:
            owner[name] = shlex.split(command)
        except ValueError:
            return
