"""Where other instances are, as far as one instance minds: even spreading, wanted and unwanted neighbours.

Both are made anew for each placement, from counts that the accounting keeps; a template without such wishes costs nothing.
"""

from __future__ import annotations

from plum_schemas.affinity import InstanceTerm
from plum_schemas.instance import Refusal

from plum_controller.domain.accounting import Accounting, NodeState
from plum_controller.domain.demand import Demand
from plum_controller.domain.node_fit import matches, refuse


class SpreadCounts:
    """How many instances that count are in each group of nodes, for each spread constraint of one demand."""

    def __init__(self, demand: Demand, accounting: Accounting) -> None:
        self._constraints = demand.topology_spread
        self._counts: list[dict[str, int]] = []
        for constraint in self._constraints:
            counts: dict[str, int] = {}
            for state in accounting.nodes.values():
                value = state.labels.get(constraint.topology_key)
                if value is None or (state.node is not None and isinstance(refuse(demand, state), Refusal)):
                    continue
                selector = constraint.label_selector
                if selector is None:
                    count = state.owners[demand.owner]
                else:
                    count = sum(d.namespace == demand.namespace and matches(selector, d.labels) for d in state.placed.values())
                counts[value] = counts.get(value, 0) + count
            self._counts.append(counts)

    def refuse(self, state: NodeState) -> Refusal | None:
        """A reason when one more instance here would be more uneven than allowed."""
        for constraint, counts in zip(self._constraints, self._counts, strict=True):
            if constraint.when_unsatisfiable == "ScheduleAnyway":
                continue
            value = state.labels.get(constraint.topology_key)
            if value is None:
                message = f"{state.name} has no label {constraint.topology_key}, over which instances are spread"
                return Refusal(node_name=state.name, reason="TopologySpread", message=message)
            skew = counts.get(value, 0) + 1 - min(counts.values(), default=0)
            if skew > constraint.max_skew:
                group = f"{constraint.topology_key}={value}"
                message = f"{group} would have {skew} more than the emptiest; maxSkew is {constraint.max_skew}"
                return Refusal(node_name=state.name, reason="TopologySpread", message=message)
        return None

    def score(self, state: NodeState) -> float:
        """Less for groups that are fuller."""
        return -sum(
            20.0 * counts.get(state.labels.get(constraint.topology_key, ""), 0)
            for constraint, counts in zip(self._constraints, self._counts, strict=True)
        )


class Neighbours:
    """Affinity and anti-affinity of one demand to instances that are placed, in both directions."""

    def __init__(self, demand: Demand, accounting: Accounting) -> None:
        self._demand = demand
        affinity = demand.affinity
        near = affinity.instance_affinity if affinity is not None else None
        far = affinity.instance_anti_affinity if affinity is not None else None
        self._near = [(term, self._groups(term, accounting)) for term in (near.required if near is not None else ())]
        self._far = [(term, self._groups(term, accounting)) for term in (far.required if far is not None else ())]
        self._liked = [(p.weight, p.term, self._groups(p.term, accounting)) for p in (near.preferred if near is not None else ())]
        self._liked += [(-p.weight, p.term, self._groups(p.term, accounting)) for p in (far.preferred if far is not None else ())]
        self._repelled = self._repelling(accounting)

    def _selects(self, term: InstanceTerm, holder: Demand, other: Demand) -> bool:
        namespaces = term.namespaces or [holder.namespace]
        return other.namespace in namespaces and matches(term.label_selector, other.labels)

    def _groups(self, term: InstanceTerm, accounting: Accounting) -> set[str]:
        """Values of the topology label of the nodes that hold a matching instance."""
        found = set()
        for state in accounting.nodes.values():
            value = state.labels.get(term.topology_key)
            if value is not None and any(self._selects(term, self._demand, placed) for placed in state.placed.values()):
                found.add(value)
        return found

    def _repelling(self, accounting: Accounting) -> set[tuple[str, str]]:
        """(label, value) of groups where an instance is that does not want this one near."""
        found = set()
        for state in accounting.nodes.values():
            for placed in state.repellers.values():
                far = placed.affinity.instance_anti_affinity if placed.affinity is not None else None
                for term in far.required if far is not None else ():
                    value = state.labels.get(term.topology_key)
                    if value is not None and self._selects(term, placed, self._demand):
                        found.add((term.topology_key, value))
        return found

    def refuse(self, state: NodeState) -> Refusal | None:
        """A reason when a required neighbour is missing or an unwanted one is there."""
        labels = state.labels
        for term, groups in self._near:
            value = labels.get(term.topology_key)
            first = not groups and self._selects(term, self._demand, self._demand)
            if value not in groups and not (first and value is not None):
                message = f"no instance that instanceAffinity requires is in the same {term.topology_key} as {state.name}"
                return Refusal(node_name=state.name, reason="InstanceAffinity", message=message)
        for term, groups in self._far:
            if labels.get(term.topology_key) in groups:
                message = f"an instance that instanceAntiAffinity keeps away is in the same {term.topology_key} as {state.name}"
                return Refusal(node_name=state.name, reason="InstanceAntiAffinity", message=message)
        for key, value in self._repelled:
            if labels.get(key) == value:
                message = f"an instance with instanceAntiAffinity to this one is in the same {key} as {state.name}"
                return Refusal(node_name=state.name, reason="InstanceAntiAffinity", message=message)
        return None

    def score(self, state: NodeState) -> float:
        """Points for liked neighbours, less for disliked ones."""
        return float(sum(weight for weight, term, groups in self._liked if state.labels.get(term.topology_key) in groups))
