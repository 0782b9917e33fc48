"""Reloading of keys: changes are noticed within a second, and applied completely or not at all."""

import os
import threading
import time
from types import SimpleNamespace

import pytest

from security import (
    InvalidToken,
    JWTProvider,
    Key,
    KeyStore,
    Request,
    Response,
    ThreadLocalSecurityContext,
)
from tests.fakes.clocks import Ticking


@pytest.fixture
def pems(keys_dir):
    """Two public keys in PEM."""
    return (keys_dir / "default.pub").read_bytes(), (keys_dir / "loaner.pub").read_bytes()


@pytest.fixture
def folder(tmp_path, pems):
    (tmp_path / "one.pub").write_bytes(pems[0])
    return tmp_path


@pytest.fixture
def store(folder):
    store = KeyStore(folder, now=Ticking())
    store.verification_keys()
    return store


def trusted(store) -> list[str]:
    _ = store.generation
    return list(store.verification_keys())


def test_added_and_removed_keys_are_noticed(store, folder, pems):
    before = store.generation
    (folder / "two.pub").write_bytes(pems[1])
    assert trusted(store) == ["one", "two"]
    (folder / "one.pub").unlink()
    assert trusted(store) == ["two"]
    assert store.generation == before + 2
    assert store.candidates("one") == []


def test_unchanged_keys_are_not_parsed_again(store, monkeypatch):
    monkeypatch.setattr(Key, "verification_key", None)
    before = store.generation
    assert trusted(store) == ["one"]
    assert store.generation == before


def test_overwritten_key_is_noticed(store, folder, pems):
    (folder / "one.pub").write_bytes(pems[1])
    before = store.verification_keys()["one"]
    assert trusted(store) == ["one"]
    assert store.verification_keys()["one"] != before


def test_scans_keep_the_check_interval(folder, pems):
    clock = [0.0]
    store = KeyStore(folder, now=lambda: clock[0])
    store.verification_keys()
    (folder / "two.pub").write_bytes(pems[1])
    clock[0] = 0.4
    assert trusted(store) == ["one"]
    clock[0] = 0.5
    assert trusted(store) == ["one", "two"]


def test_unknown_key_id_causes_a_bounded_number_of_scans(folder, pems, monkeypatch):
    clock = [0.0]
    store = KeyStore(folder, now=lambda: clock[0])
    store.verification_keys()
    (folder / "two.pub").write_bytes(pems[1])
    clock[0] = 0.1
    assert [key.name for key in store.candidates("two")] == ["two"]
    scans = []
    original = KeyStore._scan
    monkeypatch.setattr(KeyStore, "_scan", lambda self: scans.append(1) or original(self))
    for number in range(100):
        clock[0] += 0.005
        store.candidates(f"unknown {number}")
    assert 4 <= len(scans) <= 6


@pytest.mark.parametrize("content", [b"", b"invalid", b"-----BEGIN PUBLIC KEY-----\nMIIB"])
def test_change_is_applied_completely_or_not_at_all(store, folder, pems, caplog, content):
    (folder / "two.pub").write_bytes(pems[1])
    (folder / "half.pub").write_bytes(content)
    for _ in range(3):
        assert trusted(store) == ["one"]
    assert caplog.text.count("half.pub") == 1  # logged once, not on every scan
    (folder / "half.pub").write_bytes(pems[1])
    assert trusted(store) == ["half", "one", "two"]


def test_missing_directory_keeps_the_current_keys(store, folder, pems, caplog):
    folder.rename(folder.with_name("elsewhere"))
    assert trusted(store) == ["one"]
    assert "not a readable directory" in caplog.text
    folder.with_name("elsewhere").rename(folder)
    (folder / "two.pub").write_bytes(pems[1])
    assert trusted(store) == ["one", "two"]


def test_kubernetes_symlink_swap_is_noticed(tmp_path, pems):
    for number, pem in enumerate(pems):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "key.pub").write_bytes(pem)
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "key.pub").symlink_to("..data/key.pub")
    store = KeyStore(tmp_path, now=Ticking())
    before = store.verification_keys()["key"]
    (tmp_path / "..tmp").symlink_to("..1")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert trusted(store) == ["key"]
    assert store.verification_keys()["key"] != before


def test_token_of_a_removed_key_is_rejected_by_every_provider(keys_dir, make_token, tmp_path):
    for name in ("default.pub", "loaner.pub"):
        (tmp_path / name).write_bytes((keys_dir / name).read_bytes())
    providers = [JWTProvider(KeyStore(tmp_path, now=Ticking())) for _ in range(2)]
    request = Request(SimpleNamespace(headers={"Authorization": f"Bearer {make_token()}"}))
    for provider in providers:
        provider(ThreadLocalSecurityContext(), request, Response())
    (tmp_path / "default.pub").unlink()
    for provider in providers:
        with pytest.raises(InvalidToken):
            provider(ThreadLocalSecurityContext(), request, Response())


def test_concurrent_readers_see_complete_sets(folder, pems):
    store = KeyStore(folder, now=Ticking())
    store.verification_keys()
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(tuple(trusted(store)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        (folder / ".two").write_bytes(pems[1])
        (folder / ".two").rename(folder / "two.pub")
        time.sleep(0.005)
        (folder / "two.pub").unlink()
        time.sleep(0.005)
    stop.set()
    for thread in threads:
        thread.join()
    assert seen <= {("one",), ("one", "two")}
    assert trusted(store) == ["one"]


def test_removed_key_is_dropped_even_if_others_are_unusable(store, folder, pems, caplog):
    (folder / "two.pub").write_bytes(pems[1])
    assert trusted(store) == ["one", "two"]
    before = store.generation
    (folder / "half.pub").write_bytes(b"")
    (folder / "two.pub").unlink()
    assert trusted(store) == ["one"]
    assert store.generation > before
    assert "no longer trusting removed keys: two" in caplog.text
    (folder / "half.pub").unlink()
    (folder / "one.pub").write_bytes(pems[1])
    assert trusted(store) == ["one"]


def test_unexpected_error_keeps_the_current_keys(store, folder, monkeypatch, caplog):
    (folder / "long.pub").symlink_to("x" * 250)
    (folder / "zz").symlink_to("/proc/1/root/x" if os.geteuid() else "y" * 250)
    monkeypatch.setattr(Key, "fingerprint", lambda self: 1 // 0)
    assert trusted(store) == ["one"]
    assert "keeping the current keys" in caplog.text


def test_lenient_store_skips_unusable_keys(folder, pems, caplog):
    (folder / "half.pub").write_bytes(b"")
    (folder / "odd.pub").mkdir()
    store = KeyStore(folder, now=Ticking(), strict=False)
    assert list(store.verification_keys()) == ["one"]
    assert "half.pub" in caplog.text
    assert "odd.pub" in caplog.text
    (folder / "half.pub").write_bytes(pems[1])
    (folder / "odd.pub").rmdir()
    assert trusted(store) == ["half", "one"]
    empty = KeyStore(folder / "gone", now=Ticking(), strict=False)
    assert trusted(empty) == []
