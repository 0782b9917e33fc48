"""Commands that connect to Postgres with credentials from Vault, run as processes."""

import re
import signal
import threading
import time
from contextlib import closing

import pytest

from service.postgres.connect import connect
from tests.conftest import sql
from tests.fakes.vault.fake_vault import FakeVault, running
from tests.integration.service.vault.test_lease import roles
from tests.support.processes import reach, run, started
from tests.support.waiting import wait_until

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
LOGIN = ("POST", "/v1/auth/approle/login")


@pytest.fixture
def vault(settings):
    with running(FakeVault(settings, lease_s=60.0, max_s=600.0)) as server:
        yield server


@pytest.fixture
def variables(settings, vault):
    """Settings of a service without users and passwords of Postgres."""
    reached = {name: value for name, value in reach(settings).items() if not re.search("_USER$|_PW$", name)}
    return {**reached, "VAULT_ADDR": vault.url, "VAULT_ROLE_ID": "app", "VAULT_SECRET_ID": "right-secret",
            "VAULT_POSTING_ROLE": "posting", "VAULT_ADMIN_ROLE": "admin"}  # fmt: skip


def ledger(tmp_path) -> tuple[str, str]:
    """Write a loan that accrues 1.00 a day, with an event, and return both paths."""
    loans, events = tmp_path / "loans.csv", tmp_path / "events.csv"
    loans.write_text("loan_id,start_date,initial_amt,rate,day_count\n1,2020-01-01,100.00,3.65,ACT/365F\n")
    events.write_text("1,fee,2020-01-02,1.00\n")
    return str(loans), str(events)


def command_lines(tmp_path) -> dict[str, tuple[str, ...]]:
    """Return a command for each that connects to Postgres."""
    return {
        "migrate": ("migrate",),
        "load": ("load", *ledger(tmp_path), "--as", "Ann"),
        "accrue": ("accrue", "--date", "2020-01-03"),
        "accrue one loan": ("accrue", "--date", "2020-01-31", "--loan", "1", "--as", "Ann"),
        "accrue dry run": ("accrue", "--date", "2020-02-29", "--dry-run"),
        "portfolio": ("portfolio", "--date", "2020-01-03", "--file", str(tmp_path / "portfolio")),
        "portfolio known-at": ("portfolio", "--date", "2020-01-03", "--known-at", "2020-01-01T00:00:00Z"),
        "close": ("close", "--until", "2019-12-31", "--why", "a year's end"),
        "close list": ("close", "--list"),
        "demo": ("demo",),
    }


@pytest.mark.parametrize("is_batch", [False, True], ids=["service token", "batch token"])
def test_every_command_uses_a_user_of_vault_and_leaves_none(settings, admin, vault, variables, tmp_path, is_batch):
    vault.is_batch = is_batch
    users = {"migrate": "admin", "load": "posting", "accrue": "posting", "portfolio": "readonly", "close": "admin",
             "demo": "readonly"}  # fmt: skip
    for name, arguments in command_lines(tmp_path).items():
        done = run(*arguments, **variables, stdin="1\n2020-01-03\n")
        assert done.returncode == 0, (name, done.stderr)
        assert vault.made[-1].startswith(f"v-approle-{users[arguments[0]]}-")
        assert roles(settings) == set()
        assert "Traceback" not in done.stderr
    assert len(vault.made) == vault.requests.count(LOGIN) == len(command_lines(tmp_path))
    charged = "SELECT event_type, post_date::text, amt::text FROM loan_events ORDER BY version"
    assert sql(admin, charged) == [
        ("fee", "2020-01-02", "1.00"), ("interest", "2020-01-03", "2.00"), ("interest", "2020-01-31", "28.00")
    ]  # fmt: skip
    posted_by = "SELECT posted_by ~ '^v-approle-posting', posted_by ~ '\\(Ann\\)$' FROM loan_events ORDER BY version"
    assert sql(admin, posted_by) == [(True, True), (True, False), (True, True)]


