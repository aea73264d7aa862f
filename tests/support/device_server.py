"""The device protocol as a small server of its own: remembers what a driver says, sends it what a test wants."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]


class DeviceServer:
    """One device at a time. `stop` and `start` again are a restart on the same port."""

    def __init__(self) -> None:
        self.announced: list[Json] = []
        self.reports: list[Json] = []
        """Bodies, in the order they came."""
        self.moves: list[tuple[str, Json]] = []
        """Operation and body."""
        self.desired: Json = {}
        self.refuse: Callable[[str, Json], tuple[int, str] | None] = lambda path, body: None
        """Asked before every request is taken: a status and a message, or None."""
        self.changed = threading.Condition(threading.RLock())
        self._streams: list[queue.Queue[bytes | None]] = []
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    def start(self) -> DeviceServer:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None: ...

            def do_PUT(self) -> None:
                owner._answer(self)

            def do_POST(self) -> None:
                owner._answer(self)

            def do_GET(self) -> None:
                owner._stream(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def stop(self) -> None:
        if self._server is not None:
            self.cut()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def cut(self) -> None:
        """End the streams."""
        with self.changed:
            for stream in self._streams:
                stream.put(None)
            self._streams.clear()

    def send(self, **command: Any) -> None:
        """To the driver, once it listens."""
        self.until(lambda: bool(self._streams))
        with self.changed:
            for stream in self._streams:
                stream.put(json.dumps(command).encode() + b"\n")

    def operate(self, identity: str, method: str, **more: Any) -> None:
        self.send(type="operation", id=identity, method=method, **({"arguments": {}, "attempt": 1} | more))

    def until(self, condition: Callable[[], bool], seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        with self.changed:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"announced {self.announced}, reports {self.reports}, moves {self.moves}"
                self.changed.wait(min(left, 0.2))

    def phases(self, identity: str) -> list[str]:
        return [body["phase"] for found, body in self.moves if found == identity]

    def end_of(self, identity: str) -> Json:
        """How an operation ended, once it has."""
        ends: list[Json] = []

        def ended() -> bool:
            ends[:] = [body for found, body in self.moves if found == identity and body["phase"] in ("Succeeded", "Failed")]
            return bool(ends)

        self.until(ended)
        return ends[-1]

    def values(self, name: str) -> list[Any]:
        return [body["values"][name]["value"] for body in list(self.reports) if name in body["values"]]

    # ---- inside

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers.get("Content-Length") or 0)))
        parts = handler.path.strip("/").split("/")
        if self._server is None:  # threads of the server outlive it
            handler.close_connection = True
            return
        refused = self.refuse(handler.path, body)
        answer: Json = {}
        with self.changed:
            if refused is None:
                if len(parts) == 3:
                    self.cut()  # streams of an earlier run have nobody at their other end
                    self.announced.append(body)
                    answer = {"desired": self.desired, "model": body.get("model"), "cursor": 0}
                elif parts[3] == "reports":
                    self.reports.append(body)
                else:
                    self.moves.append((parts[4], body))
            self.changed.notify_all()
        if refused is not None:
            reason, _, message = refused[1].rpartition(": ")
            answer = {"reason": reason, "message": message}
        data = json.dumps(answer).encode()
        handler.send_response(200 if refused is None else refused[0])
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _stream(self, handler: BaseHTTPRequestHandler) -> None:
        assert parse_qs(urlsplit(handler.path).query)["session"][0]
        lines: queue.Queue[bytes | None] = queue.Queue()
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        with self.changed:
            self._streams.append(lines)
            self.changed.notify_all()
        handler.close_connection = True
        try:
            while (line := lines.get()) is not None:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                handler.wfile.flush()
            handler.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # the driver has gone
        finally:
            with self.changed:
                if lines in self._streams:
                    self._streams.remove(lines)
