"""Sets up what a standalone run needs, for people who want to try the service.

That is a PostgreSQL server under `.local/`, a key pair in the key directory, sample data, and a token in `.auth`. A
standalone run is always requested explicitly; it is never a fallback.
"""

import fcntl
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TextIO

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from pydantic import SecretStr

from security.errors import KeyException
from security.keys.rotation import State
from service.errors import SettingsError
from service.invocation import is_checkout
from service.plural import counted
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.settings import PostgresSettings, TokenSettings
from service.standalone.embedded_postgres import HOST, SUPERUSER, EmbeddedPostgres
from service.standalone.home import home
from service.standalone.respawn import respawned
from service.tokens.key_setup import check_keys, open_key_ring

log = logging.getLogger(__name__)

PREDECESSOR_TIMEOUT_S = 3  # the workers of a killed parent hold its locks briefly
DATABASE = "loaner"
DAY_S = 86_400
# Listens on this machine only, issues tokens for a day, and stops without draining.
STANDALONE_DEFAULTS: Mapping[str, object] = {"listen_host": HOST, "access_token_expires": DAY_S, "drain_s": 0}
USERS = {"loaner": "loaner_reader", "loaner_posting": "loaner_poster"}  # login and its group


@contextmanager
def standalone(settings: PostgresSettings) -> Iterator[PostgresSettings]:
    """Run the embedded PostgreSQL with tables, users and sample loans, and yield the settings that connect to it.

    The service and any number of commands may use it at the same time. The last one stops it.

    Args:
        settings: Settings that do not depend on the server: pool sizes and timeouts.

    Raises:
        SettingsError: If `.local` cannot be created.
        EmbeddedPostgresError: If PostgreSQL does not start.
    """
    local = _local_folder()
    postgres = _embedded()
    with (local / "users").open("w") as users:
        with _exclusive_lock(local / "starting"):
            # Shared while PostgreSQL is in use. The process that can lock it exclusively is the last one.
            fcntl.flock(users, fcntl.LOCK_SH)
            postgres.start()
        try:
            chosen = settings_of(postgres, settings)
            with _exclusive_lock(local / "starting"):
                create_database(postgres, DATABASE)
                migrate(chosen)
                create_users(chosen, postgres)
                _load_sample(chosen)
            yield chosen
        finally:
            with _exclusive_lock(local / "starting"):
                if _try_lock(users):
                    postgres.stop()


@contextmanager
def kept_running(settings: PostgresSettings) -> Iterator[None]:
    """Start the embedded PostgreSQL again whenever it ends within the block.

    Args:
        settings: The settings that `standalone` yielded.

    Raises:
        EmbeddedPostgresError: At the end of the block, if PostgreSQL does not run any longer.
    """
    postgres = _embedded()
    postgres.port = settings.port
    with respawned(postgres, lambda: _exclusive_lock(_local_folder() / "starting")):
        yield


@contextmanager
def _exclusive_lock(path: Path) -> Iterator[None]:
    """Hold a lock file exclusively. Waits until it is free."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def single_instance_lock() -> Iterator[None]:
    """Ensure that only this process serves.

    Raises:
        SettingsError: If another standalone service is running.
    """
    with (_local_folder() / "serving").open("a+") as file:
        deadline = time.monotonic() + PREDECESSOR_TIMEOUT_S
        while not _try_lock(file):
            if time.monotonic() > deadline:
                file.seek(0)
                process = file.read().strip() or "unknown"
                raise SettingsError(
                    f"a standalone service is already running in {home()} (process {process}); stop it first"
                )
            time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _local_folder() -> Path:
    local = home() / ".local"
    try:
        local.mkdir(exist_ok=True)
    except OSError as err:
        raise SettingsError(f"cannot create {local}: {err.strerror}") from err
    return local


def _embedded() -> EmbeddedPostgres:
    return EmbeddedPostgres(_local_folder() / "postgres")


def client_secret() -> SecretStr:
    """Return the generated client secret, which a standalone run uses unless SECRET is set."""
    return SecretStr(_embedded().secret("client"))


def _try_lock(file: TextIO) -> bool:
    """Lock a file exclusively if it is free, and return whether that succeeded."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def build_core() -> None:
    """Compile the core of a checkout if its source has changed since the last time.

    An installed package has its core compiled or not. Without a compiled core, log a warning.
    """
    if is_checkout():
        command = [sys.executable, str(home() / "native" / "build.py"), "local", "--if-needed"]
        compiled = subprocess.run(command, stdin=subprocess.DEVNULL).returncode == 0
    else:
        import native

        compiled = native.IMPLEMENTATION == "compiled"
    if not compiled:
        log.warning("running the core interpreted: results are the same, but slower")


def ensure_signing_key(settings: TokenSettings) -> None:
    """Generate a signing key pair unless the service has one.

    Raises:
        SettingsError: If the key directory is unusable.
    """
    folder = Path(settings.keys_dir)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        ring = open_key_ring(settings)
        if not ring.own(State.ACTIVE):
            log.info("generated the development key pair %s in %s", ring.generate(), folder)
    except (OSError, KeyException) as err:
        raise SettingsError(f"KEYS_DIR: {err}") from err
    check_keys(settings)


def create_database(postgres: EmbeddedPostgres, name: str) -> None:
    """Create a database in the embedded PostgreSQL unless it exists."""
    with closing(connect(settings_of(postgres).replace(database="postgres"), "admin")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
            if cursor.rowcount == 0:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def settings_of(postgres: EmbeddedPostgres, settings: PostgresSettings | None = None) -> PostgresSettings:
    """Return the settings that connect to the embedded PostgreSQL, with all its logins.

    Args:
        postgres: The embedded PostgreSQL.
        settings: Settings that do not depend on the server: pool sizes and timeouts.
    """
    return (settings or PostgresSettings()).replace(
        hosts=HOST,
        port=postgres.port,
        database=DATABASE,
        user="loaner",
        password=postgres.secret("loaner"),
        posting_user="loaner_posting",
        posting_password=postgres.secret("loaner_posting"),
        admin_user=SUPERUSER,
        admin_password=postgres.secret(SUPERUSER),
    )


def create_users(settings: PostgresSettings, postgres: EmbeddedPostgres) -> None:
    """Create the users that read and post, unless they exist."""
    with closing(connect(settings, "admin")) as connection, connection, connection.cursor() as cursor:
        for user, group in USERS.items():
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (user,))
            if cursor.rowcount == 0:
                cursor.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD %s IN ROLE {}").format(
                        sql.Identifier(user), sql.Identifier(group)
                    ),
                    (postgres.secret(user),),
                )


def _load_sample(settings: PostgresSettings) -> None:
    # These import the core, which is not compiled yet when this module is imported.
    from service.bulk_load.loader import load
    from service.bulk_load.sample import write_sample

    with closing(connect(settings, "posting")) as connection:
        if _has_loans(connection):
            return
        with tempfile.TemporaryDirectory() as folder:
            loans, events = Path(folder) / "loans.csv", Path(folder) / "events.csv"
            write_sample(loans, events)
            loaded = load(connection, loans, events)
        log.info("loaded %s with %s", counted(loaded.loans, "sample loan"), counted(loaded.events, "event"))


def _has_loans(connection: Connection) -> bool:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM loans)")
        row = cursor.fetchone()
    return row is not None and bool(row[0])