def test_accrue_renews_its_user_until_it_has_charged(settings, admin, vault, variables, tmp_path):
    assert run("load", *ledger(tmp_path), **variables).returncode == 0
    vault.lease_s = 2.0
    renewal = ("PUT", "/v1/sys/leases/renew")
    with closing(connect(settings, "admin")) as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE loan_events IN EXCLUSIVE MODE")
        with started("accrue", "--date", "2020-01-03", **variables, USE_VAULT="true") as (process, read_log):
            wait_until(lambda: sql(admin, WAITING) == [(1,)])
            before = vault.requests.count(renewal)
            wait_until(lambda: vault.requests.count(renewal) >= before + 3)  # longer than one lease
            blocker.rollback()
            assert process.wait(20) == 0, read_log()
    charged = "SELECT posted_by, amt::text FROM loan_events WHERE event_type = 'interest'"
    assert sql(admin, charged) == [(vault.made[-1], "2.00")]
    assert roles(settings) == set()


def test_migrate_creates_tables_that_outlive_its_user(settings, vault, variables):
    with closing(connect(settings, "admin")) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    done = run("migrate", **variables)
    assert done.returncode == 0, done.stderr
    assert roles(settings) == set()
    with closing(connect(settings, "admin")) as connection:
        assert sql(connection, "SELECT count(*) FROM loans") == [(0,)]
        owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        assert sql(connection, owners) == [(settings.admin_user,)]


@pytest.mark.parametrize(
    "changes",
    [
        {"USE_VAULT": "false"},
        {"PSQL_PW": "password"},
        {"VAULT_ROLE_ID": "", "VAULT_SECRET_ID": ""},
    ],
    ids=["disabled", "password", "no login"],
)
def test_commands_use_the_users_in_the_settings_where_vault_is_not_used(settings, vault, variables, tmp_path, changes):
    chosen = {**reach(settings), **{n: v for n, v in variables.items() if n.startswith("VAULT")}, **changes}
    if "PSQL_PW" in changes:
        chosen["PSQL_PW"] = reach(settings)["PSQL_PW"]
    elif "USE_VAULT" not in changes:
        del chosen["PSQL_PW"]
    for name in ("load", "accrue", "close"):
        done = run(*command_lines(tmp_path)[name], **chosen)
        assert done.returncode == 0, done.stderr
    assert vault.requests == []


def test_commands_without_a_role_of_vault_use_the_users_in_the_settings(settings, vault, variables, tmp_path):
    chosen = {**reach(settings), **variables, "VAULT_POSTING_ROLE": "", "VAULT_ADMIN_ROLE": ""}
    for name in ("load", "accrue", "close"):
        done = run(*command_lines(tmp_path)[name], **chosen)
        assert done.returncode == 0, done.stderr
    assert vault.requests == []


def test_a_denied_role_is_one_line_that_names_path_and_role(vault, variables):
    done = run("migrate", **{**variables, "VAULT_ADMIN_ROLE": "owner"})
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert line.startswith(
        f"Error: Vault at {vault.url}: database/creds/owner as the AppRole app: permission denied; a policy"
    )
    assert set(vault.tokens) == {"root-token"}


@pytest.mark.parametrize("where", ["/login", "/creds/admin", "/revoke-self"])
def test_a_command_that_is_terminated_while_vault_answers_leaves_no_user(settings, vault, variables, where):
    ask, reached = vault.answer, threading.Event()

    def answer(method, path, token, body):
        reply = ask(method, path, token, body)
        if path.endswith(where):
            reached.set()
            time.sleep(1)  # the command has not received the reply when the signal arrives
        return reply

    vault.answer = answer
    with started("close", "--list", **variables) as (process, read_log):
        assert reached.wait(30), read_log()
        process.send_signal(signal.SIGTERM)
        expected = {-signal.SIGTERM, 0} if where == "/revoke-self" else {-signal.SIGTERM}  # it is done by then
        assert process.wait(20) in expected, read_log()
    assert roles(settings) == set()
    assert set(vault.tokens) == {"root-token"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_terminated_command_leaves_no_user(settings, admin, vault, variables, number):
    """The command waits for a lock when the signal arrives, so its main thread is in a call of libpq."""
    with closing(connect(settings, "admin")) as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE closed_periods IN ACCESS EXCLUSIVE MODE")
        arguments = ("close", "--until", "2019-12-31", "--why", "a year's end")
        with started(*arguments, **variables) as (process, read_log):
            wait_until(lambda: sql(admin, WAITING) == [(1,)])
            process.send_signal(number)
            if number == signal.SIGINT:
                blocker.rollback()  # an interrupt takes effect when the statement returns
            status = process.wait(20)
            assert status == (130 if number == signal.SIGINT else -number), read_log()
    assert roles(settings) == set()
