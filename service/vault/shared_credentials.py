"""The credentials that are in use now: written by one process, read by its workers, and never on a disk."""

import json
import time
from multiprocessing import get_context

from service.settings import Login

_BYTES = 4096
_PATIENCE_S = 1.0


class SharedCredentials:
    """Memory that a process shares with those that it starts. One of them publishes, all may read.

    A writer makes the count odd, writes, and makes it even again; a reader that finds it odd, or changed behind its
    back, reads again. So nobody waits for a process that was killed.
    """

    def __init__(self) -> None:
        context = get_context("spawn")
        self._count = context.RawValue("Q", 0)
        self._memory = context.RawArray("c", _BYTES)
        self._refused = context.RawValue("Q", 0)

    @property
    def generation(self) -> int:
        """Changes whenever the credentials do."""
        return int(self._count.value) // 2

    def refuse(self, generation: int) -> None:
        """Say that Postgres does not accept the credentials of this generation."""
        self._refused.value = generation

    def is_refused(self) -> bool:
        """Whether somebody has said so of those that are in use."""
        return bool(self._refused.value) and int(self._refused.value) == self.generation

    def publish(self, credentials: Login) -> None:
        """Have everybody use these. Raises: ValueError for what is longer than the memory."""
        written = json.dumps([credentials.user, credentials.password]).encode()
        if len(written) >= _BYTES:
            raise ValueError("these credentials are too long")
        self._count.value += 1
        self._memory.value = written
        self._count.value += 1

    def read(self) -> Login:
        """The credentials as they are now. Raises: LookupError when there are none."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            before = self._count.value
            written = self._memory.value
            if before and before % 2 == 0 and before == self._count.value:
                return Login(*json.loads(written))
            time.sleep(0.001)
        raise LookupError("no credentials were published")
