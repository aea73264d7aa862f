"""Which form an answer takes, from the `Accept` header, and which form a body has, from `Content-Type`.

    Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json  ->  TABLE
    Accept: application/vnd.kubernetes.protobuf,application/json           ->  JSON

Clients list what they can read in order of preference and the first form that we have is taken. The results are
remembered per header, because a client sends the same one every time.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import NamedTuple


class Form(Enum):
    """How an object or a list is written down."""

    JSON = "json"
    YAML = "yaml"
    TABLE = "table"
    PARTIAL = "partial"
    """Only the metadata: PartialObjectMetadata and its list."""
    DISCOVERY_V2 = "discovery v2"
    DISCOVERY_V2BETA1 = "discovery v2beta1"
    """As kubectl up to 1.29 asks for it."""
    PROTOBUF = "protobuf"
    TEXT = "text"


class MediaRange(NamedTuple):
    """One entry of an `Accept` header."""

    type: str
    parameters: dict[str, str]
    quality: float


OBJECT_TYPES = "application/json, application/yaml, application/json;as=Table;v=v1;g=meta.k8s.io"
"""What a 406 for objects offers."""

DISCOVERY_TYPES = {
    Form.DISCOVERY_V2: b"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    Form.DISCOVERY_V2BETA1: b"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
}
"""Aggregated discovery, by its version."""
YAML_TYPE = b"application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

_YAML_NAMES = {"application/yaml", "application/x-yaml", "text/yaml"}
_MAX_HEADER = 4096
"""A longer `Accept` is cut: what a client prefers stands at the front."""


def parse_accept(header: str) -> list[MediaRange]:
    """Entries in order of preference; those with quality 0 are left out. Never raises."""
    ranges = []
    for part in header[:_MAX_HEADER].split(","):
        type_, *rest = part.split(";")
        type_ = type_.strip().lower()
        if not type_:
            continue
        parameters: dict[str, str] = {}
        for parameter in rest:
            name, _, value = parameter.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"')
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        if quality > 0:
            ranges.append(MediaRange(type_, parameters, quality))
    ranges.sort(key=lambda entry: -entry.quality)
    return ranges


@lru_cache(maxsize=256)
def object_form(accept: str) -> Form | None:
    """How to answer with an object or list; None when the client can read nothing that we write."""
    if not accept:
        return Form.JSON
    for entry in parse_accept(accept):
        as_, version, group = (entry.parameters.get(name, "") for name in ("as", "v", "g"))
        if entry.type in ("*/*", "application/*"):
            return Form.JSON
        if entry.type in _YAML_NAMES and not as_:
            return Form.YAML
        if entry.type != "application/json":
            continue
        if not as_:
            return Form.JSON
        if version == "v1" and group == "meta.k8s.io":
            if as_ == "Table":
                return Form.TABLE
            if as_ in ("PartialObjectMetadata", "PartialObjectMetadataList"):
                return Form.PARTIAL
    return None


@lru_cache(maxsize=256)
def discovery_form(accept: str) -> Form:
    """Aggregated or plain discovery. Falls back to plain JSON: every client can read that."""
    for entry in parse_accept(accept):
        if entry.type == "application/json" and entry.parameters.get("as") == "APIGroupDiscoveryList":
            known = {"v2": Form.DISCOVERY_V2, "v2beta1": Form.DISCOVERY_V2BETA1}.get(entry.parameters.get("v", ""))
            if known is not None and entry.parameters.get("g") == "apidiscovery.k8s.io":
                return known
            continue
        if entry.type in _YAML_NAMES:
            return Form.YAML
        if entry.type in ("application/json", "*/*", "application/*"):
            return Form.JSON
    return Form.JSON


@lru_cache(maxsize=256)
def media_type(content_type: str) -> str:
    """The bare type of a `Content-Type`, lower case: `application/json; charset=utf-8` -> `application/json`."""
    return content_type.partition(";")[0].strip().lower()


def body_form(content_type: str) -> Form | None:
    """The form of a body that holds an object; None when we cannot read it. Many clients send none with JSON."""
    type_ = media_type(content_type)
    if type_ in ("", "application/json", "*/*"):
        return Form.JSON
    if type_ in _YAML_NAMES:
        return Form.YAML
    if type_ == PROTOBUF:
        return Form.PROTOBUF
    return None


def accepts_gzip(accept_encoding: bytes | None) -> bool:
    """Whether the client reads gzip. `gzip;q=0` is a no."""
    if not accept_encoding or b"gzip" not in accept_encoding:
        return False
    for part in accept_encoding.split(b","):
        name, _, parameter = part.partition(b";")
        if name.strip() == b"gzip":
            return parameter.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False
