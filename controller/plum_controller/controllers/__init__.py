"""Controllers: each compares desired with actual for one kind, through nothing but `plum_client`."""

from __future__ import annotations

from typing import Protocol

from plum_client.manager import Manager


class ControllerSettings(Protocol):
    """What the controllers need of the settings."""

    @property
    def failover_enabled(self) -> bool:
        """Whether instances of a lost node are replaced, where a Deployment does not say."""


def build(manager: Manager, settings: ControllerSettings, *, watch_nodes: bool = True) -> None:
    """Register every built-in controller. `watch_nodes` false: nodes are not judged by their leases, and nothing is asked
    whether it answers (for plans)."""
    from plum_controller.controllers import (
        deployment,
        endpoint,
        endpoint_health,
        event_expiry,
        garbage,
        namespace,
        node,
        scheduler,
        service,
        token_expiry,
        trigger,
    )

    deployment.add_to(manager, settings.failover_enabled)
    scheduler.add_to(manager)
    if watch_nodes:
        node.add_to(manager)
        endpoint.add_to(manager)
        endpoint_health.add_to(manager)
        service.add_to(manager)
        trigger.add_to(manager)
    garbage.add_to(manager)
    namespace.add_to(manager)
    event_expiry.add_to(manager)
    token_expiry.add_to(manager)
