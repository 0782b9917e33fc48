"""Lets a command return what it has borrowed before a signal ends it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

SIGNALS = {signal.SIGTERM, signal.SIGHUP}

Opened = TypeVar("Opened")


@contextmanager
def closed_before_termination(resource: AbstractContextManager[Opened]) -> Iterator[Opened]:
    """Open a resource, and close it at the end of the block or when the process is terminated.

    The signal takes its effect afterwards. A thread waits for it, because the main thread may be in a statement of
    Postgres, which does not return for a signal. While the resource is opened or closed, signals wait.
    """
    resources, lock = ExitStack(), threading.Lock()

    def close() -> None:
        with lock:
            resources.close()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        opened = resources.enter_context(resource)
        threading.Thread(target=_close_on_signal, args=(close,), name="termination", daemon=True).start()
        yield opened
    finally:
        close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _close_on_signal(close: Callable[[], None]) -> None:
    received = signal.sigwait(SIGNALS)  # blocked here too: threads inherit the mask
    close()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.kill(os.getpid(), received)
