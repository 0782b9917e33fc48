"""The embedded PostgreSQL: data survives stops and kills, and the server runs as an ordinary user."""

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from service.standalone.embedded_postgres import HOST, EmbeddedPostgres, EmbeddedPostgresError
from tests.conftest import sql
from tests.support.run_folder import also_remove
from tests.support.waiting import wait_until


@pytest.fixture
def home():
    """A folder that an ordinary user can access."""
    folder = Path(tempfile.mkdtemp(prefix="loaner-embedded-"))
    folder.chmod(0o755)
    yield folder / "postgres"
    shutil.rmtree(folder)


@pytest.fixture
def used_home(home, cluster_seed):
    """The same, with a cluster in it that was never started."""
    return cluster_seed.copy_to(home)


def connect(server: EmbeddedPostgres, password: str | None = None):
    return psycopg2.connect(
        host=HOST, port=server.port, user="postgres", dbname="postgres", password=password or server.password
    )


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().splitlines()[0])


def test_data_survives_a_stop_and_a_kill(home, caplog):
    caplog.set_level("INFO", "service.standalone")
    server = EmbeddedPostgres(home)
    server.start()
    assert "creating the database in" in caplog.text
    assert re.search(r"created the database in \d+ s; later starts skip this", caplog.text)
    caplog.clear()
    try:
        with closing(connect(server)) as connection:
            sql(connection, "CREATE TABLE kept (value int)")
            sql(connection, "INSERT INTO kept VALUES (1)")
        server.stop()
        assert not server.attach()
        server.start()
        assert "creat" not in caplog.text
        with closing(connect(server)) as connection:
            sql(connection, "INSERT INTO kept VALUES (2)")
        os.kill(postmaster(server), signal.SIGKILL)
        again = EmbeddedPostgres(home)
        again.start()
        with closing(connect(again)) as connection:
            assert sql(connection, "SELECT value FROM kept ORDER BY 1") == [(1,), (2,)]
    finally:
        server.stop()


def test_the_server_of_a_killed_run_is_used_again(used_home):
    server = EmbeddedPostgres(used_home)
    server.start()
    try:
        successor = EmbeddedPostgres(used_home)
        successor.start()
        assert (successor.port, postmaster(successor)) == (server.port, postmaster(server))
        successor.stop()
        assert not server.attach()
    finally:
        server.stop()


def test_a_stale_port_that_another_program_uses_is_not_mistaken_for_the_server(used_home):
    server = EmbeddedPostgres(used_home)
    server.start()
    server.stop()
    with socket.create_server((HOST, 0)) as other_program:
        stale = ["999999", str(server.data), "1", str(other_program.getsockname()[1]), "", HOST, "0", "ready"]
        (server.data / "postmaster.pid").write_text("\n".join(stale) + "\n")
        threading.Thread(target=lambda: other_program.accept()[0].close()).start()
        server.start()
    try:
        assert server.port != stale[3]
        with closing(connect(server)) as connection:
            assert sql(connection, "SELECT 1") == [(1,)]
    finally:
        server.stop()


@pytest.mark.parametrize(("content", "problem"), [(None, "missing"), ('{"postgres": ', "cannot be read")])
def test_a_lost_file_of_passwords_is_named(used_home, content, problem):
    server = EmbeddedPostgres(used_home)
    server.start()
    server.stop()
    passwords = server.home / "passwords.json"
    passwords.unlink()
    if content is not None:
        passwords.write_text(content)
    with pytest.raises(EmbeddedPostgresError, match=f"passwords.json {'is ' if content is None else ''}{problem}"):
        _ = server.password


def test_the_server_listens_on_loopback_only_and_requires_a_password(postgres):
    with closing(connect(postgres)) as connection:
        assert sql(connection, "SHOW listen_addresses") == [(HOST,)]
        assert sql(connection, "SHOW unix_socket_directories") == [("",)]
        assert sql(connection, "SHOW password_encryption") == [("scram-sha-256",)]
        kinds = {row[0] for row in sql(connection, "SELECT auth_method FROM pg_hba_file_rules")}
        assert kinds == {"scram-sha-256"}
    with pytest.raises(psycopg2.OperationalError, match="password"):
        connect(postgres, "wrong")


def test_only_the_owner_can_read_the_passwords(postgres):
    assert stat.S_IMODE((postgres.home / "passwords.json").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root switches to an ordinary user")
def test_root_runs_the_server_as_an_ordinary_user(postgres):
    owner = Path(f"/proc/{postmaster(postgres)}").stat().st_uid
    assert owner != 0
    assert postgres.data.stat().st_uid == owner
    assert pwd.getpwuid(owner).pw_name in ("postgres", "nobody")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can use folders that others cannot access")
def test_a_folder_that_only_root_can_access_keeps_its_mode():
    closed = Path(tempfile.mkdtemp(prefix="loaner-closed-"))  # mkdtemp creates it with mode 0700
    server = EmbeddedPostgres(closed / "postgres")
    also_remove(server.home)
    try:
        server.start()
        with closing(connect(server)) as connection:
            assert sql(connection, "SELECT 1") == [(1,)]
        assert server.home.parent == Path("/var/lib/loaner")
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        server.stop()
        shutil.rmtree(server.home, ignore_errors=True)
        shutil.rmtree(closed)


def test_data_of_another_major_version_is_rejected_with_its_version(used_home):
    server = EmbeddedPostgres(used_home)
    server.start()
    server.stop()
    (server.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match="belongs to PostgreSQL 9"):
        server.start()


def test_an_interrupted_initdb_is_repeated(home):
    server = EmbeddedPostgres(home)
    (home / "data").mkdir(parents=True)
    (home / "data" / "half").touch()
    try:
        server.start()
        with closing(connect(server)) as connection:
            assert sql(connection, "SELECT 1") == [(1,)]
    finally:
        server.stop()


def test_the_error_of_a_failed_start_has_the_end_of_the_log(used_home, monkeypatch):
    server = EmbeddedPostgres(used_home)
    server.start()
    server.stop()
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    monkeypatch.setattr("service.standalone.embedded_postgres.START_RETRY_S", 0)
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        server.start()


def test_a_killed_server_starts_again_on_its_port(used_home):
    server = EmbeddedPostgres(used_home)
    server.start()
    try:
        port = server.port
        with closing(connect(server)):  # a connection that lingers on the port
            os.kill(postmaster(server), signal.SIGKILL)
            wait_until(lambda: not server.is_listening())
        server.start_again()
        assert (server.port, server.is_listening()) == (port, True)
    finally:
        server.stop()


def test_a_killed_server_whose_port_is_taken_starts_on_another_one(used_home):
    server = EmbeddedPostgres(used_home)
    server.start()
    try:
        port = server.port
        os.kill(postmaster(server), signal.SIGKILL)
        wait_until(lambda: not server.is_listening())
        with socket.create_server((HOST, port)):
            server.start_again()
        assert server.port != port
    finally:
        server.stop()
