"""Making bearer tokens: the Token kind, and `serviceaccounts/NAME/token` of Kubernetes. Each token is shown once.

POST tokens {spec: {user}} -> hash stored -> the Token, with status.token in this answer only
POST serviceaccounts/x/token (TokenRequest) -> a Token of the account, which ends -> TokenRequest with status.token
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from plum_schemas.base import ObjectKey

from plum_controller.api.authentication import ACCOUNTS_RESOURCE as ACCOUNTS
from plum_controller.api.authentication import TOKENS, new_token
from plum_controller.api.bodies import read_object
from plum_controller.api.identity import account_identity
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.api.routes import Target
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import Cause, bad_request, invalid_option
from plum_controller.resources.options import Outcome, WriteOptions
from plum_controller.resources.service import ResourceService

__all__ = ["ACCOUNTS", "TOKENS", "answer", "prepare", "reveal"]

_encode = msgspec.json.Encoder().encode

DEFAULT_SECONDS = 3600
LEAST_SECONDS = 600
MOST_SECONDS = 366 * 24 * 3600


def prepare(data: Json) -> str:
    """Put the hash of a new token into a Token that has none. Answers with the token; empty when none is needed."""
    spec = data.get("spec")
    if not isinstance(spec, dict) or spec.get("hash") or spec.get("certificate"):
        return ""
    token, spec["hash"] = new_token()
    metadata = data.setdefault("metadata", {})
    if isinstance(metadata, dict) and not metadata.get("name"):
        metadata.setdefault("generateName", "token-")
    return token


def reveal(outcome: Outcome, token: str) -> Outcome:
    """The answer to the create, with the token in it."""
    value = decode(outcome.value)
    value["status"] = {"token": token}
    return replace(outcome, value=_encode(value))


async def answer(service: ResourceService, request: ApiRequest, target: Target) -> Answer:
    """The answer to a TokenRequest. Raises `ApiStatusError`."""
    body, _ = read_object(request)
    spec = body.get("spec") or {}
    if not isinstance(spec, dict):
        raise bad_request("spec of a TokenRequest must be an object")
    seconds = _seconds(spec.get("expirationSeconds"))
    account = decode(service.get(target.kind, ObjectKey(target.namespace, target.name)))
    identity = account_identity(target.namespace, target.name, account["metadata"]["uid"])
    expires = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    token, digest = new_token()
    stored = {
        "apiVersion": "plum.dev/v1",
        "kind": "Token",
        "metadata": {"generateName": f"{target.namespace}-{target.name}-"[:58]},
        "spec": {
            "user": identity.name,
            "uid": identity.uid,
            "hash": digest,
            "expiresAt": expires,
            "description": f"requested by {request.user}"[:256],
        },
    }
    await service.create(service.registry.require(TOKENS), "", stored, WriteOptions(field_manager="plum-controller"))
    made: dict[str, Any] = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": target.name, "namespace": target.namespace},
        "spec": {"audiences": spec.get("audiences") or ["https://plum.dev"], "expirationSeconds": seconds},
        "status": {"token": token, "expirationTimestamp": expires},
    }
    return Answer(_encode(made), status=201)


def _seconds(value: Any) -> int:
    if value is None:
        return DEFAULT_SECONDS
    if isinstance(value, bool) or not isinstance(value, int) or not LEAST_SECONDS <= value <= MOST_SECONDS:
        message = f"Invalid value: {value}: use {LEAST_SECONDS} to {MOST_SECONDS} seconds"
        raise invalid_option("TokenRequest", [Cause("FieldValueInvalid", message, "spec.expirationSeconds")])
    return value
