"""Which ports the processes of a run listen on: what a forwarded connection may reach.

    /proc/net/tcp, tcp6: inodes of listening sockets of a port   x   /proc/<pid>/fd of the run: inodes it holds

A node runs instances of many namespaces, and services that are not Plum's. Whoever may connect to one instance gets its
ports, not theirs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from plum_agent.drivers.procfs import PROC, read_bytes

_LISTEN = b"0A"


def listens(pids: Iterable[int], port: int) -> bool:
    """Does one of these processes listen on this TCP port?"""
    sockets = listening_sockets(port)
    return bool(sockets) and any(not sockets.isdisjoint(_files_of(pid)) for pid in pids)


def listening_sockets(port: int) -> set[str]:
    """Names of the sockets that listen on a port, as links in `/proc/<pid>/fd` show them."""
    wanted = b":%04X" % port
    found = set()
    for table in ("tcp", "tcp6"):
        for line in read_bytes(f"{PROC}/net/{table}", enough=1).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN and fields[1].endswith(wanted):
                found.add(f"socket:[{fields[9].decode()}]")
    return found


def _files_of(pid: int) -> set[str]:
    folder = f"{PROC}/{pid}/fd"
    found: set[str] = set()
    try:
        names = os.listdir(folder)  # noqa: PTH208 -- thousands of links
    except OSError:  # gone, or of a user whose files we may not see
        return found
    for name in names:
        try:
            found.add(os.readlink(f"{folder}/{name}"))  # noqa: PTH115 -- the same
        except OSError:
            continue
    return found
