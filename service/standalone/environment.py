"""A standalone run: all that the service needs, made on the spot, for people who want to see it work.

A real PostgreSQL under `.local/`, a key pair in the key directory, sample data, a token in `.auth`. It is something
one asks for, never a fallback.
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
from security.files import write_atomic
from security.keys.rotation import State
from service.bulk_load.loader import load
from service.bulk_load.sample import write_sample
from service.errors import SettingsError
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.settings import PostgresSettings, TokenSettings
from service.standalone.embedded_postgres import HOST, SUPERUSER, EmbeddedPostgres
from service.tokens.key_setup import check_keys, open_key_ring

log = logging.getLogger(__name__)

ROOT = Path(__file__).parent.parent.parent
PREDECESSOR_TIMEOUT_S = 3  # the workers of a killed parent hold its locks for a moment
DATABASE = "loaner"
DAY_S = 86_400
# It answers this machine only, its tokens last a day, and it stops without a pause.
STANDALONE_DEFAULTS: Mapping[str, object] = {"listen_host": HOST, "access_token_expires": DAY_S, "drain_s": 0}
USERS = {"loaner": "loaner_reader", "loaner_posting": "loaner_poster"}  # login, and what it is a member of


@contextmanager
def standalone(settings: PostgresSettings) -> Iterator[PostgresSettings]:
    """Run the embedded PostgreSQL, with tables, users and sample loans, and yield the settings that reach it.

    The service and any number of commands may use it at the same time; the last one stops it.

    Args:
        settings: What holds for any server: sizes of pools, and timeouts.

    Raises:
        SettingsError: If `.local` cannot be used.
        EmbeddedPostgresError: If PostgreSQL does not start.
    """
    local = _local()
    postgres = _embedded()
    with (local / "users").open("w") as users:
        with _exclusive(local / "starting"):
            # held while PostgreSQL is in use: whoever leaves last stops it
            fcntl.flock(users, fcntl.LOCK_SH)
            postgres.start()
        try:
            chosen = settings_of(postgres, settings)
            with _exclusive(local / "starting"):
                create_database(postgres, DATABASE)
                migrate(chosen)
                create_users(chosen, postgres)
                _load_sample(chosen)
            yield chosen
        finally:
            with _exclusive(local / "starting"):
                if _try_lock(users):
                    postgres.stop()


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """While nobody else holds this lock."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def single_instance_lock() -> Iterator[None]:
    """While this process is the one that serves. Raises: SettingsError when another does."""
    with (_local() / "serving").open("a+") as file:
        deadline = time.monotonic() + PREDECESSOR_TIMEOUT_S
        while not _try_lock(file):
            if time.monotonic() > deadline:
                file.seek(0)
                process = file.read().strip() or "unknown"
                raise SettingsError(f"a standalone run is active in {ROOT} (process {process}): stop it first")
            time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _local() -> Path:
    local = ROOT / ".local"
    try:
        local.mkdir(exist_ok=True)
    except OSError as err:
        raise SettingsError(f"{local} cannot be made: {err.strerror}") from err
    return local


def _embedded() -> EmbeddedPostgres:
    return EmbeddedPostgres(_local() / "postgres")


def client_secret() -> SecretStr:
    """Return the secret of the client that a standalone run has unless SECRET is set."""
    return SecretStr(_embedded().secret("client"))


def _try_lock(file: TextIO) -> bool:
    """Whether nobody else holds this file's lock; then this process does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def build_core() -> None:
    """Compile the core unless it has been since its source last changed. Without a compiler, say so plainly."""
    command = [sys.executable, str(ROOT / "native" / "build.py"), "local", "--if-needed"]
    if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
        log.warning("the core runs interpreted, which is slower")


def ensure_signing_key(settings: TokenSettings) -> None:
    """See to it that this service has a key pair of its own to sign with. Raises: SettingsError."""
    folder = Path(settings.keys_dir)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        ring = open_key_ring(settings)
        if not ring.own(State.ACTIVE):
            log.info("made a development key pair, %s in %s", ring.generate(), folder)
    except (OSError, KeyException) as err:
        raise SettingsError(f"KEYS_DIR: {err}") from err
    check_keys(settings)


def write_auth(**values: str) -> None:
    """Write `.auth`, which `source .auth` turns into variables of a shell; readable by its owner only."""
    lines = "".join(f"export {name}={value}\n" for name, value in values.items())
    write_atomic(ROOT / ".auth", lines.encode(), 0o600)


def create_database(postgres: EmbeddedPostgres, name: str) -> None:
    """Create a database in the embedded PostgreSQL unless it is there."""
    with closing(connect(settings_of(postgres).replace(database="postgres"), "admin")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
            if cursor.rowcount == 0:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def settings_of(postgres: EmbeddedPostgres, settings: PostgresSettings | None = None) -> PostgresSettings:
    """Return the settings that reach the embedded PostgreSQL, with all its logins.

    Args:
        postgres: The embedded PostgreSQL.
        settings: What holds for any server: sizes of pools, and timeouts.
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
    """Create the users that read and post, unless they are there."""
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
    with closing(connect(settings, "posting")) as connection:
        if _has_loans(connection):
            return
        with tempfile.TemporaryDirectory() as folder:
            loans, events = Path(folder) / "loans.csv", Path(folder) / "events.csv"
            write_sample(loans, events)
            loaded = load(connection, loans, events)
        log.info("loaded %d sample loans with %d events", loaded.loans, loaded.events)


def _has_loans(connection: Connection) -> bool:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM loans)")
        row = cursor.fetchone()
    return row is not None and bool(row[0])
