"""Waiting until objects are where they should be, with progress for whoever looks.

objects --readiness--> Readiness(done | failed, text)      pure
wait_all: list, then watch each kind, until all are done, one failed, or the time is over
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from plum_client.errors import ApiUnavailableError, NotFoundError, RevisionCompactedError
from plum_client.explaining.findings import condition
from plum_client.explaining.objects import explain, wanted_replicas

from plum_cli import terminal
from plum_cli.errors import FAILED, OK, TIMEOUT
from plum_cli.session import Session, Target

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Where an object is on its way."""

    done: bool
    text: str
    failed: bool = False


Judge = Callable[[JsonObject], Readiness]


def readiness(item: JsonObject) -> Readiness:
    """Whether an object is where its spec wants it, judged by what every kind's status says."""
    metadata, status = item["metadata"], item.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Readiness(False, "is being deleted", failed=True)
    if item["kind"] == "Deployment" and "template" in (item.get("spec") or {}):
        return _deployment(item)
    observed, generation = status.get("observedGeneration"), metadata.get("generation")
    if observed is not None and generation and int(observed) < int(generation):
        return Readiness(False, "its controller has not seen the change yet")
    phase = str(status.get("phase") or "")
    if phase in ("Failed", "Timeout", "Canceled") or (phase == "Unknown" and item["kind"] == "TaskRun"):
        return Readiness(
            False, f"is {phase}: {status.get('message') or status.get('error') or 'no reason was given'}", failed=True
        )
    if item["kind"] == "WorkflowRun" and phase != "Succeeded":
        return Readiness(False, _run_text(status, phase))
    for type_ in ("Ready", "Available", "Established", "Succeeded", "Complete"):
        entry = condition(item, type_)
        if entry is not None:
            done = entry.get("status") == "True"
            return Readiness(
                done,
                f"{type_}" if done else f"{type_} is {entry.get('status')}: {entry.get('message') or entry.get('reason') or ''}",
            )
    return Readiness(True, phase or "is there")


def _run_text(status: JsonObject, phase: str) -> str:
    """How far a run is, in words."""
    counts = status.get("counts") or {}
    going = ", ".join(str(name) for name in (status.get("current") or ())[:3])
    waits = f", {counts['waiting']} waiting" if counts.get("waiting") else ""
    text = f"{phase or 'Queued'}: {status['message']}" if status.get("message") else phase or "Queued"
    return f"{text}{f' ({going}{waits})' if going or waits else ''}".replace("(, ", "(")


def _deployment(item: JsonObject) -> Readiness:
    spec, status = item["spec"], item.get("status") or {}
    if int(status.get("observedGeneration") or 0) < int(item["metadata"].get("generation") or 0):
        return Readiness(False, "its controller has not seen the change yet")
    wanted = wanted_replicas(spec)
    existing, updated, available = (int(status.get(name) or 0) for name in ("replicas", "updatedReplicas", "availableReplicas"))
    progressing = condition(item, "Progressing")
    if spec.get("state") == "Stopped":
        ready = int(status.get("readyReplicas") or 0)
        return Readiness(ready == 0, "is stopped" if ready == 0 else f"{ready} instances are stopping")
    if status.get("rolledBackGeneration") and int(status["rolledBackGeneration"]) >= int(item["metadata"].get("generation") or 0):
        return Readiness(
            False, f"the rollout failed and was rolled back: {(progressing or {}).get('message') or ''}".rstrip(": "), failed=True
        )
    if progressing is not None and progressing.get("status") == "False":
        return Readiness(False, f"the rollout failed: {progressing.get('message') or progressing.get('reason')}", failed=True)
    if updated < wanted:
        paused = " (paused)" if spec.get("paused") else ""
        return Readiness(False, f"{updated} of {wanted} instances have the new template{paused}")
    if existing > updated:
        return Readiness(False, f"{existing - updated} old instances are still to go")
    if available < wanted:
        return Readiness(False, f"{available} of {wanted} instances are available")
    return Readiness(True, f"{available} of {wanted} instances are available")


