"""Privileges of the database users, and of those that Vault creates, in a real PostgreSQL."""

import os
import subprocess
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.settings import PostgresSettings
from service.standalone.embedded_postgres import HOST, EmbeddedPostgres, find_binaries
from service.standalone.environment import create_database
from tests.conftest import ROOT, sql

DATABASE = "deployed"


@pytest.fixture(scope="module")
def deployed(postgres: EmbeddedPostgres, tmp_path_factory) -> PostgresSettings:
    """A database with users and tables as docker-compose.yml creates them."""
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
    for _ in range(2):  # the script is idempotent
        done = subprocess.run(
            ["sh", ROOT / "deploy" / "postgres" / "users.sh"], env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    settings = PostgresSettings(
        hosts=HOST, port=postgres.port, database=DATABASE,
        admin_user="loaner_owner", admin_password=passwords["psql_admin_pw"],
        user="loaner", password=passwords["psql_pw"],
        posting_user="loaner_posting", posting_password=passwords["psql_posting_pw"],
    )  # fmt: skip
    migrate(settings)
    return settings


@pytest.fixture
def vault(deployed, postgres):
    """A connection as the user with which Vault creates others."""
    password = 'vault\'s "password"'
    address = {"host": HOST, "port": postgres.port, "dbname": DATABASE}
    with closing(psycopg2.connect(**address, user="vault", password=password)) as connection:
        yield connection


def connect_as_new_user(vault: Connection, role: str) -> Connection:
    """Create a user as Vault does for a role, and connect as that user."""
    variables = {"name": f"v-{role}", "password": "generated", "expiration": "2099-01-01 00:00:00+00"}
    sql(vault, render(role, variables))
    port = vault.info.port
    return psycopg2.connect(
        host=HOST, port=port, dbname=DATABASE, user=variables["name"], password=variables["password"]
    )


def render(name: str, variables: dict[str, str]) -> str:
    statement = (ROOT / "deploy" / "vault" / f"{name}.sql").read_text()
    for variable, value in variables.items():
        statement = statement.replace("{{" + variable + "}}", value)
    assert "{{" not in statement
    return statement


def may(connection: Connection, privilege: str) -> bool:
    (row,) = sql(connection, f"SELECT {privilege}")
    return bool(row[0])


READS = "has_table_privilege('loan_events', 'SELECT')"
POSTS = "has_function_privilege((SELECT oid FROM pg_proc WHERE proname = 'post_events'), 'EXECUTE')"
CREATES = "has_schema_privilege('public', 'CREATE')"


@pytest.mark.parametrize(("role", "may_post"), [("reader", False), ("posting", True), ("admin", True)])
def test_each_user_has_only_the_privileges_of_its_role(deployed, role, may_post):
    with closing(connect(deployed, role)) as connection:
        assert may(connection, READS)
        assert may(connection, POSTS) == may_post
        assert may(connection, CREATES) == (role == "admin")
        assert not may(connection, "rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")


@pytest.mark.parametrize(("role", "may_post"), [("readonly", False), ("posting", True)])
def test_vault_user_has_only_the_privileges_of_its_role_and_can_be_revoked(vault, role, may_post):
    with closing(connect_as_new_user(vault, role)) as connection:
        assert may(connection, READS)
        assert may(connection, POSTS) == may_post
        assert not may(connection, CREATES)
    sql(vault, f"ALTER ROLE \"v-{role}\" VALID UNTIL '2100-01-01'")  # as Vault does to renew
    sql(vault, render("revoke", {"name": f"v-{role}"}))
    assert sql(vault, "SELECT FROM pg_roles WHERE rolname = %s", f"v-{role}") == []


def test_vault_creates_no_administrator_unless_an_administrator_allows_it(vault):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        connect_as_new_user(vault, "admin")


def test_administrator_of_vault_migrates_and_can_be_revoked(deployed, vault, postgres):
    superuser = {"host": HOST, "port": postgres.port, "dbname": DATABASE, "user": "postgres"}
    with closing(psycopg2.connect(**superuser, password=postgres.password)) as connection:
        sql(connection, "GRANT loaner_owner TO vault WITH ADMIN OPTION")  # as docs/guides/vault.md says
        try:
            with closing(connect_as_new_user(vault, "admin")) as admin:
                assert may(admin, "session_user = 'v-admin' AND current_user = 'loaner_owner'")
                assert not may(admin, "rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = session_user")
                sql(admin, "CREATE TABLE created_by_vault ()")
            migrate(deployed.replace(admin_user="v-admin", admin_password="generated"))
            sql(vault, render("revoke", {"name": "v-admin"}))
            owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'created_by_vault'"
            assert sql(connection, owner) == [("loaner_owner",)]
            sql(connection, "DROP TABLE created_by_vault")
        finally:
            sql(connection, "REVOKE loaner_owner FROM vault")


def test_vault_is_not_a_superuser(vault):
    assert not may(vault, "rolsuper FROM pg_roles WHERE rolname = current_user")
    assert not may(vault, CREATES)
