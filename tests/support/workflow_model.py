"""Random workflows, random orders of what happens in them, and an independent idea of how they must end.

    Case(seed).play() -> plays one run to its end: results, failures, pauses, crashes, cancellations in a random order

The seed is the whole case: print it, and it happens again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
from plum_flow.workflow import phases
from plum_flow.workflow.controls import COMMANDS
from plum_flow.workflow.decide import decide
from plum_flow.workflow.graph import DefinitionPlan, compile_definition
from plum_flow.workflow.loading import load
from plum_flow.workflow.messages import Abort, Ask, Await, Begin, Done, Execute, SetState, Tick
from plum_flow.workflow.rows import RUN_KEY, NodeRow, RunRow, decode_node, decode_run, encode, shown
from plum_flow.workflow.state import Run
from plum_schemas.workflow import WorkflowSpec, normalize_definition
from plum_schemas.workflowrun import RunCommand

RULES = (
    "all_success", "one_success", "all_failed", "one_failed", "all_done", "none_failed", "all_skipped", "one_done",
    "none_skipped", "none_failed_min_one_success", "all_done_min_one_success", "always",
)  # fmt: skip
START = datetime(2026, 1, 1, tzinfo=UTC)


def spec_of(data: dict[str, Any]) -> WorkflowSpec:
    """A definition as it is stored, from the short forms people write."""
    normalize_definition(data)
    return msgspec.convert(data, WorkflowSpec)


class Rows:
    """What a store would hold of one run: survives crashes."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.live: set[str] = set()

    def take(self, run: Run) -> list[Any]:
        """Store what changed; answers with the effects to carry out."""
        changes = run.take()
        for key, row in changes.rows.items():
            self.values[key] = encode(row)
            self.live.add(key)
        for prefix in changes.folds:
            self.live = {key for key in self.live if not key.startswith(prefix)}
        return changes.effects

    def load(self, plan: DefinitionPlan, now: datetime) -> Run:
        rows = [(key, decode_node(self.values[key])) for key in sorted(self.live) if key != RUN_KEY]
        return load(plan, "uid", "run", decode_run(self.values[RUN_KEY]), rows, now)

    def node(self, key: str) -> NodeRow:
        return decode_node(self.values[key])

    def run(self) -> RunRow:
        return decode_run(self.values[RUN_KEY])


def random_graph(random: Random, depth: int = 0, prefix: str = "n") -> list[dict[str, Any]]:
    """Nodes of a random acyclic graph, bodies included."""
    nodes: list[dict[str, Any]] = []
    for number in range(random.randint(1, 6 if depth == 0 else 3)):
        node: dict[str, Any] = {"name": f"{prefix}{number}"}
        edges = []
        for before in nodes:
            if random.random() < 0.4:
                edge = {"node": before["name"]}
                if before.get("type") in ("branch", "condition") and random.random() < 0.8:
                    edge["on"] = random.choice(["true", "false"])
                edges.append(edge)
        if edges:
            node["dependsOn"] = edges
        if random.random() < 0.5:
            node["triggerRule"] = random.choice(RULES)
        if random.random() < 0.1:
            node["continueOnFailure"] = True
        _give_type(random, node, depth)
        nodes.append(node)
    return nodes


def _give_type(random: Random, node: dict[str, Any], depth: int) -> None:
    chance = random.random()
    if chance < 0.12:
        node |= {"type": "branch", "condition": random.choice(["true", "false", "params.x > 3"])}
    elif chance < 0.2:
        node |= {"type": "parallel", "waitPolicy": random.choice(["all", "any"])}
        if random.random() < 0.5:
            node["maxParallel"] = random.randint(1, 2)
    elif chance < 0.28:
        node |= {"type": "wait", "wait": {"duration": "1s"}}
    elif chance < 0.38 and depth < 2:
        node |= {"type": "loop", "count": random.randint(0, 3), "body": {"nodes": random_graph(random, depth + 1, node["name"])}}
    elif chance < 0.48 and depth < 2:
        node |= {"type": "map", "items": list(range(random.randint(0, 4)))}
        node |= {"maxFailures": random.randint(0, 2), "body": {"nodes": random_graph(random, depth + 1, node["name"])}}
        if random.random() < 0.5:
            node["maxParallel"] = random.randint(1, 2)
    else:
        node["taskRef"] = "builtin.echo" if random.random() < 0.3 else "work"
        if random.random() < 0.2 and node["taskRef"] == "builtin.echo":
            node["retry"] = {"limit": random.randint(0, 2), "initial": "1s"}
        if random.random() < 0.1:
            node["when"] = random.choice(["true", "false", "nodes.nothing.output.x == 1"])


