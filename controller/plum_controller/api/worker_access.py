"""Who may connect as a worker: the same tokens and roles as for the HTTP API.

loopback, no token -> the local user        token -> Identity        TLS, no token -> 401
connect: `create` on workers/NAME        each task: `execute` on taskdefinitions/TASK        both in the worker's namespace
"""

from __future__ import annotations

from collections.abc import Sequence

from plum_controller.api.access import Gate, refusal, unauthorized
from plum_controller.api.authentication import Authenticator
from plum_controller.api.identity import LOCAL, Identity
from plum_controller.domain.access import Attributes


class WorkerDoor:
    """Asked once per connection. Raises `ApiStatusError`."""

    def __init__(self, authenticator: Authenticator, gate: Gate) -> None:
        self._authenticator = authenticator
        self._gate = gate

    def identify(self, token: str, peer: str, *, secure: bool) -> Identity:
        """A wrong token is refused everywhere, also where none is needed."""
        if token:
            return self._authenticator.bearer(f"Bearer {token}".encode("latin-1", "replace"), peer)
        if secure:
            raise unauthorized("a worker needs a token here: PLUM_TOKEN, or `authorization: Bearer ...`")
        return LOCAL

    def admit(self, caller: Identity, namespace: str, worker: str, tasks: Sequence[str]) -> None:
        """Whether it may be this worker, and execute these tasks."""
        if caller.may_all:
            return
        wanted = [Attributes("create", "plum.dev", "workers", "", namespace, worker)]
        wanted += [Attributes("execute", "plum.dev", "taskdefinitions", "", namespace, task) for task in tasks]
        for one in wanted:
            if not self._gate.allows(caller, one):
                raise refusal(caller, one)
