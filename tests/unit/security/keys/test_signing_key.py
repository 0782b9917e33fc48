"""The choice of the signing key, and changes of its files."""

import os

import pytest

from security import KeyException, KeyStore
from security.keys.generation import write_key_pair
from security.keys.signing_key import SigningKeys, own_key_names
from tests.fakes.clocks import Ticking

OLD, NEW = "loaner-20260101T000000Z", "loaner-20260201T000000Z"


@pytest.fixture
def folder(tmp_path):
    for name in ("default", OLD, NEW):
        write_key_pair(tmp_path, name)
    (tmp_path / "default").unlink()
    return tmp_path


@pytest.fixture
def signing(folder):
    store = KeyStore(folder, now=Ticking())
    store.verification_keys()
    return SigningKeys(store, "loaner")


def kid(signing) -> str | None:
    current = signing.current()
    return current and current.kid


def test_own_key_names_are_filtered_and_sorted_by_age():
    names = [NEW, "loaner", "loaner-admin", "loanerx", "loaner-20260101", OLD, "default", f"x{OLD}", f"{OLD}x"]
    assert own_key_names(names, "loaner") == ["loaner", OLD, NEW]


def test_oldest_pair_signs_until_its_private_half_is_removed(signing, folder):
    assert kid(signing) == OLD
    assert [key.name for key in signing.public()] == [OLD, NEW]
    (folder / OLD).unlink()
    assert kid(signing) == NEW
    assert [key.name for key in signing.public()] == [OLD, NEW]
    (folder / f"{OLD}.pub").unlink()
    assert [key.name for key in signing.public()] == [NEW]


def test_no_key_signs_without_private_keys(signing, folder):
    assert kid(signing) == OLD
    for name in (OLD, NEW):
        (folder / name).unlink()
    assert kid(signing) is None


def test_unpublished_private_key_does_not_sign(signing, folder):
    (folder / f"{OLD}.pub").unlink()
    assert kid(signing) == NEW


@pytest.mark.parametrize("content", [b"", b"invalid", "other"])
def test_broken_pair_is_logged_once_and_skipped(signing, folder, caplog, content):
    assert kid(signing) == OLD
    (folder / OLD).write_bytes((folder / NEW).read_bytes() if content == "other" else content)
    assert [kid(signing) for _ in range(3)] == [NEW] * 3
    assert caplog.text.count(f"{OLD}: is not") == 1


def test_last_pair_stays_in_use_if_its_file_breaks(signing, folder, caplog):
    (folder / OLD).unlink()
    assert kid(signing) == NEW
    (folder / NEW).write_bytes(b"")
    assert kid(signing) == NEW
    assert "stays in use" in caplog.text
    (folder / NEW).unlink()
    assert kid(signing) is None


def test_elliptic_curve_key_signs_with_its_algorithm(tmp_path):
    os.system(f"cd {tmp_path} && openssl ecparam -name prime256v1 -genkey -noout -out loaner 2>/dev/null"
              f" && openssl pkey -in loaner -pubout -out loaner.pub")  # fmt: skip
    store = KeyStore(tmp_path)
    assert SigningKeys(store, "loaner").current().algorithm == "ES256"


def test_mismatched_pair_is_named(folder):
    (folder / f"{OLD}.pub").write_bytes((folder / f"{NEW}.pub").read_bytes())
    with pytest.raises(KeyException, match=rf"{OLD}: is not the private half of {OLD}\.pub"):
        SigningKeys(KeyStore(folder), "loaner").load(OLD)
