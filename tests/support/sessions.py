"""A browser as far as logins go: keeps the cookie, sends the CSRF value, names its origin.

visitor = Visitor(url, ca); visitor.log_in(token=...); visitor.ask("GET", path) -> Reply
"""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CSRF = "X-Plum-CSRF"


@dataclass
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Visitor:
    """One browser at one controller."""

    url: str
    ca: Path | None = None
    cookie: str = ""
    csrf: str = ""
    cookies: list[str] = field(default_factory=list)
    """Everything that was set, as it was sent."""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request with what a page of the UI sends. `headers` replace that; an empty one is left out."""
        parts = urlsplit(self.url)
        data = None if body is None else json.dumps(body)
        sent = {"Cookie": self.cookie, "Origin": self.url, CSRF: self.csrf if method not in ("GET", "HEAD") else ""}
        sent |= {"Content-Type": "application/json"} if data is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        host = parts.hostname or ""
        if parts.scheme == "https":
            trust = ssl.create_default_context(cafile=str(self.ca)) if self.ca else None
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, parts.port, timeout=60, context=trust)
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=60)
        try:
            connection.request(method, path, data, {name: value for name, value in sent.items() if value})
            answer = connection.getresponse()
            reply = Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()
        if "set-cookie" in reply.headers:
            self.cookies.append(reply.headers["set-cookie"])
            self.cookie = reply.headers["set-cookie"].partition(";")[0]
        return reply

    def log_in(self, *, token: str = "", link: str = "") -> Reply:
        """Log in, and go on as that person."""
        reply = self.ask("POST", "/session", {"token": token} if token else {"link": link}, X_Plum_CSRF="1")
        if reply.status == 201:
            self.csrf = reply.json()["csrfToken"]
        return reply
