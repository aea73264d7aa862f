"""Server-side apply against a plain description of it, over random histories of applies and updates."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from plum_controller.resources.fields.apply import ApplyConflict, apply
from plum_controller.resources.fields.tracking import track_update

from tests.support.fields import API, SCHEMA, Choices, thing, without_entries
from tests.support.fields_oracle import Model, all_owned_paths, flatten, order_of, owned_paths

Json = dict[str, Any]

PARTS = {
    "replicas": lambda c: c.below(3),
    "image": lambda c: c.of(["x", "y", ""]),
    "strategy": lambda c: {name: {"type": c.of("xy"), "surge": c.below(2)}[name] for name in c.several(["type", "surge"])},
    "limits": lambda c: {name: c.of("xy") for name in c.several("uvw")},
    "atom": lambda c: {name: c.below(2) for name in c.several("ab")},
    "command": lambda c: [c.of("xy") for _ in range(1 + c.below(2))],
    "groups": lambda c: c.several("rst"),
    "env": lambda c: [_env(c, name) for name in c.several("ABC")],
    "ports": lambda c: [_port(c, port) for port in c.several(["1T", "1U", "2T"])],
}


def _env(c: Choices, name: str) -> Json:
    item: Json = {"name": name}
    if c.below(2):
        item["value"] = c.of(["x", "y", ""])
    if c.below(3) == 1:
        item["from"] = {part: c.of("xy") for part in c.several(["secret", "key"])}
    return item


def _port(c: Choices, port: str) -> Json:
    return {"port": int(port[0]), "protocol": {"T": "TCP", "U": "UDP"}[port[1]]} | ({"name": c.of("xy")} if c.below(2) else {})


def body(blob: bytes) -> Json:
    """An object without empty parts. Never without a spec: an update to nothing would leave nobody as an owner."""
    c = Choices(blob)
    spec = {name: part(c) for name, part in PARTS.items() if c.below(2)} or {"replicas": 1}
    return thing(spec, {"labels": {name: c.of("xy") for name in c.several("kl")}} if c.below(3) == 1 else {})


bodies = st.binary(min_size=0, max_size=60).map(body)
managers = st.sampled_from(["ann", "bob", "cy"])
histories = st.lists(st.tuples(managers, bodies, st.sampled_from(["apply", "apply", "force", "update"])), min_size=1, max_size=7)


def own_fields(obj: Json) -> dict[Any, Any]:
    """What the oracle speaks of: not the names, which nobody owns, and not the null where the last field of an object went."""
    of_users = {path: value for path, value in flatten(obj).items() if path[0] == "spec" or path[:2] == ("metadata", "labels")}
    return {path: value for path, value in of_users.items() if value is not None}


def time(second: int) -> str:
    return f"2024-01-01T00:00:{second:02}Z"


@given(histories)
def test_objects_owners_and_conflicts_are_those_of_the_plain_description(history: list[Any]) -> None:
    live: Json | None = None
    model = Model()
    for now, (manager, config, what) in enumerate(history):
        wanted = own_fields(config)
        if what == "update":
            live = updated(live, config, manager, now)
            model.update(manager, wanted)
        else:
            expected = model.conflicts(manager, wanted)
            try:
                live = apply(live, config, manager, API, "", time(now), what == "force", SCHEMA).object
            except ApplyConflict as error:
                assert what == "apply"
                assert {(owner.manager, readable(path)) for owner, path in error.conflicts} == expected
                continue
            assert not expected or what == "force"
            model.apply(manager, wanted)
        assert live is not None
        assert own_fields(without_entries(live)) == model.fields
        assert owned_paths(live) == model.owners


@given(histories)
def test_nothing_is_owned_that_is_not_there(history: list[Any]) -> None:
    live: Json | None = None
    for now, (manager, config, what) in enumerate(history):
        if what == "update":
            live = updated(live, config, manager, now)
        else:
            live = apply(live, config, manager, API, "", time(now), True, SCHEMA).object
        there = {path[:length] for path in flatten(without_entries(live)) for length in range(1, len(path) + 1)}
        for owner, paths in all_owned_paths(live).items():
            assert paths <= there, owner


@given(histories, bodies, managers)
def test_applying_twice_is_applying_once(history: list[Any], config: Json, manager: str) -> None:
    live: Json | None = None
    for now, (other, wanted, what) in enumerate(history):
        live = updated(live, wanted, other, now) if what == "update" else applied(live, wanted, other, now)
    once = applied(live, config, manager, 40)

    twice = apply(once, config, manager, API, "", time(59), False, SCHEMA)

    assert not twice.changed
    assert twice.object == once


@given(bodies, bodies)
def test_lists_follow_the_order_of_the_configuration_and_keep_the_rest_in_theirs(before: Json, config: Json) -> None:
    live = applied(None, before, "ann", 0)

    merged = order_of(without_entries(applied(live, config, "bob", 1)))

    for where, wanted in order_of(config).items():
        was = order_of(before).get(where, [])
        assert [item for item in merged[where] if item in wanted] == wanted
        assert [item for item in merged[where] if item not in wanted] == [item for item in was if item not in wanted]


def applied(live: Json | None, config: Json, manager: str, now: int) -> Json:
    return apply(live, config, manager, API, "", time(now), True, SCHEMA).object


def updated(live: Json | None, new: Json, manager: str, now: int) -> Json:
    new = copy.deepcopy(new)
    if live is not None and "managedFields" in live["metadata"]:
        new["metadata"]["managedFields"] = live["metadata"]["managedFields"]
    track_update(live, new, manager, API, "", time(now), SCHEMA)
    return new


def readable(path: tuple[str, ...]) -> tuple[str, ...]:
    """A path of the engine in the words of the oracle."""
    tree: Json = {}
    node = tree
    for element in path:
        node[element] = {}
        node = node[element]
    entry = {"manager": "x", "operation": "Apply", "fieldsV1": tree}
    ((found),) = owned_paths({"metadata": {"managedFields": [entry]}}).values()
    return max(found, key=len)
