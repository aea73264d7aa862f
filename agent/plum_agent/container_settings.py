"""Settings about containers, under the names that sites bring with them. All are described in docs/agent.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plum_schemas.quantities import parse_bytes, parse_cpu

from plum_agent.containing import ContainerDefaults

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
NO_ENGINE = "none"


def socket_of(engine: str) -> Path | None:
    """None: containers are switched off. Raises `ValueError`."""
    if engine == NO_ENGINE:
        return None
    scheme, separator, path = engine.partition("://")
    if not separator and engine.startswith("/"):
        return Path(engine)
    if scheme != "unix" or not path.startswith("/"):
        raise ValueError(f"engine is {engine!r}; use unix:///PATH of a socket on this machine, or none")
    return Path(path)


def read_defaults(env: Mapping[str, str]) -> ContainerDefaults:
    """Raises `ValueError` with a sentence that names the setting."""
    try:
        memory = _bytes(env["PLUM_CONTAINER_MEMORY"]) if env.get("PLUM_CONTAINER_MEMORY") else None
        cpus = parse_cpu(env["PLUM_CONTAINER_CPUS"]) if env.get("PLUM_CONTAINER_CPUS") else None
    except ValueError as error:
        raise ValueError(f"PLUM_CONTAINER_MEMORY or PLUM_CONTAINER_CPUS: {error}") from error
    network = env.get("PLUM_CONTAINER_NETWORK_MODE") or "bridge"
    return ContainerDefaults(
        base_image=env.get("PLUM_BASE_IMAGE", ""),
        memory_bytes=memory,
        cpu_millis=cpus,
        environment=_pairs(env.get("PLUM_CONTAINER_ENV", "")),
        libraries=tuple(Path(part) for part in _parts(env.get("PLUM_HOST_LIB_PATHS", ""), ",:")),
        controller_host=env.get("PLUM_CONTROLLER_HOST", ""),
        network="bridge" if network == "host" else network,
    )


def _bytes(text: str) -> int:
    """Also as the engine writes amounts: `512m`, `2g`, each letter 1024 times the one before."""
    unit = {"b": "", "k": "Ki", "m": "Mi", "g": "Gi"}.get(text[-1:])
    return parse_bytes(text if unit is None else text[:-1] + unit)


def _parts(text: str, separators: str) -> list[str]:
    for separator in separators[1:]:
        text = text.replace(separator, separators[0])
    return [part.strip() for part in text.split(separators[0]) if part.strip()]


def _pairs(text: str) -> dict[str, str]:
    pairs = {}
    for part in _parts(text, ",;"):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise ValueError(f"PLUM_CONTAINER_ENV has {part!r}; use NAME=value,OTHER=value")
        pairs[name] = value
    return pairs
