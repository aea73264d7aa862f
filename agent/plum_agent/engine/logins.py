"""Credentials of image registries, from Secrets as Kubernetes' users write them. Pure.

Secret .dockerconfigjson | .dockercfg | username, password[, server] -> Login
Login + image -> the header `X-Registry-Auth` of a pull
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

HUB = "docker.io"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """Who we are at one registry. It has no readable form: it must not reach a log."""

    server: str
    """Host, with port if there is one; empty: every registry that nothing else is said about."""
    username: str
    password: str


def logins_of(data: Mapping[str, bytes]) -> list[Login]:
    """The credentials in a Secret. Raises `ValueError` when it holds none."""
    if ".dockerconfigjson" in data:
        return _from_config(_json(data[".dockerconfigjson"]).get("auths") or {})
    if ".dockercfg" in data:
        return _from_config(_json(data[".dockercfg"]))
    if "username" in data and "password" in data:
        server = data.get("server", b"").decode().strip()
        return [Login(host_of(server) if server else "", data["username"].decode(), data["password"].decode())]
    raise ValueError("it has neither .dockerconfigjson nor username and password")


def _json(text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ValueError(f"its JSON cannot be read: {error}") from error


def _from_config(entries: Mapping[str, Any]) -> list[Login]:
    logins = []
    for server, entry in entries.items():
        username, password = entry.get("username", ""), entry.get("password", "")
        if entry.get("auth"):
            try:
                username, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
            except ValueError as error:
                raise ValueError(f"`auth` of {server} is not base64") from error
        logins.append(Login(host_of(server), username, password))
    return logins


def host_of(server: str) -> str:
    """Of `https://index.docker.io/v1/`, `registry.site:5000/team` or a plain host."""
    host = urlsplit(server if "://" in server else f"//{server}").netloc
    return HUB if host in _HUB_NAMES else host


def registry_of(image: str) -> str:
    """The host an image comes from: the first part of its name if it looks like one."""
    first, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return host_of(first) if is_host else HUB


def header_of(image: str, logins: Iterable[Login]) -> dict[str, str]:
    """What a pull of this image carries; nothing when no credentials fit."""
    registry = registry_of(image)
    fitting = sorted((one for one in logins if one.server in ("", registry)), key=lambda one: one.server == "")
    if not fitting:
        return {}
    login = fitting[0]
    body = {"username": login.username, "password": login.password, "serveraddress": registry}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(msgspec.json.encode(body)).decode()}
