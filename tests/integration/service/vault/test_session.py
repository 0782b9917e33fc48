"""The login to Vault that leases share: refusals, lockout, revocation, and what the policy must allow."""

import logging
import re
import time
from contextlib import ExitStack
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY

from service.settings import VaultSettings
from service.vault import login
from service.vault.credentials import lease_credentials
from service.vault.failure import VaultUnavailable
from service.vault.session import VaultSession
from tests.conftest import ROOT
from tests.fakes.vault.fake_vault import DENIED, FakeVault, running
from tests.integration.service.vault.test_lease import configured, roles
from tests.support.waiting import wait_until

LOGIN = ("POST", "/v1/auth/approle/login")
BOTH = ("reader", "posting")
REFUSALS = [
    (400, {"errors": ["invalid secret id"]}),
    (400, {"errors": ["invalid role or secret ID"]}),
    (500, {"errors": ["invalid secret id"]}),
    DENIED,
]


@pytest.fixture
def vault(settings):
    with running(FakeVault(settings)) as server:
        yield server


def both(vault, **changes) -> VaultSettings:
    return configured(vault, posting_role="posting", **changes)


def test_two_leases_log_in_once(settings, vault):
    with lease_credentials(both(vault), BOTH) as credentials:
        users = {shared.read().user for shared in credentials.values()}
        assert users == roles(settings)
        assert len(users) == 2
    assert vault.requests.count(LOGIN) == 1
    assert roles(settings) == set()


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_start_tries_a_refused_login_only_once(vault, refusal):
    vault.refusal = refusal
    begun = time.monotonic()
    with (
        pytest.raises(VaultUnavailable) as caught,
        lease_credentials(both(vault, secret_id="wrong", timeout_s=10), BOTH),
    ):
        pass
    assert vault.requests.count(LOGIN) == 1
    assert not vault.is_locked
    assert time.monotonic() - begun < 5
    assert f"Vault at {vault.url}: auth/approle/login as the AppRole app: {refusal[1]['errors'][0]}" in str(
        caught.value
    )
    assert "lock a role after five refusals" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_login_that_vault_cannot_check_is_retried(settings, vault):
    ask, answers = vault.answer, [(500, {"errors": ["local node not active but active cluster node not found"]})] * 2
    vault.answer = lambda m, p, t, b: answers.pop() if "login" in p and answers else ask(m, p, t, b)
    with lease_credentials(both(vault), BOTH):
        assert len(roles(settings)) == 2
    assert vault.requests.count(LOGIN) == 3


