"""A corpus of malformed and forged tokens: each is rejected with 401, and none is logged."""

import base64
import hashlib
import hmac
import json
import time
from types import SimpleNamespace

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from security import (
    JWTProvider,
    KeyStore,
    NotAuthenticated,
    OAuth2Provider,
    Request,
    Response,
    SecurityChain,
    ThreadLocalSecurityContext,
    is_authenticated_provider,
)

NOW = int(time.time())
CLAIMS = {"exp": NOW + 600, "iat": NOW, "userId": "mallory", "username": "mallory", "scopes": "api:read"}
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
UNTRUSTED = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_CURVE = ec.generate_private_key(ec.SECP384R1())
PEM = serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(members: object) -> str:
    return b64(members if isinstance(members, bytes) else json.dumps(members).encode())


def rs256(header: object, payload: object, key=RSA) -> str:
    """Sign with RS256, regardless of the algorithm in the header."""
    signed = f"{part(header)}.{part(payload)}"
    return f"{signed}.{b64(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def hs256(secret: bytes, alg: str = "HS256") -> str:
    signed = f"{part({'alg': alg, 'typ': 'JWT'})}.{part(CLAIMS)}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[alg]
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), digest).digest())}"


def pem(key, form=SPKI) -> bytes:
    return key.public_key().public_bytes(PEM, form)


def der(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, SPKI)


GOOD = rs256({"alg": "RS256", "typ": "JWT"}, CLAIMS)
HEAD, PAYLOAD, SIGNATURE = GOOD.split(".")
RAW = base64.urlsafe_b64decode(SIGNATURE + "==")
JWK = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(UNTRUSTED.public_key()))


def last_bits(text: str) -> str:
    """Change the unused bits of the last character: lenient decoders return the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


def with_claims(**changes: object) -> str:
    return rs256({"alg": "RS256"}, {name: v for name, v in {**CLAIMS, **changes}.items() if v is not ...})


def with_header(**members: object) -> str:
    return rs256({"alg": "RS256", **members}, CLAIMS)


ES_TOKEN = jwt.encode(CLAIMS, EC, algorithm="ES256")
ES_DER = EC.sign(ES_TOKEN.rpartition(".")[0].encode(), ec.ECDSA(hashes.SHA256()))
ES_RAW = base64.urlsafe_b64decode(ES_TOKEN.rpartition(".")[2] + "==")
ORDER = bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")


def es256(signature: bytes) -> str:
    """Return the token of the curve's key with another signature."""
    return f"{ES_TOKEN.rpartition('.')[0]}.{b64(signature)}"


