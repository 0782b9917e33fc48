"""A PostgreSQL primary and streaming replicas that tests stop, start, promote and pause."""

import os
import shutil
import signal
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg2

from service.postgres.migrate import migrate
from service.settings import PostgresSettings
from service.standalone.embedded_postgres import HOST, SUPERUSER, EmbeddedPostgres
from service.standalone.environment import DATABASE, create_database, create_users, settings_of

TIMEOUT_S = 40
# Their data need not survive a crash of the machine, and a replica looks for its primary often.
_HASTE = "fsync = off\nwal_init_zero = off\nwal_keep_size = 64MB\nwal_retrieve_retry_interval = 100ms\n"


class Server(EmbeddedPostgres):
    """A server that keeps its port when it is started again."""

    def stop(self, mode: str = "fast") -> None:
        """Stop the server if it runs.

        Args:
            mode: pg_ctl's shutdown mode; "immediate" simulates a crash.
        """
        if (self.data / "postmaster.pid").exists():
            self.control("stop", "-m", mode)

    def start_again(self) -> None:
        """Start the server on the same port unless it runs."""
        if not (self.data / "postmaster.pid").exists():
            assert self._pg_ctl_start(), self.log_end()

    def freeze(self) -> None:
        """Suspend all processes of the server: it accepts connections and never answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume all processes of the server."""
        self._signal(signal.SIGCONT)

    def come_back_as_replica_of(self, other: "Server") -> None:
        """Start again as a replica of another server, even if the histories diverged."""
        signal_file = self.data / "standby.signal"
        signal_file.touch()
        if self._user is not None:
            os.chown(signal_file, self._user.pw_uid, self._user.pw_gid)
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"\nprimary_conninfo = '{other.origin}'\n")
        self.start_again()

    @property
    def origin(self) -> str:
        """The connection string that replicas use."""
        return f"host={HOST} port={self.port} user={SUPERUSER} password={self.password}"

    def _signal(self, number: signal.Signals) -> None:
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, number)  # first, so that it starts no more children
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), number)

    def _create(self) -> None:
        super()._create()
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_HASTE)

    def control(self, action: str, *arguments: str) -> None:
        """Run a pg_ctl action and wait for its end."""
        done = self._run("pg_ctl", action, "-D", str(self.data), "-w", "-t", "30", *arguments)
        assert done.returncode == 0, done.stdout + self.log_end()

    def ask(self, sql: str) -> object:
        """Run a query as superuser and return the first column of its first row, or None without rows."""
        reach = {"host": HOST, "port": self.port, "user": SUPERUSER, "password": self.password, "dbname": DATABASE}
        with closing(psycopg2.connect(**reach)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                row = cursor.fetchone() if cursor.description else None
        return row and row[0]


class Replica(Server):
    """A server that streams from a primary until it is promoted."""

    def __init__(self, home: Path, primary: Server) -> None:
        super().__init__(home)
        self._primary = primary

    def secret(self, name: str) -> str:
        """Return the primary's password: users are replicated."""
        return self._primary.secret(name)

    def promote(self) -> None:
        """Promote the replica; its connections stay open."""
        self.control("promote")

    def pause(self) -> None:
        """Pause replay."""
        self.ask("SELECT pg_wal_replay_pause()")
        self._until("SELECT pg_get_wal_replay_pause_state() = 'paused'")

    def resume(self) -> None:
        """Resume replay."""
        self.ask("SELECT pg_wal_replay_resume()")

    def follow(self, other: Server) -> None:
        """Stream from another server."""
        self.ask(f"ALTER SYSTEM SET primary_conninfo = '{other.origin}'")
        self.ask("SELECT pg_reload_conf()")
        self._until("SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')")

    def detach(self) -> None:
        """Stop streaming, so that later commits of the primary are lost with it."""
        self.ask("ALTER SYSTEM SET primary_conninfo = ''")
        self.ask("SELECT pg_reload_conf()")
        self._until("SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")

    def catch_up(self) -> None:
        """Wait until everything that the primary has committed so far is replayed."""
        self._until(f"SELECT pg_last_wal_replay_lsn() >= '{self._primary.ask('SELECT pg_current_wal_flush_lsn()')}'")

    def _until(self, condition: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not self.ask(condition):
            assert time.monotonic() < deadline, condition
            time.sleep(0.01)

    def _create(self) -> None:
        self.data.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(self.data, self._user.pw_uid, self._user.pw_gid)
        made = self._run(
            "pg_basebackup", "-D", str(self.data), "-R", "-c", "fast", "--no-sync", "-d", self._primary.origin
        )
        assert made.returncode == 0, made.stdout


@contextmanager
def running(server: Server):
    """Run a server; stop and remove it at the end."""
    try:
        server.start()
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(server.home)


@contextmanager
def primary_of_its_own():
    """Run a primary with the service's tables and users."""
    folder = Path(tempfile.mkdtemp(prefix="loaner-tests-"))
    folder.chmod(0o755)
    try:
        with running(Server(folder / "primary")) as primary:
            create_database(primary, DATABASE)
            chosen = settings_of(primary)
            migrate(chosen)
            create_users(chosen, primary)
            yield primary
    finally:
        shutil.rmtree(folder)


@contextmanager
def replica_of(primary: Server):
    """Run a replica that has caught up; remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="replica-", dir=primary.home.parent))
    folder.chmod(0o755)
    with running(Replica(folder / "server", primary)) as replica:
        replica.catch_up()
        yield replica


def reaching(*servers: Server) -> PostgresSettings:
    """Return settings that name these servers in this order."""
    hosts = ", ".join(f"{HOST}:{server.port}" for server in servers)
    return settings_of(servers[0]).replace(hosts=hosts)
