"""Only an instance of this service can prove its identity."""

import pytest

from security import KeyStore
from security.keys.generation import write_key_pair
from service.gateway.identity import Identity, new_challenge
from service.tokens.shared_secrets import SharedSecrets

SECRET, OTHER = b"s" * 32, b"o" * 32


def identity(*secrets: bytes, service: str = "loaner", instance: str = "i1") -> Identity:
    return Identity(service, lambda: secrets, instance)


def test_a_proof_names_the_instance():
    challenge = new_challenge()
    assert identity(SECRET, instance="").verify(challenge, identity(SECRET).prove(challenge)) == "i1"


def test_a_proof_is_for_one_challenge():
    assert identity(SECRET).verify(new_challenge(), identity(SECRET).prove(new_challenge())) is None
    assert new_challenge() != new_challenge()


@pytest.mark.parametrize("forger", [identity(OTHER), identity(SECRET, service="other")])
def test_another_service_cannot_prove_it(forger):
    challenge = new_challenge()
    assert identity(SECRET).verify(challenge, forger.prove(challenge)) is None


def test_the_id_of_the_instance_is_part_of_the_proof():
    challenge = new_challenge()
    proof = identity(SECRET).prove(challenge)
    assert proof is not None
    assert identity(SECRET).verify(challenge, proof.replace("i1", "i2")) is None


@pytest.mark.parametrize(
    "echo", [None, "", "i1", "{challenge}", "i1 {challenge}", "i1 " + "0" * 64, "i1 é", "x" * 9999]
)
def test_an_echo_is_no_proof(echo):
    challenge = new_challenge()
    assert identity(SECRET).verify(challenge, echo and echo.replace("{challenge}", challenge)) is None


def test_during_a_rotation_one_common_secret_suffices():
    challenge = new_challenge()
    proof = identity(OTHER, SECRET).prove(challenge)
    assert identity(SECRET).verify(challenge, proof) == "i1"
    assert identity(b"n" * 32, SECRET).verify(challenge, proof) == "i1"


@pytest.mark.parametrize("challenge", ["", "short", "x" * 65, "a" * 20 + "\n", "a b" * 8])
def test_a_malformed_challenge_gets_no_proof(challenge):
    assert identity(SECRET).prove(challenge) is None


def test_without_a_secret_nothing_is_proven():
    assert identity().prove(new_challenge()) is None
    assert not identity().has_secrets()
    challenge = new_challenge()
    assert identity().verify(challenge, identity(SECRET).prove(challenge)) is None


def test_instances_derive_the_same_secrets_from_their_own_keys(tmp_path):
    write_key_pair(tmp_path, "loaner")
    write_key_pair(tmp_path, "default")  # the platform's
    secrets = SharedSecrets(KeyStore(tmp_path))()
    assert (len(secrets), len(secrets[0])) == (1, 32)
    assert SharedSecrets(KeyStore(tmp_path))() == secrets
    write_key_pair(tmp_path, "loaner-20260101T000000Z")
    both = SharedSecrets(KeyStore(tmp_path))()
    assert (len(set(both)), secrets[0] in both) == (2, True)
    (tmp_path / "loaner").unlink()
    assert SharedSecrets(KeyStore(tmp_path))() == [secret for secret in both if secret not in secrets]


def test_a_public_key_gives_no_secret(tmp_path):
    write_key_pair(tmp_path, "loaner")
    (tmp_path / "loaner").unlink()
    assert list(SharedSecrets(KeyStore(tmp_path))()) == []
