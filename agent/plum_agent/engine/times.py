"""Times as the engine writes them."""

from __future__ import annotations

from datetime import datetime


def unix_seconds(text: str) -> float:
    """Of `2026-11-21T07:29:36.152531078Z`; 0 for `0001-01-01T00:00:00Z`, with which the engine says never."""
    if not text or text.startswith("0001-"):
        return 0.0
    whole, _, rest = text.partition(".")
    fraction = rest.rstrip("Z").partition("+")[0]
    moment = datetime.fromisoformat(f"{whole.rstrip('Z')}+00:00").timestamp()
    return moment + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)
