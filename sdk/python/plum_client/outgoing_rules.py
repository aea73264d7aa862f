"""Which addresses the controller may call for others: the allow list, and what only an explicit entry opens.

    *                          everything but the special addresses below
    https://*.example.com      a scheme and a host with subdomains
    hooks.plant.local:8443     one port of one host
    10.1.0.0/16   [fd12::]/16  a network, by the address that is really called

Special are link-local and metadata addresses (clouds serve credentials there), multicast and unspecified ones, and the
controller's own unencrypted port, where a caller has rights by being on this machine. A name is checked after it was resolved.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
METADATA = frozenset(ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"))
"""Where clouds serve credentials, whatever kind of address it is."""
PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.?)+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list. What is empty matches all."""

    scheme: str = ""
    host: str = ""
    """A name; with `*.` in front also every name below it."""
    network: IPv4Network | IPv6Network | None = None
    port: int = 0

    def names(self, scheme: str, host: str, port: int) -> bool:
        """Whether it opens this place by its name, whatever the address is."""
        if self.network is not None or (self.scheme and self.scheme != scheme) or (self.port and self.port != port):
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return not self.host or host == self.host

    def holds(self, scheme: str, address: Address, port: int) -> bool:
        """Whether it opens this address."""
        if self.network is None or (self.scheme and self.scheme != scheme) or (self.port and self.port != port):
            return False
        return address.version == self.network.version and address in self.network


def parse_allow_list(text: str) -> tuple[Entry, ...]:
    """Entries between commas or spaces. Raises `ValueError` with the entry that cannot be read."""
    return tuple(_parse(entry) for entry in re.split(r"[,\s]+", text.strip()) if entry)


def _parse(text: str) -> Entry:
    scheme, separator, rest = text.lower().rpartition("://")
    if separator and not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise ValueError(f"{text!r} has no scheme; write https://HOST, HOST:PORT, *.DOMAIN, NETWORK/BITS or *")
    rest = rest.rstrip("/")
    if rest in ("", "*"):
        return Entry(scheme)
    matched = re.fullmatch(r"(\[[^\]]+\](?:/\d+)?|[^:\[\]]+)(?::(\d{1,5}|\*))?", rest)
    if matched is None or ((matched[2] or "1").isdigit() and not 0 < int(matched[2] or "1") <= 65535):
        raise ValueError(f"{text!r} is no address; write https://HOST, HOST:PORT, *.DOMAIN, NETWORK/BITS or * (IPv6 in brackets)")
    port = int(matched[2]) if (matched[2] or "*") != "*" else 0
    host = matched[1].replace("[", "").replace("]", "")
    try:
        return Entry(scheme, network=ip_network(host, strict=False), port=port)
    except ValueError:
        if "/" in host or not _NAME.fullmatch(host):
            raise ValueError(f"{text!r} is neither a name nor a network; write *.DOMAIN or 10.0.0.0/8") from None
    return Entry(scheme, host.rstrip("."), port=port)


def special(address: Address, port: int, own_ports: Collection[int] = ()) -> str:
    """Why only an entry for the very address opens it; empty for an ordinary one."""
    if address in METADATA:
        return "an address where machines get their credentials"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_unspecified or (address.version == 4 and address == IPv4Address("255.255.255.255")):
        return "no address of one machine"
    if address.is_loopback and port in own_ports:
        return "the controller's own port"
    return ""


def refusal(
    entries: Collection[Entry], scheme: str, host: str, address: Address, port: int, own_ports: Collection[int] = ()
) -> str:
    """Why a call is refused, as a part of a sentence; empty when it is allowed."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(entry.holds(scheme, address, port) for entry in entries):
        return ""
    why = special(address, port, own_ports)
    if why:
        return f"{address} is {why}"
    if any(entry.names(scheme, host.lower().rstrip("."), port) for entry in entries):
        return ""
    return "it is not on the allow list"
