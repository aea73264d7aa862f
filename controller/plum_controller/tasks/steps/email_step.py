"""Step `email`: a message through an SMTP server.

    {to, cc, bcc, from, replyTo, subject, text, html, server, security, username, password, timeout}  ->  {messageId, accepted,
    refused}

The server is `server` (`HOST:PORT`) or the controller's setting PLUM_SMTP_URL. The message id is the same for every attempt of a
step, so that mail programs show a repeated one once.
"""

from __future__ import annotations

import asyncio
import hashlib
import smtplib
import socket
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from plum_client.outgoing import OutgoingError
from plum_flow.calls import TaskFailedError
from plum_flow.steps.config import Config, wrong

from plum_controller.tasks.steps.runners import Around

if TYPE_CHECKING:
    from plum_controller.workflows.steps import Step

FIELDS = (
    "to", "cc", "bcc", "from", "replyTo", "subject", "text", "body", "html", "server", "security", "username", "password",
    "timeout",
)  # fmt: skip
SECURITIES = ("none", "starttls", "tls")
PORTS = {"none": 25, "starttls": 587, "tls": 465}
MAX_RECIPIENTS = 100
DEFAULT_SECONDS = 30.0
PERMANENT_FROM = 500


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is given."""

    host: str
    port: int
    security: str
    username: str = ""
    password: str = ""


async def run(step: Step, around: Around) -> Any:
    """Send one message."""
    config = Config(step.config, FIELDS)
    server = _server(config, around.smtp_url)
    seconds = config.seconds("timeout", DEFAULT_SECONDS)
    recipients = [*config.names("to"), *config.names("cc"), *config.names("bcc")]
    if not recipients or len(recipients) > MAX_RECIPIENTS:
        raise wrong("to", recipients[:3], f"name 1 to {MAX_RECIPIENTS} addresses")
    for name in ("to", "cc", "bcc"):
        for address in config.names(name):
            _check(name, address)
    message = _message(config, step)
    try:
        addresses = await around.outgoing.resolve("smtp", server.host, server.port)
    except OutgoingError as error:
        raise TaskFailedError(error.message, error.reason, retryable=error.reason != "NotAllowed") from error
    sending = asyncio.to_thread(_send, server, addresses[0], message, [parseaddr(one)[1] for one in recipients], seconds)
    refused = await sending
    accepted = [one for one in recipients if parseaddr(one)[1] not in refused]
    return {"messageId": message["Message-ID"], "accepted": accepted, "refused": sorted(refused)}


def _server(config: Config, setting: str) -> Server:
    known = _from_url(setting) if setting else Server("", 0, "none")
    if "server" not in config:
        if not known.host:
            raise wrong("server", "", "name a mail server, or have the controller's setting PLUM_SMTP_URL name one")
        return known
    # What the setting knows is for its own server only.
    security = config.choice("security", SECURITIES, "starttls")
    host, separator, port = config.text("server").rpartition(":")
    if not separator:
        host, port = port, str(PORTS[security])
    if not host or not port.isdigit():
        raise wrong("server", config.text("server"), "use HOST:PORT")
    return Server(host.strip("[]"), int(port), security, config.text("username", ""), config.text("password", ""))


def _from_url(url: str) -> Server:
    """`smtp://user:password@host:587?security=starttls`, `smtps://...`. Raises `TaskFailedError`."""
    parts = urlsplit(url)
    security = "tls" if parts.scheme == "smtps" else (parse_qs(parts.query).get("security") or ["starttls"])[0]
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or security not in SECURITIES:
        text = "the setting PLUM_SMTP_URL cannot be used; write smtp://HOST:PORT?security=starttls"
        raise TaskFailedError(text, "InvalidConfig", retryable=False)
    port = parts.port or PORTS[security]
    return Server(parts.hostname, port, security, unquote(parts.username or ""), unquote(parts.password or ""))


def _message(config: Config, step: Step) -> EmailMessage:
    message = EmailMessage()
    sender = config.text("from", "plum@localhost")
    _check("from", sender)
    digest = hashlib.sha256(step.idempotency_key.encode()).hexdigest()[:32]
    headers = {
        "From": sender,
        "To": ", ".join(config.names("to")),
        "Cc": ", ".join(config.names("cc")),
        "Reply-To": config.text("replyTo", ""),
        "Subject": config.text("subject"),
        "Date": formatdate(localtime=False),
        "Message-ID": f"<{digest}@plum.{parseaddr(sender)[1].rpartition('@')[2] or 'localhost'}>",
    }
    for name, value in headers.items():
        if value:
            try:
                message[name] = value
            except ValueError as error:  # a line break, which would begin another header
                raise wrong(name.lower(), value, str(error)) from None
    text = config.text("text", "") or config.text("body", "")
    html = config.text("html", "")
    message.set_content(text or ("" if html else "\n"))
    if html:
        message.add_alternative(html, subtype="html")
    return message


def _check(name: str, address: str) -> None:
    mail = parseaddr(address)[1]
    local, at, domain = mail.rpartition("@")
    if not at or not local or not domain or any(ord(char) <= 32 for char in mail):
        raise wrong(name, address, "use an address such as ann@example.com")


def _send(server: Server, address: str, message: EmailMessage, recipients: list[str], seconds: float) -> list[str]:
    """In a thread: the conversation. Answers with the recipients that were refused. Raises `TaskFailedError`."""
    context = ssl.create_default_context()
    try:
        with _Connection(server, address, seconds, context) as connection:
            if server.security == "starttls":
                connection.starttls(context=context)
            if server.username:
                _login(connection, server)
            return list(connection.send_message(message, to_addrs=recipients))
    except smtplib.SMTPRecipientsRefused as error:
        told = "; ".join(f"{one}: {code} {text.decode(errors='replace')}" for one, (code, text) in error.recipients.items())
        raise TaskFailedError(f"all recipients were refused: {told}"[:1000], "RecipientsRefused", retryable=False) from error
    except smtplib.SMTPResponseException as error:
        text = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else str(error.smtp_error)
        lasting = error.smtp_code >= PERMANENT_FROM
        message_text = f"{server.host} refused the message: {error.smtp_code} {text}"[:1000]
        raise TaskFailedError(message_text, "MailRefused", str(error.smtp_code), retryable=not lasting) from error
    except smtplib.SMTPNotSupportedError as error:
        raise TaskFailedError(f"{server.host}: {error}", "MailRefused", retryable=False) from error
    except TimeoutError as error:
        raise TaskFailedError(f"{server.host}:{server.port} did not answer within {seconds:g} s", "Timeout") from error
    except (OSError, smtplib.SMTPException) as error:
        raise TaskFailedError(f"{server.host}:{server.port} could not be reached: {error}", "Unreachable") from error


def _login(connection: smtplib.SMTP, server: Server) -> None:
    """One attempt by the first method that both know: a second one after a refusal makes some servers hang."""
    connection.ehlo_or_helo_if_needed()
    offered = connection.esmtp_features.get("auth", "").upper().split()
    connection.user, connection.password = server.username, server.password
    for method in ("PLAIN", "LOGIN", "CRAM-MD5"):
        if method in offered:
            connection.auth(method, getattr(connection, f"auth_{method.lower().replace('-', '_')}"))
            return
    raise smtplib.SMTPNotSupportedError("the server offers no way to log in")


class _Connection(smtplib.SMTP):
    """A connection to the address that was checked, under the name that its certificate must carry."""

    def __init__(self, server: Server, address: str, seconds: float, context: ssl.SSLContext) -> None:
        self._address = address
        self._tls = context if server.security == "tls" else None
        super().__init__(server.host, server.port, timeout=seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((self._address, port), timeout)
        return self._tls.wrap_socket(plain, server_hostname=host) if self._tls is not None else plain
