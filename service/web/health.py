"""Whether the service can do its work, truthfully."""

from pathlib import Path

from native import IMPLEMENTATION
from service import __version__
from service.cache import MemcachedTimelines
from service.errors import DatabaseUnavailable
from service.ledger.freshness import Freshness
from service.postgres.migrate import revisions
from service.postgres.pool import Database


class Health:
    """Looks at what the service depends on."""

    version = __version__
    core = IMPLEMENTATION

    def __init__(
        self,
        database: Database,
        freshness: Freshness,
        memcached: MemcachedTimelines | None = None,
        leaving: Path | None = None,
    ) -> None:
        """leaving: a file that appears when this instance takes no more requests."""
        self._database = database
        self._freshness = freshness
        self._memcached = memcached
        self._leaving = leaving
        self._revision, *self._older = revisions()

    def is_leaving(self) -> bool:
        """Whether this instance is about to stop."""
        return self._leaving is not None and self._leaving.exists()

    def heard_s(self) -> float | None:
        """Seconds since the primary was last heard of new events; None if it never was."""
        return self._freshness.silence_s()

    def listener(self) -> str:
        """ "ok" while what is cached counts, "silent" when the primary is not heard."""
        silence_s = self._freshness.silence_s()
        return "ok" if silence_s is not None and silence_s < self._freshness.max_staleness_s else "silent"

    def memcached(self) -> dict[str, str]:
        """ "ok" or "down" of each server; nothing if there are none."""
        return self._memcached.state() if self._memcached else {}

    def database(self) -> str:
        """ "ok", or what is wrong with the database in words that hold no secret."""
        try:
            row = self._database.row("SELECT version_num FROM alembic_version")
        except DatabaseUnavailable as err:
            return str(err)
        except Exception as err:
            return f"the tables cannot be read: {type(err).__name__}"
        found = row[0] if row else None
        if found is None or found in self._older:
            return f"its tables are at {found}, not at {self._revision}: run migrate"
        return "ok"  # also over a newer release's, which instances of this one outlive: migrations only add
