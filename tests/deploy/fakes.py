"""Fakes for images that cannot be pulled: `python -m tests.deploy.fakes kong|vault|consul`.

They run in containers of the service's image, see fakes.yml.
"""

import json
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import requests
from pydantic import SecretStr

from service.settings import PostgresSettings
from tests.fakes.kong.fake_kong import FakeKong
from tests.fakes.kong.fake_kong import running as running_kong
from tests.fakes.vault.fake_vault import FakeVault
from tests.fakes.vault.fake_vault import running as running_vault

ALL_ADDRESSES = "0.0.0.0"
SECRETS = Path("/run/secrets")
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


def serve(port: int, answer: Callable[[BaseHTTPRequestHandler, bytes], tuple[int, dict[str, str], bytes]]) -> None:
    """Serve HTTP in the background.

    Args:
        port: Port to listen on, on all addresses.
        answer: Returns status, headers and content for a request and its body.
    """

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = answer(self, body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = _serve  # noqa: N815  (the library's names)

        def log_message(self, format: str, *args: object) -> None:
            pass

    Thread(target=ThreadingHTTPServer((ALL_ADDRESSES, port), Handler).serve_forever, daemon=True).start()


def kong(stack: ExitStack) -> None:
    """Serve the Admin API on 8001, and on 8000 a round-robin proxy to the registered targets.

    The proxy sets X-Forwarded-* as Kong does for trusted clients.
    """
    gateway = stack.enter_context(running_kong(FakeKong("3.9.3"), 8001, host=ALL_ADDRESSES))
    turn = count()

    def forward(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        route = next((route for route in gateway.routes.values() if request.path.startswith(route["paths"][0])), None)
        targets = [target for upstream in gateway.targets.values() for target in upstream]
        if route is None or not targets:
            return (404 if route is None else 503), {}, b"{}"
        prefix = route["paths"][0]
        path = request.path.removeprefix(prefix) or "/"
        peer = request.client_address[0]
        given = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        before = f"{given['X-Forwarded-For']}, " if "X-Forwarded-For" in given else ""
        forwarded = {"X-Forwarded-Prefix": prefix, "X-Forwarded-For": before + peer}
        reply = requests.request(
            request.command, f"http://{targets[next(turn) % len(targets)]}{path}", headers={**given, **forwarded},
            data=body, allow_redirects=False, timeout=10,
        )  # fmt: skip
        kept = {name: value for name, value in reply.headers.items() if name.lower() not in HOP_BY_HOP}
        return reply.status_code, kept, reply.content

    serve(8000, forward)


def vault(stack: ExitStack) -> None:
    """Serve Vault as deploy/vault/bootstrap.sh configures it; it creates users as the database user `vault`."""
    password = SecretStr((SECRETS / "vault_psql_pw").read_text())
    settings = PostgresSettings(hosts="database:5432", admin_user="vault", admin_password=password)
    server = FakeVault(settings, lease_s=3600, max_s=86_400, token_s=3600)
    server.secret_id = (SECRETS / "vault_secret_id").read_text()
    stack.enter_context(running_vault(server, ALL_ADDRESSES, 8200))


def consul(stack: ExitStack) -> None:
    """Serve a Consul agent that keeps registrations."""
    registrations: dict[str, Any] = {}

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        action = request.path.partition("?")[0].removeprefix("/v1/agent/service")
        if action == "/register":
            service = json.loads(body)
            registrations[service["id"]] = service  # Consul accepts names in any case
        elif action.startswith("/deregister/"):
            registrations.pop(action.removeprefix("/deregister/"), None)
        return 200, {"Content-Type": "application/json"}, json.dumps(registrations if action == "s" else None).encode()

    serve(8500, answer)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with ExitStack() as stack:
        {"kong": kong, "vault": vault, "consul": consul}[sys.argv[1]](stack)
        signal.sigwait({signal.SIGTERM})
