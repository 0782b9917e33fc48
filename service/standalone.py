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
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TextIO

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from pydantic import SecretStr

from security.errors import KeyException
from security.key_pair import write_key_pair
from service.database import connect
from service.embedded import HOST, SUPERUSER, EmbeddedPostgres
from service.errors import SettingsError
from service.load import load
from service.migrate import migrate
from service.sample import write_sample
from service.settings import Settings
from service.tokens import OWN_KEY

log = logging.getLogger(__name__)

ROOT = Path(__file__).parent.parent
PREDECESSOR_TIMEOUT_S = 3  # the workers of a killed parent hold its lock for a moment
DATABASE = "loaner"
USERS = {"loaner": "loaner_reader", "loaner_posting": "loaner_poster"}  # login, and what it is a member of


@contextmanager
def standalone(settings: Settings, *, serving: bool = False, root: Path = ROOT) -> Iterator[Settings]:
    """The settings of a run that needs no other server, for as long as its PostgreSQL is running.

    serving: this is the service itself, of which there is one; a command joins a running service's PostgreSQL.

    Raises: SettingsError; EmbeddedPostgresError.
    """
    local = root / ".local"
    local.mkdir(exist_ok=True)
    postgres = EmbeddedPostgres(local / "postgres")
    with (local / "lock").open("w") as lock:
        if not _lock(lock, PREDECESSOR_TIMEOUT_S if serving else 0):
            if serving or not postgres.find():
                raise SettingsError(f"a standalone run is active in {root}: stop it first (Ctrl-C)")
            yield settings_of(postgres, settings)
            return
        try:
            postgres.start()
            chosen = settings_of(postgres, settings)
            create_database(postgres, DATABASE)
            migrate(chosen)
            create_users(chosen, postgres)
            _load_sample(chosen)
            yield chosen
        finally:
            postgres.stop()


def _lock(file: TextIO, patience_s: float) -> bool:
    """Whether this process now is the only one; another's lock is waited for so long."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)


def build_core() -> None:
    """Compile the core unless it has been since its source last changed. Without a compiler, say so plainly."""
    command = [sys.executable, str(ROOT / "native" / "build.py"), "local", "--if-needed"]
    if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
        log.warning("the core runs interpreted, which is slower")


def make_own_keys(settings: Settings) -> None:
    """A key pair of the service's own, where there is none yet. Raises: SettingsError."""
    folder = Path(settings.keys_dir)
    try:
        folder.mkdir(exist_ok=True)
        if not (folder / OWN_KEY).exists() and not (folder / f"{OWN_KEY}.pub").exists():
            write_key_pair(folder, OWN_KEY)
            log.info("made a development key pair, %s and %s.pub", folder / OWN_KEY, folder / OWN_KEY)
    except (OSError, KeyException) as err:
        raise SettingsError(f"KEYS_DIR: {err}") from err


def write_auth(token: str, root: Path = ROOT) -> None:
    """Put a token where `source .auth` gives it to a shell as $JWT; readable by its owner only."""
    draft = root / ".auth.new"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"export JWT={token}\n")
    os.replace(draft, root / ".auth")


def create_database(postgres: EmbeddedPostgres, name: str) -> None:
    """Create a database in the embedded PostgreSQL unless it is there."""
    settings = settings_of(postgres, Settings.model_construct()).model_copy(update={"psql_db": "postgres"})
    with closing(connect(settings, "admin")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
            if cursor.rowcount == 0:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def settings_of(postgres: EmbeddedPostgres, settings: Settings) -> Settings:
    """The settings that reach the embedded PostgreSQL, on top of these."""
    chosen: dict[str, object] = {
        "psql_host": HOST,
        "psql_port": postgres.port,
        "psql_db": DATABASE,
        "psql_user": "loaner",
        "psql_pw": SecretStr(postgres.secret("loaner")),
        "psql_posting_user": "loaner_posting",
        "psql_posting_pw": SecretStr(postgres.secret("loaner_posting")),
        "psql_admin_user": SUPERUSER,
        "psql_admin_pw": SecretStr(postgres.secret(SUPERUSER)),
        "secret": settings.secret or SecretStr(postgres.secret("client")),
    }
    if "listen_host" not in settings.model_fields_set:
        chosen["listen_host"] = HOST
    return settings.model_copy(update=chosen)


def create_users(settings: Settings, postgres: EmbeddedPostgres) -> None:
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


def _load_sample(settings: Settings) -> None:
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
