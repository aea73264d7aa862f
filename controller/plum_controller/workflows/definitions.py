"""Pinned definitions: each run names one by its hash, and it is kept as long as a run does.

WorkflowSpec --pin--> row `definitions/HASH` + DefinitionPlan in memory        HASH --plan--> DefinitionPlan
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from plum_flow.running.journal import DEFINITION_KEY, DEFINITIONS, Journal
from plum_flow.workflow.graph import DefinitionPlan, compile_definition, definition_hash
from plum_flow.workflow.rows import encode
from plum_schemas.workflow import WorkflowSpec

REMEMBERED = 100
"""Compiled definitions that stay in memory; runs that go on hold theirs in any case."""


class Definitions:
    """Compiles each definition once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._plans: OrderedDict[str, DefinitionPlan] = OrderedDict()
        self._hashes: OrderedDict[int, tuple[WorkflowSpec, str]] = OrderedDict()

    async def pin(self, spec: WorkflowSpec) -> DefinitionPlan:
        """The plan of a definition, which is on disk when this returns. Raises `ExpressionError`, `KeyError`."""
        digest = self.hash_of(spec)
        known = self._plans.get(digest)
        if known is None:
            known = compile_definition(spec, digest)
            await self._journal.commit(DEFINITIONS + digest, {DEFINITION_KEY: encode(spec)})
            self._remember(known)
        return known

    async def plan(self, digest: str) -> DefinitionPlan | None:
        """The plan of a pinned definition; None if it is gone."""
        known = self._plans.get(digest)
        if known is None:
            value = await self._journal.get(DEFINITIONS + digest, DEFINITION_KEY)
            if value is None:
                return None
            known = compile_definition(msgspec.json.decode(value, type=WorkflowSpec), digest)
            self._remember(known)
        return known

    def hash_of(self, spec: WorkflowSpec) -> str:
        """Hash of a definition; worked out once for each object the cache holds."""
        found = self._hashes.get(id(spec))
        if found is None or found[0] is not spec:
            found = self._hashes[id(spec)] = (spec, definition_hash(spec))
            if len(self._hashes) > REMEMBERED:
                self._hashes.popitem(last=False)
        return found[1]

    async def forget_unused(self, used: set[str]) -> int:
        """Drop the definitions that no run names any more."""
        dropped = 0
        for space in await self._journal.spaces(DEFINITIONS):
            if space.removeprefix(DEFINITIONS) not in used:
                self._plans.pop(space.removeprefix(DEFINITIONS), None)
                await self._journal.drop(space)
                dropped += 1
        return dropped

    def _remember(self, plan: DefinitionPlan) -> None:
        self._plans[plan.hash] = plan
        if len(self._plans) > REMEMBERED:
            self._plans.popitem(last=False)
