"""The settings that this controller runs with: `GET /apis/plum.dev/v1/settings`. Passwords in addresses are left out."""

from __future__ import annotations

import dataclasses
import os
import re

import msgspec

from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.resources.errors import ApiStatusError
from plum_controller.settings import Settings, names_of

PATH = ["apis", "plum.dev", "v1", "settings"]
_PASSWORD = re.compile(r"(?<=//)([^/@:]*):[^/@]*@")


def answer(request: ApiRequest, settings: Settings) -> Answer:
    """Every setting with its value and where that comes from. Raises `ApiStatusError`."""
    if request.method != "GET":
        message = "settings are given when the controller starts: environment, .env or flags; see docs/settings.md"
        raise ApiStatusError(405, "MethodNotAllowed", message)
    items = []
    for entry in dataclasses.fields(settings):
        names, value = names_of(entry), getattr(settings, entry.name)
        given = next((name for name in names if name in os.environ), "")
        source = "default" if value == entry.default else "environment" if given else "flag or .env"
        items.append(
            {
                "name": names[0],
                "otherNames": list(names[1:]),
                "value": _shown(value),
                "default": _shown(entry.default),
                "source": source,
                "description": entry.metadata["description"],
            }
        )
    return Answer(msgspec.json.encode({"kind": "SettingList", "apiVersion": "plum.dev/v1", "items": items}))


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return _PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value
