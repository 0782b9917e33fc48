"""Credentials from Vault, against a stand-in that makes real roles of Postgres."""

import json
import threading
import time
from contextlib import closing, contextmanager

import pytest
from pydantic import SecretStr

from service.errors import DatabaseUnavailable, SettingsError
from service.postgres.connect import connect
from service.postgres.pool import ConnectionPool
from service.settings import Login, PostgresSettings, VaultSettings
from service.vault import login
from service.vault.lease import VaultLease
from service.vault.login import VaultUnavailable, vault_url
from service.vault.shared_credentials import SharedCredentials
from tests.conftest import ROOT, sql
from tests.fakes.vault.fake_vault import DENIED, StandInVault, running

RECORDING = ROOT / "tests/fakes/vault/recordings/vault-1.8.json"


@pytest.fixture
def vault(settings):
    with running(StandInVault(settings)) as server:
        yield server


def configured(vault, **changes) -> VaultSettings:
    return VaultSettings(**{"addr": vault.url, "role_id": "app", "secret_id": "right-secret", **changes})


def without_reader(settings: PostgresSettings) -> PostgresSettings:
    """Return settings whose own reader cannot log in, so that only Vault's can."""
    return settings.replace(user="nobody", password=None)


@contextmanager
def leased(settings: VaultSettings, timeout_s: float = 2):
    """Credentials that are kept alive meanwhile: the lease, and where they are published."""
    shared = SharedCredentials()
    lease = VaultLease(settings, settings.role, shared)
    lease.start(timeout_s)
    try:
        yield lease, shared
    finally:
        lease.stop()


