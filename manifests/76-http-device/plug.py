"""A plug that is not there: one program instead of the device, for trying out its driver."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

state = {"on": True}


class Plug(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"on": state["on"], "power": 42.5 if state["on"] else 0.0}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        state["on"] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["on"]
        self.do_GET()


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "18076"))), Plug).serve_forever()
