"""What nodes are given: expressions filled in, with values of secrets only for those that write nothing down.

node + values --of--> payload with marks, and which they are     for objects, which many may read
                      payload with values                        for what this process carries out itself
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from secrets import token_hex
from typing import Any

from plum_client.client import ApiClient
from plum_flow.expressions import Redactor, secret_values
from plum_flow.expressions.expression import References
from plum_flow.expressions.secret_values import secret_names
from plum_flow.running.actor import Actor
from plum_flow.secret_marks import Held, marked, values_of_marks
from plum_flow.workflow.messages import Execute
from plum_schemas.core import Secret
from plum_schemas.taskrun import SecretMark

BY_OBJECT = frozenset({"task", "script", "agent", "subworkflow"})
"""Types of nodes that an object is made for: what they are given can be read there."""


class Given:
    """Reads Secrets when they are needed; keeps none."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def of(self, actor: Actor, effect: Execute) -> tuple[Any, list[SecretMark]]:
        """What a node is given. Objects, which many may read, get marks instead of the values of secrets, and name them.

        Raises `UnresolvedError`, `TaskFailedError` for a Secret that is not there.
        """
        node, reads = effect.node, effect.node.reads
        reads_secrets = bool(reads.paths_of("secrets"))
        if not reads_secrets and not actor.run.row.secrets:
            return node.payload.evaluate(effect.values), []
        held = await self.held_by(actor.run.row.secrets, actor.key.namespace)
        true_values = held.put_in(effect.values)
        secrets = await self.read(actor.key.namespace, reads) if reads_secrets else {}
        if node.type in BY_OBJECT and not node.inline:
            return marked(
                lambda more: node.payload.evaluate({**effect.values, **more}), reads, secrets, token_hex(16),
                held, lambda more: node.payload.evaluate({**true_values, **more}),
            )  # fmt: skip
        return node.payload.evaluate({**true_values, "secrets": secret_values(reads, secrets)}), []

    async def held_by(self, marks: Sequence[SecretMark], namespace: str) -> Held:
        """Marks with their values. Raises `TaskFailedError` for a Secret that is not there."""
        if not marks:
            return Held()
        secrets = {name: await self._api.get(Secret, name, namespace) for name in {mark.name for mark in marks}}
        return Held(marks, values_of_marks(marks, namespace, secrets))

    async def read(self, namespace: str, references: References) -> dict[str, dict[str, str]]:
        """Keys and values of the Secrets that are named. Raises `UnresolvedError`."""
        found: dict[str, dict[str, str]] = {}
        for name in secret_names(references):
            secret = await self._api.get(Secret, name, namespace)
            if secret is not None:
                found[name] = {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in secret.data.items()}
        return found

    async def redactor(self, namespace: str, references: References, marks: Sequence[SecretMark]) -> Redactor:
        """What hides the values of the Secrets that a definition names, and that stand in the parameters of its run."""
        hidden = [value for keys in (await self.read(namespace, references)).values() for value in keys.values()]
        for mark in marks:
            secret = await self._api.get(Secret, mark.name, namespace)
            encoded = secret.data.get(mark.key) if secret is not None else None
            hidden += [mark.marker, *([base64.b64decode(encoded).decode("utf-8", "replace")] if encoded is not None else [])]
        return Redactor(hidden)
