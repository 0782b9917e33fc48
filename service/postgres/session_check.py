"""Proves that a session keeps its state and receives notifications, which a pooler may prevent.

A pooler in transaction or statement mode, such as PgBouncer, gives each transaction whichever session of the server is
free. What a client has set, prepared or listens to then belongs to another client's session.
"""

import secrets
import select
import time
from collections.abc import Callable
from contextlib import closing

from service.errors import DatabaseUnavailable
from service.postgres.session import Session, query

TIMEOUT_S = 3.0


class SessionNotKept(DatabaseUnavailable):
    """A pooler does not keep the session between transactions.

    Args:
        session: The session.
        finding: What gave it away.
    """

    def __init__(self, session: Session, finding: str) -> None:
        super().__init__(
            f"{session.host} is a pooler in transaction or statement mode: {finding}. "
            "Connect to PostgreSQL directly, or set the pooler to session mode"
        )


class SessionCheck:
    """Checks a session that listens on a channel.

    A session without a pooler needs one query. Behind a pooler, even the same session of the server in every query
    proves nothing: what arrives between queries may be dropped. So a second session notifies the first one.

    Args:
        session: The session. It has to listen on the channel already.
        channel: The channel.
        connect: Opens the second session, in the same way as the first one.

    Raises:
        SessionNotKept: If the session cannot listen.
        DatabaseUnavailable: If the second session cannot be opened.
        psycopg2.Error: If a query fails.
    """

    def __init__(self, session: Session, channel: str, connect: Callable[[], Session]) -> None:
        self._session = session
        self._channel = channel
        self._check_channel = f"{channel}_{secrets.token_hex(8)}"
        self._notifier: Session | None = None
        if session.is_pooled:
            query(session, f"LISTEN {self._check_channel}", TIMEOUT_S)
            self._notifier = connect()

    def run(self) -> None:
        """Check the session. When this returns, every notification that was sent before has arrived.

        Raises:
            SessionNotKept: If it does not keep its state, or receives no notifications.
            psycopg2.Error: If a query fails.
            TimeoutError: If the server does not respond.
        """
        backend, listens = query(
            self._session,
            "SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_listening_channels() AS c (name) WHERE name = %s)",
            TIMEOUT_S,
            (self._channel,),
        )
        if backend != self._session.backend:
            raise SessionNotKept(self._session, "another session answered")
        if not listens:
            raise SessionNotKept(self._session, "the session no longer listens for new events")
        if self._notifier is not None:
            query(self._notifier, f"NOTIFY {self._check_channel}", TIMEOUT_S)
            self._await_notification()

    def close(self) -> None:
        """Close the second session."""
        if self._notifier is not None:
            self._notifier.close()

    def _await_notification(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        poller = select.poll()
        poller.register(self._session.fileno(), select.POLLIN)
        while True:
            self._session.poll()
            received = [n for n in self._session.notifies if n.channel == self._check_channel]
            if received:
                self._session.notifies[:] = [n for n in self._session.notifies if n not in received]
                return
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise SessionNotKept(self._session, "a notification did not arrive")
            poller.poll(remaining_s * 1000)


def check_session_is_kept(connect: Callable[[], Session]) -> None:
    """Check once that sessions keep their state and receive notifications.

    Args:
        connect: Opens a session.

    Raises:
        SessionNotKept: If they do not.
        DatabaseUnavailable: If no server qualifies.
        psycopg2.Error: If a query fails.
        TimeoutError: If the server does not respond.
    """
    channel = f"loaner_check_{secrets.token_hex(8)}"
    with closing(connect()) as session:
        if session.is_pooled:
            query(session, f"LISTEN {channel}", TIMEOUT_S)
            with closing(SessionCheck(session, channel, connect)) as check:
                check.run()
