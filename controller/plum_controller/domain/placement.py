"""The placement decision: the best node for one instance, or the reason why each node was refused.

    Demand, Accounting --place--> Placement(node)  or  Placement(refusals)

Filters first (a node that fails one is refused, with a sentence a person can act on), then scores among those that are left.
What depends only on the node and the template is decided once per (template, version of the node) and remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from plum_schemas.instance import Refusal

from plum_controller.domain.accounting import Accounting, NodeState
from plum_controller.domain.demand import Demand
from plum_controller.domain.node_fit import balance, preference, refuse, room
from plum_controller.domain.spreading import Neighbours, SpreadCounts

REFUSALS_KEPT = 100
"""Most refusals written into a status; a fleet of five hundred says the rest in one line."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A node, or why there is none."""

    node: str = ""
    refusals: tuple[Refusal, ...] = ()

    @property
    def message(self) -> str:
        """One sentence: how many nodes fit, and the most frequent reasons with an example each."""
        if not self.refusals:
            return "there are no nodes; start an agent with plum agent"
        counts: dict[str, int] = {}
        examples: dict[str, str] = {}
        for refusal in self.refusals:
            counts[refusal.reason] = counts.get(refusal.reason, 0) + 1
            examples.setdefault(refusal.reason, refusal.message)
        frequent = sorted(counts, key=lambda reason: (-counts[reason], reason))
        parts = [f"{counts[reason]} {reason} ({examples[reason]})" for reason in frequent]
        return f"0 of {len(self.refusals)} nodes fit: " + "; ".join(parts)

    @property
    def shown(self) -> list[Refusal]:
        """The refusals as a status keeps them."""
        if len(self.refusals) <= REFUSALS_KEPT:
            return list(self.refusals)
        left = len(self.refusals) - REFUSALS_KEPT
        return [*self.refusals[:REFUSALS_KEPT], Refusal(node_name="", reason="More", message=f"{left} more nodes were refused")]


@dataclass(slots=True)
class Placer:
    """Places instances on the nodes of one accounting. Remembers what it decided about templates and nodes."""

    accounting: Accounting
    _static: dict[tuple[str, str, str, str], Refusal | int] = field(default_factory=dict)
    """(owner, revision, node, version of the node) to a refusal or to points for preferences."""

    def place(self, demand: Demand) -> Placement:
        """The best node. Ties go to the first by name, so that the same fleet gives the same answer."""
        wishes: list[SpreadCounts | Neighbours] = []
        if demand.topology_spread:
            wishes.append(SpreadCounts(demand, self.accounting))
        if demand.affinity is not None or self.accounting.has_repellers:
            wishes.append(Neighbours(demand, self.accounting))
        best: tuple[float, str] | None = None
        refusals: list[Refusal] = []
        for name, state in self.accounting.nodes.items():
            if state.node is None:
                continue
            fixed = self._fixed(demand, state)
            refusal = fixed if isinstance(fixed, Refusal) else room(demand, state) or _first_refusal(wishes, state)
            if refusal is not None:
                refusals.append(refusal)
                continue
            score = (fixed if isinstance(fixed, int) else 0) + balance(demand, state)
            for wish in wishes:
                score += wish.score(state)
            if best is None or (-score, name) < (-best[0], best[1]):
                best = (score, name)
        if best is not None:
            return Placement(best[1])
        return Placement(refusals=tuple(sorted(refusals, key=lambda refusal: refusal.node_name)))

    def _fixed(self, demand: Demand, state: NodeState) -> Refusal | int:
        """What template and node decide alone; remembered until either changes."""
        assert state.node is not None  # noqa: S101  place() skips nodes without object
        key = (demand.owner, demand.revision, state.name, state.node.metadata.resource_version)
        found = self._static.get(key)
        if found is None:
            if len(self._static) > 100_000:
                self._static.clear()
            found = refuse(demand, state) or preference(demand, state)
            self._static[key] = found
        return found


def _first_refusal(wishes: Sequence[SpreadCounts | Neighbours], state: NodeState) -> Refusal | None:
    """What the first wish has against the node."""
    for wish in wishes:
        refusal = wish.refuse(state)
        if refusal is not None:
            return refusal
    return None
