"""A stand-in for Kong's Admin API: a dictionary of entities behind the routes that registration uses.

It answers as the recorded gateways do; test_stand_in.py holds it against the recordings.
"""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SERVICE_DEFAULTS = {
    "path": None, "protocol": "http", "port": 80, "retries": 5, "connect_timeout": 60000, "read_timeout": 60000,
    "write_timeout": 60000, "tags": None, "enabled": True, "tls_verify": None, "tls_verify_depth": None,
    "ca_certificates": None, "client_certificate": None,
}  # fmt: skip
ROUTE_DEFAULTS = {
    "paths": None, "protocols": ["http", "https"], "strip_path": True, "preserve_host": False, "tags": None,
    "request_buffering": True, "response_buffering": True, "https_redirect_status_code": 426, "path_handling": "v0",
    "sources": None, "hosts": None, "destinations": None, "methods": None, "regex_priority": 0, "snis": None,
    "headers": None,
}  # fmt: skip


class StandInKong:
    """Entities by name, and every request that came. `fail` answers the next requests instead of Kong."""

    def __init__(self, database: str = "postgres") -> None:
        self.database = database
        self.services: dict[str, dict[str, Any]] = {}
        self.routes: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.fail: list[tuple[int, bytes, str]] = []
        self.url = ""

    @property
    def writes(self) -> list[tuple[str, str, Any]]:
        return [request for request in self.requests if request[0] != "GET"]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON for one request."""
        parts = path.strip("/").split("/")
        if (method, path) == ("GET", "/"):
            return 200, {"version": "3.9.3", "configuration": {"database": self.database, "role": "traditional"}}
        if parts[0] == "services" and len(parts) == 2:
            return self._entity(method, self.services, parts[1], body, SERVICE_DEFAULTS, "services")
        if parts[0] == "routes" and len(parts) == 2 and method == "GET":
            return self._entity(method, self.routes, parts[1], body, ROUTE_DEFAULTS, "routes")
        if parts[0] == "services" and len(parts) == 4 and parts[2] == "routes" and method == "PUT":
            if parts[1] not in self.services:
                return 404, {"message": "Not found"}
            owner = {"service": {"id": self.services[parts[1]]["id"]}}
            return self._entity(method, self.routes, parts[3], {**body, **owner}, ROUTE_DEFAULTS, "routes")
        return 404, {"message": "Not found"}

    def _entity(
        self, method: str, entities: dict[str, Any], name: str, body: Any, defaults: dict[str, Any], kind: str
    ) -> tuple[int, Any]:
        if method == "GET":
            return (200, entities[name]) if name in entities else (404, {"message": "Not found"})
        if self.database == "off":
            message = f"cannot create or update '{kind}' entities by 'name' when not using a database"
            return 405, {"name": "operation unsupported", "code": 12, "message": message}
        unknown = set(body) - set(defaults) - {"host", "service"}
        problem = dict.fromkeys(unknown, "unknown field")
        if kind == "services" and "host" not in body:
            problem["host"] = "required field missing"
        if problem:
            told = "; ".join(f"{field}: {reason}" for field, reason in problem.items())
            message = f"schema violation ({told})"
            return 400, {"fields": problem, "name": "schema violation", "code": 2, "message": message}
        kept = entities.get(name, {"id": str(uuid.uuid4())})
        entities[name] = {**defaults, **body, "name": name, "id": kept["id"], "created_at": 1, "updated_at": 1}
        return 200, entities[name]


@contextmanager
def running(kong: StandInKong) -> Iterator[StandInKong]:
    """Serve it on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            kong.requests.append((self.command, self.path, body))
            if kong.fail:
                status, content, kind = kong.fail.pop(0)
            else:
                status, members = kong.answer(self.command, self.path, body)
                content, kind = json.dumps(members).encode(), "application/json; charset=utf-8"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  (the library's names)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    kong.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield kong
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
