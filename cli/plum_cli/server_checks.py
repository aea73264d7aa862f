"""Checks of the server for `plum doctor`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from plum_client.errors import ApiError, ApiUnavailableError
from plum_client.explaining.times import age, parse_time
from plum_client.kubeconfig import Server

from plum_cli import __version__
from plum_cli.checks import Result
from plum_cli.session import Session

SKEW_SECONDS = 5.0
"""Clocks of client and server may differ by this: `--since`, ages and expiry are read by both."""


async def run_all(server: Server) -> list[Result]:
    """All checks that need the server; the rest is left out when it does not answer."""
    session = Session(server)
    try:
        reached = await check_reachable(session)
        if reached.state == "failed":
            return [reached]
        return [reached, await check_version(session), await check_clock(session), *await check_nodes(session)]
    finally:
        await session.close()


async def check_reachable(session: Session) -> Result:
    """Does it answer, and is it ready?"""
    where = f"{session.server.url} ({session.server.source})"
    started = time.perf_counter()
    try:
        answer = await session.transport.request("GET", "/readyz")
    except ApiUnavailableError as error:
        return Result(
            "server", "failed", f"{where} does not answer: {error}", "start one with `plum dev`, or name another with PLUM_SERVER"
        )
    took = (time.perf_counter() - started) * 1000
    if answer.status in (401, 403):
        return Result(
            "server", "failed", f"{where} does not accept the credentials", "set PLUM_TOKEN, or use a kubeconfig with credentials"
        )
    if answer.status != 200:
        text = answer.body[:200].decode(errors="replace")
        return Result("server", "failed", f"{where} is not ready: {answer.status} {text}", "look at the controller's log")
    return Result("server", "ok", f"{where} answers in {took:.0f} ms")


async def check_version(session: Session) -> Result:
    """Do client and server belong together?"""
    from plum_cli.commands.version import plain

    found = plain(await session.raw("GET", "/version"))
    if found.split(".")[:2] != __version__.split(".")[:2]:
        fix = "install the same minor version on both sides"
        return Result("version", "warning", f"the server has {found}, this command {__version__}", fix)
    return Result("version", "ok", f"server {found}, client {__version__}")


async def check_clock(session: Session) -> Result:
    """Do the clocks agree? The server's own time is read from an object that it would create now."""
    before = datetime.now(UTC)
    probe: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"generateName": "plum-doctor-", "namespace": "default"},
    }
    try:
        answer = await session.api.create(probe, kind=await session.kind("configmaps"), dry_run=True)
    except ApiError as error:
        return Result("clock", "warning", f"not compared: {error}")
    moment = parse_time(answer["metadata"].get("creationTimestamp"))
    if moment is None:
        return Result("clock", "warning", "not compared: the server gave no time")
    skew = (moment - before).total_seconds()
    if abs(skew) > SKEW_SECONDS:
        direction = "ahead of" if skew > 0 else "behind"
        fix = "run a time service (chrony, systemd-timesyncd) on both machines"
        return Result("clock", "warning", f"the server's clock is {abs(skew):.0f} s {direction} this one", fix)
    return Result("clock", "ok", f"the server's clock is within {SKEW_SECONDS:.0f} s")


async def check_nodes(session: Session) -> list[Result]:
    """Are there nodes, and are their leases renewed?"""
    from plum_client.explaining.findings import condition

    now = datetime.now(UTC)
    try:
        nodes = await session.api.list(await session.kind("nodes.plum.dev"))
        leases = {
            lease["metadata"]["name"]: lease for lease in await session.api.list(await session.kind("leases"), "plum-node-lease")
        }
    except ApiError as error:
        return [Result("nodes", "failed", f"cannot be listed: {error}", "ask for the right to list nodes and leases")]
    if not len(nodes):
        return [
            Result(
                "nodes",
                "warning",
                "there is no node, so nothing can run",
                f"plum agent --node node-1 --controller {session.server.url}",
            )
        ]
    bad = []
    for node in nodes:
        name = node["metadata"]["name"]
        ready = condition(node, "Ready")
        if ready is None or ready.get("status") != "True":
            bad.append(
                Result(
                    f"node {name}", "failed", not_ready(ready, now), f"start its agent again; plum explain node/{name} says more"
                )
            )
        elif lag := late(leases.get(name), node, now):
            bad.append(Result(f"lease of {name}", "warning", lag, "its agent is stopped or cut off, or the clocks differ"))
    if bad:
        return bad
    return [Result("nodes", "ok", f"{len(nodes)} ready, leases are renewed")]


def not_ready(ready: Mapping[str, Any] | None, now: datetime) -> str:
    """Since when and why a node is not ready."""
    if ready is None:
        return "its agent has never reported"
    return f"not ready since {age(ready.get('lastTransitionTime'), now)}: {ready.get('message') or ready.get('reason')}"


def late(lease: Mapping[str, Any] | None, node: Mapping[str, Any], now: datetime) -> str:
    """A sentence when a lease was not renewed in time."""
    if lease is None:
        return "there is no lease"
    spec = lease.get("spec") or {}
    renewed = parse_time(spec.get("renewTime"))
    seconds = int(spec.get("leaseDurationSeconds") or (node.get("spec") or {}).get("leaseSeconds") or 15)
    if renewed is None:
        return "it was never renewed"
    lag = (now - renewed).total_seconds()
    return f"renewed {lag:.0f} s ago, and it holds for {seconds} s" if lag > seconds else ""