def until(condition, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def roles(settings) -> set[str]:
    with closing(connect(settings, "admin")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-approle-%'")
        return {name for (name,) in cursor.fetchall()}


def test_the_stand_in_answers_as_the_recorded_server(settings, say):
    """Statuses, errors, and the members that are read, of every recorded exchange."""
    vault, tokens, leases, compared = StandInVault(settings), {"<root-token>": "root-token", "s.bad": "s.bad"}, {}, 0
    for scenario in json.loads(RECORDING.read_text())["scenarios"]:
        vault.sealed = scenario["name"] == "sealed"
        for step in scenario["steps"]:
            asked, told = step["request"], step["response"]
            body = dict(asked.get("json") or {})
            if body.get("secret_id") == "<secret-id>":
                body["secret_id"] = vault.secret_id
            if told.get("json", {}) and told["json"].get("errors") == ["lease not found"]:
                body["lease_id"] = "gone"
            elif "lease_id" in body:
                body["lease_id"] = leases.get("last", "gone")
            token = (asked.get("headers") or {}).get("X-Vault-Token")
            status, members = vault.answer(asked["method"], asked["path"], tokens.get(token) if token else None, body)
            assert status == told["status"], (scenario["name"], asked, members)
            compared += 1
            expected = told.get("json") or {}
            assert (members or {}).get("errors") == expected.get("errors")
            if expected.get("auth"):
                tokens["<client-token>"] = members["auth"]["client_token"]
                assert members["auth"]["renewable"] == expected["auth"]["renewable"]
                assert members["auth"]["lease_duration"] == expected["auth"]["lease_duration"]
            if expected.get("lease_id") and expected.get("data"):
                leases["last"] = members["lease_id"]
                assert set(members["data"]) == set(expected["data"])
                assert members["lease_duration"] == expected["lease_duration"]
    for lease_id in list(vault.leases):
        vault.revoke(lease_id)
    say(f"vault-1.8: {compared} recorded exchanges answered alike")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"role_id": None, "token": SecretStr("root-token")},
        {"secret_id": None, "secret_id_file": "secret"},
        {"role_id": None, "token_file": "token"},
        {"role_id": None, "kubernetes_role": "loaner"},
    ],
    ids=["approle", "token", "secret in a file", "token in a file", "kubernetes"],
)
def test_every_way_of_logging_in_gives_credentials_that_read(settings, vault, tmp_path, monkeypatch, changes):
    (tmp_path / "secret").write_text("right-secret\n")
    (tmp_path / "token").write_text("root-token\n")
    monkeypatch.setattr(login, "KUBERNETES_TOKEN", tmp_path / "secret")
    placed = {name: str(tmp_path / value) if name.endswith("_file") else value for name, value in changes.items()}
    with leased(configured(vault, **placed)) as (_, shared):
        user = shared.read().user
        assert user in roles(settings)
        issued = shared.read()
        reader = settings.replace(user=issued.user, password=issued.password)
        with closing(connect(reader, "reader")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user, count(*) FROM loans GROUP BY 1")
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == (user,)
    assert roles(settings) == set()  # given back


def test_a_lease_is_renewed_and_replaced_before_it_ends_and_no_read_fails(settings, vault, say):
    vault.lease_s, vault.max_s = 2.0, 5.0
    with leased(configured(vault)) as (lease, shared):
        database = ConnectionPool(without_reader(settings), shared)
        users, reads, stop, failures = set(), [0], threading.Event(), []

        def read() -> None:
            while not stop.is_set():
                try:
                    row = database.row("SELECT current_user, (SELECT count(*) FROM loans)")
                    users.add(row[0])
                    reads[0] += 1
                except Exception as err:
                    failures.append(err)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 12
        least = float("inf")
        while time.monotonic() < deadline:
            least = min(least, lease.remaining_s())
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        database.close()
    assert failures == []
    assert len(users) >= 3
    assert least > 0.2
    assert vault.requests.count(("PUT", "/v1/sys/leases/renew")) >= 3
    say(f"Vault: {reads[0]} reads in 12 s over {len(users)} users that lived 5 s at most, none failed")


def test_an_outage_is_served_through_and_survived(settings, vault, caplog):
    vault.lease_s, vault.max_s = 6.0, 60.0
    with leased(configured(vault)) as (lease, shared):
        database = ConnectionPool(without_reader(settings), shared)
        vault.sealed = True
        until(lambda: "Vault is sealed; the credentials are good for another" in caplog.text)
        assert database.row("SELECT 1") == (1,)
        vault.sealed = False
        before = lease.remaining_s()
        until(lambda: lease.remaining_s() > before)
        assert database.row("SELECT 1") == (1,)
        database.close()
    assert caplog.text.count("Vault is sealed;") == 1


def test_credentials_that_died_in_an_outage_are_replaced_when_it_ends(settings, vault):
    vault.lease_s, vault.max_s = 2.0, 2.0
    with leased(configured(vault)) as (_, shared):
        database = ConnectionPool(without_reader(settings), shared)
        first = shared.read().user
        assert database.row("SELECT current_user") == (first,)
        vault.sealed = True
        until(lambda: first not in roles(settings))
        vault.sealed = False
        until(lambda: shared.read().user != first)
        assert database.row("SELECT current_user") == (shared.read().user,)
        assert database.row("SELECT count(*) FROM loans") == (0,)
        database.close()


@pytest.mark.parametrize("fault", ["lease gone", "token revoked"])
def test_what_is_taken_away_is_asked_for_anew(settings, vault, fault):
    with leased(configured(vault)) as (_, shared):
        database = ConnectionPool(without_reader(settings), shared)
        first = shared.read().user
        assert database.row("SELECT count(*) FROM loans") == (0,)
        if fault == "lease gone":  # noticed by whoever renews it
            vault.revoke(next(iter(vault.leases)))
        else:
            vault.revoke_token(next(token for token in vault.tokens if token != "root-token"))
        until(lambda: shared.read().user != first)
        # a session whose role was dropped is half alive: it may not read tables
        assert database.row("SELECT count(*) FROM loans") == (0,)
        database.close()


def test_a_token_at_its_end_is_replaced_with_its_credentials(settings, vault):
    vault.token_s, vault.token_max_s, vault.lease_s, vault.max_s = 3.0, 5.0, 60.0, 600.0
    with leased(configured(vault)) as (_, shared):
        first = shared.read().user
        until(lambda: shared.read().user != first)
        until(lambda: first not in roles(settings))
        assert shared.read().user in roles(settings)


def test_a_token_that_cannot_be_renewed_does_not_keep_the_lease_from_being(settings, vault):
    vault.lease_s, vault.max_s, vault.token_s = 3.0, 60.0, 60.0
    ask = vault.answer
    vault.answer = lambda m, p, t, b: DENIED if p.endswith("renew-self") else ask(m, p, t, b)
    token = vault.make_token()
    vault.tokens[token]["ends"] = time.time() + 3  # as Vault tells at first; it lasts longer
    with leased(configured(vault, role_id=None, token=token)) as (lease, _):
        vault.tokens[token]["ends"] = time.time() + 60
        time.sleep(6)
        assert lease.remaining_s() > 0.5


def test_credentials_that_fail_after_a_new_login_are_asked_for_again(settings, vault):
    vault.token_s, vault.token_max_s, vault.lease_s, vault.max_s = 3.0, 5.0, 60.0, 600.0
    ask, failing = vault.answer, []

    def answer(method, path, token, body):
        if path.endswith("creds/readonly") and len(vault.made) == 1 and len(failing) < 2:
            failing.append(path)
            return 500, {"errors": ["the database is starting up"]}
        return ask(method, path, token, body)

    vault.answer = answer
    with leased(configured(vault)) as (_, shared):
        first = shared.read().user
        until(lambda: first not in roles(settings))
        assert shared.read().user in roles(settings)  # in time
    assert failing


def test_a_file_that_holds_another_token_is_read_again(settings, vault, tmp_path):
    vault.token_s = 4.0
    path = tmp_path / "token"
    path.write_text(vault.make_token())
    vault.tokens[path.read_text()]["made"] = -1000.0  # it lasts no longer
    with leased(configured(vault, role_id=None, token_file=str(path))) as (_, shared):
        first = shared.read().user
        vault.token_s = 60.0
        path.write_text(vault.make_token())
        until(lambda: shared.read().user != first, 3)
        until(lambda: first not in roles(settings))
        assert shared.read().user in roles(settings)


@pytest.mark.parametrize(
    "odd",
    [
        (500, "bad"), (503, []), (502, None), (200, []), (200, {"lease_duration": 1e300}), (200, {"auth": 1}),
        (200, {"lease_duration": "x"}), (200, {"lease_duration": -1}), (504, {"errors": ["gateway timeout"]}),
    ],
)  # fmt: skip
def test_whatever_is_answered_for_a_while_the_credentials_are_kept_alive(settings, vault, odd):
    vault.lease_s, vault.max_s = 4.0, 60.0
    with leased(configured(vault)) as (lease, shared):
        ask = vault.answer
        vault.answer = lambda *_: odd
        until(lambda: lease.remaining_s() < 1.2)
        vault.answer = ask
        until(lambda: lease.remaining_s() > 2)
        assert shared.read().user in roles(settings)


@pytest.mark.parametrize(
    "odd", [(500, "bad"), (200, {"data": None}), (200, {"data": {"username": None, "password": 7}, "lease_id": "x",
                                                        "lease_duration": 10}),
            (200, {"data": {"username": "a", "password": "b"}, "lease_id": "x", "lease_duration": 0})]
)  # fmt: skip
def test_a_start_that_is_answered_oddly_ends_in_a_line_and_leaves_nothing(settings, vault, odd):
    ask = vault.answer
    vault.answer = lambda m, p, t, b: odd if "creds" in p else ask(m, p, t, b)
    with pytest.raises(VaultUnavailable) as caught:
        VaultLease(configured(vault), "readonly", SharedCredentials()).start(1)
    assert len(str(caught.value).splitlines()) == 1
    assert set(vault.tokens) == {"root-token"}
    assert roles(settings) == set()


def test_a_lease_that_somebody_revoked_is_noticed_when_postgres_refuses(settings, vault, caplog):
    vault.lease_s, vault.max_s = 600.0, 6000.0
    with leased(configured(vault)) as (_, shared):
        database = ConnectionPool(without_reader(settings), shared)
        first = shared.read().user
        assert database.row("SELECT count(*) FROM loans") == (0,)
        vault.revoke(next(iter(vault.leases)))

        def answers() -> bool:
            try:
                return database.row("SELECT count(*) FROM loans") == (0,)
            except DatabaseUnavailable:
                return False

        until(answers, 5)
        assert shared.read().user != first
        assert "Postgres refuses the credentials" in caplog.text
        database.close()


def test_every_lease_of_a_token_that_was_given_to_us_is_given_back(settings, vault):
    vault.lease_s, vault.max_s = 3.0, 3.0
    with leased(configured(vault, role_id=None, token="root-token")):
        until(lambda: len(vault.made) >= 2)
        assert len(roles(settings)) == 2
    assert roles(settings) == set()
    assert "root-token" in vault.tokens


def test_a_vault_that_does_not_answer_does_not_hold_up_the_end(settings, vault):
    with leased(configured(vault)) as (lease, _):
        vault.delay_s = 8
        begun = time.monotonic()
        lease.stop()
        assert time.monotonic() - begun < 7
        vault.delay_s = 0


def test_a_plain_user_without_rights_is_told_so(settings, admin):
    sql(admin, "CREATE ROLE without_rights LOGIN PASSWORD 'pw'")
    plain = settings.replace(user="without_rights", password=SecretStr("pw"))
    database = ConnectionPool(plain)
    with pytest.raises(DatabaseUnavailable, match="PSQL_USER may not read: permission denied for table loans"):
        database.row("SELECT count(*) FROM loans")
    database.close()
    sql(admin, "DROP ROLE without_rights")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://vault", "http://vault:8200"),
        ("https://vault.example/sub", "https://vault.example:8200/sub"),
        ("https://vault:443", "https://vault:443"),
    ],
)
def test_a_port_is_added_where_there_is_none(address, url):
    assert vault_url(VaultSettings(addr=address)) == url


