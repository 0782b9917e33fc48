"""Finds out what every host is, again and again, to notice a promotion while old connections stay open."""

import logging
import threading

from service.errors import LoanerError
from service.postgres.connect import survey
from service.postgres.credentials import CurrentCredentials
from service.postgres.wal_timelines import WalTimelines
from service.settings import PostgresSettings

log = logging.getLogger(__name__)

INTERVAL_S = 5.0


class HostWatch:
    """Surveys the hosts in a background thread, with new connections: a name may lead to another server each time.

    Args:
        settings: The servers, and the default login.
        timelines: Receives what was found.
        credentials: Where the current login of the reader comes from, if it changes.
    """

    def __init__(
        self, settings: PostgresSettings, timelines: WalTimelines, credentials: CurrentCredentials | None = None
    ) -> None:
        self._settings = settings
        self._timelines = timelines
        self._credentials = credentials
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-watch", daemon=True)

    def start(self) -> None:
        """Survey the hosts, and go on in the background.

        Raises:
            SettingsError: If PSQL_HOST or the user that reads is not set.
        """
        for answer in self._survey():
            log.warning("a server in PSQL_HOST is not used: %s", answer)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            try:
                self._survey()
            except Exception as err:  # the thread has to go on
                expected = isinstance(err, LoanerError | LookupError | OSError)  # credentials may be missing
                log.warning("cannot survey the PostgreSQL servers: %s", err, exc_info=not expected)

    def _survey(self) -> list[str]:
        """Return why hosts cannot be used."""
        login = self._credentials.read() if self._credentials else None
        answers = survey(self._settings, "reader", self._timelines, login)
        return [answer for answer in answers.values() if isinstance(answer, str)]
