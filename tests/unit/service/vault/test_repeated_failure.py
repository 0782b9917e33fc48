"""Failures that repeat are logged once, and then counted."""

import logging

import pytest

from service.vault.failure import VaultUnavailable
from service.vault.repeated_failure import RepeatedFailure

log = logging.getLogger("service.vault.of_these_tests")
SEALED, DOWN = (VaultUnavailable(text, is_temporary=True) for text in ("Vault is sealed", "cannot connect"))


@pytest.fixture
def failures(caplog):
    caplog.set_level(logging.INFO)
    return RepeatedFailure(log, "the renewal")


def test_each_failure_is_logged_once_even_if_they_alternate(failures, caplog):
    for err in (SEALED, DOWN, SEALED, DOWN, SEALED):
        failures.record(err, "still valid")
    assert caplog.messages == ["Vault is sealed; still valid", "cannot connect; still valid"]


def test_success_states_how_often_it_failed(failures, caplog):
    for _ in range(3):
        failures.record(SEALED, "still valid")
    failures.clear()
    assert caplog.messages[1:] == ["the renewal succeeded after 3 failed attempts"]
    failures.clear()
    assert len(caplog.messages) == 2


def test_a_single_failure_is_not_counted_again(failures, caplog):
    failures.record(SEALED, "still valid")
    failures.clear()
    assert caplog.messages == ["Vault is sealed; still valid"]


def test_a_failure_after_a_success_is_logged_again(failures, caplog):
    for _ in range(2):
        failures.record(SEALED, "still valid")
        failures.clear()
    assert caplog.messages == ["Vault is sealed; still valid"] * 2


def test_only_an_unexpected_failure_has_its_traceback(failures, caplog):
    failures.record(SEALED, "still valid")
    failures.record(LookupError("odd"), "still valid")
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]
