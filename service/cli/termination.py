"""Lets a command return what it has borrowed before a signal ends it."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

SIGNALS = {signal.SIGTERM, signal.SIGHUP}


@contextmanager
def closed_before_termination(resources: ExitStack) -> Iterator[None]:
    """Close resources when the process is terminated during the block, then let the signal take its effect.

    A thread waits for the signals, because the main thread may be in a statement of Postgres, which does not return for
    a signal.
    """
    threading.Thread(target=_close_on_signal, args=(resources,), name="termination", daemon=True).start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _close_on_signal(resources: ExitStack) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    received = signal.sigwait(SIGNALS)
    resources.close()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.kill(os.getpid(), received)
