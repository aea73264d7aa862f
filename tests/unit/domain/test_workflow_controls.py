"""Controls: one table for every state of runs and nodes, in the documentation as it is in the code, and kept to by decisions."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from plum_flow.workflow import controls, phases
from plum_flow.workflow.asks import refusal
from plum_flow.workflow.decide import decide
from plum_flow.workflow.graph import compile_definition
from plum_flow.workflow.messages import Ask, Begin, Done, Refused, SetState, Tick
from plum_flow.workflow.rows import RunRow
from plum_flow.workflow.state import Run
from plum_schemas.workflowrun import RunCommand

from tests.support.workflow_model import START, spec_of

DOCS = Path(__file__).parents[3] / "docs/workflows.md"


def run_in(phase: str) -> Run:
    """A run with a node `n` in this phase, and one that keeps it going."""
    nodes = [
        {"name": "first", "taskRef": "work"},
        {"name": "n", "taskRef": "work", "dependsOn": ["first"]},
        {"name": "w", "type": "wait", "wait": {"approval": {}}},
        {"name": "long", "taskRef": "work"},
    ]
    if phase == phases.WAITING:
        nodes[1] = {"name": "n", "type": "wait", "dependsOn": ["first"], "wait": {"approval": {}}}
    if phase == phases.SKIPPED:
        nodes[1]["when"] = "false"
    run = Run(compile_definition(spec_of({"nodes": nodes})), "uid", "run", RunRow())
    decide(run, Begin(START))
    if phase != phases.PENDING:
        decide(run, Done("first", 1, phases.FAILED if phase == phases.UPSTREAM_FAILED else phases.SUCCEEDED, START))
    if phase in (phases.SUCCEEDED, phases.FAILED, phases.CANCELED):
        decide(run, Done("n", 1, phase, START))
    run.take()
    assert run.scopes["main"].phase[1] == phase
    return run


@pytest.mark.parametrize("phase", phases.ALL)
@pytest.mark.parametrize("action", sorted(controls.COMMANDS))
def test_every_command_in_every_state_of_a_node(action: str, phase: str) -> None:
    run = run_in(phase)
    allowed = phase in controls.NODE_CONTROLS[controls.COMMANDS[action]]
    command = RunCommand(name="c", action=action, node="n")  # type: ignore[arg-type]

    assert (refusal(run, command) is None) is allowed
    decide(run, Ask(command, 1, START))

    effects = run.take().effects
    assert any(isinstance(effect, Refused) for effect in effects) is not allowed
    assert run.row.commands == 1
    if not allowed:
        assert run.scopes["main"].phase[1] == phase
    decide(run, Ask(command, 1, START))  # the same command again is not carried out again
    assert not run.take()


def test_an_ended_run_takes_no_command_and_no_state() -> None:
    run = Run(compile_definition(spec_of({"nodes": [{"name": "n", "taskRef": "builtin.echo"}]})), "uid", "run", RunRow())
    decide(run, Begin(START))
    decide(run, Done("n", 1, phases.SUCCEEDED, START))
    run.take()

    for action in controls.COMMANDS:
        assert "the run has ended" in str(refusal(run, RunCommand(name="c", action=action, node="n")))  # type: ignore[arg-type]
    for event in (SetState("Canceled", START), SetState("Paused", START), Tick(START + timedelta(days=9))):
        decide(run, event)
    assert not run.take()


def test_the_documentation_shows_the_tables_of_the_code() -> None:
    assert controls.tables() in DOCS.read_text()


def test_every_control_of_a_run_knows_every_phase() -> None:
    for control in controls.RUN_CONTROLS:
        for phase in controls.RUN_PHASES:
            refused = controls.run_refusal(control, phase)
            assert (refused is None) is (phase in controls.RUN_CONTROLS[control])
            assert refused is None or (control in refused and phase in refused)


def test_a_rule_may_not_be_met_by_marking_a_branch() -> None:
    """A branch that is marked takes the outcome it is given."""
    nodes = [
        {"name": "b", "type": "branch", "condition": "nodes.nothing.output.x == 1"},
        {"name": "yes", "taskRef": "work", "dependsOn": [{"node": "b", "on": "true"}]},
        {"name": "long", "taskRef": "work"},
    ]
    run = Run(compile_definition(spec_of({"nodes": nodes})), "uid", "run", RunRow())
    decide(run, Begin(START))
    assert run.scopes["main"].phase[:2] == [phases.FAILED, phases.UPSTREAM_FAILED]

    decide(run, Ask(RunCommand(name="c", action="MarkSucceeded", node="b", output={"outcome": "true"}), 1, START))

    assert run.scopes["main"].phase[:2] == [phases.SUCCEEDED, phases.RUNNING]
