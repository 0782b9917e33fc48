"""Hashes of client secrets."""

import pytest

from security.secret_hash import PATTERN, hash_secret, matches


def test_hash_matches_only_its_secret():
    hashed = hash_secret("s3cret")
    assert PATTERN.fullmatch(hashed)
    assert matches("s3cret", hashed)
    for other in ("", "s3cre", "s3cret ", "S3cret", hashed, "\ud800"):
        assert not matches(other, hashed)


def test_equal_secrets_have_different_hashes():
    assert hash_secret("a") != hash_secret("a")


@pytest.mark.parametrize("hashed", ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$x$y"])
def test_malformed_hash_matches_nothing(hashed):
    assert not matches("plain", hashed)
