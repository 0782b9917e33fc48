"""The header `typ`: tokens that were issued for another purpose are no access tokens."""

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from security import InvalidToken, JWTProvider, KeyStore
from tests.support.issuing import ask


@pytest.fixture
def typed(keys_dir, make_token):
    """Return a function that signs a token with any value of `typ`, also one that PyJWT refuses to write."""
    key = serialization.load_pem_private_key((keys_dir / "default").read_bytes(), None)
    payload = make_token().split(".")[1]

    def sign(typ: object) -> str:
        header = {"alg": "RS256"} if typ is None else {"alg": "RS256", "typ": typ}
        signed = f"{_encode(json.dumps(header).encode())}.{payload}"
        return f"{signed}.{_encode(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    return sign


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# RFC 8725, section 3.11: "Explicit JWT typing is accomplished by using the "typ" Header Parameter. For instance, the
# [RFC 8417] specification uses the "application/secevent+jwt" media type to perform explicit typing of Security Event
# Tokens (SETs)." Section 2.8: "it becomes increasingly important to prevent cases of JWT tokens that have been issued
# for one purpose being subverted and used for another."
@pytest.mark.parametrize(
    "typ",
    [
        "logout+jwt", "dpop+jwt", "secevent+jwt", "id+jwt", "token-introspection+jwt", "oauth-authz-req+jwt", "vc+jwt",
        "application/logout+jwt", "LOGOUT+JWT", "Application/DPoP+JWT", "JOSE", "JWE", "", " JWT", "JWT ", "at+jwt;a=b",
        "text/jwt", "application/", "application/application/jwt", 1, True, ["JWT"], {"typ": "JWT"}, "\u212a",
    ],
)  # fmt: skip
def test_token_of_another_type_is_rejected(keys_dir, typed, typ):
    with pytest.raises(InvalidToken, match="of another type"):
        ask(JWTProvider(KeyStore(keys_dir)), typed(typ))


# RFC 7519, section 5.1: "it is RECOMMENDED that "JWT" always be spelled using uppercase characters for compatibility
# with legacy implementations." RFC 7515, section 4.1.9: "it is RECOMMENDED that producers omit an "application/" prefix
# of a media type value in a "typ" Header Parameter". RFC 9068, section 4: "The resource server MUST verify that the
# "typ" header value is "at+jwt" or "application/at+jwt"".
@pytest.mark.parametrize(
    "typ", [None, "JWT", "jwt", "application/jwt", "Application/JWT", "at+jwt", "AT+JWT", "application/at+jwt"]
)
def test_access_token_is_accepted(keys_dir, typed, typ):
    assert ask(JWTProvider(KeyStore(keys_dir)), typed(typ)).user_id == "u1"
