"""Credentials from Vault, tested against a fake that creates real Postgres roles."""

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
from service.vault.failure import VaultUnavailable
from service.vault.lease import VaultLease
from service.vault.login import vault_url
from service.vault.session import VaultSession
from service.vault.shared_credentials import SharedCredentials
from tests.conftest import ROOT, sql
from tests.fakes.vault.fake_vault import DENIED, FakeVault, running
from tests.support.waiting import wait_until

RECORDING = ROOT / "tests/fakes/vault/recordings/vault-1.8.json"


@pytest.fixture
def vault(settings):
    with running(FakeVault(settings)) as server:
        yield server


def configured(vault, **changes) -> VaultSettings:
    return VaultSettings(**{"addr": vault.url, "role_id": "app", "secret_id": "right-secret", **changes})


def without_reader(settings: PostgresSettings) -> PostgresSettings:
    """Return settings whose own reader cannot log in, so that only Vault's can."""
    return settings.replace(user="unknown", password=None)


@contextmanager
def leased(settings: VaultSettings, timeout_s: float = 2):
    """Yield a lease and its shared credentials, and keep them valid until the block ends."""
    shared = SharedCredentials()
    session = VaultSession(settings)
    try:
        session.start(timeout_s)
        lease = VaultLease(session, settings.role, settings.mount, shared)
        lease.start(timeout_s)
        yield lease, shared
    finally:
        session.stop()


