"""The embedded PostgreSQL: what it holds survives stops and kills, and it runs as an ordinary user."""

import os
import pwd
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


@pytest.fixture
def home():
    """A folder that an ordinary user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="loaner-embedded-"))
    folder.chmod(0o755)
    yield folder / "postgres"
    shutil.rmtree(folder)


def connect(server: EmbeddedPostgres, password: str | None = None):
    return psycopg2.connect(
        host=HOST, port=server.port, user="postgres", dbname="postgres", password=password or server.password
    )


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().splitlines()[0])


def test_data_survives_a_stop_and_a_kill(home):
    server = EmbeddedPostgres(home)
    server.start()
    try:
        with closing(connect(server)) as connection:
            sql(connection, "CREATE TABLE kept (value int)")
            sql(connection, "INSERT INTO kept VALUES (1)")
        server.stop()
        assert not server.find()
        server.start()
        with closing(connect(server)) as connection:
            sql(connection, "INSERT INTO kept VALUES (2)")
        os.kill(postmaster(server), signal.SIGKILL)
        again = EmbeddedPostgres(home)
        again.start()
        with closing(connect(again)) as connection:
            assert sql(connection, "SELECT value FROM kept ORDER BY 1") == [(1,), (2,)]
    finally:
        server.stop()


def test_a_server_that_a_killed_run_left_behind_is_taken_over(home):
    server = EmbeddedPostgres(home)
    server.start()
    try:
        successor = EmbeddedPostgres(home)
        successor.start()
        assert (successor.port, postmaster(successor)) == (server.port, postmaster(server))
        successor.stop()
        assert not server.find()
    finally:
        server.stop()


def test_a_port_that_is_somebody_elses_by_now_is_not_taken_for_ours(home):
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    with socket.create_server((HOST, 0)) as stranger:
        stale = ["999999", str(server.data), "1", str(stranger.getsockname()[1]), "", HOST, "0", "ready"]
        (server.data / "postmaster.pid").write_text("\n".join(stale) + "\n")
        threading.Thread(target=lambda: stranger.accept()[0].close()).start()
        server.start()
    try:
        assert server.port != stale[3]
        with closing(connect(server)) as connection:
            assert sql(connection, "SELECT 1") == [(1,)]
    finally:
        server.stop()


@pytest.mark.parametrize(("content", "said"), [(None, "missing"), ('{"postgres": ', "cannot be read")])
def test_passwords_that_are_lost_are_named(home, content, said):
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    passwords = server.home / "passwords.json"
    passwords.unlink()
    if content is not None:
        passwords.write_text(content)
    with pytest.raises(EmbeddedPostgresError, match=f"passwords.json {'is ' if content is None else ''}{said}"):
        _ = server.password


def test_it_listens_on_loopback_alone_and_wants_a_password(postgres):
    with closing(connect(postgres)) as connection:
        assert sql(connection, "SHOW listen_addresses") == [(HOST,)]
        assert sql(connection, "SHOW unix_socket_directories") == [("",)]
        assert sql(connection, "SHOW password_encryption") == [("scram-sha-256",)]
        kinds = {row[0] for row in sql(connection, "SELECT auth_method FROM pg_hba_file_rules")}
        assert kinds == {"scram-sha-256"}
    with pytest.raises(psycopg2.OperationalError, match="password"):
        connect(postgres, "wrong")


def test_the_passwords_are_for_their_owner_only(postgres):
    assert stat.S_IMODE((postgres.home / "passwords.json").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_for_root_it_runs_as_somebody_else(postgres):
    owner = Path(f"/proc/{postmaster(postgres)}").stat().st_uid
    assert owner != 0
    assert postgres.data.stat().st_uid == owner
    assert pwd.getpwuid(owner).pw_name in ("postgres", "nobody")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root works in folders that others cannot reach")
def test_a_folder_that_only_root_can_reach_stays_closed():
    closed = Path(tempfile.mkdtemp(prefix="loaner-closed-"))  # made with mode 0700
    server = EmbeddedPostgres(closed / "postgres")
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


def test_data_of_another_major_version_is_left_alone_and_named(home):
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    (server.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match="belongs to PostgreSQL 9"):
        server.start()


def test_an_initdb_that_was_interrupted_is_done_again(home):
    server = EmbeddedPostgres(home)
    (home / "data").mkdir(parents=True)
    (home / "data" / "half").touch()
    try:
        server.start()
        with closing(connect(server)) as connection:
            assert sql(connection, "SELECT 1") == [(1,)]
    finally:
        server.stop()


def test_a_server_that_does_not_start_shows_the_end_of_its_log(home, monkeypatch):
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    monkeypatch.setattr("service.standalone.embedded_postgres.START_PATIENCE_S", 0)
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        server.start()
