"""A real PgBouncer, the pooler in Debian's package of the same name, on a free loopback port."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.settings import PostgresSettings
from service.standalone.embedded_postgres import HOST
from tests.support.ports import free_port

START_S = 40
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="install pgbouncer to run this")


class PgBouncer:
    """A pooler in front of a database.

    Args:
        folder: A new folder for its configuration.
        settings: The database, and its users with their passwords.
        mode: The mode of pooling: session, transaction or statement.
    """

    def __init__(self, folder: Path, settings: PostgresSettings, mode: str) -> None:
        self.port = free_port()
        self.settings = settings.replace(hosts=HOST, port=self.port)
        self._behind = settings
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        users = [
            (settings.user, settings.password),
            (settings.posting_user, settings.posting_password),
            (settings.admin_user, settings.admin_password),
        ]
        lines = [f'"{user}" "{password.get_secret_value()}"\n' for user, password in users if _is_complete(password)]
        (folder / "users.txt").write_text("".join(lines))
        self._write(mode)

    def start(self) -> None:
        """Start the pooler and wait until it accepts connections."""
        assert PROGRAM is not None
        user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to be root
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen([PROGRAM, "-q", *user, str(self._configuration)], stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"pgbouncer did not start: {(self._folder / 'log').read_text()}")

    def stop(self) -> None:
        """Stop the pooler with all its connections."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def change_mode(self, mode: str) -> None:
        """Change the mode of the running pooler, as an operator does. Connections stay open."""
        self._write(mode)
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    @property
    def _configuration(self) -> Path:
        return self._folder / "pgbouncer.ini"

    def _write(self, mode: str) -> None:
        self._configuration.write_text(
            f"""
[databases]
* = host={self._behind.hosts} port={self._behind.port}
[pgbouncer]
listen_addr = {HOST}
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {self._folder / "users.txt"}
pool_mode = {mode}
default_pool_size = 20
"""
        )


def _is_complete(password: SecretStr | None) -> bool:
    return password is not None


@contextmanager
def pgbouncer(settings: PostgresSettings, mode: str) -> Iterator[PgBouncer]:
    """Run a pooler; stop and remove it at the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        pooler = PgBouncer(folder, settings, mode)
        try:
            pooler.start()
            yield pooler
        finally:
            pooler.stop()
