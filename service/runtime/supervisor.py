"""The HTTP server's supervisor, with one correction."""

import threading
from typing import Any

from granian.server.mp import MPServer


class Supervisor(MPServer):
    """Granian's server. It notices reliably that a worker has exited."""

    def _spawn_worker(self, *args: Any, **kwargs: Any) -> Any:
        worker = super()._spawn_worker(*args, **kwargs)
        worker.inner = WaitedProcess(worker.inner)
        return worker


class WaitedProcess:
    """A process that a single thread waits for.

    Granian waits for a worker in two threads, and the operating system reports an exit only once. If the other thread
    has received the report but not yet recorded it, the process looks alive: Granian then logs that the worker refused
    to stop, and kills a process id that may already belong to another process.

    Args:
        process: A process that has not been started.
    """

    def __init__(self, process: Any) -> None:
        self._process = process
        self._exited = threading.Event()

    @property
    def pid(self) -> int | None:
        """The process id; None before the start."""
        pid: int | None = self._process.pid
        return pid

    def start(self) -> None:
        """Start the process."""
        self._process.start()
        threading.Thread(target=self._wait, name="wait-for-worker", daemon=True).start()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the process has exited, for at most `timeout` seconds."""
        self._exited.wait(timeout)

    def is_alive(self) -> bool:
        """Return whether the process has not exited."""
        return not self._exited.is_set()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def _wait(self) -> None:
        self._process.join()
        self._exited.set()
