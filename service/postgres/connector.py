"""A user's way to Postgres, whoever that is at the moment."""

import time
from collections.abc import Callable

from psycopg2.extensions import connection as Connection

from service.errors import CredentialsRefused
from service.postgres.connect import Role, TargetRole, connect_bounded
from service.postgres.credentials import CurrentCredentials
from service.postgres.host_ranking import HostRanking
from service.settings import Login, PostgresSettings


class Connector:
    """Makes connections with the credentials of the moment.

    credentials: who connects, if that changes. want: to which of several servers. role: what for.
    now: a clock, in seconds. timeout_s: seconds that a statement may take (default: PSQL_STATEMENT_TIMEOUT_S).
    """

    def __init__(
        self,
        settings: PostgresSettings,
        credentials: CurrentCredentials | None = None,
        target_role: TargetRole = "primary",
        now: Callable[[], float] = time.monotonic,
        role: Role = "reader",
        timeout_s: float | None = None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._target_role = target_role
        self._role = role
        self._timeout_s = timeout_s
        self._order = HostRanking(shuffled=target_role == "replica", now=now)

    @property
    def generation(self) -> int:
        """Changes whenever connections should be made anew."""
        return self._credentials.generation if self._credentials else 0

    def connect(self) -> Connection:
        """A connection. Raises: SettingsError; DatabaseUnavailable."""
        if self._credentials is None:
            return self._connected(None)
        generation = self.generation
        try:
            return self._connected(self._credentials.read())
        except CredentialsRefused:
            self._credentials.refuse(generation)
            raise

    def refuse(self, generation: int) -> bool:
        """Say that a role of this generation has lost its rights. Returns: whether there will be another one."""
        if self._credentials is not None:
            self._credentials.refuse(generation)
        return self._credentials is not None

    def _connected(self, login: Login | None) -> Connection:
        return connect_bounded(
            self._settings, self._target_role, self._order, self._role, login=login, timeout_s=self._timeout_s
        )
