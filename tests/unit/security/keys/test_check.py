"""What `keys check` finds in a directory of keys, each with what to do about it."""

import shutil

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from security import KeyException
from security.keys.check import check
from security.keys.generation import write_key_pair
from security.keys.rotation import KeyRing

NEXT = "loaner-20260101T000000Z"
PEM = serialization.Encoding.PEM


@pytest.fixture
def folder(tmp_path, keys_dir):
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    for name in ("default.pub", "loaner", "loaner.pub"):
        shutil.copy(keys_dir / name, folder)
    return folder


def found(folder, wrong=True) -> str:
    return "\n".join(f"{f.name}: {f.advice}" for f in check(KeyRing(folder, "loaner", 600)) if f.wrong is wrong)


def test_a_directory_in_which_all_is_well(folder):
    assert found(folder) == ""
    assert "publish one: keys generate" in found(folder, wrong=False)
    write_key_pair(folder, NEXT)
    assert found(folder, wrong=False) == ""


def public(key) -> bytes:
    return key.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private(key, pass_phrase: bytes | None = None) -> bytes:
    locking = serialization.BestAvailableEncryption(pass_phrase) if pass_phrase else serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, locking)


SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)
LARGE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ODD = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("odd.pub", b"", "is not a public key in PEM"),
        ("odd.pub", public(SMALL.public_key()), "has 1024 bits"),
        ("odd.pub", public(ODD.public_key()), "is neither an RSA key"),
        ("odd.pub", public(LARGE.public_key()) + b"rubbish", "has something behind its key"),
        ("loaner", b"", "is not a private key in PEM"),
        ("loaner", private(LARGE, b"phrase"), "is encrypted"),
        ("loaner", private(SMALL), "has 1024 bits"),
        ("loaner", private(ODD), "is neither an RSA key"),
        ("loaner", private(LARGE), "is not the private half of loaner.pub"),
        ("loaner", private(LARGE) + b"rubbish", "has something behind its key"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(folder, name, content, said):
    (folder / name).write_bytes(content)
    assert f"{folder / name}: {said}" in found(folder)


def test_what_is_no_file_is_named(folder):
    (folder / "folder.pub").mkdir()
    (folder / "loop.pub").symlink_to("loop.pub")
    for name in ("folder.pub", "loop.pub"):
        assert f"{name}: does not exist or is not a file" in found(folder)


def test_leftovers_are_named(folder):
    (folder / "loaner.pub").unlink()
    (folder / f".{NEXT}.new").touch()
    told = found(folder)
    assert "keys retire loaner" in told
    assert f".{NEXT}.new: was left by a change that was interrupted" in told
    assert "no key signs" in found(folder, wrong=False)


def test_what_lies_open_is_named(folder):
    (folder / "loaner").chmod(0o644)
    assert f"loaner: is a private key that others may read (mode 0644): chmod 600 {folder}/loaner" in found(folder)
    (folder / "loaner").chmod(0o600)
    folder.chmod(0o755)
    assert found(folder) == ""
    assert f"is open to all (mode 0755): chmod 700 {folder}" in found(folder, wrong=False)
    folder.chmod(0o777)
    assert f"anybody may put keys into it (mode 0777): chmod 700 {folder}" in found(folder)


def test_a_key_under_two_names_is_named(folder):
    shutil.copy(folder / "loaner.pub", folder / "backup.pub")
    assert "backup.pub: is the same key as loaner.pub: it stays trusted until both are gone" in found(folder)


def test_a_private_key_in_two_files_is_named(folder):
    shutil.copy(folder / "loaner", folder / "loaner.pem")
    assert "has two private files" in found(folder)


def test_a_private_key_of_the_platform_is_not_needed(folder, keys_dir):
    shutil.copy(keys_dir / "default", folder)
    assert "default: is a private key of somebody else's" in found(folder, wrong=False)


def test_a_retiring_key_without_a_record_may_be_removed_in_time(folder):
    shutil.copy(folder / "loaner.pub", folder / f"{NEXT}.pub")
    write_key_pair(folder, "loaner-20260201T000000Z")
    (folder / "loaner").unlink()
    assert "nobody has recorded since when" in found(folder, wrong=False)


def test_nothing_at_all_is_named(tmp_path):
    assert "holds no public key" in found(tmp_path)
    with pytest.raises(KeyException, match="not a readable directory"):
        check(KeyRing(tmp_path / "gone", "loaner", 600))
