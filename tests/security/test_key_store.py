"""The directory of keys: what is read, and how each key that cannot be used is named."""

import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from security import Key, KeyException, KeyStore
from security.key_pair import write_key_pair

PUBLIC = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_every_public_key_of_the_directory_is_trusted(keys_dir):
    store = KeyStore(keys_dir)
    assert [name for name, _ in store.public_keys()] == ["default", "loaner"]
    assert store.get_key().load() == (keys_dir / "default.pub").read_bytes()


def test_further_keys_have_names_of_their_own(keys_dir):
    store = KeyStore(keys={"platform": keys_dir / "default.pub"})
    assert store.get_key("platform").public.key_size == 2048


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_private_keys_are_read_in_both_forms(tmp_path, form):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (tmp_path / "default").write_bytes(pem)
    assert KeyStore(tmp_path).get_private_key("default").private.key_size == 2048


def test_a_missing_key_is_named(keys_dir):
    with pytest.raises(KeyException, match="key other"):
        KeyStore(keys_dir).get_key("other")
    with pytest.raises(KeyException, match="key other"):
        KeyStore(keys_dir).get_private_key("other")
    with pytest.raises(KeyException, match="key default"):
        KeyStore().get_private_key()


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(KeyException, match=r"nowhere.*not a readable directory"):
        KeyStore(tmp_path / "nowhere")


def _small() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key().public_bytes(*PUBLIC)


def _curve() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*PUBLIC)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "PEM"), (b"rubbish", "PEM"), (_small(), "1024 bits"), (_curve(), "not an RSA key")],
)
def test_a_public_key_that_cannot_be_used_is_named(tmp_path, content, reason):
    (tmp_path / "odd.pub").write_bytes(content)
    with pytest.raises(KeyException, match=f"odd.pub.*{reason}"):
        KeyStore(tmp_path)


def test_a_folder_in_place_of_a_key_is_named(tmp_path):
    (tmp_path / "odd.pub").mkdir()
    with pytest.raises(KeyException, match=r"odd.pub.*cannot be read"):
        KeyStore(tmp_path)


def test_an_encrypted_private_key_is_named(tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (tmp_path / "locked").write_bytes(pem)
    with pytest.raises(KeyException, match=r"locked.*encrypted"):
        _ = Key(tmp_path / "locked").private


def test_a_private_key_that_is_none_is_named(tmp_path):
    (tmp_path / "odd").write_bytes(b"rubbish")
    with pytest.raises(KeyException, match=r"odd.*PEM"):
        _ = Key(tmp_path / "odd").private


def test_a_new_pair_is_private_and_never_written_over(tmp_path):
    write_key_pair(tmp_path, "own")
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o600
    before = (tmp_path / "own").read_bytes()
    with pytest.raises(KeyException, match="own"):
        write_key_pair(tmp_path, "own")
    assert (tmp_path / "own").read_bytes() == before
    pair = KeyStore(tmp_path)
    assert pair.get_private_key("own").private.public_key() == pair.get_key("own").public
