"""Containers on this node: the engine, its images, what is the same for all of them. None of it is loaded without an engine.

main -> make -> ContainerRuntime -> driver (runs), prepare (images, credentials), monitor (is the engine there?)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plum_client.client import ApiClient
from plum_client.errors import ApiError
from plum_schemas.core import Secret
from plum_schemas.instance import Instance
from plum_schemas.template import Template

from plum_agent.containing import ContainerDefaults, image_of
from plum_agent.drivers.container import ContainerDriver
from plum_agent.engine.client import EngineClient
from plum_agent.engine.errors import EngineError
from plum_agent.engine.images import Images
from plum_agent.engine.logins import Login, logins_of
from plum_agent.engine.monitor import EngineMonitor
from plum_agent.engine.users import ImageUsers, Owner
from plum_agent.errors import RefusedError
from plum_agent.references import data_of


@dataclass(frozen=True, slots=True)
class ContainerRuntime:
    """One per agent process."""

    driver: ContainerDriver
    images: Images
    users: ImageUsers
    monitor: EngineMonitor
    defaults: ContainerDefaults

    @classmethod
    def make(cls, socket: Path, data_directory: Path, image_directory: Path, defaults: ContainerDefaults) -> ContainerRuntime:
        """Asks the engine nothing yet. Raises `RefusedError` on machines for which there is no first process."""
        client = EngineClient(socket)
        driver = ContainerDriver(client, data_directory, defaults.network)
        return cls(driver, Images(client, image_directory), ImageUsers(client), EngineMonitor(client), defaults)

    async def prepare(self, api: ApiClient, instance: Instance, tell: Callable[[str, str], None]) -> Owner | None:
        """Returns when the image of an instance is there: who its files must belong to, if that is not the agent's own user.

        Cancel it freely. Raises `RefusedError`.
        """
        template = instance.spec.template
        image = image_of(template, self.defaults)

        async def read_logins() -> Sequence[Login]:
            return await _logins(api, instance)

        await self.images.ensure(image, template.image_pull_policy, read_logins, tell)
        if os.geteuid() != 0 or not _gets_files(template):
            return None  # only root gives files away
        try:
            return await self.users.find(image, template.user)
        except EngineError as error:
            raise RefusedError("EngineUnavailable", f"the users of image {image} could not be read: {error}") from error

    def node_status(self) -> dict[str, Any]:
        """The fields of a Node's status that depend on the engine, as a merge patch."""
        facts = self.monitor.facts
        runtimes = ["process", "container"] if facts.available else ["process"]
        if not self.monitor.was_seen:
            return {"runtimes": runtimes}
        engine = {
            "available": facts.available,
            "name": "docker",
            "version": facts.version,
            "apiVersion": facts.api_version,
            "storageDriver": facts.storage_driver,
            "cgroupVersion": facts.cgroup_version,
            "message": facts.message,
        }
        return {"runtimes": runtimes, "engine": engine}


def _gets_files(template: Template) -> bool:
    """Whether anything of this node, made for the instance, is seen inside."""
    own_mounts = any(not mount.source.startswith("/") for mount in template.mounts)
    return bool(template.files or own_mounts or template.artifact is not None)


async def _logins(api: ApiClient, instance: Instance) -> list[Login]:
    """Raises `RefusedError` for a Secret that is missing or holds no credentials."""
    logins: list[Login] = []
    namespace = instance.metadata.namespace
    for reference in instance.spec.template.image_pull_secrets:
        label = f"imagePullSecrets: Secret {namespace}/{reference.name}"
        try:
            secret = await api.get(Secret, reference.name, namespace)
        except ApiError as error:
            message = f"{label} could not be read, the controller does not answer: {error}"
            raise RefusedError("EnvironmentUnavailable", message) from error
        if secret is None:
            raise RefusedError("SecretMissing", f"{label} does not exist; create it")
        try:
            logins += logins_of(data_of(secret))
        except ValueError as error:
            raise RefusedError("SecretInvalid", f"{label} holds no credentials of a registry: {error}") from error
    return logins
