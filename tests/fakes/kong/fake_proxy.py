"""The proxy of a fake gateway: routes, balances and checks the health of targets, as one node of Kong does.

Source: the recordings, and for the order of routes Kong's documentation of the traditional router.
"""

import http.client
import json
import re
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.kong.fake_kong import FakeKong

NO_ROUTE = {"message": "no Route matched with those values"}
NO_PEER = {"message": "failure to get a peer from the ring-balancer"}
NO_NAME = {"message": "name resolution failed"}
INVALID = {"message": "An invalid response was received from the upstream server"}
OWN_HEADERS = {"Server": "kong/3.9.3", "X-Kong-Response-Latency": "0"}
AUTHENTICATING = frozenset(("jwt", "key-auth"))
HOP_BY_HOP = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"))

Reply = tuple[int, dict[str, str], bytes]


class FakeProxy:
    """Serves the proxy of a gateway while its context is open.

    Args:
        kong: The gateway whose entities apply.
        names: Addresses by name, as DNS knows them. A missing name is remembered for `dns_not_found_ttl_s`.
        dns_not_found_ttl_s: As Kong's setting `dns_not_found_ttl`.
        unreachable: Targets that this node cannot reach, as in a network split.

    Attributes:
        url: URL of the proxy.
    """

    def __init__(
        self,
        kong: FakeKong,
        names: dict[str, tuple[str, int]] | None = None,
        dns_not_found_ttl_s: float = 30,
        unreachable: set[str] | None = None,
    ) -> None:
        self.kong = kong
        self.names = {} if names is None else names
        self.unreachable = set() if unreachable is None else unreachable
        self._ttl_s = dns_not_found_ttl_s
        self._missing_until: dict[str, float] = {}
        self._failures: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._turn = count()
        self._stop = threading.Event()
        self._checker = threading.Thread(target=self._check_in_turns)
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeProxy":
        self._thread.start()
        self._checker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.shutdown()
        self._thread.join()
        self._checker.join()
        self._server.server_close()

    def call(self, method: str, path: str) -> tuple[int, Any]:
        """Send a request to the proxy. Returns the status and the JSON of the reply, without Kong's request id."""
        status, _, content = self.respond(method, path, {}, b"")
        return status, json.loads(content)

    def respond(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Route a request as the traditional router does, and return the reply."""
        found = self._route(method, urlsplit(path).path, {name.lower(): value for name, value in headers.items()})
        if found is None:
            return _own(404, NO_ROUTE)
        route, service, prefix = found
        plugins = self.kong.entities["plugins"].values()
        if any(
            plugin["service"] == {"id": service["id"]} and plugin["enabled"] and plugin["name"] in AUTHENTICATING
            for plugin in plugins
        ):
            return _own(401, {"message": "Unauthorized"})
        rest = path[len(prefix) :] if route["strip_path"] else path
        rest = rest if rest.startswith("/") else f"/{rest}"
        forwarded = {
            **{name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP | {"host"}},
            "X-Forwarded-For": "127.0.0.1",
            "X-Forwarded-Proto": "http",
            **({"X-Forwarded-Prefix": prefix} if route["strip_path"] else {}),
        }
        return self._forward(service, method, (service["path"] or "").rstrip("/") + rest, forwarded, body)

    def _route(self, method: str, path: str, headers: dict[str, str]) -> tuple[Any, Any, str] | None:
        """Return the route, its service and the path that matched, or None.

        More criteria win over fewer, expressions over plain paths, longer paths over shorter ones, older routes over
        newer ones.
        """
        services = {service["id"]: service for service in self.kong.services.values()}
        matching = []
        for route in list(self.kong.routes.values()):
            service = services.get((route.get("service") or {}).get("id"))
            if service is None or not service.get("enabled", True):
                continue
            if route["methods"] and method not in route["methods"]:
                continue
            if route["hosts"] and headers.get("host", "").partition(":")[0] not in route["hosts"]:
                continue
            if any(headers.get(name.lower()) not in values for name, values in (route["headers"] or {}).items()):
                continue
            if "http" not in route["protocols"]:
                continue
            criteria = sum(bool(route[name]) for name in ("methods", "hosts", "headers", "paths"))
            for declared in route["paths"] or [""]:
                regular = declared.startswith("~")
                match = re.match(declared[1:], path) if regular else None
                if match or (not regular and path.startswith(declared)):
                    length = len(match[0]) if match else len(declared)
                    rank = (-criteria, not regular, -length, route["created_at"])
                    matching.append((rank, route, service, path[:length].rstrip("/")))
        if not matching:
            return None
        _, route, service, prefix = min(matching, key=lambda entry: entry[0])
        return route, service, prefix

    def _forward(self, service: Any, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if service["host"] in self.kong.entities["upstreams"]:
            targets = [
                target
                for target, found in list(self.kong.targets.get(service["host"], {}).items())
                if found["weight"] > 0 and self.kong.health.get(target, "HEALTHY") == "HEALTHY"
            ]
            if not targets:
                return _own(503, NO_PEER)
            turn = next(self._turn)
            addresses = [_address(targets[(turn + step) % len(targets)]) for step in range(len(targets))]
        else:
            address = self._resolve(service["host"], service["port"])
            if address is None:
                return _own(503, NO_NAME)
            addresses = [address]
        for host, port in addresses[: service["retries"] + 1]:
            if f"{host}:{port}" in self.unreachable:
                continue
            connection = http.client.HTTPConnection(host, port, timeout=10)
            try:
                connection.request(method, path, body or None, {"Host": host, **headers})
                reply = connection.getresponse()
                content = reply.read()
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()
            kept = {name: value for name, value in reply.getheaders() if name.lower() not in HOP_BY_HOP}
            return reply.status, {**kept, "X-Kong-Upstream-Latency": "1", "X-Kong-Proxy-Latency": "1"}, content
        return 502, {**OWN_HEADERS, "X-Kong-Upstream-Latency": "1"}, json.dumps(INVALID).encode()

    def _resolve(self, host: str, port: int) -> tuple[str, int] | None:
        if re.fullmatch(r"[0-9.]+", host):
            return host, port
        if time.monotonic() < self._missing_until.get(host, 0):
            return None
        if host not in self.names:
            self._missing_until[host] = time.monotonic() + self._ttl_s
        return self.names.get(host)

    def _check_in_turns(self) -> None:
        while not self._stop.wait(0.5):
            self.check_health()

    def check_health(self, times: int = 1) -> None:
        """Run the active checks of all targets. A status in neither list leaves a target as it was."""
        for _ in range(times):
            for upstream, targets in list(self.kong.targets.items()):
                checks = (self.kong.entities["upstreams"].get(upstream) or {}).get("healthchecks", {}).get("active")
                if checks and checks["healthy"]["interval"]:
                    for target in list(targets):
                        self._check(target, checks)

    def _check(self, target: str, checks: dict[str, Any]) -> None:
        outcome = "tcp_failures" if target in self.unreachable else _probe(target, checks)
        counted = self._failures[target]
        if outcome == "healthy":
            counted.clear()
            self.kong.health[target] = "HEALTHY"
        elif outcome != "neither":
            counted[outcome] += 1
            limit = checks["unhealthy"][outcome]
            if limit and counted[outcome] >= limit:
                self.kong.health[target] = "UNHEALTHY"
        self.kong.health.setdefault(target, "HEALTHY")


def _probe(target: str, checks: dict[str, Any]) -> str:
    connection = http.client.HTTPConnection(*_address(target), timeout=checks["timeout"])
    try:
        connection.request("GET", checks["http_path"])
        status = connection.getresponse().status
    except TimeoutError:
        return "timeouts"
    except (OSError, http.client.HTTPException):
        return "tcp_failures"
    finally:
        connection.close()
    if status in checks["healthy"]["http_statuses"]:
        return "healthy"
    return "http_failures" if status in checks["unhealthy"]["http_statuses"] else "neither"


def _address(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


def _own(status: int, members: dict[str, str]) -> Reply:
    return status, dict(OWN_HEADERS), json.dumps(members).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler_of(proxy: FakeProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = proxy.respond(self.command, self.path, dict(self.headers), body)
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  (the library's names)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