MALFORMED = {
    # unsigned
    **{
        f"alg {alg!r}": f"{part({'alg': alg})}.{PAYLOAD}."
        for alg in ("none", "None", "NONE", "nOnE", "none ", "", "null")
    },
    "alg none, with a signature": f"{part({'alg': 'none'})}.{PAYLOAD}.{SIGNATURE}",
    "alg null": f"{part({'alg': None})}.{PAYLOAD}.{SIGNATURE}",
    "alg missing": rs256({"typ": "JWT"}, CLAIMS),
    "alg a list": rs256({"alg": ["RS256"]}, CLAIMS),
    "alg in lower case": rs256({"alg": "rs256"}, CLAIMS),
    "signature missing": f"{HEAD}.{PAYLOAD}.",
    "two parts": f"{HEAD}.{PAYLOAD}",
    # public key used as a shared secret
    **{f"{alg} with the PEM": hs256(pem(RSA), alg) for alg in ("HS256", "HS384", "HS512")},
    "HS256 with the PEM, stripped": hs256(pem(RSA).strip()),
    "HS256 with the PKCS#1 PEM": hs256(pem(RSA, serialization.PublicFormat.PKCS1)),
    "HS256 with the DER": hs256(der(RSA)),
    "HS256 with the PEM of the EC key": hs256(pem(EC)),
    "HS256 with nothing": hs256(b""),
    # algorithm or key that does not fit the signature
    "RS512 in the header only": rs256({"alg": "RS512"}, CLAIMS),
    "PS256 in the header only": rs256({"alg": "PS256"}, CLAIMS),
    "ES256 in the header only": rs256({"alg": "ES256"}, CLAIMS),
    "RS256 of an untrusted key": rs256({"alg": "RS256"}, CLAIMS, UNTRUSTED),
    "ES384 of another curve": jwt.encode(CLAIMS, OTHER_CURVE, algorithm="ES384"),
    "ES256 of an untrusted key": jwt.encode(CLAIMS, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
    "ES384 in the header only": part({"alg": "ES384"}) + ES_TOKEN[ES_TOKEN.index(".") :],
    "EdDSA": part({"alg": "EdDSA"}) + GOOD[GOOD.index(".") :],
    "ES256K": part({"alg": "ES256K"}) + ES_TOKEN[ES_TOKEN.index(".") :],
    "an encrypted token": f"{part({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.a.b.c.d",
    # headers that offer keys or require extensions
    "an embedded key": rs256({"alg": "RS256", "jwk": JWK}, CLAIMS, UNTRUSTED),
    "a key URL": rs256({"alg": "RS256", "jku": "http://127.0.0.1:9/keys"}, CLAIMS, UNTRUSTED),
    "a certificate URL": rs256({"alg": "RS256", "x5u": "http://127.0.0.1:9/cert"}, CLAIMS, UNTRUSTED),
    "an embedded certificate": rs256({"alg": "RS256", "x5c": ["AAAA"]}, CLAIMS, UNTRUSTED),
    "crit": with_header(crit=["exp"]),
    "crit, empty": with_header(crit=[]),
    "b64 false": with_header(b64=False, crit=["b64"]),
    "b64 without crit": with_header(b64=False),
    "b64 true": with_header(b64=True),
    "crit null": with_header(crit=None),
    "an unknown extension": with_header(
        crit=["http://example.com/UNDEFINED"], **{"http://example.com/UNDEFINED": True}
    ),
    "typ of another kind": with_header(typ="logout+jwt"),
    **{
        f"kid {kid!r}": with_header(kid=kid)
        for kid in (
            "../../../../etc/passwd",
            "/dev/null",
            "trusted.pub",
            "' OR 1=1 --",
            "trusted\x00",
            "",
            "*",
            "TRUSTED",
            "x" * 5000,
            1,
            True,
            ["trusted"],
            {"a": 1},
        )
    },
    # invalid times
    "expired": with_claims(exp=NOW - 60),
    "expired long ago": with_claims(exp=0),
    "exp missing": with_claims(exp=...),
    "exp null": with_claims(exp=None),
    "exp a string": with_claims(exp=str(NOW + 600)),
    "exp true": with_claims(exp=True),
    "exp a list": with_claims(exp=[NOW + 600]),
    "exp infinite": rs256({"alg": "RS256"}, json.dumps(CLAIMS).replace(str(NOW + 600), "1e999").encode()),
    "exp Infinity": rs256({"alg": "RS256"}, json.dumps(CLAIMS).replace(str(NOW + 600), "Infinity").encode()),
    "exp NaN": rs256({"alg": "RS256"}, json.dumps(CLAIMS).replace(str(NOW + 600), "NaN").encode()),
    "exp of 400 digits": rs256({"alg": "RS256"}, json.dumps(CLAIMS).replace(str(NOW + 600), "9" * 400).encode()),
    "exp of 5000 digits": rs256({"alg": "RS256"}, json.dumps(CLAIMS).replace(str(NOW + 600), "9" * 5000).encode()),
    "not valid yet": with_claims(nbf=NOW + 600),
    "nbf a string": with_claims(nbf="0"),
    "issued in the future": with_claims(iat=NOW + 600),
    # claims of the wrong type
    "userId a number": with_claims(userId=1),
    "userId a list": with_claims(userId=["root"]),
    "empty user names": with_claims(userId="", sub="", username=""),
    "no user": with_claims(userId=..., username=...),
    "username an object": with_claims(username={"$ne": ""}),
    "scopes a number": with_claims(scopes=7),
    "scopes of numbers": with_claims(scopes=[7]),
    "scopes an object": with_claims(scopes={"api:read": True}),
    "roles a number": with_claims(roles=1.5),
    "namespaces false": with_claims(namespaces=False),
    "email a list": with_claims(email=["a"]),
    # ambiguous or invalid JSON
    "a duplicate member in the payload": rs256(
        {"alg": "RS256"}, json.dumps(CLAIMS).replace("{", '{"exp": 1, ', 1).encode()
    ),
    "a duplicate member within a member": rs256(
        {"alg": "RS256"}, json.dumps(CLAIMS).replace("{", '{"a": [{"b": 1, "b": 2}], ', 1).encode()
    ),
    "a duplicate member with an escape": rs256(b'{"alg":"RS256","\\u0061lg":"RS256"}', CLAIMS),
    "an unpaired surrogate": with_claims(username="a\ud800"),
    "an unpaired surrogate in a name": with_claims(**{"\udfff": 1}),
    "a duplicate member in the header": rs256(b'{"alg":"none","alg":"RS256"}', CLAIMS),
    "a payload that is a list": rs256({"alg": "RS256"}, [CLAIMS]),
    "a payload that is null": rs256({"alg": "RS256"}, b"null"),
    "a payload that is not JSON": rs256({"alg": "RS256"}, b"{"),
    "a payload that is empty": rs256({"alg": "RS256"}, b""),
    "a payload in UTF-16": rs256({"alg": "RS256"}, json.dumps(CLAIMS).encode("utf-16")),
    "a payload of brackets": rs256({"alg": "RS256"}, b"[" * 4000),
    "a header that is a string": rs256(b'"RS256"', CLAIMS),
    "a header that is not JSON": rs256(b"RS256", CLAIMS),
    "a header of brackets": rs256(b"[" * 4000, CLAIMS),
    "text after the header": rs256(b'{"alg":"RS256"} x', CLAIMS),
    # non-canonical encodings of a signature
    "other bits at the signature's end": f"{HEAD}.{PAYLOAD}.{last_bits(SIGNATURE)}",
    "padding at the signature's end": f"{GOOD}==",
    "a space within": f"{HEAD}.{PAYLOAD}. {SIGNATURE}",
    "a new line within": f"{HEAD}.{PAYLOAD}.{SIGNATURE[:9]}\n{SIGNATURE[9:]}",
    "an exclamation mark within": f"{HEAD}.{PAYLOAD}.!{SIGNATURE}",
    "base64 in place of base64url": f"{HEAD}.{PAYLOAD}.{base64.b64encode(RAW).decode()}",
    "a zero byte before the signature": f"{HEAD}.{PAYLOAD}.{b64(bytes(1) + RAW)}",
    "a zero byte after the signature": f"{HEAD}.{PAYLOAD}.{b64(RAW + bytes(1))}",
    "an ECDSA signature in DER": es256(ES_DER),
    "an ECDSA algorithm in lower case": part({"alg": "es256"}) + ES_TOKEN[ES_TOKEN.index(".") :],
    "an ECDSA signature that is too short": es256(ES_RAW[:-1]),
    "an ECDSA signature that is too long": es256(ES_RAW + bytes(1)),
    "an ECDSA signature with padded halves": es256(bytes(1) + ES_RAW[:32] + bytes(1) + ES_RAW[32:]),
    "an ECDSA signature without r": es256(bytes(32) + ES_RAW[32:]),
    "an ECDSA signature without s": es256(ES_RAW[:32] + bytes(32)),
    "an ECDSA signature of the group's order": es256(ORDER + ORDER),
    "an empty ECDSA signature": es256(b""),
    "an ECDSA signature of zeros": es256(bytes(64)),
    "an ECDSA signature out of range": es256(bytes.fromhex("ff" * 64)),
    # altered or truncated
    "another payload": f"{HEAD}.{part({**CLAIMS, 'username': 'root'})}.{SIGNATURE}",
    "another header": f"{part({'alg': 'RS256', 'a': 1})}.{PAYLOAD}.{SIGNATURE}",
    "one character changed": GOOD[:-20] + ("A" if GOOD[-20] != "A" else "B") + GOOD[-19:],
    "half a token": GOOD[: len(GOOD) // 2],
    "the last character missing": GOOD[:-1],
    "huge": "x" * 20_000,
    "huge and signed": with_claims(padding="x" * 20_000),
    "dots": "...",
    "two dots": "..",
    "four parts": f"{GOOD}.x",
    "not ASCII": "é.é.é",
    "text": "token",
    "null": "null",
    "a lone surrogate": "\udcff.a.b",
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trusted")
    (folder / "trusted.pub").write_bytes(pem(RSA))
    (folder / "curve.pub").write_bytes(pem(EC))
    store = KeyStore(folder)
    providers = [JWTProvider(store), OAuth2Provider(store), is_authenticated_provider]
    return SecurityChain(ThreadLocalSecurityContext(), providers)


def execute(chain, token: str):
    headers = {"Authorization": f"Bearer {token}"}
    chain.execute(Request(SimpleNamespace(headers=headers, path="/", method="GET")), Response())
    return chain.security_context.get_auth()


def test_corpus_is_complete_and_its_helpers_make_valid_tokens(chain):
    assert len(MALFORMED) >= 60
    assert execute(chain, GOOD).username == "mallory"
    assert execute(chain, ES_TOKEN).username == "mallory"
    assert execute(chain, with_header(kid="trusted")).username == "mallory"


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_token_is_rejected(chain, caplog, name):
    token = MALFORMED[name]
    with caplog.at_level("DEBUG"), pytest.raises(NotAuthenticated) as caught:
        execute(chain, token)
    assert caught.value.status_code == 401
    challenge = caught.value.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="microkubes", error="invalid_token", error_description="')
    assert challenge.isascii()
    assert "\n" not in challenge
    assert [provider for provider, _ in caught.value.failures] == ["JWTProvider", "OAuth2Provider"]
    assert not chain.security_context.has_auth()
    pieces = [piece for piece in token.split(".") if len(piece) > 16]
    assert not any(piece in caplog.text or piece in str(caught.value) for piece in pieces)


def test_complementary_ecdsa_signature_is_accepted(chain):
    # ECDSA accepts (r, n - s) as well as (r, s), and issuers use both. The claims are the same.
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signed, _, signature = ES_TOKEN.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    s = order - int.from_bytes(raw[32:], "big")
    assert execute(chain, f"{signed}.{b64(raw[:32] + s.to_bytes(32, 'big'))}") == execute(chain, ES_TOKEN)
