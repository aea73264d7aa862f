"""The rest of kopf: resume, retries, finalizers, sub-handlers, daemons, timers, indexes, filters, status of both kinds."""

import asyncio
import os
from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    settings.persistence.finalizer = "everything.example.com/finalizer"
    settings.posting.loggers = True
    settings.watching.initial_streaming = "STREAMING" in os.environ
    settings.networking.error_backoffs = [0.1, 0.2, 0.5, 1, 1, 2, 2, 3, 3]
    settings.batching.error_delays = [0.1, 0.2, 0.5]
    memo.pings = 0


@kopf.index("jobs", field="spec.site")
def sites(name: str, spec: Any, **_: Any) -> dict[str, str]:
    return {spec["site"]: name}


@kopf.on.create("jobs", timeout=60)
async def retried(retry: int, logger: Any, **_: Any) -> str:
    if retry < 2:
        raise kopf.TemporaryError("not yet", delay=0.2)
    return f"done after {retry} retries"


@kopf.on.create("jobs", annotations={"example.com/hopeless": kopf.PRESENT})
async def hopeless(**_: Any) -> None:
    raise kopf.PermanentError("this can never work")


@kopf.on.create("jobs")
async def parts(spec: Any, **_: Any) -> None:
    for part in spec.get("parts", []):

        @kopf.subhandler(id=part)
        async def one(*, part: str = part, **_: Any) -> str:
            return f"{part} is made"


@kopf.on.resume("jobs")
async def resumed(name: str, logger: Any, **_: Any) -> None:
    logger.info("resumed %s", name)


@kopf.on.update("jobs", field="spec.site")
async def moved(old: Any, new: Any, patch: kopf.Patch, sites: kopf.Index[str, str], logger: Any, **_: Any) -> None:
    patch.status["moves"] = f"{old} -> {new}"
    logger.info("moved %s -> %s", old, new)


@kopf.on.update("jobs", field="spec.slow")
async def slow(new: Any, logger: Any, name: str, **_: Any) -> str:
    logger.info("slow begins %s", name)
    await asyncio.sleep(new)
    return f"slept {new}"


@kopf.on.delete("jobs")
async def cleaned(name: str, spec: Any, retry: int, logger: Any, **_: Any) -> None:
    if spec.get("stubborn") and retry < 2:
        raise kopf.TemporaryError("still busy", delay=0.2)
    logger.info("cleaned %s", name)


@kopf.daemon("jobs", labels={"daemon": "yes"}, cancellation_timeout=2.0)
async def accompany(name: str, stopped: kopf.DaemonStopped, logger: Any, patch: kopf.Patch, **_: Any) -> None:
    logger.info("daemon starts %s", name)
    try:
        while not stopped:
            await stopped.wait(0.2)
    finally:
        logger.info("daemon ends %s", name)


@kopf.timer("jobs", labels={"timer": "yes"}, interval=0.3)
async def tick(patch: kopf.Patch, status: Any, sites: kopf.Index[str, str], **_: Any) -> None:
    patch.status["ticks"] = min(status.get("ticks", 0) + 1, 3)
    patch.status["neighbours"] = sum(len(list(found)) for found in sites.values())