class Clock:
    """A clock that runs faster than time."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def test_a_destroyed_secret_id_is_tried_again_after_1_2_4_and_8_minutes(vault, caplog):
    vault.token_s = 600.0
    clock, attempts, ask = Clock(), [], vault.answer

    def answer(method, path, token, body):
        if "login" in path:
            attempts.append(clock())
        return ask(method, path, token, body)

    vault.answer = answer
    session = VaultSession(configured(vault), clock)
    session.start(2)
    vault.secret_id = "another"
    for token in set(vault.tokens) - {"root-token"}:
        vault.revoke_token(token)
    denied = VaultUnavailable("permission denied", is_temporary=False, is_denied=True)
    for _ in range(1200):  # seconds
        for _ in range(2):  # leases
            with pytest.raises(VaultUnavailable):
                session.replace_token(1, denied)
        clock.ahead_s += 1
    session.stop()
    pauses = [later - earlier for earlier, later in pairwise(attempts[1:])]
    assert pauses == pytest.approx([60, 120, 240, 480], abs=5)
    assert caplog.text.count("the next attempt is in 60 s") == 1
    assert caplog.text.count("the next attempt is in 480 s") == 1


def test_leases_of_a_destroyed_secret_id_do_not_lock_the_role(settings, vault, caplog):
    vault.lease_s, vault.max_s = 1.0, 2.0
    with lease_credentials(both(vault), BOTH) as credentials:
        first = credentials["reader"].read().user
        vault.secret_id = "another"
        for token in set(vault.tokens) - {"root-token"}:
            vault.revoke_token(token)
        wait_until(lambda: "the credentials of the role " in caplog.text)
        time.sleep(7)
        assert vault.requests.count(LOGIN) == 2
        assert "auth/approle/login as the AppRole app: invalid secret id" in caplog.text
        assert first not in roles(settings)
    assert not vault.is_locked


def test_a_token_that_cannot_be_replaced_is_logged_once(vault, caplog):
    vault.token_s, vault.token_max_s = 4.0, 9.0
    with lease_credentials(both(vault), BOTH):
        vault.secret_id = "another"
        wait_until(lambda: vault.refusals == 1)
        renewals = vault.requests.count(("POST", "/v1/auth/token/renew-self"))
        wait_until(lambda: vault.requests.count(("POST", "/v1/auth/token/renew-self")) >= renewals + 3)
    assert vault.refusals == 1
    assert caplog.text.count("the token still has to be renewed") == 1


def test_a_new_secret_id_is_tried_immediately(settings, vault, tmp_path):
    vault.lease_s, vault.max_s = 2.0, 4.0
    path = tmp_path / "secret"
    path.write_text("right-secret")
    with lease_credentials(both(vault, secret_id=None, secret_id_file=str(path)), BOTH) as credentials:
        first = {shared.read().user for shared in credentials.values()}
        vault.secret_id = "another"
        for token in set(vault.tokens) - {"root-token"}:
            vault.revoke_token(token)
        wait_until(lambda: vault.refusals == 1)
        path.write_text("another")
        wait_until(lambda: not first & {shared.read().user for shared in credentials.values()})
        assert {shared.read().user for shared in credentials.values()} <= roles(settings)


def failed_renewals() -> float:
    return REGISTRY.get_sample_value("loaner_vault_renewals_total", {"outcome": "failed"}) or 0.0


def test_the_metric_shows_the_credentials_that_expire_first(vault):
    vault.lease_s, vault.max_s = 2.0, 60.0
    with lease_credentials(both(vault), BOTH):
        ask = vault.answer
        wait_until(lambda: vault.requests.count(("PUT", "/v1/sys/leases/renew")) >= 2)

        def answer(method, path, token, body):
            is_posting = "posting" in path or "posting" in str(body)
            return (503, {"errors": ["unavailable"]}) if is_posting else ask(method, path, token, body)

        vault.answer = answer
        time.sleep(4)
        expiry = REGISTRY.get_sample_value("loaner_vault_lease_expiry_timestamp_seconds")
        assert expiry is not None
        assert expiry < time.time()  # those that read were renewed
        vault.answer = ask


def test_a_policy_that_denies_credentials_does_not_cause_logins(settings, vault, caplog):
    vault.lease_s, vault.max_s = 1.0, 2.0
    with lease_credentials(both(vault), BOTH):
        ask = vault.answer
        denial = (403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
        vault.answer = lambda m, p, t, b: denial if "creds" in p else ask(m, p, t, b)
        wait_until(lambda: "database/creds/readonly as the AppRole app: permission denied" in caplog.text)
        wait_until(lambda: "database/creds/posting as the AppRole app: permission denied" in caplog.text)
        failures = failed_renewals()
        wait_until(lambda: failed_renewals() >= failures + 3)
        assert vault.requests.count(LOGIN) == 1
        vault.answer = ask
    assert "see deploy/vault" in caplog.text


@pytest.mark.parametrize("is_batch", [False, True])
def test_no_user_stays_after_the_end(settings, vault, is_batch):
    vault.is_batch = is_batch
    vault.lease_s, vault.max_s = 2.0, 3.0
    with lease_credentials(both(vault), BOTH):
        wait_until(lambda: len(vault.made) >= 4)
        assert roles(settings)
    assert roles(settings) == set()


@pytest.mark.parametrize("is_batch", [False, True])
def test_a_start_that_fails_at_the_second_role_leaves_no_user(settings, vault, is_batch):
    vault.is_batch = is_batch
    denied = configured(vault, posting_role="other")
    message = "database/creds/other as the AppRole app: permission denied"
    with pytest.raises(VaultUnavailable, match=message), lease_credentials(denied, BOTH):
        pass
    assert len(vault.made) == 1
    assert roles(settings) == set()


def test_a_refused_kubernetes_login_does_not_mention_a_lockout(vault, tmp_path, monkeypatch):
    (tmp_path / "jwt").write_text("wrong")
    monkeypatch.setattr(login, "KUBERNETES_TOKEN", tmp_path / "jwt")
    chosen = configured(vault, role_id=None, kubernetes_role="loaner")
    with pytest.raises(VaultUnavailable) as caught, lease_credentials(chosen, BOTH):
        pass
    assert "auth/kubernetes/login as the Kubernetes role loaner: " in str(caught.value)
    assert "lock" not in str(caught.value)


def test_a_batch_token_is_replaced_before_it_ends(settings, vault):
    vault.is_batch, vault.token_s = True, 6.0
    vault.lease_s, vault.max_s = 60.0, 600.0
    with lease_credentials(both(vault), BOTH) as credentials:
        first = {shared.read().user for shared in credentials.values()}
        wait_until(lambda: not first & {shared.read().user for shared in credentials.values()})
        assert first <= roles(settings)  # requests still use them
        wait_until(lambda: not first & roles(settings))
    assert roles(settings) == set()


def test_a_revocation_that_vault_denies_is_reported(settings, vault, caplog):
    caplog.set_level(logging.INFO)
    vault.is_batch = True
    with lease_credentials(both(vault), BOTH):
        ask = vault.answer
        vault.answer = lambda m, p, t, b: DENIED if "revoke" in p else ask(m, p, t, b)
    assert caplog.text.count("sys/leases/revoke failed, so that a user stays until its lease ends") == 2
    assert "revoked the credentials" not in caplog.text
    assert len(roles(settings)) == 2


def allowed_by(policy: str) -> set[tuple[str, str]]:
    """Return the paths and capabilities that a policy file allows."""
    text = (ROOT / "deploy" / "vault" / policy).read_text()
    stanzas = re.findall(r'^path "([^"]+)" \{\s+capabilities = \["(\w+)"\]\s+\}$', text, re.MULTILINE)
    assert len(stanzas) == text.count("path ")
    return set(stanzas)


def used(vault: FakeVault) -> set[tuple[str, str]]:
    """Return the paths that were requested with a token, and the capabilities that this needs."""
    capabilities = {"GET": "read", "PUT": "update", "POST": "update"}
    return {
        (path.removeprefix("/v1/"), capabilities[method]) for method, path in vault.requests if "/login" not in path
    }


def test_the_policy_allows_exactly_what_is_used(settings, vault):
    vault.lease_s, vault.max_s, vault.token_s = 2.0, 3.0, 6.0
    with ExitStack() as started:
        started.enter_context(lease_credentials(both(vault), BOTH))
        vault.token_s = 600.0  # renewed once; then a lease notices the revocation, not the next renewal of the token
        wait_until(lambda: len(vault.made) >= 4 and vault.requests.count(("POST", "/v1/auth/token/renew-self")) >= 1)
        for token in set(vault.tokens) - {"root-token"}:
            vault.revoke_token(token)
        wait_until(lambda: vault.requests.count(LOGIN) == 2)
        vault.is_batch = True
        started.enter_context(lease_credentials(both(vault), BOTH))
    assert used(vault) == allowed_by("loaner.hcl")


def test_the_policy_of_administrators_allows_exactly_what_their_commands_use(settings, vault):
    token = vault.make_token()
    admin = configured(vault, role_id=None, token=token, admin_role="admin")
    with lease_credentials(admin, ("admin",)):
        wait_until(lambda: vault.requests)
    assert used(vault) <= allowed_by("loaner-admin.hcl")
    assert ("database/creds/admin", "read") not in allowed_by("loaner.hcl")
