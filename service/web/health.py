"""Health of the service and of what it depends on."""

from pathlib import Path

from native import IMPLEMENTATION
from service import __version__
from service.cache import MemcachedTimelines
from service.errors import DatabaseUnavailable
from service.ledger.freshness import Freshness
from service.postgres.migrate import revisions
from service.postgres.pool import Database
from service.postgres.wal_timelines import WalTimelines


class Health:
    """Reports whether the service can answer requests.

    Args:
        database: The connections that read the ledger.
        freshness: What is known about the primary's changes.
        timelines: Knows former primaries.
        memcached: The shared cache, if one is configured.
        drain_file: A file that exists while this instance drains, if it ever does.
    """

    version = __version__
    core = IMPLEMENTATION

    def __init__(
        self,
        database: Database,
        freshness: Freshness,
        timelines: WalTimelines,
        memcached: MemcachedTimelines | None = None,
        drain_file: Path | None = None,
    ) -> None:
        self._database = database
        self._freshness = freshness
        self._timelines = timelines
        self._memcached = memcached
        self._drain_file = drain_file
        self._revision, *self._older_revisions = revisions()

    def is_draining(self) -> bool:
        """Return whether this instance is draining before it stops."""
        return self._drain_file is not None and self._drain_file.exists()

    def heard_s(self) -> float | None:
        """Return the seconds since the primary was last heard; None if it never was."""
        return self._freshness.silence_s()

    def listener(self) -> str:
        """Return "ok" while cached balances are valid, and "silent" while the primary is not heard."""
        silence_s = self._freshness.silence_s()
        return "ok" if silence_s is not None and silence_s < self._freshness.max_staleness_s else "silent"

    def can_cache(self) -> bool:
        """Return False if a pooler keeps the listener from noticing new events."""
        return self._freshness.fault is None

    def faults(self) -> list[str]:
        """Return a sentence about each fault of the database that an operator has to end: former primaries, a pooler.

        The first word of each is the host. The text contains no secrets.
        """
        return [*self._timelines.former_primaries(), *filter(None, [self._freshness.fault])]

    def memcached(self) -> dict[str, str]:
        """Return "ok" or "down" for each memcached server; an empty dictionary if none is configured."""
        return self._memcached.state() if self._memcached else {}

    def database(self) -> str:
        """Return "ok", or what is wrong with the database. The text contains no secrets.

        The tables of a newer release are "ok": migrations only add to them, and instances of this release keep
        running during an upgrade.
        """
        try:
            row = self._database.row("SELECT version_num FROM alembic_version")
        except DatabaseUnavailable as err:
            return str(err)
        except Exception as err:
            return f"cannot read the tables: {type(err).__name__}"
        found = row[0] if row else None
        if found is None or found in self._older_revisions:
            return f"the tables are at revision {found}, expected {self._revision}: run migrate"
        return "ok"
