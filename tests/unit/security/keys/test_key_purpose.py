"""A key serves what it was published for, and nothing else."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from security import InvalidToken, KeyException
from security.keys.jwk import parse_jwk
from security.keys.roca import has_fingerprint
from security.keys.verification_key import RSA_ALGORITHMS, to_verification_key
from tests.support.issuing import CURVE, FIRST, SECOND, ask, jwk, token

ODD_SIZE = ec.generate_private_key(ec.SECP521R1())


def published(key, **members: object) -> dict:
    """Return a JWK without the members that restrict it, except those given."""
    public = {name: value for name, value in jwk(key, "one").items() if name not in ("use", "key_ops", "alg")}
    return {**public, **members}


# RFC 7517, section 4.4: "The "alg" (algorithm) parameter identifies the algorithm intended for use with the key."
# RFC 8725, section 3.1: "each key MUST be used with exactly one algorithm, and this MUST be checked when the
# cryptographic operation is performed."
def test_key_verifies_only_the_algorithm_that_it_is_published_for(provider, issuer):
    issuer.keys = [published(FIRST, alg="PS512")]
    assert ask(provider, token(algorithm="PS512"))
    for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384"):
        with pytest.raises(InvalidToken, match="no trusted key"):
            ask(provider, token(algorithm=algorithm))


@pytest.mark.parametrize("algorithm", RSA_ALGORITHMS)
def test_key_without_an_algorithm_verifies_those_of_its_type(provider, issuer, algorithm):
    issuer.keys = [published(FIRST)]
    assert ask(provider, token(algorithm=algorithm))


def test_two_keys_of_one_name_serve_one_algorithm_each(provider, issuer):
    issuer.keys = [published(FIRST, alg="RS256"), published(SECOND, alg="PS256")]
    assert ask(provider, token(FIRST, algorithm="RS256"))
    assert ask(provider, token(SECOND, algorithm="PS256"))
    for key, algorithm in ((FIRST, "PS256"), (SECOND, "RS256")):
        with pytest.raises(InvalidToken, match="no trusted key"):
            ask(provider, token(key, algorithm=algorithm))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        # RFC 7518, section 3.4: ES256 is "ECDSA using P-256 and SHA-256", ES512 "ECDSA using P-521 and SHA-512".
        (CURVE, "ES512"),
        (CURVE, "ES521"),
        (CURVE, "ES384"),
        (ODD_SIZE, "ES256"),
        (ODD_SIZE, "ES521"),
        (CURVE, "RS256"),
        (CURVE, "es256"),
        (FIRST, "ES256"),
        (FIRST, "HS256"),
        (FIRST, "none"),
        (FIRST, "rs256"),
        (FIRST, "RSA-OAEP"),
        (FIRST, ""),
    ],
)
def test_label_that_does_not_fit_the_type_makes_a_key_unusable(key, algorithm):
    with pytest.raises(KeyException, match="published for another algorithm"):
        parse_jwk(published(key, alg=algorithm))


# RFC 7517, section 4.2: "The "use" (public key use) parameter identifies the intended use of the public key. The "use"
# parameter is employed to indicate whether a public key is used for encrypting data or verifying the signature on
# data. ... Values ... are: "sig" (signature), "enc" (encryption)".
@pytest.mark.parametrize("use", ["enc", "", "SIG", "tls"])
def test_key_for_another_use_verifies_nothing(use):
    assert parse_jwk(published(FIRST, use=use)) is None


# RFC 7517, section 4.3: "The "key_ops" (key operations) parameter identifies the operation(s) for which the key is
# intended to be used."
@pytest.mark.parametrize(
    "operations",
    [
        [],
        ["sign"],
        ["encrypt"],
        ["wrapKey", "unwrapKey"],
        ["deriveKey"],
        ["deriveBits"],
        ["Verify"],
        ["encrypt", "sign"],
    ],
)
def test_key_for_other_operations_verifies_nothing(operations):
    assert parse_jwk(published(FIRST, key_ops=operations)) is None
    assert parse_jwk(published(FIRST, key_ops=operations, use="sig")) is None


@pytest.mark.parametrize("members", [{}, {"use": "sig"}, {"key_ops": ["verify"]}, {"key_ops": ["sign", "verify"]}])
def test_key_for_signatures_is_usable(members):
    assert parse_jwk(published(FIRST, **members)).key == FIRST.public_key()


@pytest.mark.parametrize(
    ("operations", "reason"),
    [
        # "Duplicate key operation values MUST NOT be present in the array."
        (["verify", "verify"], "duplicate"),
        # "Multiple unrelated key operations SHOULD NOT be specified for a key because of the potential vulnerabilities
        # associated with using the same key with multiple algorithms."
        (["verify", "encrypt"], "unrelated"),
        (["sign", "verify", "wrapKey"], "unrelated"),
        # "Its value is an array of key operation values."
        ("verify", "not a list of strings"),
        (["verify", 1], "not a list of strings"),
        ({"verify": True}, "not a list of strings"),
    ],
)
def test_inconsistent_operations_make_a_key_unusable(operations, reason):
    with pytest.raises(KeyException, match=reason):
        parse_jwk(published(FIRST, key_ops=operations))


@pytest.mark.parametrize("member", ["kid", "kty", "use", "alg"])
@pytest.mark.parametrize("value", [1, True, ["sig"], {"a": "b"}])
def test_members_of_other_types_make_a_key_unusable(member, value):
    """RFC 7517, sections 4.1 to 4.5: the values are case-sensitive strings."""
    with pytest.raises(KeyException, match=f"{member} that is not a string"):
        parse_jwk(published(FIRST, **{member: value}))


@pytest.mark.parametrize("kty", ["oct", "OKP", "rsa", "ec", "", None])
def test_other_types_of_keys_are_ignored(kty):
    assert parse_jwk({**published(FIRST), "kty": kty, "k": "c2VjcmV0"}) is None


# RFC 7517, section 9.2: "Private and symmetric keys MUST be protected from disclosure to unintended parties."
def test_published_private_key_is_unusable():
    numbers = {"d": "AQAB", "p": "AQAB", "q": "AQAB"}
    for name, value in numbers.items():
        with pytest.raises(KeyException, match="private half"):
            parse_jwk(published(FIRST, **{name: value}))
    with pytest.raises(KeyException, match="private half"):
        parse_jwk(published(CURVE, d="AQAB"))


# Two primes k * M + 65537^a mod M of 1024 bits, where M is the product of the first 39 primes.
_K_AND_A = [(3909332730, 76854994), (1102232473, 3173099862)]


def roca_modulus() -> int:
    product = 1
    for number in range(2, 168):
        if all(number % divisor for divisor in range(2, number)):
            product *= number
    modulus = 1
    for k, a in _K_AND_A:
        modulus *= ((3 << 1022) // product + k) * product + pow(65537, a, product)
    return modulus


def test_key_with_the_roca_fingerprint_is_unusable():
    modulus = roca_modulus()
    assert modulus.bit_length() == 2048
    assert has_fingerprint(modulus)
    key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    with pytest.raises(KeyException, match="CVE-2017-15361"):
        to_verification_key("card", key)
    with pytest.raises(KeyException, match="CVE-2017-15361"):
        parse_jwk(jwk(type("Pair", (), {"public_key": lambda self: key})(), "card"))


def test_other_moduli_do_not_have_the_fingerprint():
    assert not has_fingerprint(FIRST.public_key().public_numbers().n)
    assert not has_fingerprint(SECOND.public_key().public_numbers().n)
    modulus = roca_modulus()
    assert not any(has_fingerprint(modulus + 2 * step) for step in range(1, 1000))
    for prime in (11, 37, 97):  # each of the primes counts: no power of 65537 is 0
        assert not has_fingerprint(modulus * prime)


def numbers(e: int, n: int) -> dict:
    def encode(number: int) -> str:
        return base64url(number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big"))

    return {"kty": "RSA", "kid": "weak", "e": encode(e), "n": encode(n)}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


MODULUS = FIRST.public_key().public_numbers().n


@pytest.mark.parametrize(
    "members",
    [
        numbers(65537, MODULUS - 1),  # even
        numbers(65537, MODULUS >> 8),  # short
        numbers(65537, 0),
        numbers(65537, 1),
        numbers(0, MODULUS),
        numbers(1, MODULUS),
        numbers(2, MODULUS),
        numbers(65536, MODULUS),
        numbers(MODULUS, MODULUS),
        numbers(MODULUS + 2, MODULUS),
        {**numbers(65537, MODULUS), "n": "!"},
        {**numbers(65537, MODULUS), "e": "A!Q A\nB"},
        {**numbers(65537, MODULUS), "e": "+Q/B"},
        {**published(CURVE), "x": published(CURVE)["x"] + "\n"},
        {**numbers(65537, MODULUS), "n": ""},
        {**numbers(65537, MODULUS), "n": 5},
        {**numbers(65537, MODULUS), "n": None},
        {**numbers(65537, MODULUS), "e": ["AQAB"]},
        {"kty": "RSA"},
        {"kty": "EC"},
        {**published(CURVE), "crv": "P-384"},
        {**published(CURVE), "crv": "secp256k1"},
        {**published(CURVE), "crv": 1},
        {**published(CURVE), "x": published(CURVE)["y"]},  # not on the curve
        {**published(CURVE), "x": "AAAA"},
        {**published(CURVE), "x": base64url(bytes(32)), "y": base64url(bytes(32))},
        {**published(CURVE), "y": None},
        "RSA", None, 1, [], True,
    ],
)  # fmt: skip
def test_weak_and_malformed_keys_are_unusable(members):
    with pytest.raises(KeyException):
        parse_jwk(members)
