"""The key store: supported files, and the errors of unusable ones."""

import stat
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from security import (
    JWTProvider,
    Key,
    KeyException,
    KeyStore,
)
from security.keys.generation import write_key_pair

PUBLIC = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
PRIVATE = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)


def test_files_are_found_by_name_without_parsing(tmp_path):
    for name in ("system", "system.pub", "default.pub", "other.pem", "ignored.crt", "service.key", ".hidden"):
        (tmp_path / name).write_text(f"this is {name}")
    (tmp_path / "..data").mkdir()
    (tmp_path / "folder").mkdir()
    store = KeyStore(dir_path=str(tmp_path))
    assert set(store.keys) == {"system", "default", "other"}
    assert set(store.public_keys()) == {"system", "default"}
    public, private = store.get_key("system"), store.get_private_key("system")
    assert (public.public, public.load()) == (True, b"this is system.pub")
    assert (private.public, private.load()) == (False, b"this is system")
    assert store.get_key("system", public=False) is not public
    assert store.get_key().load() == b"this is default.pub"


def test_load_returns_the_bytes_of_the_file(tmp_path):
    (tmp_path / "key").write_bytes(b"\x00content")
    assert Key(key_file=str(tmp_path / "key")).load() == b"\x00content"


def test_additional_keys_have_chosen_names(keys_dir):
    store = KeyStore(keys={"platform": keys_dir / "default.pub", "own": str(keys_dir / "loaner")})
    assert store.get_key("platform").public
    assert not store.get_private_key("own").public
    before = store.generation
    store.add_key("own", keys_dir / "loaner.pub")
    assert store.get_key("own").load() != store.get_private_key("own").load()
    assert store.generation > before


def test_key_replaced_during_parsing_does_not_return(keys_dir, monkeypatch):
    store = KeyStore(keys={"default": keys_dir / "default.pub"})
    parsing, original = threading.Event(), Key.verification_key

    def slowly(self, name):
        found = original(self, name)
        parsing.set()
        time.sleep(0.2)
        return found

    monkeypatch.setattr(Key, "verification_key", slowly)
    reader = threading.Thread(target=store.verification_keys)
    reader.start()
    parsing.wait(5)
    store.add_key("default", keys_dir / "loaner.pub")
    reader.join()
    replaced = original(Key(keys_dir / "loaner.pub", public=True), "default")
    assert store.verification_keys()["default"].key == replaced.key


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_private_keys_are_read_in_both_formats(tmp_path, form):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (tmp_path / "default").write_bytes(pem)
    assert KeyStore(tmp_path).get_private_key().private_key().key_size == 2048


@pytest.mark.parametrize("form", [serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1])
def test_public_keys_are_read_in_both_formats(tmp_path, form):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    (tmp_path / "a.pub").write_bytes(key.public_bytes(serialization.Encoding.PEM, form))
    assert KeyStore(tmp_path).verification_keys()["a"].key == key


