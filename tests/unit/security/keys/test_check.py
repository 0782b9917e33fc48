"""The check of a key directory: findings and their advice."""

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


def findings(folder, problems=True) -> str:
    return "\n".join(f"{f.name}: {f.advice}" for f in check(KeyRing(folder, "loaner", 600)) if f.is_problem is problems)


def test_valid_directory_has_no_problems(folder):
    assert findings(folder) == ""
    assert "publish one: keys generate" in findings(folder, problems=False)
    write_key_pair(folder, NEXT)
    assert findings(folder, problems=False) == ""


def public(key) -> bytes:
    return key.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private(key, pass_phrase: bytes | None = None) -> bytes:
    locking = serialization.BestAvailableEncryption(pass_phrase) if pass_phrase else serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, locking)


SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)
LARGE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ODD = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("odd.pub", b"", "is not a public key in PEM"),
        ("odd.pub", public(SMALL.public_key()), "has 1024 bits"),
        ("odd.pub", public(ODD.public_key()), "is neither an RSA key"),
        ("odd.pub", public(LARGE.public_key()) + b"extra", "has content after the key"),
        ("loaner", b"", "is not a private key in PEM"),
        ("loaner", private(LARGE, b"phrase"), "is encrypted"),
        ("loaner", private(SMALL), "has 1024 bits"),
        ("loaner", private(ODD), "is neither an RSA key"),
        ("loaner", private(LARGE), "is not the private half of loaner.pub"),
        ("loaner", private(LARGE) + b"extra", "has content after the key"),
    ],
)
def test_unusable_key_is_named(folder, name, content, reason):
    (folder / name).write_bytes(content)
    assert f"{folder / name}: {reason}" in findings(folder)


def test_path_that_is_not_a_file_is_named(folder):
    (folder / "folder.pub").mkdir()
    (folder / "loop.pub").symlink_to("loop.pub")
    for name in ("folder.pub", "loop.pub"):
        assert f"{name}: does not exist or is not a file" in findings(folder)


def test_leftovers_are_named(folder):
    (folder / "loaner.pub").unlink()
    (folder / f".{NEXT}.new").touch()
    lines = findings(folder)
    assert "keys retire loaner" in lines
    assert f".{NEXT}.new: is left over from an interrupted change" in lines
    assert "has no signing key" in findings(folder, problems=False)


def test_loose_permissions_are_named(folder):
    (folder / "loaner").chmod(0o644)
    assert f"loaner: is a private key that other users can read (mode 0644): chmod 600 {folder}/loaner" in findings(
        folder
    )
    (folder / "loaner").chmod(0o600)
    folder.chmod(0o755)
    assert findings(folder) == ""
    assert f"is readable by all users (mode 0755): chmod 700 {folder}" in findings(folder, problems=False)
    folder.chmod(0o777)
    assert f"all users can add keys (mode 0777): chmod 700 {folder}" in findings(folder)


def test_duplicate_key_is_named(folder):
    shutil.copy(folder / "loaner.pub", folder / "backup.pub")
    assert "backup.pub: is the same key as loaner.pub, which stays trusted until both files are removed" in findings(
        folder
    )


def test_private_key_in_two_files_is_named(folder):
    shutil.copy(folder / "loaner", folder / "loaner.pem")
    assert "has two private files" in findings(folder)


def test_private_key_of_the_platform_is_a_note(folder, keys_dir):
    shutil.copy(keys_dir / "default", folder)
    assert "default: is a private key that this service does not own" in findings(folder, problems=False)


def test_retiring_key_without_a_rotation_record_is_a_note(folder):
    shutil.copy(folder / "loaner.pub", folder / f"{NEXT}.pub")
    write_key_pair(folder, "loaner-20260201T000000Z")
    (folder / "loaner").unlink()
    assert "the time of its rotation is unknown" in findings(folder, problems=False)


def test_empty_or_missing_directory_is_named(tmp_path):
    assert "has no public key" in findings(tmp_path)
    with pytest.raises(KeyException, match="not a readable directory"):
        check(KeyRing(tmp_path / "gone", "loaner", 600))
