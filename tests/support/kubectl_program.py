"""Where the kubectl of one release lies.

`kubectl` on the path may be a dispatcher that asks the server for its version and starts another release; tests name the
release they mean and get that file.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

RELEASES = ("1.27", "1.28", "1.29", "1.30", "1.31", "1.32", "1.33")
RELEASE = "1.32"
"""The one whose behaviour the server follows; everything is tried with it."""


@cache
def kubectl_path(release: str = RELEASE) -> str | None:
    """The program `kubectl.RELEASE` from the path, or beside the `kubectl` of the path; for `RELEASE` also that itself."""
    name = f"kubectl.{release}"
    beside = Path(shutil.which("kubectl") or "/nowhere").resolve().parent / name
    found = shutil.which(name) or shutil.which(str(beside))
    if found is None and release == RELEASE:
        return shutil.which("kubectl")
    return found