@dataclass
class Case:
    """One random definition and one random history of a run of it."""

    seed: int
    crashes: bool = True
    interrupts: bool = True
    """Pauses, cancellations, a timeout."""
    asks: bool = False
    """People skip nodes, mark them, run them again. What has ended may then change."""
    random: Random = field(init=False)
    rows: Rows = field(init=False)
    outstanding: dict[tuple[str, int], Any] = field(default_factory=dict)
    started: set[tuple[str, int, str]] = field(default_factory=set)
    terminal: dict[str, str] = field(default_factory=dict)
    now: datetime = START
    canceled: bool = False

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        data: dict[str, Any] = {"nodes": random_graph(self.random)}
        if self.interrupts:
            if self.random.random() < 0.3:
                data["onFailure"] = {"nodes": random_graph(self.random, 2, "f")}
            if self.random.random() < 0.3:
                data["finally"] = {"nodes": random_graph(self.random, 2, "z")}
            if self.random.random() < 0.1:
                data["timeout"] = "3s"
        if self.random.random() < 0.3:
            data["maxParallel"] = self.random.randint(1, 3)
        self.spec = spec_of(data)
        self.plan = compile_definition(self.spec)
        self.rows = Rows()
        self.params = {"x": self.random.randint(0, 6)}

    def play(self) -> Run:
        """Play the run to its end, checking each step."""
        run = Run(self.plan, "uid", "run", RunRow(params=self.params))
        decide(run, Begin(self.now))
        self.after(run)
        for _ in range(5000):
            if run.is_done:
                break
            run = self.step(run)
        assert run.is_done, f"seed {self.seed}: it never ends; waits for {list(self.outstanding)} {run.active.keys()}"
        self.at_end(run)
        return run

    def step(self, run: Run) -> Run:
        random = self.random
        chance = random.random()
        if self.crashes and chance < 0.08:
            # What only computes leaves no trace of having been asked for, so it is asked for again.
            lost = [effect for effect in self.outstanding.values() if isinstance(effect, Execute) and effect.node.inline]
            self.started -= {(effect.key, effect.attempt, effect.name) for effect in lost}
            self.outstanding.clear()
            run = self.rows.load(self.plan, self.now)
            self.after(run)
            return run
        if self.asks and chance < 0.2:
            self.ask(run)
        elif self.interrupts and chance < 0.11:
            self.canceled = self.canceled or random.random() < 0.2
            decide(run, SetState("Canceled" if self.canceled else random.choice(["Paused", "Running"]), self.now))
        elif chance < 0.14:
            self.too_late(run)
        elif chance < 0.3 or not self.outstanding:
            if run.paused:
                decide(run, SetState("Running", self.now))
            else:
                self.now += timedelta(seconds=1)
                decide(run, Tick(self.now))
        else:
            (key, attempt), effect = random.choice(sorted(self.outstanding.items(), key=lambda item: item[0]))
            del self.outstanding[key, attempt]
            decide(run, self.result(key, attempt, effect))
            if random.random() < 0.1:  # told twice: nothing more happens
                decide(run, Done(key, attempt, phases.FAILED, self.now))
        self.after(run)
        return run

    def ask(self, run: Run) -> None:
        """Some command about some node; it may be refused."""
        names = [node.name for node in self.plan.main.nodes] + [shown(key) for key in sorted(run.active)]
        action, node = self.random.choice(sorted(COMMANDS)), self.random.choice(names)
        if self.random.random() < 0.6 and action in ("RetryFailed", "RerunFrom"):
            action = "Skip"  # else many runs would go on for very long
        command = RunCommand(name="c", action=action, node=node)  # type: ignore[arg-type]
        decide(run, Ask(command, run.row.commands + 1, self.now))

    def too_late(self, run: Run) -> None:
        """What an earlier attempt, or nobody, was asked for changes nothing."""
        key, attempt = "nobody", 1
        if run.active:
            key = self.random.choice(sorted(run.active))
            scope, index = run.active[key]
            attempt = scope.rows[index].attempt - 1 if index in scope.rows else 7
        decide(run, Done(key, attempt, phases.SUCCEEDED, self.now, output={"late": True}))
        assert not run.changes, f"seed {self.seed}: {key} took the end of attempt {attempt}"

    def result(self, key: str, attempt: int, effect: Any) -> Done:
        if effect == "abort":
            return Done(key, attempt, phases.CANCELED, self.now)
        if Random(f"{self.seed}/{key}").random() < 0.25:
            return Done(key, attempt, phases.FAILED, self.now, reason="Error", message="no")
        return Done(key, attempt, phases.SUCCEEDED, self.now, output={"n": 1})

    def after(self, run: Run) -> None:
        """Store, check what must hold after every step, note what was asked for."""
        for key, row in run.changes.rows.items():
            if isinstance(row, NodeRow):
                before = None if self.asks else self.terminal.get(key)
                assert before is None or row.phase == before, f"seed {self.seed}: {key} was {before}, is {row.phase}"
                if row.phase in phases.TERMINAL:
                    self.terminal[key] = row.phase
        for effect in self.rows.take(run):
            match effect:
                case Execute():
                    at = (effect.key, effect.attempt)
                    known = (*at, effect.name)
                    again = effect.again or (self.asks and effect.node.inline)
                    assert known not in self.started or again, f"seed {self.seed}: {at} was started twice"
                    assert at not in self.outstanding, f"seed {self.seed}: {at} runs already"
                    limit = effect.node.node.retry.limit if effect.node.node.retry else 0
                    assert self.asks or effect.attempt <= limit + 1, f"seed {self.seed}: {at} is one attempt too many"
                    self.started.add(known)
                    self.outstanding[at] = effect
                case Abort():
                    if effect.told:
                        self.outstanding[effect.key, effect.attempt] = "abort"
                    else:
                        self.outstanding.pop((effect.key, effect.attempt), None)
                case Await():
                    raise AssertionError("nothing here waits for events")
        if not run.is_done:
            bodies = {key[: key.rfind("].") + 2] for key in self.rows.live if "]." in key}
            gone = [prefix for prefix in bodies if run.scope_at(prefix) is None]
            assert not gone, f"seed {self.seed}: rows of {gone} are read again after a restart"
        assert all(count >= 0 for count in run.counts.values()), f"seed {self.seed}: {run.counts}"
        running = sum(
            1 for scope, index in run.active.values()
            if scope.graph.nodes[index].is_executed and scope.phase[index] == phases.RUNNING
        )  # fmt: skip
        assert run.executing == running, f"seed {self.seed}: {run.executing} places are taken by {running}"
        limit = self.spec.max_parallel
        assert limit is None or running <= limit, f"seed {self.seed}: {running} nodes run, {limit} may"

    def at_end(self, run: Run) -> None:
        assert not run.active, f"seed {self.seed}: {run.active.keys()} are left"
        stored = self.rows.run()
        assert stored.stage == "done" and stored.phase in ("Succeeded", "Failed", "Canceled", "Timeout")
        for name in ("main", "onFailure", "finally"):
            scope = run.scopes.get(name)
            assert scope is None or all(phase in phases.TERMINAL for phase in scope.phase), f"seed {self.seed}: {scope.phase}"
        assert sum(count for phase, count in run.counts.items() if phase not in phases.TERMINAL) == 0, f"{self.seed} {run.counts}"
        before = encode(run.row)
        decide(run, SetState("Canceled", self.now))
        decide(run, Tick(self.now + timedelta(days=1)))
        assert encode(run.row) == before and not run.take()


