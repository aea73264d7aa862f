"""Controllers: each compares desired with actual for one kind, through nothing but `plum_client`."""

from __future__ import annotations

from typing import Protocol

from plum_client.manager import Manager


class ControllerSettings(Protocol):
    """What the controllers need of the settings."""

    @property
    def failover_enabled(self) -> bool:
        """Whether instances of a lost node are replaced, where a Deployment does not say."""

    @property
    def task_lost_seconds(self) -> float:
        """How long a node may be away before its task counts as lost."""

    @property
    def tasks_kept_seconds(self) -> float:
        """How long finished runs of tasks are kept."""

    @property
    def tasks_kept(self) -> int:
        """Most finished runs of tasks kept in a namespace; 0: no limit."""


def build(manager: Manager, settings: ControllerSettings, *, watch_nodes: bool = True) -> None:
    """Register every built-in controller. `watch_nodes` false: nodes are not judged by their leases, and nothing is asked
    whether it answers, and no task goes on (for plans)."""
    from plum_controller.controllers import (
        deployment,
        endpoint,
        endpoint_health,
        event_expiry,
        garbage,
        kv_expiry,
        namespace,
        node,
        scheduler,
        service,
        task,
        task_definition,
        task_placement,
        task_retention,
        token_expiry,
        trigger,
        workflow,
        workflow_loose_runs,
    )
    from plum_controller.domain.accounting import Accounting
    from plum_controller.tasks.plugins import Plugins

    deployment.add_to(manager, settings.failover_enabled)
    accounting = Accounting()
    scheduling = scheduler.add_to(manager, accounting)
    if watch_nodes:
        node.add_to(manager)
        endpoint.add_to(manager)
        endpoint_health.add_to(manager)
        service.add_to(manager)
        trigger.add_to(manager)
        workflow.add_to(manager)
        workflow_loose_runs.add_to(manager)
        task.add_to(manager, settings)
        task_placement.add_to(manager, accounting, scheduling.look_again)
        task_retention.add_to(manager, settings.tasks_kept)
        task_definition.add_to(manager, Plugins().has)
    garbage.add_to(manager)
    namespace.add_to(manager)
    event_expiry.add_to(manager)
    kv_expiry.add_to(manager)
    token_expiry.add_to(manager)
