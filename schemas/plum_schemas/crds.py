"""The generated CustomResourceDefinition manifests of the built-in kinds, as the controller loads them at start.

One JSON file holds all of them, because reading it takes a few milliseconds and parsing YAML takes a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

BUNDLE = "bundle.json"
BUILTIN_ANNOTATION = "plum.dev/builtin"
"""`true` on the manifests of built-in kinds."""


def directory() -> Path:
    """Where the manifests are: inside the installed package, or beside it in a working copy."""
    packaged = Path(__file__).parent / "crds"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "crds"


def load() -> list[dict[str, Any]]:
    """All manifests, in the order of preference for bare names: core first, then `plum.dev`."""
    return msgspec.json.decode((directory() / BUNDLE).read_bytes(), type=list[dict[str, Any]])