@pytest.mark.parametrize(
    ("curve", "algorithm"), [(ec.SECP256R1(), "ES256"), (ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")]
)
def test_key_is_bound_to_the_algorithms_of_its_type(tmp_path, keys_dir, curve, algorithm):
    (tmp_path / "a.pub").write_bytes(ec.generate_private_key(curve).public_key().public_bytes(*PUBLIC))
    assert KeyStore(tmp_path).verification_keys()["a"].algorithms == (algorithm,)
    assert "ES256" not in KeyStore(keys_dir).verification_keys()["default"].algorithms


def certificate(key) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "platform")])
    begun = datetime(2020, 1, 1, tzinfo=UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(begun).not_valid_after(begun + timedelta(days=1))
    )  # fmt: skip
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_key_of_a_certificate_is_read(tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (tmp_path / "a.pub").write_bytes(certificate(key))
    assert KeyStore(tmp_path).verification_keys()["a"].key == key.public_key()


def test_content_is_allowed_before_a_key_and_rejected_after_it(keys_dir, tmp_path):
    for name, private in (("loaner.pub", False), ("loaner", True)):
        pem = (keys_dir / name).read_bytes()
        (tmp_path / name).write_bytes(b"Bag Attributes\n" + pem + b"\n\n")
        key = Key(tmp_path / name, public=not private)
        read = key.private_key if private else lambda key=key: key.verification_key("a")
        read()
        for extra in (b"x", pem, b"\x00"):
            (tmp_path / name).write_bytes(pem + extra)
            with pytest.raises(KeyException, match=rf"{name}: has content after the key"):
                read()


def test_loop_of_links_is_named(tmp_path):
    (tmp_path / "a.pub").symlink_to("b.pub")
    (tmp_path / "b.pub").symlink_to("a.pub")
    with pytest.raises(KeyException, match=r"a\.pub: does not exist or is not a file"):
        KeyStore(tmp_path)


def test_missing_key_is_named(keys_dir):
    for get in (KeyStore(keys_dir).get_key, KeyStore(keys_dir).get_private_key):
        with pytest.raises(KeyException, match="key other: no such"):
            get("other")
    with pytest.raises(KeyException, match="key default"):
        KeyStore().get_private_key()


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_unreadable_directory_is_named(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(KeyException, match=f"{place}.*not a readable directory"):
        KeyStore(tmp_path / place)


def test_path_that_is_not_a_file_is_named(tmp_path):
    (tmp_path / "folder.pub").mkdir()
    for make in (lambda: KeyStore(tmp_path), lambda: Key(tmp_path / "gone"), lambda: KeyStore(keys={"a": "gone"})):
        with pytest.raises(KeyException, match="not a file"):
            make()


def test_removed_file_is_named(tmp_path):
    (tmp_path / "a.pub").touch()
    key = Key(tmp_path / "a.pub")
    (tmp_path / "a.pub").unlink()
    with pytest.raises(KeyException, match=r"a\.pub: cannot be read"):
        key.load()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: b"", "PEM"),
        (lambda: b"invalid", "PEM"),
        (lambda: rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key(), "1024 bits"),
        (lambda: ec.generate_private_key(ec.SECP256K1()).public_key(), "secp256k1"),
        (lambda: ed25519.Ed25519PrivateKey.generate().public_key(), "neither"),
    ],
)
def test_unusable_public_key_fails_the_provider_and_is_named(tmp_path, make, reason):
    made = make()
    (tmp_path / "odd.pub").write_bytes(made if isinstance(made, bytes) else made.public_bytes(*PUBLIC))
    with pytest.raises(KeyException, match=rf"odd\.pub.*{reason}"):
        JWTProvider(KeyStore(tmp_path))


@pytest.mark.parametrize(
    ("make", "encryption", "reason"),
    [
        (lambda: b"invalid", None, "PEM"),
        (
            lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
            serialization.BestAvailableEncryption(b"x"),
            "encrypted",
        ),
        (lambda: rsa.generate_private_key(public_exponent=65537, key_size=1024), serialization.NoEncryption(), "1024"),
        (ed25519.Ed25519PrivateKey.generate, serialization.NoEncryption(), "neither"),
    ],
)
def test_unusable_private_key_is_named(tmp_path, make, encryption, reason):
    made = make()
    (tmp_path / "odd").write_bytes(made if isinstance(made, bytes) else made.private_bytes(*PRIVATE, encryption))
    with pytest.raises(KeyException, match=rf"odd: .*{reason}"):
        KeyStore(tmp_path).get_private_key("odd").private_key()


def test_new_pair_is_private_and_never_overwritten(tmp_path):
    write_key_pair(tmp_path, "own")
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o600
    before = (tmp_path / "own").read_bytes()
    with pytest.raises(KeyException, match="own"):
        write_key_pair(tmp_path, "own")
    assert (tmp_path / "own").read_bytes() == before
    pair = KeyStore(tmp_path)
    assert pair.get_private_key("own").private_key().public_key() == pair.verification_keys()["own"].key
