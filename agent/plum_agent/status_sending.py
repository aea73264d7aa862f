"""Statuses on their way to the API: one by itself, or many in one request.

    report -> newest object known here -> PATCH .../status with its revision -> 409: read the object, once more
    reports -> POST /agent/v1/statuses -> those that met a newer object go one by one

Conditions that others wrote stay as they are on the object: a merge patch replaces the whole list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import ApiUnavailableError, ConflictError, NotFoundError, error_of
from plum_client.http_transport import HttpTransport
from plum_client.informer import Informer
from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance

from plum_agent import status as statuses
from plum_agent.delivery import Report
from plum_agent.unit import Unit

PATH = "/agent/v1/statuses?fieldManager=plum-agent"
UNKNOWN_PATH = (404, 405)
"""What a controller answers that does not know of this."""


class StatusSender:
    """Sends the statuses of one node."""

    def __init__(
        self,
        api: ApiClient,
        informer: Informer[Instance],
        units: Callable[[], Mapping[ObjectKey, Unit]],
        transport: HttpTransport | None,
    ) -> None:
        """Without a `transport` there is no sending of many."""
        self._api = api
        self._informer = informer
        self._units = units
        self._transport = transport

    async def send(self, report: Report) -> None:
        """Write one status on the newest version of its object."""
        api = self._api
        obj = self._informer.get(report.key) if self._informer.is_synced else await api.get(Instance, report.key)
        while obj is not None and obj.metadata.uid == report.uid:
            try:
                written = await api.patch(Instance, report.key, _patch(report, obj), subresource="status")
            except ConflictError:
                obj = await api.get(Instance, report.key)
                continue
            except NotFoundError:
                return
            self._note(report.key, int(written.metadata.resource_version or 0))
            return

    async def send_together(self, reports: Sequence[Report]) -> Sequence[Report]:
        """Write many, in order. Those that are left have to be sent by themselves: their objects are not known well enough."""
        known = {report.key: self._informer.get(report.key) for report in reports} if self._informer.is_synced else {}
        sent = [(report, obj) for report in reports if (obj := known.get(report.key)) is not None]
        sent = [(report, obj) for report, obj in sent if obj.metadata.uid == report.uid]
        if self._transport is None or not sent:
            return reports
        items = [{"namespace": r.namespace, "name": r.name, "patch": _patch(r, obj)} for r, obj in sent]
        body = msgspec.json.encode({"items": items})
        answer = await self._transport.request("POST", PATH, {"Content-Type": "application/json"}, body)
        if answer.status in UNKNOWN_PATH:
            return reports
        if answer.status >= 400:
            raise error_of(answer.status, answer.body, "statuses")
        results: list[dict[str, Any]] = msgspec.json.decode(answer.body)["results"]
        if len(results) != len(sent):
            raise ApiUnavailableError(f"{len(sent)} statuses were sent and {len(results)} answered")
        left = [report for report in reports if known.get(report.key) is None]
        for (report, _), result in zip(sent, results, strict=True):
            if result["code"] == 200:
                self._note(report.key, int(result.get("revision") or 0))
            else:
                left.append(report)  # alone it finds out for itself what is wrong, and what to do about it
        return left

    def is_overwritten(self, key: ObjectKey) -> bool:
        """Whether somebody wrote the object after the status that was delivered last.

        That can be seen before the answer to the delivery is, and as long as a status is on its way nothing new is told.
        """
        unit, obj = self._units().get(key), self._informer.get(key)
        return unit is not None and obj is not None and int(obj.metadata.resource_version or 0) > unit.delivered

    def _note(self, key: ObjectKey, revision: int) -> None:
        unit = self._units().get(key)
        if unit is not None:
            unit.delivered = max(unit.delivered, revision)


def _patch(report: Report, obj: Instance) -> dict[str, Any]:
    return {
        "metadata": {"resourceVersion": obj.metadata.resource_version},
        "status": report.status | {"conditions": statuses.merge_conditions(obj.status.conditions, report.conditions)},
    }
