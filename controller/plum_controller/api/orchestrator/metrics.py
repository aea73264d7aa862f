"""The metrics of the orchestrator surface, out of the statistics that Workflows carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from plum_controller.api.metrics import Metrics, Sample
from plum_controller.resources.service import ResourceService

WORKFLOWS = "workflows.plum.dev"
MAX_WORKFLOWS = 1000
"""Workflows that have lines of their own: each label costs whoever collects them."""


def register(metrics: Metrics, service: ResourceService) -> None:
    """Add the families."""

    def statuses() -> Iterator[tuple[str, dict[str, Any]]]:
        for number, entry in enumerate(service.cache.list(WORKFLOWS, "", None, None)):
            if number >= MAX_WORKFLOWS:
                return
            yield entry.key.name, msgspec.json.decode(entry.value).get("status") or {}

    def totals() -> Iterable[Sample]:
        for name, status in statuses():
            statistics = status.get("statistics") or {}
            for state, field in (("completed", "succeeded"), ("failed", "failed")):
                yield "", {"workflow_id": name, "status": state}, statistics.get(field, 0)

    def durations() -> Iterable[Sample]:
        for name, status in statuses():
            statistics = status.get("statistics") or {}
            for quantile, field in (("0.5", "p50Seconds"), ("0.95", "p95Seconds")):
                if statistics.get(field) is not None:
                    yield "", {"workflow_id": name, "quantile": quantile}, statistics[field]

    def active() -> Iterable[Sample]:
        yield "", {}, sum(status.get("activeRuns", 0) for _, status in statuses())

    text = "Runs of workflows that have ended, by workflow and how."
    metrics.gauge("orchestrator_executions_total", "counter", text, totals)
    metrics.gauge("orchestrator_execution_duration_seconds", "summary", "How long kept runs took.", durations)
    metrics.gauge("orchestrator_active_executions", "gauge", "Runs of workflows that have not ended.", active)
