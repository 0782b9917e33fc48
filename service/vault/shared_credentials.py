"""The current credentials, shared by one process with its workers in memory and never written to disk."""

import json
import time
from multiprocessing import get_context

from service.settings import Login

_BYTES = 4096
_READ_TIMEOUT_S = 1.0


class SharedCredentials:
    """Memory that a process shares with its child processes. One process publishes; all may read.

    It is protected by a sequence lock: the writer makes the number odd, writes, and makes it even again. A reader that
    finds an odd number, or another one after reading, reads again. So no process waits for one that was killed.
    """

    def __init__(self) -> None:
        context = get_context("spawn")
        self._sequence = context.RawValue("Q", 0)
        self._memory = context.RawArray("c", _BYTES)
        self._refused = context.RawValue("Q", 0)

    @property
    def generation(self) -> int:
        """A number that changes with the credentials."""
        return int(self._sequence.value) // 2

    def refuse(self, generation: int) -> None:
        """Report that Postgres rejects the credentials of this generation."""
        self._refused.value = generation

    def is_refused(self) -> bool:
        """Return whether a process has reported that Postgres rejects the current credentials."""
        return bool(self._refused.value) and int(self._refused.value) == self.generation

    def publish(self, credentials: Login) -> None:
        """Replace the credentials in all processes.

        Raises:
            ValueError: If the credentials are too long for the shared memory.
        """
        data = json.dumps([credentials.user, credentials.password]).encode()
        if len(data) >= _BYTES:
            raise ValueError("these credentials are too long")
        self._sequence.value += 1
        self._memory.value = data
        self._sequence.value += 1

    def read(self) -> Login:
        """Return the current credentials.

        Raises:
            LookupError: If none have been published.
        """
        deadline = time.monotonic() + _READ_TIMEOUT_S
        while time.monotonic() < deadline:
            before = self._sequence.value
            data = self._memory.value
            if before and before % 2 == 0 and before == self._sequence.value:
                return Login(*json.loads(data))
            time.sleep(0.001)
        raise LookupError("no credentials were published")
