"""Greets whoever asks, with what the agent told it."""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Greeter(BaseHTTPRequestHandler):
    def do_GET(self):
        who = [os.environ[name] for name in ("PLUM_APP_NAME", "PLUM_APP_VERSION", "PLUM_INSTANCE_ID", "WORKER_NODE_ID")]
        body = "{} {}: instance {} on {}\n".format(*who).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", int(sys.argv[1])), Greeter).serve_forever()
