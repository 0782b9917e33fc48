"""Postgres rejects credentials from Vault: requests wait for new ones, but neither for long nor again and again."""

import logging
import threading
import time
from contextlib import closing

import pytest

from service.errors import DatabaseUnavailable
from service.postgres.connect import connect
from service.postgres.pool import ConnectionPool
from tests.conftest import sql
from tests.fakes.vault.fake_vault import FakeVault, running
from tests.integration.service.vault.test_lease import configured, leased, without_reader
from tests.support.waiting import wait_until

LOANS = "SELECT count(*) FROM loans"
TIMEOUT_S = 2
SLACK_S = 5  # on a busy machine


class VaultWithoutRights(FakeVault):
    """Its users may log in, but belong to no role that may read."""

    def _credentials(self, token, role):
        reply = super()._credentials(token, role)
        with closing(connect(self.settings, "admin")) as connection:
            sql(connection, f'REVOKE loaner_reader FROM "{reply["data"]["username"]}"')
        return reply


@pytest.fixture
def vault(settings):
    with running(FakeVault(settings, lease_s=600, max_s=3600)) as server:
        yield server


@pytest.fixture
def reader(settings):
    """Settings for a pool whose user comes from Vault."""
    return without_reader(settings).replace(connect_timeout_s=TIMEOUT_S)


def test_every_thread_gets_an_answer_although_all_users_were_dropped(vault, reader, report_measurement):
    answers, times = [], []
    with leased(configured(vault)) as (_, shared), closing(ConnectionPool(reader, shared)) as database:
        assert database.row(LOANS) == (0,)

        def read():
            for _ in range(20):
                begun = time.monotonic()
                answers.append(database.row(LOANS))
                times.append(time.monotonic() - begun)

        for _ in range(3):
            vault.revoke_prefix("database/creds/readonly/")
            threads = [threading.Thread(target=read) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert answers == [(0,)] * 240
    report_measurement(f"240 reads after three revocations, none refused; the longest took {max(times):.2f} s")


def test_a_stream_that_has_not_begun_waits_for_new_credentials(vault, reader):
    with leased(configured(vault)) as (_, shared), closing(ConnectionPool(reader, shared)) as database:
        assert list(database.stream(LOANS)) == [[(0,)]]
        vault.revoke_prefix("database/creds/readonly/")
        assert list(database.stream(LOANS)) == [[(0,)]]


def test_the_wait_is_bounded_while_vault_is_sealed_and_ends_when_it_is_unsealed(vault, reader):
    with leased(configured(vault)) as (_, shared), closing(ConnectionPool(reader, shared)) as database:
        assert database.row(LOANS) == (0,)
        vault.revoke_prefix("database/creds/readonly/")
        vault.sealed = True
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            database.row(LOANS)
        assert TIMEOUT_S - 0.5 < time.monotonic() - begun < TIMEOUT_S + SLACK_S
        begun = time.monotonic()
        for _ in range(5):  # later requests fail fast, so that they do not hold threads
            with pytest.raises(DatabaseUnavailable):
                database.row(LOANS)
        assert time.monotonic() - begun < TIMEOUT_S
        vault.sealed = False
        wait_until(lambda: shared.refused_at() is None)
        assert database.row(LOANS) == (0,)


def test_users_without_rights_are_not_created_again_and_again(settings, reader, caplog):
    caplog.set_level(logging.WARNING)
    with (
        running(VaultWithoutRights(settings, lease_s=600, max_s=3600)) as vault,
        leased(configured(vault)) as (_, shared),
        closing(ConnectionPool(reader, shared)) as database,
    ):
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            with pytest.raises(DatabaseUnavailable):
                database.row(LOANS)
        made = len(vault.made)
    assert 2 <= made <= 9  # the first, then after 0, 0.1, 0.2, 0.4, 0.8, 1.6 and 3.2 s
    assert caplog.text.count("requesting new ones from Vault") == made - 1


def test_a_wrong_password_that_never_changes_fails_without_a_wait(settings):
    wrong = settings.replace(password="wrong", connect_timeout_s=TIMEOUT_S)
    with closing(ConnectionPool(wrong)) as database:
        begun = time.monotonic()
        for _ in range(20):
            with pytest.raises(DatabaseUnavailable, match="authentication failed"):
                database.row(LOANS)
        assert time.monotonic() - begun < TIMEOUT_S
