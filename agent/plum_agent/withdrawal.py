"""Out of service before the end: waits until the controller has published that no endpoint leads to an instance any more.

    status "Stopping" delivered -> endpoints of the instance, asked until there are none -> a moment for watchers to hear
          |                              |
          +-- the controller is away ----+-- the time is over: it stops anyway

Who resolves a service keeps its endpoints by a watch, so after the removal is published they know within that moment, and no
request is on its way to an instance that is already closing its socket.
"""

from __future__ import annotations

import asyncio

from plum_client.client import ApiClient
from plum_client.errors import ApiError
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import Instance

from plum_agent.delivery import DeliveryQueue

LONGEST_SECONDS = 1.0
"""Longest wait for the controller; the instance stops anyway after that."""
HEARD_SECONDS = 0.1
"""After the removal was published. Endpoint changes reach watchers within this time."""
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.08


async def wait_withdrawn(api: ApiClient, delivery: DeliveryQueue, instance: Instance, seconds: float) -> bool:
    """True once nobody is led to the instance any more; False when that could not be found out within `seconds`."""
    if not may_have_endpoints(instance):
        return True
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(LONGEST_SECONDS, seconds)
    if not await delivery.wait_delivered(instance.key, deadline - loop.time()):
        return False
    fields = f"spec.nodeName={instance.spec.node_name},spec.instanceName={instance.metadata.name}"
    pause = FIRST_PAUSE_SECONDS
    seen = instance.status.ready
    try:
        async with asyncio.timeout_at(deadline):
            while (await api.list_bytes(Endpoint.info, instance.metadata.namespace, fields=fields)).items:
                seen = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    except (ApiError, TimeoutError):
        return False
    if seen:
        await asyncio.sleep(HEARD_SECONDS)
    return True


def may_have_endpoints(instance: Instance) -> bool:
    """Whether a service may lead to it: by its template, by its package, or by a selector, which needs a port."""
    template = instance.spec.template
    return bool(template.services or template.ports or template.artifact is not None)
