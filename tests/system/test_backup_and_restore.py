"""The commands of the guide back up and restore a ledger with every balance, to a dump and to a point in time.

A shell block of the guide belongs to the steps that its fence names. Compose's containers are replaced: a program
`docker` runs the commands of the container `database` here, and notes the others.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.postgres.server_identity import CLUSTER_ID, ServerIdentity
from service.settings import PostgresSettings
from service.standalone.embedded_postgres import HOST, EmbeddedPostgres
from service.standalone.environment import create_database
from tests.conftest import ROOT, load_ledger, sql
from tests.support.processes import environment, reach

GUIDE = (ROOT / "docs" / "guides" / "backup-and-restore.md").read_text()
TIMEOUT_S = 120.0
ROWS = """
    SELECT l.loan_id, l.currency, l.version, e.tx_id, e.post_date, e.amt, e.recorded_at
    FROM loans AS l LEFT JOIN loan_events AS e USING (loan_id) ORDER BY 1, 4
"""
_DOCKER = """#!/bin/sh
echo "$*" >>"$DOCKER_LOG"
case "$*" in
    "compose exec -T database "*) shift 4; exec "$@" ;;
esac
"""


def commands(step: str) -> str:
    """Return the commands of the guide's blocks that belong to a step."""
    blocks = re.findall(rf"(?ms)^ *```sh [a-z -]*{step}-test[a-z -]*\n(.*?)^ *```$", GUIDE)
    assert blocks, step
    return "set -euo pipefail\n" + "\n".join(textwrap.dedent(block) for block in blocks)


