"""The users of the ledger's database, and those that Vault makes: what each may do, in a real PostgreSQL."""

import os
import subprocess
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.settings import Settings, load_settings
from service.standalone.embedded_postgres import HOST, EmbeddedPostgres, find_binaries
from service.standalone.environment import create_database
from tests.conftest import ROOT, sql

DATABASE = "deployed"


@pytest.fixture(scope="module")
def deployed(postgres: EmbeddedPostgres, tmp_path_factory) -> Settings:
    """A database whose users and tables were made as docker-compose.yml has them made."""
    create_database(postgres, DATABASE)
    secrets = tmp_path_factory.mktemp("secrets")
    passwords = {
        "postgres_pw": postgres.password, "psql_admin_pw": "owner-password", "psql_pw": postgres.secret("loaner"),
        "psql_posting_pw": postgres.secret("loaner_posting"), "vault_psql_pw": "vault's \"password\"",
    }  # fmt: skip
    for name, password in passwords.items():
        (secrets / name).write_text(password)
    environment = {
        "PATH": f"{find_binaries()}:{os.environ['PATH']}", "SECRETS_DIR": str(secrets), "PGHOST": HOST,
        "PGPORT": str(postgres.port), "PGUSER": "postgres", "PGDATABASE": DATABASE,
    }  # fmt: skip
    for _ in range(2):  # safe to run again
        done = subprocess.run(
            ["sh", ROOT / "deploy" / "postgres" / "users.sh"], env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    chosen = load_settings(
        psql_host=HOST, psql_port=postgres.port, psql_db=DATABASE,
        psql_admin_user="loaner_owner", psql_admin_pw=passwords["psql_admin_pw"],
        psql_user="loaner", psql_pw=passwords["psql_pw"],
        psql_posting_user="loaner_posting", psql_posting_pw=passwords["psql_posting_pw"],
    )  # fmt: skip
    migrate(chosen)
    return chosen


@pytest.fixture
def vault(deployed, postgres):
    """A connection of the user that Vault makes others with."""
    password = 'vault\'s "password"'
    reached = {"host": HOST, "port": postgres.port, "dbname": DATABASE}
    with closing(psycopg2.connect(**reached, user="vault", password=password)) as connection:
        yield connection


def made_by(vault: Connection, role: str) -> Connection:
    """A connection of a user that Vault has made for a role."""
    told = {"name": f"v-{role}", "password": "made", "expiration": "2099-01-01 00:00:00+00"}
    sql(vault, filled(role, told))
    port = vault.info.port
    return psycopg2.connect(host=HOST, port=port, dbname=DATABASE, user=told["name"], password=told["password"])


def filled(name: str, told: dict[str, str]) -> str:
    statement = (ROOT / "deploy" / "vault" / f"{name}.sql").read_text()
    for variable, value in told.items():
        statement = statement.replace("{{" + variable + "}}", value)
    assert "{{" not in statement
    return statement


def may(connection: Connection, what: str) -> bool:
    (row,) = sql(connection, f"SELECT {what}")
    return bool(row[0])


READS = "has_table_privilege('loan_events', 'SELECT')"
POSTS = "has_function_privilege((SELECT oid FROM pg_proc WHERE proname = 'post_events'), 'EXECUTE')"
CREATES = "has_schema_privilege('public', 'CREATE')"


@pytest.mark.parametrize(("role", "may_post"), [("reader", False), ("posting", True), ("admin", True)])
def test_each_user_may_do_what_it_is_for(deployed, role, may_post):
    with closing(connect(deployed, role)) as connection:
        assert may(connection, READS)
        assert may(connection, POSTS) == may_post
        assert may(connection, CREATES) == (role == "admin")
        assert not may(connection, "rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")


@pytest.mark.parametrize(("role", "may_post"), [("readonly", False), ("posting", True)])
def test_whom_vault_makes_may_do_what_the_role_is_for_and_goes_again(vault, role, may_post):
    with closing(made_by(vault, role)) as connection:
        assert may(connection, READS)
        assert may(connection, POSTS) == may_post
        assert not may(connection, CREATES)
    sql(vault, f"ALTER ROLE \"v-{role}\" VALID UNTIL '2100-01-01'")  # which is how Vault renews
    sql(vault, filled("revoke", {"name": f"v-{role}"}))
    assert sql(vault, "SELECT FROM pg_roles WHERE rolname = %s", f"v-{role}") == []


def test_vault_itself_is_no_superuser(vault):
    assert not may(vault, "rolsuper FROM pg_roles WHERE rolname = current_user")
    assert not may(vault, CREATES)
