"""Functions that Kubernetes adds to CEL: quantities, addresses, URLs, named formats. Registered by being imported."""

from __future__ import annotations

import ipaddress
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from plum_schemas.names import is_label, is_subdomain

from plum_flow.cel.errors import EvaluationError
from plum_flow.cel.functions import define
from plum_flow.cel.values import INT_MAX, INT_MIN, NONE, Optional, Wrapped, integer

_SUFFIXES = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3), "M": Decimal(10**6),
    "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18), "Ki": Decimal(2**10),
    "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


def _parse_quantity(value: str) -> Decimal | None:
    if len(value) > 64:
        return None
    number = value.rstrip("numkKMGTPEi")
    suffix = value[len(number) :]
    if suffix not in _SUFFIXES:
        number, suffix = value, ""
    try:
        found = Decimal(number) * _SUFFIXES[suffix]
    except (InvalidOperation, KeyError):
        return None
    return found if found.is_finite() and number.strip() == number else None


@define("quantity", None, ("string",), "quantity")
def quantity(value: str) -> Wrapped:
    found = _parse_quantity(value)
    if found is None:
        raise EvaluationError(f"{value[:50]!r} is no quantity such as 500m or 2Gi")
    return Wrapped("quantity", found)


def _other(value: Any) -> Decimal:
    return Decimal(value) if isinstance(value, int) else value.value


define("isQuantity", None, ("string",), "bool")(lambda value: _parse_quantity(value) is not None)
define("isInteger", "quantity", (), "bool")(lambda q: q.value == q.value.to_integral_value() and INT_MIN <= q.value <= INT_MAX)
define("asApproximateFloat", "quantity", (), "double")(lambda q: float(q.value))
define("sign", "quantity", (), "int")(lambda q: (q.value > 0) - (q.value < 0))
define("add", "quantity", ("quantity|int",), "quantity")(lambda q, other: Wrapped("quantity", q.value + _other(other)))
define("sub", "quantity", ("quantity|int",), "quantity")(lambda q, other: Wrapped("quantity", q.value - _other(other)))
define("isLessThan", "quantity", ("quantity",), "bool")(lambda q, other: q.value < other.value)
define("isGreaterThan", "quantity", ("quantity",), "bool")(lambda q, other: q.value > other.value)
define("compareTo", "quantity", ("quantity",), "int")(lambda q, other: (q.value > other.value) - (q.value < other.value))


@define("asInteger", "quantity", (), "int")
def as_integer(value: Wrapped) -> int:
    if value.value != value.value.to_integral_value():
        raise EvaluationError("cannot convert value to integer")
    return integer(int(value.value))


# ---- addresses


def _address(value: str) -> Any:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return None
    return None if "%" in value or getattr(found, "ipv4_mapped", None) is not None else found


@define("ip", None, ("string",), "ip")
def ip(value: str) -> Wrapped:
    found = _address(value)
    if found is None:
        raise EvaluationError(f"{value[:50]!r} is no IP address")
    return Wrapped("ip", found)


define("isIP", None, ("string",), "bool")(lambda value: _address(value) is not None)
define("ip.isCanonical", None, ("string",), "bool")(lambda value: str(ip(value).value) == value)
define("family", "ip", (), "int")(lambda found: found.value.version)
define("isUnspecified", "ip", (), "bool")(lambda found: found.value.is_unspecified)
define("isLoopback", "ip", (), "bool")(lambda found: found.value.is_loopback)
define("isLinkLocalUnicast", "ip", (), "bool")(lambda found: found.value.is_link_local and not found.value.is_multicast)
define("isLinkLocalMulticast", "ip", (), "bool")(
    lambda found: found.value in ipaddress.ip_network("224.0.0.0/24" if found.value.version == 4 else "ff02::/16")
)
define("isGlobalUnicast", "ip", (), "bool")(
    lambda found: not (
        found.value.is_unspecified or found.value.is_loopback or found.value.is_multicast or found.value.is_link_local
        or str(found.value) == "255.255.255.255"
    )
)  # fmt: skip


def _network(value: str) -> Any:
    try:
        return ipaddress.ip_interface(value) if "/" in value else None
    except ValueError:
        return None


@define("cidr", None, ("string",), "cidr")
def cidr(value: str) -> Wrapped:
    found = _network(value)
    if found is None:
        raise EvaluationError(f"{value[:50]!r} is no network such as 10.0.0.0/8")
    return Wrapped("cidr", found)


def _inside(outer: Any, address: Any) -> bool:
    return bool(outer.version == address.version and address in outer.network)


define("isCIDR", None, ("string",), "bool")(lambda value: _network(value) is not None)
define("containsIP", "cidr", ("string|ip",), "bool")(
    lambda net, other: _inside(net.value, (ip(other) if isinstance(other, str) else other).value)
)


@define("containsCIDR", "cidr", ("string|cidr",), "bool")
def contains_network(net: Wrapped, other: Any) -> bool:
    inner = (cidr(other) if isinstance(other, str) else other).value
    return inner.version == net.value.version and bool(inner.network.subnet_of(net.value.network))


define("ip", "cidr", (), "ip")(lambda net: Wrapped("ip", net.value.ip))
define("masked", "cidr", (), "cidr")(lambda net: Wrapped("cidr", ipaddress.ip_interface(str(net.value.network))))
define("prefixLength", "cidr", (), "int")(lambda net: net.value.network.prefixlen)


# ---- URLs


def _split(value: str) -> Any:
    try:
        found = urlsplit(value)
        _ = found.port
    except ValueError:
        return None
    return found if found.scheme or value.startswith("/") else None


@define("url", None, ("string",), "url")
def url(value: str) -> Wrapped:
    found = _split(value)
    if found is None:
        raise EvaluationError(f"{value[:100]!r} is no URL")
    return Wrapped("url", found)


def _host(value: Wrapped) -> str:
    return str(value.value.netloc.rpartition("@")[2])


define("isURL", None, ("string",), "bool")(lambda value: _split(value) is not None)
define("getScheme", "url", (), "string")(lambda found: found.value.scheme)
define("getHost", "url", (), "string")(_host)
define("getHostname", "url", (), "string")(lambda found: _host(found).rpartition(":")[0] if found.value.port else _host(found))
define("getPort", "url", (), "string")(lambda found: str(found.value.port or ""))
define("getEscapedPath", "url", (), "string")(lambda found: quote(found.value.path, safe="/%:@!$&'()*+,;=-._~"))
define("getQuery", "url", (), "map")(lambda found: parse_qs(found.value.query, keep_blank_values=True))


# ---- named formats


def _dns(check: Any, message: str) -> Any:
    return lambda value: [] if check(value) else [message]


_LABEL = "must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character"
FORMATS: dict[str, Any] = {
    "dns1123Label": _dns(is_label, _LABEL),
    "dns1123Subdomain": _dns(is_subdomain, f"{_LABEL}; parts are separated by '.'"),
    "uri": _dns(lambda value: _split(value) is not None, "must be a valid URI"),
}


@define("format.named", None, ("string",), "optional")
def named_format(name: str) -> Optional:
    return Optional(Wrapped("format", name), present=True) if name in FORMATS else NONE


for _name in FORMATS:
    define(f"format.{_name}", None, (), "format")(lambda name=_name: Wrapped("format", name))


@define("validate", "format", ("string",), "optional")
def validate_format(found: Wrapped, value: str) -> Optional:
    problems = FORMATS[found.value](value)
    return Optional(problems, present=True) if problems else NONE