def roles(settings) -> set[str]:
    with closing(connect(settings, "admin")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-approle-%'")
        return {name for (name,) in cursor.fetchall()}


def test_the_fake_answers_like_the_recorded_server(settings, report_measurement):
    """Compares the status, the errors, and the members that the service reads, in every recorded exchange."""
    vault, tokens, leases, compared = FakeVault(settings), {"<root-token>": "root-token", "s.bad": "s.bad"}, {}, 0
    for scenario in json.loads(RECORDING.read_text())["scenarios"]:
        vault.sealed = scenario["name"] == "sealed"
        for step in scenario["steps"]:
            request, response = step["request"], step["response"]
            body = dict(request.get("json") or {})
            if body.get("secret_id") == "<secret-id>":
                body["secret_id"] = vault.secret_id
            if response.get("json", {}) and response["json"].get("errors") == ["lease not found"]:
                body["lease_id"] = "gone"
            elif "lease_id" in body:
                body["lease_id"] = leases.get("last", "gone")
            token = (request.get("headers") or {}).get("X-Vault-Token")
            status, members = vault.answer(
                request["method"], request["path"], tokens.get(token) if token else None, body
            )
            assert status == response["status"], (scenario["name"], request, members)
            compared += 1
            expected = response.get("json") or {}
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
    report_measurement(f"vault-1.8: {compared} recorded exchanges answered identically")


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
def test_every_login_method_gets_credentials_that_can_read(settings, vault, tmp_path, monkeypatch, changes):
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
    assert roles(settings) == set()  # revoked


def test_no_read_fails_while_leases_are_renewed_and_replaced(settings, vault, report_measurement):
    vault.lease_s, vault.max_s = 4.0, 8.0  # a busy machine may delay a renewal by a second
    with leased(configured(vault)) as (lease, shared):
        database = ConnectionPool(without_reader(settings), shared)
        users, reads, stop, failures = set(), [0], threading.Event(), []

        def read() -> None:
            while not stop.wait(0.005):  # leaves time for the thread that renews
                try:
                    row = database.row("SELECT current_user, (SELECT count(*) FROM loans)")
                    users.add(row[0])
                    reads[0] += 1
                except Exception as err:
                    failures.append(err)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        remaining = [lease.remaining_s()]

        def has_renewed_and_replaced() -> bool:
            remaining.append(lease.remaining_s())
            return len(users) >= 3 and vault.requests.count(("PUT", "/v1/sys/leases/renew")) >= 3

        try:
            wait_until(has_renewed_and_replaced, 60)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            database.close()
        duration_s = time.monotonic() - begun
    assert failures == []
    assert min(remaining) > 0.2
    report_measurement(
        f"Vault: {reads[0]} reads in {duration_s:.0f} s by {len(users)} users that each lived at most 8 s, none failed"
    )


def test_reads_continue_during_an_outage_of_vault(settings, vault, caplog):
    vault.lease_s, vault.max_s = 6.0, 60.0
    with leased(configured(vault)) as (lease, shared):
        database = ConnectionPool(without_reader(settings), shared)
        vault.sealed = True
        wait_until(lambda: "Vault is sealed; the credentials of the role readonly expire in" in caplog.text)
        assert database.row("SELECT 1") == (1,)
        vault.sealed = False
        before = lease.remaining_s()
        wait_until(lambda: lease.remaining_s() > before)
        assert database.row("SELECT 1") == (1,)
        database.close()
    assert caplog.text.count("Vault is sealed;") == 1


def test_credentials_that_expire_during_an_outage_are_replaced_afterwards(settings, vault):
    vault.lease_s, vault.max_s = 2.0, 2.0
    with leased(configured(vault)) as (_, shared):
        database = ConnectionPool(without_reader(settings), shared)
        first = shared.read().user
        assert database.row("SELECT current_user") == (first,)
        vault.sealed = True
        wait_until(lambda: first not in roles(settings))
        vault.sealed = False
        wait_until(lambda: shared.read().user != first)
        assert database.row("SELECT current_user") == (shared.read().user,)
        assert database.row("SELECT count(*) FROM loans") == (0,)
        database.close()


@pytest.mark.parametrize("fault", ["lease gone", "token revoked"])
def test_revoked_credentials_are_replaced(settings, vault, fault):
    with leased(configured(vault)) as (_, shared):
        database = ConnectionPool(without_reader(settings), shared)
        first = shared.read().user
        assert database.row("SELECT count(*) FROM loans") == (0,)
        if fault == "lease gone":  # noticed at the renewal
            vault.revoke(next(iter(vault.leases)))
        else:
            vault.revoke_token(next(token for token in vault.tokens if token != "root-token"))
        wait_until(lambda: shared.read().user != first)
        # a session whose role was dropped stays connected, but cannot read tables
        assert database.row("SELECT count(*) FROM loans") == (0,)
        database.close()


def test_an_expiring_token_is_replaced_together_with_its_credentials(settings, vault):
    vault.token_s, vault.token_max_s, vault.lease_s, vault.max_s = 3.0, 5.0, 60.0, 600.0
    with leased(configured(vault)) as (_, shared):
        first = shared.read().user
        wait_until(lambda: shared.read().user != first)
        wait_until(lambda: first not in roles(settings))
        assert shared.read().user in roles(settings)


def test_the_lease_is_renewed_even_if_the_token_cannot_be(settings, vault):
    vault.lease_s, vault.max_s, vault.token_s = 2.0, 60.0, 60.0
    ask = vault.answer
    vault.answer = lambda m, p, t, b: DENIED if p.endswith("renew-self") else ask(m, p, t, b)
    token = vault.make_token()
    reported_end = time.time() + 2  # what the service reads first; the token lasts longer
    vault.tokens[token]["ends"] = reported_end
    with leased(configured(vault, role_id=None, token=token)) as (lease, _):
        vault.tokens[token]["ends"] = time.time() + 60
        renewed = ("PUT", "/v1/sys/leases/renew")
        wait_until(lambda: time.time() > reported_end and vault.requests.count(renewed) >= 3)
        assert lease.remaining_s() > 0.5


def test_getting_credentials_after_a_new_login_is_retried(settings, vault):
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
        wait_until(lambda: first not in roles(settings))
        assert shared.read().user in roles(settings)  # before the old ones expired
    assert failing


def test_a_changed_token_file_is_reloaded(settings, vault, tmp_path):
    vault.token_s = 4.0
    path = tmp_path / "token"
    path.write_text(vault.make_token())
    vault.tokens[path.read_text()]["made"] = -1000.0  # it cannot be renewed any longer
    with leased(configured(vault, role_id=None, token_file=str(path))) as (_, shared):
        first = shared.read().user
        vault.token_s = 60.0
        path.write_text(vault.make_token())
        wait_until(lambda: shared.read().user != first, 3)
        wait_until(lambda: first not in roles(settings))
        assert shared.read().user in roles(settings)


@pytest.mark.parametrize(
    "odd",
    [
        (500, "bad"), (503, []), (502, None), (200, []), (200, {"lease_duration": 1e300}), (200, {"auth": 1}),
        (200, {"lease_duration": "x"}), (200, {"lease_duration": -1}), (504, {"errors": ["gateway timeout"]}),
    ],
)  # fmt: skip
def test_credentials_survive_temporary_unexpected_replies(settings, vault, odd):
    vault.lease_s, vault.max_s = 4.0, 60.0
    with leased(configured(vault)) as (lease, shared):
        ask = vault.answer
        vault.answer = lambda *_: odd
        wait_until(lambda: lease.remaining_s() < 1.2)
        vault.answer = ask
        wait_until(lambda: lease.remaining_s() > 2)
        assert shared.read().user in roles(settings)


@pytest.mark.parametrize(
    "odd", [(500, "bad"), (200, {"data": None}), (200, {"data": {"username": None, "password": 7}, "lease_id": "x",
                                                        "lease_duration": 10}),
            (200, {"data": {"username": "a", "password": "b"}, "lease_id": "x", "lease_duration": 0})]
)  # fmt: skip
def test_a_start_with_unexpected_replies_fails_with_one_line_and_leaves_nothing(settings, vault, odd):
    ask = vault.answer
    vault.answer = lambda m, p, t, b: odd if "creds" in p else ask(m, p, t, b)
    with pytest.raises(VaultUnavailable) as caught, leased(configured(vault), timeout_s=1):
        pass
    assert len(str(caught.value).splitlines()) == 1
    assert set(vault.tokens) == {"root-token"}
    assert roles(settings) == set()


def test_a_revoked_lease_is_noticed_when_postgres_rejects_the_credentials(settings, vault, caplog):
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

        wait_until(answers)
        assert shared.read().user != first
        assert "Postgres rejects the credentials of the role readonly; " in caplog.text
        database.close()


def test_every_lease_of_a_given_token_is_revoked(settings, vault):
    vault.lease_s, vault.max_s = 3.0, 3.0
    with leased(configured(vault, role_id=None, token="root-token")):
        wait_until(lambda: len(vault.made) >= 2)
        assert len(roles(settings)) == 2
    assert roles(settings) == set()
    assert "root-token" in vault.tokens


def test_an_unresponsive_vault_does_not_delay_the_stop(settings, vault):
    with leased(configured(vault)):
        vault.delay_s = 8
        begun = time.monotonic()
    assert time.monotonic() - begun < 7
    vault.delay_s = 0


def test_a_plain_user_without_privileges_gets_a_clear_error(settings, admin):
    sql(admin, "CREATE ROLE without_privileges LOGIN PASSWORD 'pw'")
    plain = settings.replace(user="without_privileges", password=SecretStr("pw"))
    database = ConnectionPool(plain)
    with pytest.raises(DatabaseUnavailable, match="PSQL_USER may not read: permission denied for table loans"):
        database.row("SELECT count(*) FROM loans")
    database.close()
    sql(admin, "DROP ROLE without_privileges")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://vault", "http://vault:8200"),
        ("https://vault.example/sub", "https://vault.example:8200/sub"),
        ("https://vault:443", "https://vault:443"),
    ],
)
def test_the_default_port_is_added_if_the_address_has_none(address, url):
    assert vault_url(VaultSettings(addr=address)) == url


