"""Servers on loopback that answer as an instance of the service, or as a stranger at its address."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from service.gateway.identity import CHALLENGE_HEADER, PROOF_HEADER, Identity
from tests.support.ports import free_port


class Neighbor:
    """A server that counts calls, by path.

    Attributes:
        status: The status of all answers.
        identity: Proves that it is an instance of the service; None for a stranger.
        echoes: Whether it returns all headers of a request.
        paths: The paths of all calls.
        port: Its port.
    """

    def __init__(self, status: int = 200, identity: Identity | None = None, body: bytes = b"{}", echoes: bool = False):
        self.status = status
        self.identity = identity
        self.body = body
        self.echoes = echoes
        self.paths: list[str] = []
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def calls(self) -> list[str]:
        """The paths of calls other than probes."""
        return [path for path in self.paths if path not in ("/ready", "/healthcheck")]


@contextmanager
def running(neighbor: Neighbor, port: int = 0) -> Iterator[Neighbor]:
    """Serve on a port, or on a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            neighbor.paths.append(self.path)
            self.send_response(neighbor.status)
            challenge = self.headers.get(CHALLENGE_HEADER, "")
            proof = neighbor.identity.prove(challenge) if neighbor.identity and self.path == "/healthcheck" else None
            if proof is not None:
                self.send_header(PROOF_HEADER, proof)
            if neighbor.echoes:
                for name, value in self.headers.items():
                    self.send_header(name, value)
                self.send_header(PROOF_HEADER, f"i1 {challenge}")
            self.send_header("Content-Length", str(len(neighbor.body)))
            self.end_headers()
            self.wfile.write(neighbor.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port or free_port()), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    neighbor.port = server.server_port
    try:
        yield neighbor
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
