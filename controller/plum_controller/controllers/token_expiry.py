"""Token expiry: deletes Tokens whose time is over, those of service accounts and logins of tokens that are gone.

Such a token is refused from that moment on by whoever checks it; this only clears away what is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from plum_client.controller import Controller
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.token import ServiceAccount, Token

ACCOUNT_PREFIX = "system:serviceaccount:"


def add_to(manager: Manager) -> None:
    """Register the controller."""
    expiry = TokenExpiry(manager)
    expiry.controller = Controller("token-expiry", expiry, Token, workers=2)
    manager.add(expiry.controller)


def account_of(token: Token) -> ObjectKey | None:
    """The service account that a token belongs to."""
    if not token.spec.user.startswith(ACCOUNT_PREFIX):
        return None
    namespace, _, name = token.spec.user.removeprefix(ACCOUNT_PREFIX).partition(":")
    return ObjectKey(namespace, name)


class TokenExpiry:
    """Deletes one Token when it is worth nothing any more."""

    controller: Controller

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._tokens = manager.informer(Token, indexers={"user": _user, "parent": _parent})
        self._tokens.add_handler(self._token_changed)
        self._accounts = manager.informer(ServiceAccount)
        self._accounts.add_handler(self._account_changed)

    async def reconcile(self, key: ObjectKey) -> Result:
        """Wait until the token has ended, then delete it."""
        token = self._tokens.get(key)
        if token is None:
            return Result.wait_for_change()
        account = account_of(token)
        if account is not None and self._accounts.is_synced:
            found = self._accounts.get(account)
            if found is None or (token.spec.uid and found.metadata.uid != token.spec.uid):
                live = await self._api.get(ServiceAccount, account)
                if live is None or (token.spec.uid and live.metadata.uid != token.spec.uid):
                    await self._api.delete(Token, key, uid=token.metadata.uid)
                return Result.wait_for_change()
        if token.spec.login is not None and token.spec.login.parent and self._tokens.is_synced:
            parent = ObjectKey("", token.spec.login.parent)
            if self._tokens.get(parent) is None and await self._api.get(Token, parent) is None:
                await self._api.delete(Token, key, uid=token.metadata.uid)
                return Result.wait_for_change()
        if token.spec.expires_at is None:
            return Result.wait_for_change()
        left = (token.spec.expires_at - self._clock.now()).total_seconds()
        if left > 0:
            return Result.requeue(after=left)
        await self._api.delete(Token, key, uid=token.metadata.uid)
        return Result.wait_for_change()

    def _account_changed(self, old: ServiceAccount | None, new: ServiceAccount | None) -> None:
        if old is not None and new is None:
            user = f"{ACCOUNT_PREFIX}{old.metadata.namespace}:{old.metadata.name}"
            for key in self._tokens.index_keys("user", user):
                self.controller.enqueue(key)

    def _token_changed(self, old: Token | None, new: Token | None) -> None:
        if old is not None and new is None:
            for key in self._tokens.index_keys("parent", old.metadata.name):
                self.controller.enqueue(key)


def _parent(token: Token) -> Sequence[str]:
    return [token.spec.login.parent] if token.spec.login is not None and token.spec.login.parent else []


def _user(token: Token) -> Sequence[str]:
    return [token.spec.user]
