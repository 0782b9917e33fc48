"""Sockets whose operations end at a deadline that several of them share.

A socket's own timeout starts again with every byte that arrives, so a server that sends a byte now and then could take
any time.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

_current = threading.local()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let every operation of this thread's sockets during the block end within some seconds altogether."""
    _current.at = time.monotonic() + seconds
    try:
        yield
    finally:
        del _current.at


def _left_s() -> float | None:
    """Return the seconds until the deadline; None without one.

    Raises:
        TimeoutError: If it is over.
    """
    at = getattr(_current, "at", None)
    if at is None:
        return None
    left_s: float = at - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s


class DeadlineSocket(socket.socket):
    """Sets the timeout of each operation to the time that is left. Without a deadline, its own timeout counts."""

    def connect(self, address: Any) -> None:
        """Connect before the deadline."""
        self.limit()
        super().connect(address)

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        """Receive before the deadline."""
        self.limit()
        return super().recv(size, flags)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send a part before the deadline."""
        self.limit()
        return super().send(data, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything before the deadline."""
        self.limit()
        super().sendall(data, flags)

    def limit(self) -> None:
        """Set the timeout of the next operation.

        Raises:
            TimeoutError: If the deadline is over.
        """
        left_s = _left_s()
        if left_s is not None:
            self.settimeout(left_s)


class DeadlineTlsSocket(DeadlineSocket, ssl.SSLSocket):
    """A socket with TLS, which sends and receives through the methods above."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands before the deadline."""
        self.limit()
        super().do_handshake(block)


def _getaddrinfo(*arguments: Any) -> Any:
    """Resolve a name before the deadline. The resolver's own limits add up to many seconds."""
    resolved: Future[Any] = Future()

    def resolve() -> None:
        try:
            resolved.set_result(socket.getaddrinfo(*arguments))
        except Exception as err:
            resolved.set_exception(err)

    threading.Thread(target=resolve, name="resolve", daemon=True).start()
    return resolved.result(_left_s())


# The standard module with these sockets, for libraries that take one.
SOCKET_MODULE: Any = SimpleNamespace(**{**vars(socket), "socket": DeadlineSocket, "getaddrinfo": _getaddrinfo})
