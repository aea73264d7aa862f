"""Settings that every test shares."""

from __future__ import annotations

from hypothesis import settings

# A shared machine is sometimes slow; pytest-timeout ends what hangs.
settings.register_profile("plum", deadline=None)
settings.load_profile("plum")
