"""Who may use a device: claims of Instances and WorkflowRuns, granted whole and in the order in which they came.

    claims, oldest first --grant--> holders, and who waits for whom

A claim names all the Resources that its holder needs. It is granted when every one of them is free for it, all at once, and
until then holds none: nobody waits for another who waits for him. An older claim is never overtaken on a Resource that it
waits for. What was granted stays until its holder ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Mode = Literal["Exclusive", "Shared"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What one holder needs."""

    kind: str
    name: str
    uid: str
    created: float
    """Unix seconds, whole ones."""
    resources: Mapping[str, Mode]
    """Name of the Resource -> how it is needed."""
    place: int = 1_000_000
    """Its place among those that wait, where it was told one: of what came in the same second, who waits already is first."""


@dataclass(slots=True)
class Standing:
    """One Resource: who holds it, and who waits for it and why."""

    holders: dict[str, Mode] = field(default_factory=dict)
    """By uid."""
    waiting: dict[str, str] = field(default_factory=dict)
    """uid -> reason, in the order in which they get it."""


def grant(
    wishes: Iterable[Wish], held: Mapping[str, Mapping[str, Mode]], closed: Mapping[tuple[str, str], str]
) -> dict[str, Standing]:
    """Who holds what now. `held`: Resource -> uid -> mode, as it was granted before. `closed`: (Resource, uid) -> why that
    holder may not have it now."""
    ordered = sorted(wishes, key=lambda wish: (not _is_begun(wish, held), wish.created, wish.place, wish.uid))
    standings: dict[str, Standing] = {}
    for wish in ordered:
        for name in wish.resources:
            standings.setdefault(name, Standing())
    names = {wish.uid: f"{wish.kind} {wish.name}" for wish in ordered}
    for wish in ordered:  # what was granted stays
        for name, mode in wish.resources.items():
            if wish.uid in held.get(name, {}) and not _conflict(standings[name].holders, mode):
                standings[name].holders[wish.uid] = mode
    for wish in ordered:
        missing = {name: mode for name, mode in wish.resources.items() if wish.uid not in standings[name].holders}
        reasons = {name: _obstacle(wish, name, mode, standings[name], closed, names) for name, mode in missing.items()}
        stops = [reason for reason in reasons.values() if reason]
        for name, mode in missing.items():
            if stops:
                standings[name].waiting[wish.uid] = reasons[name] or stops[0]
            else:
                standings[name].holders[wish.uid] = mode
    return standings


def _is_begun(wish: Wish, held: Mapping[str, Mapping[str, Mode]]) -> bool:
    """Some of it was granted already: a controller ended between two writes. The rest comes first."""
    return any(wish.uid in held.get(name, {}) for name in wish.resources)


def _conflict(holders: Mapping[str, Mode], mode: Mode) -> bool:
    return bool(holders) and (mode == "Exclusive" or "Exclusive" in holders.values())


def _obstacle(
    wish: Wish, name: str, mode: Mode, standing: Standing, closed: Mapping[tuple[str, str], str], names: Mapping[str, str]
) -> str:
    why = closed.get((name, wish.uid))
    if why:
        return why
    if _conflict(standing.holders, mode):
        return f"{name} is held by {', '.join(names.get(uid, uid) for uid in standing.holders)}"
    if standing.waiting:
        return f"{names.get(next(iter(standing.waiting)), '')} waits for {name} longer"
    return ""


def missing(holders: Mapping[str, Iterable[str] | None], uid: str) -> list[str]:
    """Resources that somebody still waits for. `holders`: name -> uids that hold it, None where there is no such Resource."""
    return [name for name, uids in holders.items() if uids is None or uid not in set(uids)]


def blocking_claim(resource: Json, spec: Json, metadata: Json) -> Json | None:
    """The exclusive reservation of somebody else that keeps an operation away; None when nothing does."""
    claims: Sequence[Json] = (resource.get("status") or {}).get("reservations") or ()
    owners = {owner.get("uid") for owner in metadata.get("ownerReferences") or ()}
    holder = spec.get("holder") or {}
    for claim in claims:
        if claim.get("mode", "Exclusive") != "Exclusive":
            continue
        named = holder.get("kind") == claim.get("kind") and holder.get("name") == claim.get("name")
        if not named and claim.get("uid") not in owners:
            return claim
    return None
