"""Sockets whose operations end at a deadline that several of them share.

A socket's own timeout starts again with every byte that arrives, so a server that sends a byte now and then could take
any time.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
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
        at = getattr(_current, "at", None)
        if at is not None:
            left_s = at - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            self.settimeout(left_s)


class DeadlineTlsSocket(DeadlineSocket, ssl.SSLSocket):
    """A socket with TLS, which sends and receives through the methods above."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands before the deadline."""
        self.limit()
        super().do_handshake(block)


# The standard module with these sockets, for libraries that take one.
SOCKET_MODULE: Any = SimpleNamespace(**{**vars(socket), "socket": DeadlineSocket})
