"""Which ports of this machine are taken, and by which instance: two instances that declare the same port never run at once.

acquire(owner, ports) -> numbers by name, or RefusedError that names who holds it
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

from plum_schemas.template import Port

from plum_agent.errors import RefusedError

_LISTEN = "0A"
"""State of a listening socket in `/proc/net/tcp`."""


class PortBook:
    """Ports in use by instances. `checks_machine` also looks at what other programs listen on."""

    def __init__(self, checks_machine: bool) -> None:
        self._owners: dict[tuple[str, int], str] = {}
        self._held: dict[str, list[tuple[str, int]]] = {}
        self._checks_machine = checks_machine

    def acquire(self, owner: str, ports: Iterable[Port]) -> dict[str, int]:
        """Take all ports of an instance or none. Port 0 gets a free number. Raises `RefusedError`; safe to repeat."""
        self.release(owner)
        taken: dict[tuple[str, int], str] = {}
        numbers: dict[str, int] = {}
        for port in ports:
            family = "udp" if port.protocol == "udp" else "tcp"
            number = port.port or self._find_free(family, taken)
            holder = self._owners.get((family, number))
            if holder is None and port.port and self._checks_machine and number in list_listening(family):
                holder = "a program that Plum did not start"
            if holder is not None:
                raise RefusedError(
                    "PortInUse", f"port {number}/{family} ({port.name}) is held by {holder}; waiting until it is free"
                )
            taken[family, number] = owner
            numbers[port.name] = number
        self._owners |= taken
        if taken:
            self._held[owner] = list(taken)
        return numbers

    def adopt(self, owner: str, ports: Iterable[Port], numbers: dict[str, int]) -> None:
        """Enter what a run that was found holds already."""
        for port in ports:
            place = ("udp" if port.protocol == "udp" else "tcp", numbers.get(port.name, port.port))
            if self._owners.setdefault(place, owner) == owner:
                self._held.setdefault(owner, []).append(place)

    def release(self, owner: str) -> None:
        """Give back everything of one owner. Safe to repeat."""
        for place in self._held.pop(owner, ()):
            self._owners.pop(place, None)

    def _find_free(self, family: str, taken: dict[tuple[str, int], str]) -> int:
        kind = socket.SOCK_DGRAM if family == "udp" else socket.SOCK_STREAM
        while True:
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("", 0))
                number = int(probe.getsockname()[1])
            if (family, number) not in self._owners and (family, number) not in taken:
                return number


def list_listening(family: str) -> set[int]:
    """Ports of this machine on which a socket listens (tcp) or is bound (udp)."""
    ports = set()
    for name in (family, f"{family}6"):
        path = Path("/proc/net") / name
        if not path.exists():
            continue
        for line in path.read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if family == "udp" or fields[3] == _LISTEN:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
