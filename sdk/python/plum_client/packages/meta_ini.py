r"""`meta.ini`: name, version and services of a package, in the two dialects that readers of it have always had.

    name, version, everything else    key `:` or `=` value, keys in any case, blanks trimmed, the last one wins
    services                          lines that begin with exactly `service=`, then NAME:PROTOCOL:PORT, nothing trimmed

Both skip empty lines and those that begin with `#` or `;`. There are no sections, quotes or comments after a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from plum_client.packages.errors import Problem

FILE = "meta.ini"
MAX_BYTES = 64 * 1024
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\Z")
_LIKE_A_SERVICE = re.compile(r"\s*service\s*[:=]", re.IGNORECASE)
MAX_NAME = 253


@dataclass(frozen=True, slots=True)
class Service:
    """A service the package offers."""

    name: str
    protocol: str
    port: int


@dataclass(slots=True)
class Meta:
    """What a `meta.ini` says."""

    name: str = ""
    version: str = ""
    services: list[Service] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    """All keys but `service`, in lower case."""
    warnings: list[Problem] = field(default_factory=list)


def parse(data: bytes) -> tuple[Meta, list[Problem]]:
    """What the file says, and everything that is wrong with it."""
    meta = Meta()
    problems: list[Problem] = []
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = data.count(b"\n", 0, error.start) + 1
        return meta, [Problem(FILE, f"line {wrong} is not UTF-8; save it as UTF-8")]
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if line.startswith("service="):
            _take_service(meta, problems, line.removeprefix("service="), number)
            continue
        if _LIKE_A_SERVICE.match(line):
            hint = "is read as no service; write it as service=NAME:PROTOCOL:PORT, in lower case and without blanks before the ="
            meta.warnings.append(Problem(FILE, f"line {number} {hint}"))
            continue
        key, value = _split(stripped)
        if key:
            meta.values[key.lower()] = value
        else:
            meta.warnings.append(Problem(FILE, f"line {number} is skipped, it is no KEY=VALUE"))
    meta.name, meta.version = meta.values.get("name", ""), meta.values.get("version", "")
    return meta, problems


def check_identity(name: str, version: str) -> list[Problem]:
    """What is wrong with a name and a version."""
    problems = []
    if not name:
        problems.append(Problem(FILE, "has no name; add a line such as name=demo-app"))
    elif len(name) > MAX_NAME or not name.isprintable() or "/" in name:
        problems.append(Problem(FILE, f"name is {name[:60]!r}; use at most {MAX_NAME} printable characters without /"))
    if not version:
        problems.append(Problem(FILE, "has no version; add a line such as version=1.0.0"))
    elif VERSION.match(version) is None:
        allowed = "letters, digits and . _ + -, at most 128, beginning with a letter or digit"
        problems.append(Problem(FILE, f"version is {version[:60]!r}; use {allowed}"))
    return problems


def _split(line: str) -> tuple[str, str]:
    """Key and value around the first `:` or `=`; an empty key when there is neither."""
    positions = [position for position in (line.find(":"), line.find("=")) if position >= 0]
    if not positions:
        return "", ""
    first = min(positions)
    return line[:first].strip(), line[first + 1 :].strip()


def _take_service(meta: Meta, problems: list[Problem], value: str, number: int) -> None:
    parts = value.split(":")
    wanted = f"line {number} is service={value[:80]}; write service=NAME:PROTOCOL:PORT"
    if len(parts) != 3 or not parts[0]:
        problems.append(Problem(FILE, wanted))
        return
    name, protocol, port = parts
    digits = port.strip()
    if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits[:6]) <= 65535:
        problems.append(Problem(FILE, f"{wanted}, with a port of 1 to 65535"))
        return
    service = Service(name, protocol, int(digits))
    if any(known.name == name and known != service for known in meta.services):
        problems.append(Problem(FILE, f"line {number} names the service {name!r} a second time; give each its own name"))
    elif service not in meta.services:
        meta.services.append(service)