def test_a_vault_that_is_slow_or_comes_late_is_waited_for(settings, vault):
    vault.delay_s = 0.3
    vault.sealed = True
    timer = threading.Timer(1.5, lambda: setattr(vault, "sealed", False))
    timer.start()
    with leased(configured(vault), timeout_s=10) as (_, shared):
        assert shared.read().user in roles(settings)
    timer.join()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"secret_id": "wrong"}, VaultUnavailable, "invalid secret id"),
        ({"role": "other"}, VaultUnavailable, "permission denied"),
        ({"role_id": None}, SettingsError, "VAULT_TOKEN is not set"),
        ({"role_id": None, "token": "s.bad"}, VaultUnavailable, "permission denied"),
        ({"role_id": None, "token": "root-token", "role": "other"}, VaultUnavailable, "unknown role"),
        (
            {"role_id": None, "token_file": "/nowhere"},
            SettingsError,
            "VAULT_TOKEN_FILE: /nowhere cannot be read",
        ),
        ({"addr": "http://127.0.0.1:1"}, VaultUnavailable, "cannot be reached"),
        ({"addr": "http://u:s3cret@127.0.0.1:1"}, VaultUnavailable, "Vault at http://127.0.0.1:1: "),
        ({"ca": "/nowhere"}, SettingsError, "VAULT_CA: /nowhere is not a file"),
    ],
)
def test_what_cannot_be_had_is_named_and_no_secret_is(settings, vault, changes, error, said):
    chosen = configured(vault, **changes)
    with pytest.raises(error) as caught:
        VaultLease(chosen, chosen.role, SharedCredentials()).start(0.3)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value).replace("invalid secret id", "")
    assert len(str(caught.value).splitlines()) == 1


def test_a_vault_that_stays_sealed_is_given_up_within_the_bound(settings, vault):
    vault.sealed = True
    begun = time.monotonic()
    with pytest.raises(VaultUnavailable, match="Vault is sealed"):
        VaultLease(configured(vault), "readonly", SharedCredentials()).start(1)
    assert time.monotonic() - begun < 5


def test_shared_credentials_are_read_whole_whoever_writes_meanwhile():
    shared = SharedCredentials()
    with pytest.raises(LookupError):
        shared.read()
    with pytest.raises(ValueError, match="too long"):
        shared.publish(Login("a", "x" * 5000))
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            shared.publish(Login(f"user-{number}", f"password-{number}" * (number % 50 + 1)))

    writer = threading.Thread(target=write)
    shared.publish(Login("user-0", "password-0"))
    writer.start()
    for _ in range(2000):
        found = shared.read()
        number = found.user.removeprefix("user-")
        assert found.password.startswith(f"password-{number}")
    stop.set()
    writer.join()
    assert "password" not in repr(found)
