"""The current credentials, shared by one process with its workers in memory and never written to disk."""

import json
import time
from multiprocessing import get_context

from service.clock import boot_clock
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
        self._refused_at = context.RawValue("d", 0.0)
        self._woken, self._waker = context.Pipe(duplex=False)

    @property
    def generation(self) -> int:
        """A number that changes with the credentials."""
        return int(self._sequence.value) // 2

    def refuse(self, generation: int) -> None:
        """Report that Postgres rejects the credentials of this generation, and wake `wait`."""
        if generation == self.generation and self.refused_at() is None:
            self._refused_at.value = boot_clock()
            self._refused.value = generation
            self.wake()

    def refused_at(self) -> float | None:
        """Return when Postgres first rejected the current credentials, in seconds of the boot clock; None if never."""
        refused = int(self._refused.value)
        return float(self._refused_at.value) if refused and refused == self.generation else None

    def wait(self, timeout_s: float) -> None:
        """Wait until `wake` is called or the time has passed. For the process that publishes."""
        if self._woken.poll(timeout_s):
            while self._woken.poll(0):  # one reaction to the reports of all workers
                self._woken.recv_bytes()

    def wake(self) -> None:
        """End `wait`."""
        self._waker.send_bytes(b"")  # a few bytes are written entirely or, by a killed process, not at all

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
