"""Keys that change while they are in use: noticed within a second, and taken up whole or not at all."""

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
    """Public keys as bytes: one, and another."""
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


def test_a_new_key_and_one_that_is_taken_away_are_noticed(store, folder, pems):
    before = store.generation
    (folder / "two.pub").write_bytes(pems[1])
    assert trusted(store) == ["one", "two"]
    (folder / "one.pub").unlink()
    assert trusted(store) == ["two"]
    assert store.generation == before + 2
    assert store.candidates("one") == []


def test_nothing_is_parsed_again_while_nothing_changes(store, monkeypatch):
    monkeypatch.setattr(Key, "verification_key", None)
    before = store.generation
    assert trusted(store) == ["one"]
    assert store.generation == before


def test_a_key_that_is_written_over_is_noticed(store, folder, pems):
    (folder / "one.pub").write_bytes(pems[1])
    before = store.verification_keys()["one"]
    assert trusted(store) == ["one"]
    assert store.verification_keys()["one"] != before


def test_files_are_not_looked_at_more_often_than_needed(folder, pems):
    clock = [0.0]
    store = KeyStore(folder, now=lambda: clock[0])
    store.verification_keys()
    (folder / "two.pub").write_bytes(pems[1])
    clock[0] = 0.4
    assert trusted(store) == ["one"]
    clock[0] = 0.5
    assert trusted(store) == ["one", "two"]


def test_an_unknown_key_id_is_looked_for_at_once_and_within_bounds(folder, pems, monkeypatch):
    clock = [0.0]
    store = KeyStore(folder, now=lambda: clock[0])
    store.verification_keys()
    (folder / "two.pub").write_bytes(pems[1])
    clock[0] = 0.1
    assert [key.name for key in store.candidates("two")] == ["two"]
    looks = []
    original = KeyStore._look
    monkeypatch.setattr(KeyStore, "_look", lambda self: looks.append(1) or original(self))
    for number in range(100):
        clock[0] += 0.005
        store.candidates(f"unknown {number}")
    assert 4 <= len(looks) <= 6


@pytest.mark.parametrize("content", [b"", b"rubbish", b"-----BEGIN PUBLIC KEY-----\nMIIB"])
def test_a_change_is_taken_up_whole_or_not_at_all(store, folder, pems, caplog, content):
    (folder / "two.pub").write_bytes(pems[1])
    (folder / "half.pub").write_bytes(content)
    for _ in range(3):
        assert trusted(store) == ["one"]
    assert caplog.text.count("half.pub") == 1  # named once, not at every look
    (folder / "half.pub").write_bytes(pems[1])
    assert trusted(store) == ["half", "one", "two"]


def test_a_directory_that_is_gone_leaves_the_keys_as_they_were(store, folder, pems, caplog):
    folder.rename(folder.with_name("elsewhere"))
    assert trusted(store) == ["one"]
    assert "not a readable directory" in caplog.text
    folder.with_name("elsewhere").rename(folder)
    (folder / "two.pub").write_bytes(pems[1])
    assert trusted(store) == ["one", "two"]


def test_a_swap_of_links_as_kubernetes_makes_it_is_noticed(tmp_path, pems):
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


def test_a_token_of_a_key_that_is_taken_away_is_refused_at_once_in_every_provider(keys_dir, make_token, tmp_path):
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


def test_threads_that_ask_while_keys_change_see_a_whole_set(folder, pems):
    store = KeyStore(folder, now=Ticking())
    store.verification_keys()
    seen, stop = set(), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            seen.add(tuple(trusted(store)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
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


def test_a_key_that_is_gone_is_out_whatever_is_wrong_with_others(store, folder, pems, caplog):
    (folder / "two.pub").write_bytes(pems[1])
    assert trusted(store) == ["one", "two"]
    before = store.generation
    (folder / "half.pub").write_bytes(b"")
    (folder / "two.pub").unlink()
    assert trusted(store) == ["one"]
    assert store.generation > before
    assert "trusted no more, since they are gone: two" in caplog.text
    (folder / "half.pub").unlink()
    (folder / "one.pub").write_bytes(pems[1])
    assert trusted(store) == ["one"]


def test_whatever_a_file_holds_the_last_good_keys_stay(store, folder, monkeypatch, caplog):
    (folder / "long.pub").symlink_to("x" * 250)
    (folder / "zz").symlink_to("/proc/1/root/x" if os.geteuid() else "y" * 250)
    monkeypatch.setattr(Key, "mark", lambda self: 1 // 0)
    assert trusted(store) == ["one"]
    assert "stay as they were" in caplog.text


def test_a_process_that_replaces_another_leaves_out_what_it_cannot_use(folder, pems, caplog):
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
