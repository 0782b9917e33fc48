"""`TokenVerifier.cached`: the identities that an event loop may use without blocking."""

import builtins
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
import requests

from security import InvalidToken, JwksKeys, KeyStore
from security.keys.store import CHECK_INTERVAL_S, MAX_CHECK_AGE_S
from security.tokens.verifier import MAX_REMEMBERED_CHARS, TokenVerifier
from tests.fakes.clocks import Clock
from tests.support.issuing import FIRST, SECOND, jwk
from tests.support.issuing import token as issued
from tests.support.waiting import wait_until


def test_only_verified_tokens_are_cached(keys_dir, make_token):
    verifier = TokenVerifier(KeyStore(keys_dir, now=Clock()))  # no check of the keys becomes due
    token = make_token()
    assert verifier.cached(token) is None
    identity = verifier.verify(token)
    assert verifier.cached(token) is identity
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    with pytest.raises(InvalidToken):
        verifier.verify(forged)
    assert verifier.cached(forged) is None


def test_cached_identity_ends_with_the_token(keys_dir, make_token):
    clock = Clock()
    verifier = TokenVerifier(KeyStore(keys_dir), now=clock, leeway_s=5)
    token = make_token(exp=1010, iat=1000)
    verifier.verify(token)
    clock.now = 1014.9
    assert verifier.cached(token)
    clock.now = 1015
    assert verifier.cached(token) is None


def test_cached_identity_ends_with_a_change_of_the_keys(keys_dir, make_token):
    store = KeyStore(keys={"default": keys_dir / "default.pub"})
    verifier = TokenVerifier(store)
    token = make_token()
    verifier.verify(token)
    store.add_key("default", keys_dir / "loaner.pub")
    assert verifier.cached(token) is None


def test_long_tokens_are_verified_each_time(keys_dir, make_token):
    verifier = TokenVerifier(KeyStore(keys_dir))
    token = make_token(fullname="n" * MAX_REMEMBERED_CHARS)
    assert verifier.verify(token)
    assert verifier.cached(token) is None
    assert verifier.verify(token)


def test_cached_identity_needs_neither_files_nor_locks(keys_dir, make_token, monkeypatch):
    store = KeyStore(keys_dir, now=Clock())
    verifier = TokenVerifier(store)
    token = make_token()
    verifier.verify(token)
    callers = []

    def forbid(*args, **kwargs):
        if threading.current_thread() is threading.main_thread():
            callers.append(args)
        raise OSError("no file may be read")

    with monkeypatch.context() as patched, store._lock, verifier._lock:
        for module, name in ((builtins, "open"), (os, "stat"), (os, "scandir"), (os, "listdir"), (Path, "stat")):
            patched.setattr(module, name, forbid)
        assert verifier.cached(token)
        store._now.now += MAX_CHECK_AGE_S
        assert verifier.cached(token) is None
    assert not callers


def test_retired_key_is_last_accepted_within_a_second(keys_dir, tmp_path, make_token):
    public = shutil.copy(keys_dir / "default.pub", tmp_path)
    store = KeyStore(tmp_path)
    verifier = TokenVerifier(store)
    token = make_token()
    verifier.verify(token)
    time.sleep(MAX_CHECK_AGE_S)
    wait_until(lambda: verifier.cached(token))  # the background check runs
    os.unlink(public)
    removed_at = last_accepted_at = time.monotonic()
    while time.monotonic() < removed_at + 2 * MAX_CHECK_AGE_S:
        if verifier.cached(token):
            last_accepted_at = time.monotonic()
        time.sleep(0.005)
    assert last_accepted_at - removed_at < MAX_CHECK_AGE_S


def test_cached_identity_lasts_while_it_is_used(keys_dir, make_token):
    """Without the background check, each identity would need `verify` once a second."""
    store = KeyStore(keys_dir)
    store._checks._idle_s = 0.0
    verifier = TokenVerifier(store)
    token = make_token()
    verifier.verify(token)
    time.sleep(MAX_CHECK_AGE_S)
    assert verifier.cached(token) is None  # starts the check
    wait_until(lambda: verifier.cached(token))
    thread = store._checks._thread
    answers = []
    until = time.monotonic() + 3 * CHECK_INTERVAL_S
    while time.monotonic() < until:
        answers.append(verifier.cached(token) is not None)
        time.sleep(0.02)
    assert sum(answers) > 0.9 * len(answers)  # a loaded machine may delay a check
    assert store._checks._thread is thread
    assert thread.is_alive()


def test_hanging_file_system_ends_cached_identities(keys_dir, make_token, monkeypatch):
    """The check hangs, as on a file system that is gone: nothing is known about the keys any more."""
    clock = Clock()
    store = KeyStore(keys_dir, now=clock)
    verifier = TokenVerifier(store)
    token = make_token()
    verifier.verify(token)
    released, entered = threading.Event(), threading.Event()
    scan = store._scan
    monkeypatch.setattr(store, "_scan", lambda: (entered.set(), released.wait(10), scan())[-1])
    clock.now += MAX_CHECK_AGE_S
    assert verifier.cached(token) is None
    try:
        assert entered.wait(5)
        assert verifier.cached(token) is None
    finally:
        released.set()
    wait_until(lambda: verifier.cached(token))


def test_published_keys_are_refreshed_without_waiting(issuer, clock, monkeypatch):
    keys = JwksKeys(f"{issuer.url}/keys", now=clock, lifetime_s=300, max_stale_s=1000)
    verifier = TokenVerifier(keys, now=time.time)
    token = issued()
    assert verifier.cached(token) is None
    verifier.verify(token)
    released = threading.Event()
    fetch = requests.request
    monkeypatch.setattr(requests, "request", lambda *args, **options: released.wait(10) and fetch(*args, **options))
    clock.now += 300
    issuer.keys = [jwk(SECOND, "two")]
    started = time.monotonic()
    assert verifier.cached(token)  # still trusted, and fetched in the background
    assert time.monotonic() - started < 2
    released.set()
    wait_until(lambda: not verifier.cached(token))


def test_published_keys_are_not_trusted_for_ever(issuer, clock):
    keys = JwksKeys(f"{issuer.url}/keys", now=clock, max_stale_s=1000)
    verifier = TokenVerifier(keys)
    token = issued(FIRST)
    verifier.verify(token)
    clock.now += 1000
    assert verifier.cached(token) is None
