"""What workers call themselves, and what their objects are called."""

from __future__ import annotations

import re
from hashlib import blake2b

WORKER_ID = "plum.dev/worker-id"
"""Annotation: what a worker calls itself, where that is no name of an object."""
_VALID = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]+")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def worker_name(worker_id: str) -> str:
    """A name for the object of a worker: its id where that is one, else one made from it. Equal only for equal ids."""
    if len(worker_id) <= 253 and _VALID.fullmatch(worker_id):
        return worker_id
    digest = blake2b(worker_id.encode(), digest_size=4).hexdigest()
    text = _NOT_IN_NAMES.sub("-", worker_id.lower())[:200].strip("-")
    return f"{text}-{digest}" if text else f"worker-{digest}"


def label_problem(name: str, value: str) -> str:
    """Why this cannot be a label of an object, in a sentence; empty if it can."""
    if not _LABEL_NAME.fullmatch(name):
        return f"label {name!r} is no valid name: letters, digits, -, _ and . (a prefix and / may stand before)"
    if not _LABEL_VALUE.fullmatch(value):
        return f"label {name} is {value!r}: up to 63 letters, digits, -, _ and . are allowed"
    return ""
