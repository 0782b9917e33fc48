"""Migrates the database's schema, and partitions the ledger's tables."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

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
from service.postgres.concurrent_indexes import build_indexes
from service.postgres.connect import connect
from service.postgres.currencies import sync_currencies
from service.postgres.earlier_rows import find_earlier_rows
from service.settings import PostgresSettings

log = logging.getLogger(__name__)

_LOCK = 0x6C6F616E  # key of the advisory lock under which one migration runs at a time
_MIGRATIONS = Path(__file__).parent / "migrations"
_TWO_DECIMALS_ONLY = ("0001", "0002", "0003")  # revisions before loans had the decimals of their currencies
_PARTITIONS = _MIGRATIONS / "partitions.sql"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def newest_revision() -> str:
    """Return the schema revision that this release expects."""
    return revisions()[0]


def revisions() -> list[str]:
    """List the schema revisions that this release knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def migrate(
    settings: PostgresSettings,
    partitions: int | None = None,
    guard: Callable[[Any], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Apply the missing migrations as the admin user, in one transaction, then build missing indexes.

    A schema of a newer release stays unchanged; this release works with it. Rows of an earlier release that the new
    rules would refuse stay as they are, and are logged.

    Args:
        settings: The database and its admin user.
        partitions: The number of partitions of the ledger's tables, by the hash of loan_id; None changes nothing.
        guard: Enters a block for the driver's connection, in which everything is done.

    Raises:
        SettingsError: If the user lacks the rights, or a statement fails. Nothing was changed, unless only an index
            could not be built.
        DatabaseUnavailable: If no primary accepts the connection.
    """
    engine = create_engine("postgresql+psycopg2://", creator=lambda: connect(settings, "admin"), poolclass=NullPool)
    with engine.connect() as connection, guard(connection.connection.driver_connection):
        config = _config()
        config.attributes["connection"] = connection
        try:
            with connection.begin():
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
                is_newer = _is_newer(connection)
                earlier_rows = [] if is_newer else _upgrade(connection, config)
                if partitions is not None:
                    _partition(connection, partitions)
        except (DBAPIError, psycopg2.Error) as err:
            cause = err.orig if isinstance(err, DBAPIError) else err
            reason = str(cause).strip().partition("\n")[0]
            if getattr(cause, "pgcode", None) == INSUFFICIENT_PRIVILEGE:
                raise SettingsError(f"PSQL_ADMIN_USER may not migrate {settings.database}: {reason}") from err
            raise SettingsError(f"migrating {settings.database} failed, nothing was changed: {reason}") from err
    engine.dispose()
    if not is_newer:
        build_indexes(settings, guard)
    for line in earlier_rows:
        log.warning("%s", line)


def _upgrade(connection: Connection, config: Config) -> list[str]:
    """Apply the missing migrations, and return a line about each row that the rules of a new one would refuse."""
    before = MigrationContext.configure(connection).get_current_revision()
    command.upgrade(config, "head")
    cursor = connection.connection.cursor()
    sync_currencies(cursor)
    return list(find_earlier_rows(cursor)) if before in _TWO_DECIMALS_ONLY else []


def _is_newer(connection: Connection) -> bool:
    """Return whether a newer release has migrated the schema."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None or found in revisions():
        return False
    log.warning("the schema is at revision %s of a newer release; leaving it unchanged", found)
    return True


def _partition(connection: Connection, partitions: int) -> None:
    # The driver's cursor: SQLAlchemy would take percent signs in the script for parameters.
    cursor = connection.connection.cursor()
    cursor.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'public.loan_events'::regclass")
    if cursor.fetchone() != (partitions,):
        cursor.execute("SELECT set_config('loaner.partitions', %s, true)", (str(partitions),))
        cursor.execute(_PARTITIONS.read_text(encoding="utf-8"))