@dataclass(slots=True)
class Waiter:
    """Objects that are waited for, and what is known of each."""

    session: Session
    judge: Judge = readiness
    gone_is_done: bool = False
    """For deletions: an object that is not there is what was wanted."""
    states: dict[tuple[Target, str], Readiness] = field(default_factory=dict)
    items: dict[tuple[Target, str], JsonObject] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, target: Target, namespace: str) -> None:
        """Wait for this object too."""
        self.states[target, namespace] = Readiness(False, "is being looked up")

    async def wait(self, timeout: float) -> int:
        """Wait for all; print progress. Returns the exit code: done, failed, or out of time."""
        groups: dict[tuple[Any, str], list[tuple[Target, str]]] = {}
        for key in self.states:
            groups.setdefault((key[0].info, key[1]), []).append(key)
        tasks = [asyncio.create_task(self._follow(info, namespace, keys)) for (info, namespace), keys in groups.items()]
        progress = Progress(self.states)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    progress.show()
                    if any(state.failed for state in self.states.values()):
                        return FAILED
                    if all(state.done for state in self.states.values()):
                        return OK
                    if broken := next((task for task in tasks if task.done() and task.exception()), None):
                        broken.result()
                    self._changed.clear()
                    try:
                        await asyncio.wait_for(self._changed.wait(), 0.5)
                    except TimeoutError:
                        continue
        except TimeoutError:
            return TIMEOUT
        finally:
            progress.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def explain_rest(self) -> None:
        """Say for each object that did not get there what it waits for."""
        from plum_cli.commands.explain import situation_of

        for key, state in self.states.items():
            item = self.items.get(key)
            if state.done:
                continue
            if item is None:
                terminal.note(f"{key[0]} {state.text}")
                continue
            finding = explain(item, await situation_of(self.session, dict(item)))
            if finding.settled:
                terminal.note(f"{key[0]}: {state.text}")
            for line in () if finding.settled else finding.lines():
                terminal.note(line)

    async def _follow(self, info: Any, namespace: str, keys: Sequence[tuple[Target, str]]) -> None:
        """Keep the states of some objects of one kind and namespace up to date."""
        names = {key[0].name: key for key in keys}
        fields = f"metadata.name={keys[0][0].name}" if len(keys) == 1 else ""
        while True:
            try:
                listed = await self.session.api.list(info, namespace, fields=fields)
                there = {item["metadata"]["name"]: {"apiVersion": info.api_version, "kind": info.kind, **item} for item in listed}
                for name, key in names.items():
                    self._see(key, there.get(name))
                revision = listed.revision
                while True:
                    async with aclosing(self.session.api.watch(info, namespace, fields=fields, since=revision)) as events:
                        async for event in events:
                            revision = event.revision
                            name = event.object["metadata"]["name"]
                            if name in names:
                                self._see(names[name], None if event.type == "DELETED" else event.object)
                    await asyncio.sleep(0.1)
            except RevisionCompactedError:
                continue
            except NotFoundError:
                # The kind itself is gone, and with it everything of it.
                for key in keys:
                    self._see(key, None)
                return
            except ApiUnavailableError:
                # A controller that restarts is no reason to give up: the timeout decides.
                await asyncio.sleep(0.5)

    def _see(self, key: tuple[Target, str], item: JsonObject | None) -> None:
        if item is None:
            self.items.pop(key, None)
            state = Readiness(
                self.gone_is_done, "is gone" if self.gone_is_done else "does not exist", failed=not self.gone_is_done
            )
        else:
            self.items[key] = item
            state = self.judge(item)
        if self.states.get(key) != state:
            self.states[key] = state
            self._changed.set()


class Progress:
    """Shows states as they change: redrawn lines on a terminal, one line per change elsewhere. Always on stderr."""

    def __init__(self, states: Mapping[tuple[Target, str], Readiness]) -> None:
        self._states = states
        self._printed: dict[tuple[Target, str], str] = {}
        self._live: Any = None
        if terminal.is_live(sys.stderr):
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=10, transient=True)
            self._live.start()

    def show(self) -> None:
        """Show the states as they are now."""
        if self._live is not None:
            self._live.update(self._screen())
            return
        for key, state in self._states.items():
            if self._printed.get(key) != state.text and state.text != "is being looked up":
                self._printed[key] = state.text
                terminal.note(f"{key[0]}: {state.text}")

    def close(self) -> None:
        """Leave the last state of each object on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self.show()

    def _screen(self) -> Any:
        from rich.spinner import Spinner
        from rich.table import Table

        table = Table.grid(padding=(0, 1))
        open_ = [(key, state) for key, state in self._states.items() if not state.done]
        for key, state in open_[:15]:
            table.add_row(Spinner("dots"), str(key[0]), state.text)
        done = len(self._states) - len(open_)
        table.add_row("", f"{done} of {len(self._states)} done", f"and {len(open_) - 15} more" if len(open_) > 15 else "")
        return table
