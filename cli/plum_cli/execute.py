"""Starting Plum's other programs. They are never imported: programs meet only in the API."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from plum_cli.errors import CliError


def command_of(module: str, arguments: Sequence[str]) -> list[str]:
    """The command line that runs a program with this interpreter. Raises `CliError` when it is not installed."""
    if importlib.util.find_spec(module) is None:
        distribution = module.replace("_", "-")
        raise CliError(f"{distribution} is not installed beside this command; install it with: pip install {distribution}")
    return [sys.executable, "-m", module, *arguments]


def become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by a program, so that signals and the exit code are the program's own."""
    command = command_of(module, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - becoming the program is the purpose; there is no shell
