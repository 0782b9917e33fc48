"""The ids of requests: generated here, or sent by a trusted proxy."""

import os
import re
from itertools import count

HEADER = "X-Request-ID"
# In order of preference. Kong 3 adds the second by default, and its plugin correlation-id adds the third.
ID_HEADERS = ("x-request-id", "x-kong-request-id", "kong-request-id")
_COUNTER_BITS = 48  # of 128; the bits before them are random, and drawn once in each process
_ID = re.compile(r"[A-Za-z0-9._:#-]{1,128}")


class _Numbers:
    """Counts from a random number. A forked child draws its own."""

    def __init__(self) -> None:
        self.restart()
        os.register_at_fork(after_in_child=self.restart)

    def restart(self) -> None:
        """Draw the random number."""
        self.values = count(int.from_bytes(os.urandom(16)) >> _COUNTER_BITS << _COUNTER_BITS)


_numbers = _Numbers()


def next_id() -> str:
    """Return an id of 32 hexadecimal digits that no other request has, in this process or another.

    Reading random bytes for each request would release the interpreter lock, and then wait for other threads.
    """
    return "%032x" % next(_numbers.values)  # noqa: UP031  (f-strings take twice as long); next() is atomic


def accept_id(value: bytes | str) -> str | None:
    """Return the id in the header of a trusted proxy, or None if it must not reach the log."""
    text = value if isinstance(value, str) else value.decode("latin-1")
    return text if _ID.fullmatch(text) else None
