"""Key files whose encoding restricts the use of the key."""

import base64
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from security import InvalidToken, JWTProvider, KeyException, KeyStore
from security.keys.signing_key import SigningKeys
from tests.support.issuing import CURVE, FIRST, ask, token

RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")
PSS = bytes.fromhex("06092a864886f70d01010a")
# RFC 4055, section 3.1: the hash function, the mask generation function with it, and the length of the salt
ONLY_SHA512 = bytes.fromhex(
    "3034a00f300d06096086480165030402030500a11c301a06092a864886f70d010108300d06096086480165030402030500a203020140"
)
ONLY_SHA1 = bytes.fromhex("3000")  # the defaults


def sequence(content: bytes) -> bytes:
    size = len(content)
    head = bytes([0x30, size]) if size < 128 else b"\x30\x82" + size.to_bytes(2, "big")
    return head + content


def restricted_pem(parameters: bytes = b"") -> bytes:
    """Return FIRST's public key with the algorithm RSASSA-PSS."""
    usual = FIRST.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    at = usual.index(RSA_ENCRYPTION)
    der = sequence(sequence(PSS + parameters) + usual[at + len(RSA_ENCRYPTION) :])
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"


def certificate(key=FIRST, usage: x509.KeyUsage | None = None, **options: object) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=3650))
    )  # fmt: skip
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(FIRST, hashes.SHA256(), **options).public_bytes(serialization.Encoding.PEM)


def usage(*names: str) -> x509.KeyUsage:
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: name in names for name in every})


@pytest.fixture
def provider(tmp_path):
    def load(content: bytes) -> JWTProvider:
        (tmp_path / "one.pub").write_bytes(content)
        return JWTProvider(KeyStore(tmp_path))

    return load


# RFC 4055, section 1.2: "When the RSA private key owner wishes to limit the use of the public key exclusively to
# RSASSA-PSS, then the id-RSASSA-PSS object identifier MUST be used in the algorithm field within the subject public key
# information".
@pytest.mark.parametrize(
    ("parameters", "accepted"), [(b"", {"PS256", "PS384", "PS512"}), (ONLY_SHA512, {"PS512"})], ids=["any", "SHA-512"]
)
def test_key_for_pss_verifies_only_pss(provider, parameters, accepted):
    restricted = provider(restricted_pem(parameters))
    for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
        signed = token(algorithm=algorithm)
        if algorithm in accepted:
            assert ask(restricted, signed)
        else:
            with pytest.raises(InvalidToken, match="no trusted key"):
                ask(restricted, signed)


def test_key_for_pss_with_an_unsupported_hash_function_is_unusable(provider):
    with pytest.raises(KeyException, match="published for another algorithm"):
        provider(restricted_pem(ONLY_SHA1))


def test_service_signs_with_pss_if_its_public_key_is_restricted(tmp_path):
    (tmp_path / "loaner.pub").write_bytes(restricted_pem(ONLY_SHA512))
    private = serialization.PrivateFormat.PKCS8
    (tmp_path / "loaner").write_bytes(
        FIRST.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
    )
    signing = SigningKeys(KeyStore(tmp_path), "loaner").current()
    signed = jwt.encode({"userId": "u1", "exp": 4_000_000_000}, signing.key, algorithm=signing.algorithm)
    assert jwt.get_unverified_header(signed)["alg"] == "PS512"
    assert ask(JWTProvider(KeyStore(tmp_path)), signed)


def test_certificate_signed_with_pss_does_not_restrict_its_key(provider):
    salt = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    unrestricted = provider(certificate(rsa_padding=salt))
    assert ask(unrestricted, token(algorithm="RS256"))
    assert ask(unrestricted, token(algorithm="PS384"))


# RFC 5280, section 4.2.1.3: "The digitalSignature bit is asserted when the subject public key is used for verifying
# digital signatures, other than signatures on certificates (bit 5) and CRLs (bit 6)".
@pytest.mark.parametrize("names", [("key_encipherment",), ("key_agreement", "data_encipherment"), ("key_cert_sign",)])
def test_certificate_for_another_use_is_unusable(provider, names):
    with pytest.raises(KeyException, match="key usage does not include digital signatures"):
        provider(certificate(usage=usage(*names)))


@pytest.mark.parametrize(
    "names", [None, ("digital_signature",), ("digital_signature", "key_encipherment"), ("content_commitment",)]
)
def test_certificate_for_signatures_is_usable(provider, names):
    assert ask(provider(certificate(usage=names and usage(*names))), token())
    assert ask(provider(certificate(CURVE, usage=names and usage(*names))), token(CURVE, None, "ES256"))
