"""Pure decisions about devices: reservations, steps of operations, twins, and what `plum explain` says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_client.devices import tickets as steps
from plum_client.devices.protocol import Move
from plum_client.devices.tickets import Moment, Ticket
from plum_client.explaining.findings import Situation
from plum_client.explaining.objects import explain
from plum_controller.domain.reservations import Mode, Wish, grant
from plum_controller.domain.twin import becomes_stale, delta_of, same_value
from plum_schemas.operation_states import TRANSITIONS, OperationMoveError, check_move, is_final, table
from plum_schemas.resource import PropertyModel, Reported, ResourceSpec

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


def moment(seconds: float, boot: str = "a") -> Moment:
    return Moment(seconds, NOW + timedelta(seconds=seconds), boot)


# ---- reservations

resources = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["Exclusive", "Shared"]), min_size=1, max_size=3)


@settings(max_examples=60)
@given(st.lists(resources, max_size=8), st.data())
def test_reservations_never_overlap_are_granted_whole_and_leave_nobody_waiting_for_ever(
    wanted: list[dict[str, Mode]], data: st.DataObject
) -> None:
    wishes = [Wish("Instance", f"i{number}", f"u{number}", float(number // 2), one) for number, one in enumerate(wanted)]
    held: dict[str, dict[str, Mode]] = {}
    served: list[str] = []
    while wishes:
        standings = grant(wishes, held, {})
        for name, standing in standings.items():
            modes = list(standing.holders.values())
            assert len(modes) <= 1 or set(modes) == {"Shared"}, name
        for wish in wishes:
            has = [name for name in wish.resources if wish.uid in standings[name].holders]
            assert has in ([], list(wish.resources))
            waits = [name for name in wish.resources if wish.uid in standings[name].waiting]
            assert not (has and waits)
        for name, before in held.items():
            assert not before or before.keys() <= standings[name].holders.keys()  # nobody loses what he had
        held = {name: dict(standing.holders) for name, standing in standings.items()}
        assert grant(wishes, held, {}) == standings or held  # and deciding again changes nothing
        holding = sorted({uid for holders in held.values() for uid in holders})
        assert holding, "somebody must be able to go on"
        done = data.draw(st.sampled_from(holding))
        served.append(done)
        wishes = [wish for wish in wishes if wish.uid != done]
        held = {name: {uid: mode for uid, mode in holders.items() if uid != done} for name, holders in held.items()}
    assert len(served) == len(wanted)


def test_what_was_granted_in_part_before_a_crash_is_granted_whole_first() -> None:
    first = Wish("Instance", "one", "u1", 1.0, {"a": "Exclusive"})
    second = Wish("Instance", "two", "u2", 2.0, {"a": "Exclusive", "b": "Exclusive"})

    standings = grant([first, second], {"b": {"u2": "Exclusive"}}, {})

    assert standings["a"].holders == standings["b"].holders == {"u2": "Exclusive"}
    assert standings["a"].waiting == {"u1": "a is held by Instance two"}


# ---- steps of operations


def test_the_table_is_closed_and_its_ends_are_final() -> None:
    for old, new in TRANSITIONS:
        assert not is_final(old)
        check_move(old, new)
    with pytest.raises(OperationMoveError, match="ended as Succeeded, which is final"):
        check_move("Succeeded", "Running", "op")
    with pytest.raises(OperationMoveError, match="from Queued it can become Delivered"):
        check_move("Queued", "Running")
    assert table() in (Path(__file__).parents[3] / "docs" / "devices.md").read_text(), "the table of docs/devices.md is generated"


events = st.one_of(
    st.tuples(st.just("move"), st.sampled_from(["Accepted", "Running", "Succeeded", "Failed"]), st.sampled_from(["s1", "s2"])),
    st.tuples(st.just("session"), st.sampled_from(["s1", "s2"])),
    st.tuples(st.just("wait"), st.floats(0.1, 40)),
    st.just(("cancel",)),
    st.just(("restart",)),
    st.just(("reboot",)),
    st.just(("lose",)),
)


@settings(max_examples=150)
@given(st.lists(events, max_size=14), st.sampled_from(["AtMostOnce", "AtLeastOnce"]), st.sampled_from([None, 5.0, 30.0]))
def test_a_ticket_takes_only_steps_of_the_table_and_at_most_once_is_accepted_once(
    what: list[tuple[Any, ...]], delivery: Any, left: float | None
) -> None:
    ticket = Ticket(namespace="n", name="op", uid="u", resource="r", method="m", delivery=delivery, timeout=20.0)
    seconds, boot, begun = 0.0, 0, 0
    ticket = steps.delivered(ticket, left, seconds, moment(seconds, "0"))
    for kind, *arguments in what:
        now = moment(seconds, str(boot))
        before = ticket
        if kind == "move":
            ticket, refusal = steps.move(ticket, Move(session=arguments[1], phase=arguments[0]), now)
            if arguments[0] == "Accepted" and refusal is None and before.phase == "Delivered":
                begun += 1
                assert left is None or (boot == 0 and seconds < left)
        elif kind == "session":
            ticket = steps.new_session(ticket, arguments[0], now)
        elif kind == "wait":
            seconds += arguments[0]
            ticket = steps.tick(ticket, moment(seconds, str(boot)), 0.0)
        elif kind == "cancel" and not is_final(ticket.phase):
            ticket = steps.cancel(ticket, now)
        elif kind == "lose":
            ticket = steps.lose(ticket, "Lost", "it is gone", now)
        elif kind in ("restart", "reboot"):
            boot += kind == "reboot"
            seconds = seconds if kind == "restart" else 0.0
            ticket = steps.after_restart(ticket, moment(seconds, str(boot)))
            if ticket.phase == "Queued":  # it asks the controller again
                return
        if before.phase != ticket.phase:
            check_move(before.phase, ticket.phase)
        assert begun <= 1 or delivery == "AtLeastOnce"
        assert ticket.phase != "Expired" or begun == 0 or before.phase == "Accepted"
        assert (steps.due(ticket, moment(seconds, str(boot)), 0.0) or 0.0) >= 0.0


def test_an_answer_that_was_lost_may_be_asked_for_again_until_it_is_too_late() -> None:
    ticket = steps.delivered(Ticket(namespace="n", name="op", uid="u", resource="r", method="m"), 5.0, 0.0, moment(0))
    accepted, refusal = steps.move(ticket, Move(session="s", phase="Accepted"), moment(1))
    assert refusal is None
    again, refusal = steps.move(accepted, Move(session="s", phase="Accepted"), moment(2))
    assert (again, refusal) == (accepted, None)

    late, refusal = steps.move(accepted, Move(session="s", phase="Accepted"), moment(6))

    assert refusal is not None
    assert (refusal.code, late.phase, late.attempt) == (409, "Expired", 1)


# ---- twins


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (True, 1, False),
        ([1, {"a": 2}], [1.0, {"a": 2}], True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (None, 0, False),
    ],
)
def test_values_are_compared_as_json(one: Any, other: Any, same: bool) -> None:
    assert same_value(one, other) is same


def test_the_delta_names_what_differs_and_what_was_never_reported() -> None:
    delta = delta_of({"a": 1, "b": 2, "c": 3}, {"a": {"value": 1.0}, "b": {"value": 5}})

    assert delta == {"b": {"desired": 2, "reported": 5}, "c": {"desired": 3}}


def test_values_grow_stale_one_by_one_and_the_next_time_is_known() -> None:
    spec = ResourceSpec(stale_after="10s")
    spec.model.properties = [PropertyModel(name="fast", type="double", stale_after="2s")]
    reported = {name: Reported(value=1, time=NOW) for name in ("fast", "slow")}

    assert becomes_stale(spec, reported, NOW + timedelta(seconds=1)) == ([], 1.0)
    assert becomes_stale(spec, reported, NOW + timedelta(seconds=3)) == (["fast"], 7.0)
    old = {name: msgspec.structs.replace(value, quality="stale") for name, value in reported.items()}
    assert becomes_stale(spec, old, NOW + timedelta(seconds=60)) == ([], None)


# ---- explain


def lines(item: dict[str, Any], **nodes: Any) -> list[str]:
    made = {"metadata": {"name": "x", "namespace": "default", "uid": "u", "creationTimestamp": "2026-01-31T07:59:00Z"}, **item}
    return list(explain(made, Situation(NOW, nodes=nodes)).lines())


def test_explain_says_what_an_operation_waits_for() -> None:
    spec = {"method": "scan", "resourceRef": "radar"}
    held = {"phase": "Queued", "reason": "Reserved", "error": "resource radar is reserved by WorkflowRun night"}
    assert lines({"kind": "Operation", "spec": spec, "status": held}) == [
        "Operation x (scan of radar) waits since 60s for its turn.",
        "  resource radar is reserved by WorkflowRun night.",
    ]
    given_out = {"phase": "Accepted", "node": "n1", "acceptedAt": "2026-01-31T07:59:30Z", "progress": 0.25}
    node = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    assert lines({"kind": "Operation", "spec": spec, "status": given_out}, n1=node) == [
        "Operation x (scan of radar) is under way since 30s, 25% done.",
        "  Node n1, which has it, does not answer; it goes on there, and its end is told when the node is back.",
    ]
    ended = {"phase": "Unknown", "reason": "DeviceRestarted", "error": "nobody saw how it ended"}
    assert "it is not sent again" in lines({"kind": "Operation", "spec": spec, "status": ended})[-1]


def test_explain_says_why_a_device_is_not_as_desired() -> None:
    conditions = [
        {"type": "Online", "status": "False", "reason": "NeverSeen", "message": "nobody has spoken for this device yet"},
        {"type": "Synced", "status": "False", "reason": "Offline", "message": "range was never reported"},
    ]
    taints = [{"key": "repair", "effect": "NoSchedule"}]
    said = lines({"kind": "Resource", "spec": {"nodeName": "n1", "taints": taints}, "status": {"conditions": conditions}})

    assert said[0] == "Resource x is offline."
    assert "  NeverSeen: nobody has spoken for this device yet." in said
    assert "  Its node n1 does not exist." in said
    assert any("taint repair:NoSchedule" in line for line in said)
