"""The way from a node to its controller, in sentences: what `plum describe node` shows of `status.link`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any


def link(item: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """Lines about the link of a Node; none for what has none."""
    from plum_client.explaining.times import age, parse_time

    status = item.get("status") or {}
    figures = status.get("link")
    if item.get("kind") != "Node" or not figures:
        return
    yield "Link to the controller:"
    ready: Mapping[str, Any] = next((entry for entry in status.get("conditions") or () if entry["type"] == "Ready"), {})
    if ready.get("status") == "Unknown" and status.get("lastSeen"):
        since = parse_time(status["lastSeen"])
        when = f"{since:%Y-%m-%dT%H:%M:%SZ}" if since is not None else status["lastSeen"]
        yield f"  offline since {when}, {age(status['lastSeen'], now)}; what follows is from before"
    network = figures.get("roundTripMilliseconds") or 0
    kernel = f" ({network:g} ms of it on the network)" if network else ""
    patience = f"{figures.get('timeoutSeconds', 0):g} s of silence"
    yield (
        f"  answers take {figures.get('answerMilliseconds', 0):g} ms{kernel}, "
        f"{figures.get('lossPercent', 0):g} % of packets are sent again; given up after {patience}"
    )
    yield (
        f"  {figures.get('requests', 0)} requests, {figures.get('failures', 0)} without an answer, "
        f"{figures.get('retries', 0)} sent again; {_size(figures.get('bytesSent', 0))} sent, "
        f"{_size(figures.get('bytesReceived', 0))} received"
    )
    queued = figures.get("queued", 0)
    waits = "no status waits to be delivered"
    if queued:
        waits = "1 status waits to be delivered" if queued == 1 else f"{queued} statuses wait to be delivered"
    yield f"  breaker {str(figures.get('breaker', 'Closed')).lower()}, {waits}"
    last = figures.get("lastOutage")
    if last:
        times = "once" if figures.get("outages") == 1 else f"{figures.get('outages')} times"
        yield f"  without the controller {times}, last {age(last['began'], now)} ago for {last.get('seconds', 0)} s"
    yield f"  measured {age(figures.get('measuredAt'), now)} ago, since the agent began"


def _size(count: int) -> str:
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"
