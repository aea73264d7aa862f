"""Starting a shell for a run: its script, its user, its limits of open files, and nothing else of the agent."""

from __future__ import annotations

import hashlib
import os
import pwd
import resource
import shutil
import signal
from pathlib import Path

from plum_agent.errors import RefusedError

SHELL = "/bin/sh"
SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
AGENT_FILES = 65536
"""Open files the agent allows itself, if the hard limit does: each run takes two."""
DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these, and what a process ignores its children ignore too, unless they are told otherwise."""
_NO_FILES = (
    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
)
"""Output of a run goes to its files, never to whoever started the agent."""


def spawn_shell(arguments: list[str], environment: dict[str, str]) -> int:
    """A shell that is the leader of a session of its own and shares no file with the agent. Takes about a millisecond."""
    return os.posix_spawn(SHELL, [SHELL, *arguments], environment, file_actions=_NO_FILES, setsid=True, setsigdef=DEFAULT_SIGNALS)


def install_shim(data_directory: Path) -> Path:
    """A copy named by its content: an upgrade of the agent never changes a script under a shell that reads it."""
    source = Path(__file__).with_name("shim.sh").read_bytes()
    target = data_directory / f"shim-{hashlib.sha256(source).hexdigest()[:12]}.sh"
    if not target.exists():
        data_directory.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(source)
        temporary.replace(target)
    return target.resolve()


def raise_file_limit() -> int:
    """Let the agent hold more files than a shell usually may. Returns the limit that workloads are given back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = AGENT_FILES if hard == resource.RLIM_INFINITY else min(AGENT_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft


def user_prefix(user: str) -> list[str]:
    """The words before a command that make it run as another user; none for the agent's own. Raises `RefusedError`."""
    if not user:
        return []
    uid, gid = find_user(user)
    if uid == os.getuid() and gid == os.getgid():
        return []
    if os.geteuid() != 0:
        raise RefusedError("UserNotPermitted", f"the agent is not root, so it cannot run anything as user {user!r}")
    setpriv = shutil.which("setpriv", path=SAFE_PATH)
    if setpriv is None:
        raise RefusedError("NodeIncomplete", "changing the user needs setpriv, which this node has not; install util-linux")
    groups = "--init-groups" if _has_name(uid) else "--clear-groups"
    return [setpriv, f"--reuid={uid}", f"--regid={gid}", groups, "--"]


def find_user(user: str) -> tuple[int, int]:
    """User and group ids of `name` or `uid[:gid]`. Raises `RefusedError`."""
    name, _, group = user.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        if not name.isdigit():
            message = f"user {user!r} does not exist on this node; use an existing name or uid[:gid]"
            raise RefusedError("UserUnknown", message) from None
        return int(name), int(group) if group.isdigit() else int(name)
    return entry.pw_uid, int(group) if group.isdigit() else entry.pw_gid


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