def test_the_start_waits_for_a_slow_or_sealed_vault(settings, vault):
    vault.delay_s = 0.3
    vault.sealed = True
    timer = threading.Timer(1.5, lambda: setattr(vault, "sealed", False))
    timer.start()
    with leased(configured(vault), timeout_s=10) as (_, shared):
        assert shared.read().user in roles(settings)
    timer.join()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
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
        ({"addr": "http://127.0.0.1:1"}, VaultUnavailable, "cannot connect"),
        ({"addr": "http://u:s3cret@127.0.0.1:1"}, VaultUnavailable, "Vault at http://127.0.0.1:1: "),
        ({"ca": "/nowhere"}, SettingsError, "VAULT_CA: /nowhere is not a file"),
    ],
)
def test_the_error_of_a_failed_start_contains_no_secret(settings, vault, changes, error, message):
    chosen = configured(vault, **changes)
    with pytest.raises(error) as caught, leased(chosen, timeout_s=0.3):
        pass
    assert message in str(caught.value)
    assert "secret" not in str(caught.value).replace("invalid secret id", "")
    assert len(str(caught.value).splitlines()) == 1


def test_the_start_fails_after_the_timeout_if_vault_stays_sealed(settings, vault):
    vault.sealed = True
    begun = time.monotonic()
    with pytest.raises(VaultUnavailable, match="Vault is sealed"), leased(configured(vault), timeout_s=1):
        pass
    assert time.monotonic() - begun < 5


def test_shared_credentials_are_read_consistently_during_writes():
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
        credentials = shared.read()
        number = credentials.user.removeprefix("user-")
        assert credentials.password.startswith(f"password-{number}")
    stop.set()
    writer.join()
    assert "password" not in repr(credentials)
