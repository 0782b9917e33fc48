"""Opens connections with the credentials that are current."""

import time
from collections.abc import Callable

from psycopg2.extensions import connection as Connection

from service.errors import CredentialsRefused
from service.postgres.connect import Role, TargetRole, connect_with_timeout
from service.postgres.credentials import CurrentCredentials
from service.postgres.host_ranking import HostRanking
from service.settings import Login, PostgresSettings


class Connector:
    """Opens connections for one role, to the primary or to a replica.

    Args:
        settings: The servers, and the default login.
        credentials: Where the current login comes from, if it changes.
        target_role: What the server must be.
        now: A clock, in seconds.
        role: Who connects. The sessions of a reader are read-only.
        statement_timeout_s: Seconds that each statement may take. The default is PSQL_STATEMENT_TIMEOUT_S.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        credentials: CurrentCredentials | None = None,
        target_role: TargetRole = "primary",
        now: Callable[[], float] = time.monotonic,
        role: Role = "reader",
        statement_timeout_s: float | None = None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._target_role = target_role
        self._role = role
        self._statement_timeout_s = statement_timeout_s
        self._ranking = HostRanking(shuffled=target_role == "replica", now=now)

    @property
    def generation(self) -> int:
        """The generation of the credentials. A change means that connections should be replaced."""
        return self._credentials.generation if self._credentials else 0

    def connect(self) -> Connection:
        """Open a connection, and report credentials that Postgres rejects.

        Raises:
            SettingsError: If PSQL_HOST or the role's user is not set.
            DatabaseUnavailable: If no server qualifies.
        """
        if self._credentials is None:
            return self._connect(None)
        generation = self.generation
        try:
            return self._connect(self._credentials.read())
        except CredentialsRefused:
            self._credentials.refuse(generation)
            raise

    def refuse(self, generation: int) -> bool:
        """Report that the user of a generation has lost its rights.

        Returns:
            Whether new credentials can be expected.
        """
        if self._credentials is not None:
            self._credentials.refuse(generation)
        return self._credentials is not None

    def _connect(self, login: Login | None) -> Connection:
        return connect_with_timeout(
            self._settings,
            self._target_role,
            self._ranking,
            self._role,
            login=login,
            statement_timeout_s=self._statement_timeout_s,
        )
