"""Who this node is towards the controller: a private key that never leaves it, and a certificate that is renewed in time.

    --join TOKEN -> joining (a short process of its own) -> DATA_DIR/identity/node.pem -> TLS context of all connections
    two thirds of its life later -> joining, with the current certificate -> the same file -> new connections use the new one

The agent itself never loads what makes keys and requests: that costs more memory than it may have. Nothing here depends on
the clock being right: how long a certificate lives is counted from when it came, and a clock that jumps costs one renewal.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from plum_client.backoff import Backoff
from plum_client.conditions import find_condition, set_condition
from plum_schemas.base import Condition

if TYPE_CHECKING:
    import ssl

logger = logging.getLogger(__name__)

FOLDER = "identity"
FILE = "node.pem"
RENEW_AT = 2 / 3
"""Share of its life after which a certificate is renewed."""
EARLIER = 0.05
"""Share of that time by which some renew earlier than others, so that nodes that joined together do not come back together."""
WARN_AT = 1 / 4
"""Share of its life that is left when people are warned."""
LOOK_SECONDS = 600.0
"""How often the clock is looked at: it may have jumped, or the machine may have slept."""
ATTEMPT_SECONDS = 60.0
"""After which an attempt is given up."""
JOIN_RETRY = Backoff(initial=1.0, maximum=30.0)
EXPIRING = "CertificateExpiring"


class IdentityError(Exception):
    """The identity of this node cannot be used or got. The message says what to do."""


class JoinToken(NamedTuple):
    """What `plum node token create` prints, taken apart."""

    secret: str
    pin: str
    """SHA-256 of the controller's authority; empty: its certificate is one that this machine trusts anyway."""

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        secret, _, pin = text.strip().partition(".")
        return cls(secret, pin.lower())

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.secret.encode()).hexdigest()


class Job(msgspec.Struct):
    """What a `joining` process is told, over its standard input: nothing of it is for the list of processes."""

    controller: str
    node: str
    folder: str
    ca_file: str = ""
    token: str = ""
    """Empty: renew with the certificate that is there."""
    pin: str = ""


