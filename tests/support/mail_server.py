"""A real SMTP server for tests, it keeps what it gets, and can ask for a login and refuse recipients."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass(slots=True)
class Mail:
    """One message as it was handed over."""

    sender: str
    recipients: list[str]
    message: EmailMessage


@dataclass(slots=True)
class MailServer:
    """What came."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuses:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append(Mail(envelope.mail_from, list(envelope.rcpt_tos), message))
        return "250 OK"


@asynccontextmanager
async def mail_server(login: tuple[str, str] | None = None) -> AsyncIterator[MailServer]:
    """Serve on a free port."""
    site = MailServer()

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == login
        return AuthResult(success=good, handled=good)  # who does not handle a refusal has it sent

    how: dict[str, Any] = {}
    if login is not None:
        how = {"authenticator": check, "auth_required": True, "auth_require_tls": False}

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of logins without TLS
            return SMTP(site, hostname="localhost", **how)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        site.port = server.sockets[0].getsockname()[1]
        yield site
