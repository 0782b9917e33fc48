"""JSON Web Keys: written keys can be read again, also by another library."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt import PyJWKSet

from security.keys.jwk import build_jwk_set, parse_jwk
from security.keys.verification_key import to_verification_key


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
    ],
)
def test_key_survives_a_round_trip(key, algorithm):
    key = to_verification_key("loaner-1", key.public_key())
    written = json.loads(json.dumps(build_jwk_set([key])))
    [jwk] = written["keys"]
    assert (jwk["kid"], jwk["use"], jwk["alg"]) == ("loaner-1", "sig", algorithm)
    assert "d" not in jwk
    assert parse_jwk(jwk) == to_verification_key("loaner-1", key.key, [algorithm])
    assert PyJWKSet.from_dict(written)["loaner-1"].key == key.key


def test_set_may_be_empty():
    assert build_jwk_set([]) == {"keys": []}
