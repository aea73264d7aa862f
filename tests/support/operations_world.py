"""Operations under every fault there is, in one thread: the real steps of hosts and controller, everything between made up.

    World(seed).run(count): a store with the real table, nodes with a journal that outlives them, device programs that execute
                            only what was accepted, links that lose and repeat, and ends of everything at any moment

Time is that of the controller. A node counts by its own clocks, which jump, and which begin anew when its machine does.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
from plum_client.devices import tickets as steps
from plum_client.devices.protocol import Move
from plum_client.devices.tickets import Moment, Ticket
from plum_controller.domain.operation_plan import End, NodeView, plan_end
from plum_schemas.base import ObjectMeta
from plum_schemas.operation import Operation, OperationSpec, OperationStatus
from plum_schemas.operation_states import TRANSITIONS, is_final
from plum_schemas.resource import Resource

START = datetime(2026, 1, 1, tzinfo=UTC)
RESOURCE = Resource(metadata=ObjectMeta(name="device", namespace="default"))
AT_ONCE = 4


@dataclass
class Program:
    """The program of one device: what it knows dies with it."""

    session: str
    known: set[str] = field(default_factory=set)
    """Operations it was told of; a repeated command is no new one."""
    accepting: deque[str] = field(default_factory=deque)
    running: deque[tuple[str, str]] = field(default_factory=deque)
    """What it executed and has to tell the end of."""


@dataclass
class Node:
    """The host of one device: its journal survives, its memory does not."""

    name: str
    program: Program
    journal: dict[str, Ticket] = field(default_factory=dict)
    memory: dict[str, Ticket] = field(default_factory=dict)
    """Tickets that are open; what it may act on."""
    sent: set[str] = field(default_factory=set)
    session: str = ""
    boot: int = 0
    booted: float = 0.0
    skew: float = 0.0
    """Of its wall clock, in seconds."""
    alive: bool = True


class World:
    """Runs `count` operations to their ends."""

    def __init__(self, seed: int, nodes: int = 12) -> None:
        self.dice = Random(seed)
        self.now = 0.0
        self.store: dict[str, Operation] = {}
        self.open: dict[str, list[str]] = {}
        self.executed: Counter[str] = Counter()
        self.broken: list[str] = []
        self.faults: Counter[str] = Counter()
        self.calm = False
        self.nodes = [Node(f"node-{number}", Program(f"s{number}-0")) for number in range(nodes)]
        for node in self.nodes:
            self.open[node.name] = []
        self._sessions = 0
        self._made = 0

    # ---- clocks

    def wall(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def moment(self, node: Node) -> Moment:
        return Moment(self.now - node.booted, self.wall() + timedelta(seconds=node.skew), f"{node.name}-{node.boot}")

    def fails(self, share: float, what: str) -> bool:
        if self.calm or self.dice.random() >= share:
            return False
        self.faults[what] += 1
        return True

    # ---- the controller

    def ask(self, node: Node) -> None:
        self._made += 1
        uid = f"op-{self._made}"
        late, limit = self.dice.choice([None, 2.0, 10.0, 60.0]), self.dice.choice([None, None, 5.0, 30.0])
        spec = OperationSpec(
            resource_ref="device",
            method="go",
            delivery=self.dice.choice(["AtMostOnce", "AtLeastOnce"]),
            not_after=None if late is None else f"{late:g}s",
            timeout=None if limit is None else f"{limit:g}s",
        )
        expires = None if late is None else self.wall() + timedelta(seconds=late)
        status = OperationStatus(sequence=self._made, expires_at=expires)
        metadata = ObjectMeta(name=uid, uid=uid, namespace="default", labels={"node": node.name})
        self.store[uid] = Operation(metadata=metadata, spec=spec, status=status)
        self.open[node.name].append(uid)

    def write(self, uid: str, status: OperationStatus) -> OperationStatus | None:
        """What the API takes: only steps of the table, and nothing after an end. None: refused."""
        operation = self.store[uid]
        old = operation.status
        if is_final(old.phase) or (old.phase != status.phase and (old.phase, status.phase) not in TRANSITIONS):
            return None
        if operation.spec.delivery == "AtMostOnce" and (
            status.attempt > 1 or (old.phase in ("Accepted", "Running") and status.phase == "Delivered")
        ):
            self.broken.append(f"{uid}: AtMostOnce, given out again: {old.phase} -> {status.phase}, attempt {status.attempt}")
            return None
        if status.deliveries > old.deliveries:
            status = msgspec.structs.replace(status, delivered_at=self.wall())
        self.store[uid] = msgspec.structs.replace(operation, status=status)
        return status

    def control(self, node: Node, uid: str) -> None:
        """The reconcile of one operation."""
        operation = self.store[uid]
        ending = plan_end(operation, RESOURCE, NodeView() if operation.status.node else None, 1e9, self.wall())
        if isinstance(ending, End):
            self.write(
                uid, msgspec.structs.replace(operation.status, phase=ending.phase, reason=ending.reason, error=ending.error)
            )
        elif operation.status.phase == "Queued" and not operation.status.node:
            self.write(uid, msgspec.structs.replace(operation.status, node=node.name))

    # ---- the host

    def note(self, node: Node, ticket: Ticket) -> bool:
        """Into the journal, then true. False: the machine died in between, on either side of the flush."""
        if self.fails(0.003, "died before the flush"):
            self.kill(node)
            return False
        node.journal[ticket.uid] = ticket
        if self.fails(0.003, "died after the flush"):
            self.kill(node)
            return False
        if is_final(ticket.phase):
            node.memory.pop(ticket.uid, None)
        else:
            node.memory[ticket.uid] = ticket
        if ticket.phase == "Delivered":
            node.sent.discard(ticket.uid)
        return True

    def take(self, node: Node, uid: str) -> None:
        operation = self.store[uid]
        known = node.journal.get(uid)
        if operation.status.node != node.name or is_final(operation.status.phase):
            return
        if known is not None and known.phase != "Queued":
            return
        if known is None and operation.status.phase != "Queued":
            self.broken.append(f"{uid}: {operation.status.phase} without a record")
            return
        ticket = steps.ticket_of(operation)
        if not self.note(node, ticket) or self.fails(0.02, "request lost"):
            return
        node.memory.pop(uid, None)
        asked = self.moment(node).seconds
        self.now += self.dice.random() * (0.2 if not self.calm else 0.001)
        status = operation.status
        stored = self.write(uid, msgspec.structs.replace(status, phase="Delivered", deliveries=status.deliveries + 1))
        if stored is None or self.fails(0.02, "answer lost"):
            return
        left = None
        if stored.expires_at is not None and stored.delivered_at is not None:
            left = (stored.expires_at - stored.delivered_at).total_seconds()
        self.note(node, steps.delivered(ticket, left, asked, self.moment(node)))

    def tell(self, node: Node, uid: str) -> None:
        ticket = node.journal.get(uid)
        if ticket is not None and ticket.phase == "Queued" and is_final(self.store[uid].status.phase):
            del node.journal[uid]  # it ended before this node had it
            node.memory.pop(uid, None)
        if ticket is None or ticket.phase == "Queued" or self.fails(0.1, "request lost"):
            return
        operation = self.store[uid]
        status = steps.status_of(ticket, operation.status)
        if not is_final(operation.status.phase) and self.write(uid, status) is None:
            self.broken.append(f"{uid}: {operation.status.phase} cannot become {ticket.phase}")
        if self.fails(0.05, "answer lost"):
            return
        if is_final(self.store[uid].status.phase):
            node.journal.pop(uid, None)
            node.memory.pop(uid, None)
            self.open[node.name] = [one for one in self.open[node.name] if one != uid]

    def tick(self, node: Node) -> None:
        silent = 0.0 if node.session == node.program.session else 1.0
        for ticket in list(node.memory.values()):
            after = steps.tick(ticket, self.moment(node), silent)
            if after.is_under_way and (after.canceled or after.timed_out) and after.cancel_sent is None:
                after = msgspec.structs.replace(after, cancel_sent=self.moment(node).seconds)
            if after is not ticket and not self.note(node, after):
                return

    def send(self, node: Node) -> None:
        """The next commands, in their order; some are lost with their stream, and sent again by the next."""
        program, places = node.program, AT_ONCE
        if node.session != program.session:
            return
        if self.fails(0.05, "stream cut"):
            node.sent.clear()
        for ticket in sorted(node.memory.values(), key=lambda one: one.sequence):
            if ticket.is_under_way or ticket.uid in node.sent:
                places -= 1
            elif ticket.phase == "Delivered" and places > 0:
                places -= 1
                node.sent.add(ticket.uid)
                if self.fails(0.05, "command lost"):  # with its stream; the next one tells everything again
                    node.sent.clear()
                    return
                if ticket.uid not in program.known:
                    program.known.add(ticket.uid)
                    program.accepting.append(ticket.uid)

    def kill(self, node: Node) -> None:
        """kill -9 of the host; sometimes the machine goes with it, and its clocks come back wrong."""
        self.faults["host killed"] += 1
        node.memory, node.sent, node.session = {}, set(), ""
        if self.dice.random() < 0.3:
            self.faults["machine rebooted"] += 1
            node.boot += 1
            node.booted = self.now
            node.skew += self.dice.choice([0.0, 0.0, -3600.0, 600.0, -5.0])
            self.restart_program(node)
        moment = self.moment(node)
        for uid, kept in list(node.journal.items()):
            ticket = node.journal[uid] = steps.after_restart(kept, moment)
            if ticket.phase != "Queued" and not is_final(ticket.phase):
                node.memory[uid] = ticket
                if ticket.is_under_way:
                    node.session = node.session or ticket.session

    # ---- the device

    def restart_program(self, node: Node) -> None:
        self._sessions += 1
        node.program = Program(f"s-{self._sessions}")

    def announce(self, node: Node) -> None:
        if self.fails(0.05, "request lost"):
            return
        session = node.program.session
        for ticket in list(node.memory.values()):
            after = steps.new_session(ticket, session, self.moment(node))
            if after is not ticket and not self.note(node, after):
                return
        if node.session != session:
            node.session = session
            node.sent.clear()

    def ask_to_move(self, node: Node, uid: str, move: Move) -> bool | None:
        """True: taken. False: refused. None: no answer came, whatever happened."""
        if node.session != node.program.session or self.fails(0.05, "request lost"):
            return None
        ticket = node.memory.get(uid) or node.journal.get(uid)
        if ticket is None:
            return False
        after, refusal = steps.move(ticket, move, self.moment(node))
        if after is not ticket and not self.note(node, after):
            return None
        return None if self.fails(0.05, "answer lost") else refusal is None

    def work(self, node: Node) -> None:
        """The program goes on: accept, execute, tell the end."""
        program = node.program
        if program.accepting:
            uid = program.accepting[0]
            taken = self.ask_to_move(node, uid, Move(session=program.session, phase="Accepted"))
            if node.program is not program or taken is None:
                return
            program.accepting.popleft()
            if taken:
                self.execute(uid)
                program.running.append((uid, self.dice.choice(["Succeeded", "Succeeded", "Failed"])))
        elif program.running:
            uid, phase = program.running[0]
            move = Move(session=program.session, phase="Succeeded" if phase == "Succeeded" else "Failed", result={"n": 1})
            if self.ask_to_move(node, uid, move) is not None and node.program is program:
                program.running.popleft()

    def execute(self, uid: str) -> None:
        self.executed[uid] += 1
        operation = self.store[uid]
        if operation.spec.delivery == "AtMostOnce" and self.executed[uid] > 1:
            self.broken.append(f"{uid}: AtMostOnce, executed {self.executed[uid]} times")
        expires = operation.status.expires_at
        if expires is not None and self.wall() >= expires:
            self.broken.append(f"{uid}: executed {(self.wall() - expires).total_seconds():.3f} s too late")

    # ---- all of it

    def step(self, node: Node) -> None:
        self.now += self.dice.expovariate(1 / 0.02)
        if self.fails(0.01, "program restarted"):
            self.restart_program(node)
        if self.fails(0.005, "host restarted"):
            self.kill(node)
        if self.fails(0.01, "clock set"):
            node.skew += self.dice.choice([-600.0, -1.0, 1.0, 600.0])
        if node.session != node.program.session:
            self.announce(node)
        for uid in self.open[node.name][: AT_ONCE * 2]:
            self.control(node, uid)
            if is_final(self.store[uid].status.phase) and uid not in node.journal:
                self.open[node.name].remove(uid)
                continue
            if not self.calm and self.dice.random() < 0.003:
                self.store[uid] = msgspec.structs.replace(
                    self.store[uid], spec=msgspec.structs.replace(self.store[uid].spec, canceled=True)
                )
            self.take(node, uid)
            ticket = node.memory.get(uid)
            if ticket is not None and self.store[uid].spec.canceled and not ticket.canceled:
                self.note(node, steps.cancel(ticket, self.moment(node)))
            self.tell(node, uid)
        self.tick(node)
        self.send(node)
        for _ in range(2):
            self.work(node)

    def run(self, count: int) -> None:
        """All operations, then calm until nothing is open."""
        while self._made < count:
            node = self.dice.choice(self.nodes)
            if len(self.open[node.name]) < AT_ONCE * 2:
                self.ask(node)
            self.step(node)
        self.calm = True
        for _ in range(200_000):
            waiting = [node for node in self.nodes if self.open[node.name]]
            if not waiting:
                return
            self.step(self.dice.choice(waiting))
        left = [self.store[uid] for node in self.nodes for uid in self.open[node.name]]
        self.broken.append(f"{len(left)} never ended, such as {left[:3]}")