class Site:
    """A PostgreSQL server with a ledger as deploy/ sets it up, and a folder in which the guide's commands run."""

    def __init__(self, folder: Path, seed) -> None:
        self.folder = folder
        self.server = EmbeddedPostgres(seed.copy_to(folder / "postgres"))
        self.work = folder / "work"
        self.work.mkdir()
        self.secrets = self.work / "deploy" / "compose" / "secrets"
        self.secrets.mkdir(parents=True)
        self.settings = PostgresSettings(
            hosts=HOST, database="loaner", admin_user="loaner_owner", admin_password="owner", user="loaner",
            password="reader", posting_user="loaner_posting", posting_password="poster",
        )  # fmt: skip
        for name, value in {"psql_admin_pw": "owner", "psql_pw": "reader", "psql_posting_pw": "poster",
                            "vault_psql_pw": "vault"}.items():  # fmt: skip
            (self.secrets / name).write_text(value)
        (self.work / "deploy" / "postgres").symlink_to(ROOT / "deploy" / "postgres")
        (self.work / "service.py").symlink_to(ROOT / "service.py")
        (folder / "bin").mkdir()
        (folder / "bin" / "docker").write_text(_DOCKER)
        (folder / "bin" / "docker").chmod(0o755)
        (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (folder / "bin" / "python").chmod(0o755)
        if self.server._user is not None:
            for path in (self.server.home, self.work, *self.work.rglob("*")):
                os.chown(path, self.server._user.pw_uid, self.server._user.pw_gid, follow_symlinks=False)

    def start(self) -> None:
        self.server.start()
        self.settings = self.settings.replace(port=self.server.port)
        pgpass = self.work / ".pgpass"
        pgpass.write_text(f"*:*:*:postgres:{self.server.password}\n*:*:*:loaner_owner:owner\n")
        pgpass.chmod(0o600)
        if self.server._user is not None:
            os.chown(pgpass, self.server._user.pw_uid, self.server._user.pw_gid)
        with (self.server.data / "postgresql.conf").open("a") as file:
            file.write(f"port = {self.server.port}\n")  # for pg_ctl of the guide

    def fill(self) -> None:
        create_database(self.server, "loaner")
        self.run("SECRETS_DIR=deploy/compose/secrets psql -q -U postgres -d loaner -f deploy/postgres/users.sql")
        migrate(self.settings)
        with closing(connect(self.settings, "posting")) as connection:
            load_ledger(connection, self.work)

    def run(self, script: str, as_server: bool = False, **variables: str) -> str:
        """Run commands, optionally as the server's user, and return their output."""
        user = self.server._user if as_server else None
        places = {
            "PGHOST": HOST, "PGPORT": str(self.server.port), "PGPASSFILE": str(self.work / ".pgpass"),
            "PGDATA": str(self.server.data), "PATH": f"{self.folder / 'bin'}:{self.server._binaries}:/usr/bin:/bin",
            "DOCKER_LOG": str(self.work / "docker.log"),
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.work, capture_output=True, text=True, timeout=TIMEOUT_S,
            env=environment(**reach(self.settings)) | places | variables,
            user=user.pw_uid if user else None, group=user.pw_gid if user else None, extra_groups=[] if user else None,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def ledger(self, database: str = "loaner") -> list[tuple]:
        with closing(connect(self.settings.replace(database=database), "reader")) as connection:
            return sql(connection, ROWS)

    def portfolio(self, database: str = "loaner") -> str:
        file = self.work / f"{database}-portfolio"
        return self.run(f"python service.py portfolio --date 2020-12-31 --file {shlex.quote(str(file))}",
                        PSQL_DB=database)  # fmt: skip

    def identity(self, database: str = "loaner") -> str:
        superuser = {"user": "postgres", "password": self.server.password}
        address = {"host": HOST, "port": self.server.port, "dbname": database}
        with closing(psycopg2.connect(**address, **superuser)) as connection:
            return sql(connection, f"SELECT {CLUSTER_ID}")[0][0]

    def create_loan(self, loan_id: int) -> None:
        with closing(connect(self.settings, "posting")) as connection:
            sql(connection, f"SELECT create_loans('{{{loan_id}}}', '{{2020-01-01}}', '{{5}}', '{{EUR}}')")


@pytest.fixture
def site(cluster_seed):
    folder = Path(tempfile.mkdtemp(prefix="loaner-site-"))
    folder.chmod(0o755)
    site = Site(folder, cluster_seed)
    try:
        site.start()
        site.fill()
        yield site
    finally:
        site.server.stop("immediate")
        shutil.rmtree(folder)


@pytest.fixture
def new_site(cluster_seed):
    """A server on which nothing was set up."""
    folder = Path(tempfile.mkdtemp(prefix="loaner-site-"))
    folder.chmod(0o755)
    site = Site(folder, cluster_seed)
    try:
        site.start()
        yield site
    finally:
        site.server.stop("immediate")
        shutil.rmtree(folder)


@pytest.mark.timeout(240)
def test_a_dump_restores_every_balance_beside_the_ledger_and_on_a_new_server(site, new_site):
    before, report = site.ledger(), site.portfolio()
    assert len(before) >= 5
    assert "USD" in report
    output = site.run(commands("backup"))
    assert site.portfolio("loaner_restored") in output
    assert site.portfolio("loaner_restored") == report
    assert site.ledger("loaner_restored") == before
    assert site.identity("loaner_restored") != site.identity()

    dump = site.work / "loaner.dump"
    whole = dump.read_bytes()
    dump.write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(AssertionError, match="pg_restore: error"):
        site.run(commands("check"))
    dump.write_bytes(whole)

    shutil.copy(dump, new_site.work)
    new_site.run(commands("new-server"))
    assert new_site.ledger("loaner_restored") == before
    assert new_site.portfolio("loaner_restored") == report
    restored, new_site.settings = new_site.settings, new_site.settings.replace(database="loaner_restored")
    new_site.create_loan(77)  # the users may post
    new_site.settings = restored

    site.create_loan(77)
    site.run(commands("rename"))
    assert site.ledger() == before
    assert len(site.ledger("loaner_old")) == len(before) + 1


@pytest.mark.timeout(240)
def test_the_commands_for_compose_restore_every_balance(site):
    before = site.ledger()
    site.run(commands("compose"))
    assert site.ledger() == before
    assert site.ledger("loaner_old") == before
    assert (site.work / "loaner-secrets.tar.gz").stat().st_size > 0
    steps = (site.work / "docker.log").read_text().splitlines()
    stop = steps.index("compose stop app")
    assert stop < next(i for i, step in enumerate(steps) if "RENAME" in step) < len(steps) - 1
    assert steps[-1] == "compose up --detach --wait"


@pytest.mark.timeout(300)
def test_a_point_in_time_is_restored_with_everything_before_and_nothing_after(site):
    places = {"ARCHIVE": str(site.work / "archive")}
    site.run(commands("pitr-setup"), as_server=True, **places)
    site.run(commands("pitr-base"), as_server=True, **places)
    (base,) = (site.work / "archive").glob("base-*")
    site.create_loan(77)
    wanted, identity = site.ledger(), ServerIdentity.parse(site.identity(), False)
    time.sleep(1)
    target = site.run("psql -U postgres -d postgres -Atc 'SELECT clock_timestamp()'").strip()
    time.sleep(1)
    site.create_loan(78)  # a posting by mistake
    assert len(site.ledger()) == len(wanted) + 1

    site.run(commands("pitr-restore"), as_server=True, BASE=str(base), TARGET=target, **places)
    assert site.ledger() == wanted
    restored = ServerIdentity.parse(site.identity(), False)
    assert restored.system == identity.system
    assert restored.wal_timeline > identity.wal_timeline  # so that caches and instances distinguish the histories
    assert "2020-12-31" in site.portfolio()
    site.create_loan(79)
    site.run(commands("pitr-base"), as_server=True, **places)  # archiving continues
