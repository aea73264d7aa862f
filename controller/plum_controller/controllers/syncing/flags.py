"""The Syncs that `--sync DIR` and `plum dev --manifests DIR` make: one for each folder, and none for folders no longer named.

Deleting a Sync deletes nothing that it applied, so leaving the flag out only ends the following of the folder.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from plum_client.client import ApiClient
from plum_client.errors import ApiError, ApiUnavailableError, NotFoundError
from plum_client.informer import Informer
from plum_schemas.base import ObjectKey
from plum_schemas.sync import FLAG_LABEL, Sync

logger = logging.getLogger(__name__)

MANAGER = "plum-sync-flag"
MADE_BY = "sync-flag"
NAMESPACE = "default"
MAX_DELETE = "50%"
"""Of the inventory: whoever names a folder on the command line sits before it."""
ATTEMPTS = 10


async def ensure_flags(api: ApiClient, syncs: Informer[Sync], folders: Sequence[str]) -> None:
    """Make what is missing, end what is named no longer. A refusal is logged: the rest of the controller goes on."""
    wanted = {str(body["metadata"]["name"]): body for body in _bodies(folders)}
    for attempt in range(ATTEMPTS):
        try:
            for name, body in wanted.items():
                there = syncs.get(ObjectKey(NAMESPACE, name))
                if there is not None and there.metadata.labels.get(FLAG_LABEL) != MADE_BY:
                    logger.error(
                        "a Sync of this name was made by hand; the folder is not followed", extra={"key": str(there.key)}
                    )
                    continue
                await api.apply(body, kind=Sync.info, field_manager=MANAGER, force=True)
            for sync in list(syncs.list(NAMESPACE)):
                if sync.metadata.labels.get(FLAG_LABEL) == MADE_BY and sync.metadata.name not in wanted:
                    await _delete(api, sync)
            return
        except ApiUnavailableError:
            await asyncio.sleep(0.1 * 2**attempt)
        except ApiError as error:
            logger.error("a folder named on the command line cannot be followed", extra={"error": error.message})
            return


async def _delete(api: ApiClient, sync: Sync) -> None:
    try:
        await api.delete(Sync, ObjectKey(NAMESPACE, sync.metadata.name), uid=sync.metadata.uid)
    except NotFoundError:
        return


def _bodies(folders: Sequence[str]) -> Iterator[dict[str, Any]]:
    taken: set[str] = set()
    for folder in folders:
        path = Path(folder).absolute()
        name = re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")[:50] or "manifests"
        number = 1
        while name in taken:
            number += 1
            name = f"{name.rstrip('0123456789').rstrip('-')}-{number}"
        taken.add(name)
        yield {
            "apiVersion": "plum.dev/v1",
            "kind": "Sync",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {FLAG_LABEL: MADE_BY}},
            "spec": {"source": {"folder": {"path": str(path)}}, "prune": True, "maxDelete": MAX_DELETE, "driftPolicy": "Correct"},
        }
