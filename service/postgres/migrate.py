"""Bring a database's tables up to date."""

import logging
from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg2.errorcodes import INSUFFICIENT_PRIVILEGE
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from service.errors import SettingsError
from service.postgres.connect import connect
from service.settings import PostgresSettings

log = logging.getLogger(__name__)

_LOCK = 0x6C6F616E  # any number that is ours: one migration at a time
_MIGRATIONS = Path(__file__).parent / "migrations"
_PARTITIONS = _MIGRATIONS / "partitions.sql"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def newest_revision() -> str:
    """The revision that this release expects."""
    return revisions()[0]


def revisions() -> list[str]:
    """Those that this release knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def migrate(settings: PostgresSettings, partitions: int | None = None) -> None:
    """Apply what is missing, all or nothing, as the admin user. partitions: into how many the ledger's tables are to be
    split by the hash of loan_id; None leaves them as they are. What a newer release made stays: this one runs over it.

    Raises: SettingsError when the user may not; DatabaseUnavailable.
    """
    engine = create_engine("postgresql+psycopg2://", creator=lambda: connect(settings, "admin"), poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        try:
            with connection.begin():
                if not _are_newer(connection):
                    command.upgrade(config, "head")
                if partitions is not None:
                    _partition(connection, partitions)
        except (DBAPIError, psycopg2.Error) as err:
            cause = err.orig if isinstance(err, DBAPIError) else err
            reason = str(cause).strip().partition("\n")[0]
            if getattr(cause, "pgcode", None) == INSUFFICIENT_PRIVILEGE:
                raise SettingsError(f"PSQL_ADMIN_USER may not migrate {settings.database}: {reason}") from err
            raise SettingsError(f"{settings.database} was not migrated, nothing was changed: {reason}") from err
    engine.dispose()


def _are_newer(connection: Connection) -> bool:
    """Whether a newer release has migrated."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None or found in revisions():
        return False
    log.warning("the tables are at %s, which a newer release made: they are left as they are", found)
    return True


def _partition(connection: Connection, partitions: int) -> None:
    cursor = connection.connection.cursor()  # the driver's: the text is full of percent signs that are no parameters
    cursor.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'public.loan_events'::regclass")
    if cursor.fetchone() != (partitions,):
        cursor.execute("SELECT set_config('loaner.partitions', %s, true)", (str(partitions),))
        cursor.execute(_PARTITIONS.read_text(encoding="utf-8"))
