"""A fake Vault server that answers like the recorded one, and creates and drops real Postgres roles."""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from psycopg2 import sql

from service.postgres.connect import connect
from tests.support.ports import free_port

LOCKOUT_THRESHOLD = 5  # refused logins
DENIED = (403, {"errors": ["permission denied"]})
SEALED = (503, {"errors": ["error performing token check: Vault is sealed"]})


class FakeVault:
    """Tokens and leases that expire. `sealed`, `delay_s` and `deny` inject faults.

    A role is locked after five wrong secret ids, as Vault 1.13 and later do. Batch tokens cannot be renewed or revoked.
    Neither is in the recordings, which are from Vault 1.8; both follow Vault's documentation.

    Args:
        settings: Settings of the Postgres in which roles are created.
        lease_s: Lifetime of a lease until it is renewed, in seconds.
        max_s: Maximum lifetime of a lease.
        token_s: Lifetime of a token until it is renewed.
        token_max_s: Maximum lifetime of a token.
    """

    def __init__(self, settings, lease_s=4.0, max_s=9.0, token_s=20.0, token_max_s=1000.0) -> None:
        self.settings = settings
        self.lease_s, self.max_s = lease_s, max_s
        self.token_s, self.token_max_s = token_s, token_max_s
        self.sealed = False
        self.deny = False
        self.delay_s = 0.0
        self.secret_id = "right-secret"
        self.refusal: tuple[int, Any] = (400, {"errors": ["invalid secret id"]})
        self.refusals = 0
        self.is_batch = False
        self.tokens: dict[str, dict[str, Any]] = {"root-token": {"ends": float("inf"), "made": 0.0, "is_batch": False}}
        self.leases: dict[str, dict[str, Any]] = {}
        self.made: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.url = ""
        self._lock = threading.RLock()

    def answer(self, method: str, path: str, token: str | None, body: Any) -> tuple[int, Any]:
        """Return status and JSON of the reply to a request."""
        with self._lock:
            self.expire()
            if path == "/v1/sys/health":
                return (503 if self.sealed else 200), {
                    "initialized": True,
                    "sealed": self.sealed,
                    "standby": self.sealed,
                }
            if self.sealed:
                return SEALED
            if path in ("/v1/auth/approle/login", "/v1/auth/kubernetes/login"):
                if self.is_locked:
                    return DENIED
                if body.get("secret_id", body.get("jwt")) != self.secret_id:
                    self.refusals += 1
                    return self.refusal
                self.refusals = 0
                return 200, {"auth": self._auth(self.make_token()), "data": None, "lease_duration": 0}
            if token is None:
                return 400, {"errors": ["missing client token"]}
            if self.deny or token not in self.tokens:
                return DENIED
            known = self.tokens[token]
            if known["is_batch"] and path.endswith(("/renew-self", "/revoke-self")):
                return 400, {"errors": [f"batch tokens cannot be {path.split('/')[-1].removesuffix('-self')}ed"]}
            match path.removeprefix("/v1/").split("/"):
                case ["auth", "token", "renew-self"]:
                    known["ends"] = min(time.time() + self.token_s, known["made"] + self.token_max_s)
                    return 200, {"auth": self._auth(token), "data": None}
                case ["auth", "token", "lookup-self"]:
                    ttl = 0 if known["ends"] == float("inf") else int(known["ends"] - time.time())
                    return 200, {"data": {"ttl": ttl, "renewable": ttl > 0}}
                case ["auth", "token", "revoke-self"]:
                    self.revoke_token(token)
                    return 204, None
                case ["database", "creds", "readonly" | "posting" | "admin" as role]:
                    return 200, self._credentials(token, role)
                case ["database", "creds", role]:
                    if token == "root-token":
                        return 400, {"errors": [f"unknown role: {role}"]}
                    return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
                case ["sys", "leases", "renew"]:
                    return self._renew(body["lease_id"])
                case ["sys", "leases", "revoke"]:
                    self.revoke(body["lease_id"])
                    return 204, None
            return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}

    @property
    def is_locked(self) -> bool:
        """Whether logins are refused because of wrong ones before."""
        return self.refusals >= LOCKOUT_THRESHOLD

    def make_token(self) -> str:
        token = "s." + secrets.token_hex(12)
        self.tokens[token] = {"made": time.time(), "ends": time.time() + self.token_s, "is_batch": self.is_batch}
        return token

    def revoke_token(self, token: str) -> None:
        """Revoke a token with all its leases."""
        with self._lock:
            self.tokens.pop(token, None)
            for lease_id, lease in list(self.leases.items()):
                if lease["token"] == token:
                    self.revoke(lease_id)

    def revoke(self, lease_id: str) -> None:
        with self._lock:
            lease = self.leases.pop(lease_id, None)
            if lease is not None:
                with closing(connect(self.settings, "admin")) as connection, connection, connection.cursor() as cursor:
                    cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(lease["user"])))

    def revoke_prefix(self, prefix: str) -> None:
        """Revoke all leases whose id begins with a prefix, as `vault lease revoke -prefix` does."""
        with self._lock:
            for lease_id in [lease_id for lease_id in self.leases if lease_id.startswith(prefix)]:
                self.revoke(lease_id)

    def expire(self) -> None:
        """Revoke all leases and tokens that have expired."""
        with self._lock:
            now = time.time()
            for lease_id in [lease_id for lease_id, lease in self.leases.items() if lease["ends"] <= now]:
                self.revoke(lease_id)
            for token in [token for token, known in self.tokens.items() if known["ends"] <= now]:
                self.revoke_token(token)

    def _auth(self, token: str) -> dict[str, Any]:
        known = self.tokens[token]
        return {
            "client_token": token,
            "policies": ["app", "default"],
            "lease_duration": max(0, round(known["ends"] - time.time())),
            "renewable": not known["is_batch"],
            "token_type": "batch" if known["is_batch"] else "service",
        }

    def _credentials(self, token: str, role: str) -> dict[str, Any]:
        user, password = f"v-approle-{role}-{secrets.token_hex(10)}", secrets.token_hex(10)
        groups = {"readonly": "loaner_reader", "posting": "loaner_poster", "admin": self.settings.admin_user}
        group = sql.Identifier(groups[role])
        with closing(connect(self.settings, "admin")) as connection, connection, connection.cursor() as cursor:
            made = sql.SQL("CREATE ROLE {} LOGIN PASSWORD %s VALID UNTIL %s IN ROLE {}")
            until = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(time.time() + self.max_s + 5))
            cursor.execute(made.format(sql.Identifier(user), group), (password, until))
            if role == "admin":  # as deploy/vault/admin.sql does, so that the group owns what it creates
                cursor.execute(sql.SQL("ALTER ROLE {} SET role = {}").format(sql.Identifier(user), group))
        lease_id = f"database/creds/{role}/{secrets.token_hex(12)}"
        now = time.time()
        self.leases[lease_id] = {"user": user, "token": token, "ends": now + self.lease_s, "made": now}
        self.made.append(user)
        data = {"username": user, "password": password}
        return {"lease_id": lease_id, "renewable": True, "lease_duration": int(self.lease_s), "data": data}

    def _renew(self, lease_id: str) -> tuple[int, Any]:
        lease = self.leases.get(lease_id)
        if lease is None:
            return 400, {"errors": ["lease not found"]}
        lease["ends"] = min(time.time() + self.lease_s, lease["made"] + self.max_s)
        left = round(lease["ends"] - time.time())
        warnings = None
        if left < self.lease_s:
            capped = f'TTL of "{self.lease_s:.0f}s" exceeded the effective max_ttl of "{left}s"'
            warnings = [f"{capped}; TTL value is capped accordingly"]
        return 200, {
            "lease_id": lease_id,
            "renewable": True,
            "lease_duration": left,
            "data": None,
            "warnings": warnings,
        }


@contextmanager
def running(vault: FakeVault, host: str = "127.0.0.1", port: int = 0) -> Iterator[FakeVault]:
    """Serve a fake Vault that expires leases and tokens on time.

    Args:
        vault: The fake.
        host: The address to listen on.
        port: The port, or 0 for a free one.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # the head and the body are two packets: the body waited 40 ms for an ACK

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null") if length else {}
            vault.requests.append((self.command, self.path))
            time.sleep(vault.delay_s)
            status, members = vault.answer(self.command, self.path, self.headers.get("X-Vault-Token"), body)
            content = b"" if members is None else json.dumps(members).encode()
            try:
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # the client has disconnected

        do_GET = do_PUT = do_POST = do_DELETE = do_LIST = _serve  # noqa: N815  (the library's names)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((host, port or free_port()), Handler)
    stop = threading.Event()

    def reap() -> None:
        while not stop.wait(0.1):
            vault.expire()

    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}),
        threading.Thread(target=reap),
    ]
    for thread in threads:
        thread.start()
    vault.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield vault
    finally:
        stop.set()
        server.shutdown()
        for thread in threads:
            thread.join()
        server.server_close()
        for lease_id in list(vault.leases):
            vault.revoke(lease_id)
