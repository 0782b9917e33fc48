"""Opens connections with the credentials that are current."""

import time
from collections.abc import Callable

from service.clock import boot_clock
from service.errors import CredentialsRefused
from service.postgres.connect import Role
from service.postgres.credentials import CurrentCredentials
from service.postgres.find_server import TargetRole, connect_with_timeout
from service.postgres.host_ranking import HostRanking
from service.postgres.session import Session
from service.postgres.wal_timelines import WalTimelines
from service.settings import Login, PostgresSettings

CREDENTIALS_POLL_S = 0.005  # while waiting for new ones


class Connector:
    """Opens connections for one role, to the primary or to a replica.

    Args:
        settings: The servers, and the default login.
        credentials: Where the current login comes from, if it changes.
        target_role: What the server must be.
        now: A clock, in seconds.
        role: Who connects. The sessions of a reader are read-only.
        statement_timeout_s: Seconds that each statement may take. The default is PSQL_STATEMENT_TIMEOUT_S.
        timelines: Knows the highest WAL timeline. By default only this connector's connections are compared.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        credentials: CurrentCredentials | None = None,
        target_role: TargetRole = "primary",
        now: Callable[[], float] = time.monotonic,
        role: Role = "reader",
        statement_timeout_s: float | None = None,
        timelines: WalTimelines | None = None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._target_role = target_role
        self._role = role
        self._statement_timeout_s = statement_timeout_s
        self._timelines = timelines or WalTimelines()
        self._ranking = HostRanking(shuffled=target_role == "replica", now=now)

    @property
    def timeout_s(self) -> float:
        """PSQL_CONNECT_TIMEOUT_S."""
        return self._settings.connect_timeout_s

    @property
    def has_changing_credentials(self) -> bool:
        """Whether new credentials may replace rejected ones."""
        return self._credentials is not None

    @property
    def generation(self) -> tuple[int, int]:
        """Changes with the credentials and with the highest WAL timeline. Connections should then be replaced."""
        return self._credentials.generation if self._credentials else 0, self._timelines.generation

    def is_superseded(self, session: Session) -> bool:
        """Return whether a server with a higher WAL timeline was seen since the session began."""
        return self._timelines.is_superseded(session.server)

    def connect(self) -> Session:
        """Open a connection, and report credentials that Postgres rejects.

        Raises:
            SettingsError: If PSQL_HOST or the role's user is not set.
            DatabaseUnavailable: If no server qualifies.
        """
        if self._credentials is None:
            return self._connect(None)
        generation = self._credentials.generation
        try:
            session = self._connect(self._credentials.read())
        except CredentialsRefused:
            self._credentials.refuse(generation)
            raise
        session.credentials_generation = generation
        return session

    def refuse(self, session: Session) -> None:
        """Report that the user of a session has lost its rights."""
        if self._credentials is not None:
            self._credentials.refuse(session.credentials_generation)

    def await_credentials(self) -> bool:
        """Wait for new credentials if Postgres rejects the current ones.

        The wait ends PSQL_CONNECT_TIMEOUT_S after the first rejection at the latest.

        Returns:
            Whether to try again: False if new credentials are missing, or if the credentials never change.
        """
        if self._credentials is None:
            return False
        while (refused_at := self._credentials.refused_at()) is not None:
            if boot_clock() >= refused_at + self.timeout_s:
                return False
            time.sleep(CREDENTIALS_POLL_S)
        return True

    def _connect(self, login: Login | None) -> Session:
        return connect_with_timeout(
            self._settings,
            self._target_role,
            self._ranking,
            self._role,
            login=login,
            statement_timeout_s=self._statement_timeout_s,
            timelines=self._timelines,
        )