def expected_phases(case: Case, run: Run) -> dict[str, str]:
    """How the main graph's nodes must end, worked out in the order of the graph by words instead of counts.

    Only for runs that were not interrupted; the end of a loop or map is taken from the run.
    """
    ended: dict[str, str] = {}
    outcomes: dict[str, str] = {}
    scope = run.scopes["main"]
    for node in case.plan.main.nodes:
        seen = []
        for edge in node.node.depends_on:
            before = case.plan.main.by_name[edge.node]
            phase = ended[edge.node]
            if phase in ("Failed", "Canceled") and before.node.continue_on_failure:
                phase = "Succeeded"
            if phase == "Succeeded" and before.type == "branch" and edge.on and edge.on != outcomes[edge.node]:
                phase = "Skipped"
            seen.append(phase)
        verdict = verdict_in_words(node.rule, seen)
        if verdict != "Start":
            ended[node.name] = verdict
            continue
        if node.node.when == "false":
            ended[node.name] = "Skipped"
        elif node.node.when.startswith("nodes.nothing"):
            ended[node.name] = "Failed"
        elif node.type == "branch":
            truth = {"true": True, "false": False}.get(node.node.condition, case.params["x"] > 3)
            outcomes[node.name] = "true" if truth else "false"
            ended[node.name] = "Succeeded"
        elif node.type in ("parallel", "wait"):
            ended[node.name] = "Succeeded"
        elif node.type in ("loop", "map"):
            ended[node.name] = scope.phase[node.index]
        else:
            ended[node.name] = "Failed" if Random(f"{case.seed}/{node.name}").random() < 0.25 else "Succeeded"
    return ended


def verdict_in_words(rule: str, before: list[str]) -> str:
    """The trigger rules once more, as their documentation says them, for nodes before that have all ended."""
    failed = [phase for phase in before if phase in ("Failed", "Canceled", "UpstreamFailed")]
    ran_badly = [phase for phase in before if phase in ("Failed", "Canceled")]
    well = [phase for phase in before if phase == "Succeeded"]
    skipped = [phase for phase in before if phase == "Skipped"]
    no = "UpstreamFailed" if failed else "Skipped"
    if not before:
        return "Start"
    table = {
        "always": (True, ""),
        "all_success": (well == before, no),
        "all_failed": (failed == before, "Skipped"),
        "all_done": (True, ""),
        "one_success": (bool(well), no),
        "one_failed": (bool(failed), "Skipped"),
        "one_done": (bool(well or ran_badly), "Skipped"),
        "none_failed": (not failed, "UpstreamFailed"),
        "none_failed_min_one_success": (not failed and bool(well), no),
        "all_skipped": (skipped == before, "Skipped"),
        "none_skipped": (not skipped, "Skipped"),
        "all_done_min_one_success": (bool(well), no),
    }
    starts, otherwise = table[rule]
    return "Start" if starts else otherwise
