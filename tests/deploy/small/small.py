"""Imitate the service: healthy, exiting, ready late, or never ready, as BEHAVIOR says.

`/report` returns what the container received and how it is confined.
"""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

BEHAVIOR = os.environ["BEHAVIOR"]
STARTED = time.monotonic()
LATE_S = 5
SECRETS = Path("/run/secrets")


def status(path):
    late = time.monotonic() < STARTED + LATE_S
    return 503 if path == "/ready" and (BEHAVIOR == "unready" or (BEHAVIOR == "late" and late)) else 200


def report():
    files = {str(file.relative_to(SECRETS)): file for file in SECRETS.rglob("*")}
    return {
        "release": os.environ["RELEASE"],
        "variables": dict(os.environ),
        "user": [os.getuid(), os.getgid()],
        "modes": {name: oct(file.stat().st_mode & 0o777) for name, file in files.items()},
        "files": {name: file.read_text() for name, file in files.items() if file.is_file()},
        "writable": [path for path in ("/app", "/run/secrets", "/tmp") if os.access(path, os.W_OK)],
        "capabilities": Path("/proc/self/status").read_text().partition("CapBnd:\t")[2].partition("\n")[0],
    }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(status(self.path))
        self.end_headers()
        self.wfile.write(json.dumps(report() if self.path == "/report" else "").encode())


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
if BEHAVIOR == "ends":
    sys.exit(f"cannot start with {(SECRETS / 'psql_pw').read_text()}")
HTTPServer(("0.0.0.0", 5555), Handler).serve_forever()
