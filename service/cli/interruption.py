"""Lets Ctrl-C end a command within a second or two although it waits for a statement of Postgres."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click
import psycopg2
from psycopg2.extensions import connection as Connection

_REPEAT_S = 0.5


class Interrupted(click.ClickException):
    """The user has interrupted a command. The message says what that means for the data."""

    exit_code = 128 + signal.SIGINT

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message, which is not an error."""
        click.echo(self.format_message(), file=file, err=file is None)


class Interruption:
    """Whether the user has interrupted the command."""

    def __init__(self) -> None:
        self._is_set = threading.Event()

    def check(self) -> None:
        """Raise KeyboardInterrupt if the user has interrupted the command."""
        if self._is_set.is_set():
            raise KeyboardInterrupt

    def note(self) -> None:
        """Remember the interruption."""
        self._is_set.set()


@contextmanager
def noted_interrupt() -> Iterator[Interruption]:
    """Only note Ctrl-C inside the block, which checks it between short steps, so that no step's outcome is unknown."""
    interruption = Interruption()
    handler_before = signal.signal(signal.SIGINT, lambda *_: interruption.note())
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, handler_before)


@contextmanager
def cancelled_by_interrupt(connection: Connection) -> Iterator[Interruption]:
    """Cancel the connection's statement on Ctrl-C, and raise KeyboardInterrupt at the end of the block.

    Inside the block no KeyboardInterrupt is raised but by `check`, so the block either completes or not. A thread
    cancels, because Python does not run the handler of a signal while the main thread waits for Postgres. It repeats
    that: the main thread may be between two statements.
    """
    interruption = Interruption()
    ended = threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def cancel() -> None:
        while received := reader.recv(1):
            if received[0] == signal.SIGINT:
                interruption.note()
                while not ended.is_set():
                    _cancel(connection)
                    ended.wait(_REPEAT_S)

    thread = threading.Thread(target=cancel, name="interruption", daemon=True)
    handler_before = signal.signal(signal.SIGINT, lambda *_: interruption.note())
    wakeup_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        thread.start()
        try:
            yield interruption
        except Exception:
            interruption.check()  # the statement has been canceled, which a library may report as another error
            raise
        finally:
            signal.set_wakeup_fd(wakeup_before)
            ended.set()
            writer.close()
            thread.join()
            reader.close()
        interruption.check()
    finally:
        signal.signal(signal.SIGINT, handler_before)


def _cancel(connection: Connection) -> None:
    try:
        connection.cancel()
    except psycopg2.Error:
        return  # the connection is lost, which its statement reports