class Outcome(msgspec.Struct):
    """What it answers."""

    error: str = ""
    """Empty: the file holds a new certificate, or one of this token already."""
    final: bool = False
    """Trying again with the same token makes no sense."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What `node.pem` says of itself, above the key and the certificates."""

    node: str
    token: str
    """SHA-256 of the token that it was joined with."""
    received: float
    """Unix seconds, by the clock of this machine."""
    life_seconds: float
    authority: str
    """Certificates to trust, as PEM; empty: those of the system."""

    @classmethod
    def load(cls, folder: Path) -> Stored | None:
        """None: this node has not joined. Raises `IdentityError` for a file that cannot be understood."""
        path = folder / FILE
        try:
            head, *blocks = path.read_text(encoding="ascii").split("-----BEGIN ")
            values = dict(line.split(": ", 1) for line in head.splitlines() if line)
            certificates = [f"-----BEGIN {block}" for block in blocks if block.startswith("CERTIFICATE")]
            received, life = float(values["Received"]), float(values["Life-Seconds"])
            return cls(values["Node"], values["Token"], received, life, "".join(certificates[1:]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError) as error:
            advice = "remove it and join again: plum node token create --node NAME"
            raise IdentityError(f"{path} cannot be used ({error}); {advice}") from error


def render(stored: Stored, key: str, certificate: str) -> str:
    """The content of `node.pem`. What is above the first block is not read by OpenSSL."""
    head = (
        f"Node: {stored.node}\nToken: {stored.token}\nReceived: {stored.received:.0f}\nLife-Seconds: {stored.life_seconds:.0f}\n"
    )
    return "\n".join(part.strip() for part in (head, key, certificate, stored.authority) if part.strip()) + "\n"


class NodeIdentity:
    """The certificate of this node, from the start of the agent on. `context` may be asked from any thread."""

    def __init__(self, job: Job, random: Random | None = None) -> None:
        """Loads what is stored. `job` renews it. Raises `IdentityError`."""
        self._job = job
        self._folder = Path(job.folder)
        self._random = random or Random()  # noqa: S311 -- spreads renewals
        self._problem = ""
        self.on_change: Callable[[], None] = lambda: None
        """Told when `conditions` may say something else."""
        self._load()

    def context(self) -> ssl.SSLContext:
        """What a new connection is made with."""
        return self._context

    def _load(self) -> None:
        import ssl  # megabytes that an agent beside its controller does without

        stored = Stored.load(self._folder)
        if stored is None:
            raise IdentityError(f"{self._folder / FILE} is gone; join again: plum node token create --node {self._job.node}")
        if stored.node != self._job.node:
            raise IdentityError(
                f"{self._folder / FILE} is the identity of node {stored.node!r}, and this agent is {self._job.node!r}; "
                f"start it with --node {stored.node}, or with another --data-dir"
            )
        try:
            context = ssl.create_default_context(
                cafile=self._job.ca_file or None, cadata=None if self._job.ca_file else stored.authority or None
            )
            context.load_cert_chain(self._folder / FILE)
        except (OSError, ssl.SSLError) as error:
            raise IdentityError(f"{self._folder / FILE} cannot be used ({error}); remove it and join again") from error
        self._stored, self._context = stored, context
        self._renew_at = RENEW_AT * (1 - EARLIER * self._random.random())

    # ---- renewing

    async def keep(self) -> None:
        """Renew whenever it is time, until cancelled."""
        life = self._stored.life_seconds
        retry = Backoff(initial=min(5.0, life / 48), maximum=min(3600.0, life / 24))
        failures = 0
        while True:
            pause = retry.delay(failures, self._random) if failures else self._seconds_until_due()
            await asyncio.sleep(max(0.0, min(pause, LOOK_SECONDS)))
            if self._seconds_until_due() > 0:
                failures = 0
                continue
            outcome = await _run_beside(self._job)
            if outcome.error:
                failures += 1
                # One that is over is not even let in, so what the controller says then is no help.
                problem = outcome.error if self._seconds_left() > 0 else self._advice()
                if problem != self._problem:
                    logger.warning("certificate was not renewed", extra={"node": self._job.node, "error": problem})
                self._problem = problem
            else:
                failures, self._problem = 0, ""
                self._load()
                logger.info("certificate renewed", extra={"node": self._job.node, "days": self._stored.life_seconds / 86400})
            self.on_change()

    def _seconds_until_due(self) -> float:
        age, life = time.time() - self._stored.received, self._stored.life_seconds
        if age < -EARLIER * life:
            return 0.0  # the clock went back: how old it is cannot be known, a new one can be had
        return life * self._renew_at - age

    def _seconds_left(self) -> float:
        return self._stored.received + self._stored.life_seconds - time.time()

    def _advice(self) -> str:
        return (
            "the certificate of this node is over: it was away from its controller for too long. What runs here goes on. "
            f"Let the node join again: plum node token create --node {self._job.node}"
        )

    # ---- telling

    def conditions(self, known: Sequence[Condition]) -> list[Condition]:
        """The conditions of the Node, with ours where there is something to tell."""
        now, left = time.time(), self._seconds_left()
        if left < WARN_AT * self._stored.life_seconds:
            end = datetime.fromtimestamp(now + left, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            cause = self._problem or "not tried yet"
            message = f"the certificate of this node ends at {end} by its clock; renewing it failed: {cause}"
            mine = Condition(type=EXPIRING, status="True", reason="NotRenewed", message=message)
        elif find_condition(known, EXPIRING) is not None:
            mine = Condition(type=EXPIRING, status="False", reason="Renewed", message="the certificate of this node was renewed")
        else:
            return list(known)
        return set_condition(known, mine, datetime.fromtimestamp(now, UTC))


# ---- joining


def ensure_joined(job: Job, token: JoinToken | None) -> bool:
    """Join if there is a token that this node has not joined with. Whether there is an identity. Waits for a controller that does
    not answer. Raises `IdentityError` when the token is refused and there is no identity from before."""
    folder = Path(job.folder)
    stored = Stored.load(folder)
    if token is None or (stored is not None and stored.token == token.digest):
        return stored is not None
    joining = msgspec.structs.replace(job, token=token.secret, pin=token.pin)
    random, failures = Random(), 0  # noqa: S311 -- spreads attempts
    while True:
        outcome = _run_now(joining)
        if not outcome.error:
            logger.info("node joined", extra={"node": job.node, "controller": job.controller})
            return True
        if stored is not None:
            logger.warning("node did not join again; it stays who it is", extra={"node": job.node, "error": outcome.error})
            return True
        if outcome.final:
            raise IdentityError(outcome.error)
        failures += 1
        pause = JOIN_RETRY.delay(failures, random)
        logger.warning("node has not joined yet", extra={"error": outcome.error, "again_in": round(pause, 1)})
        time.sleep(pause)


def _command() -> list[str]:
    return [sys.executable, "-m", "plum_agent.joining"]


def _run_now(job: Job) -> Outcome:
    try:
        told = msgspec.json.encode(job)
        done = subprocess.run(_command(), input=told, stdout=subprocess.PIPE, timeout=ATTEMPT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Outcome("nobody answered in time")
    return _outcome(done.stdout)


async def _run_beside(job: Job) -> Outcome:
    process = await asyncio.create_subprocess_exec(*_command(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            answer, _ = await process.communicate(msgspec.json.encode(job))
    except TimeoutError:
        return Outcome("nobody answered in time")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _outcome(answer)


def _outcome(answer: bytes) -> Outcome:
    try:
        return msgspec.json.decode(answer, type=Outcome)
    except msgspec.MsgspecError:
        return Outcome("the program that asks for certificates failed; the agent's log has more")
