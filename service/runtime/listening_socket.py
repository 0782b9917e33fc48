"""Options of the socket that a worker accepts connections from. Accepted connections inherit them."""

import asyncio
import logging
import os
import socket
from contextlib import suppress

log = logging.getLogger(__name__)

RETRY_S = 0.05  # until the server has opened the socket
ATTEMPTS = 100


def limit_unread_replies(timeout_s: float, attempts: int = ATTEMPTS) -> None:
    """Let the kernel end connections whose client takes nothing of a reply for a time.

    The server itself waits for such a client forever. Linux alone has the option; it also ends connections to clients
    that have vanished. Call this on the event loop, before the server starts.

    Args:
        timeout_s: The time, in seconds.
        attempts: How often to look for the socket, which the server opens later.
    """
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        log.info("this system cannot limit how long a client takes nothing of a reply")
        return
    found = _listening_sockets()
    for listening in found:
        with listening:
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout_s * 1000))
    if not found and attempts:
        asyncio.get_running_loop().call_later(RETRY_S, limit_unread_replies, timeout_s, attempts - 1)
    elif not found:
        log.error("found no listening socket: clients that take nothing of a reply keep their connections")


def _listening_sockets() -> list[socket.socket]:
    """Return duplicates of the listening TCP sockets of this process."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the descriptor is no socket, or has been closed since
            duplicate = socket.socket(fileno=os.dup(int(descriptor)))
            if (
                duplicate.family in (socket.AF_INET, socket.AF_INET6)
                and duplicate.type == socket.SOCK_STREAM
                and duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            ):
                found.append(duplicate)
            else:
                duplicate.close()
    return found
