"""The examples of RFC 7515, appendix A: their signatures are verified with their keys, and with these only.

The payload of the examples names no user, so a verified one is rejected for that reason.
"""

import pytest

from security import InvalidToken
from security.keys.jwk import parse_jwk
from security.tokens.verifier import TokenVerifier
from tests.fakes.clocks import Clock

PAYLOAD = (
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"  # {"iss":"joe",...
)
RSA = {
    "kty": "RSA",
    "n": (
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pC"
        "gNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg6"
        "65xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW"
        "yuXpoQ"
    ),
    "e": "AQAB",
}
EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
A_2 = (
    f"eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ"
    "cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-e"
    "OkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)
A_3 = (
    f"eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
A_5 = f"eyJhbGciOiJub25lIn0.{PAYLOAD}."  # unsecured


class Published:
    """A source of keys that never changes."""

    generation = 0

    def __init__(self, *jwks: dict) -> None:
        self._keys = [parse_jwk(jwk) for jwk in jwks]

    def current_generation(self) -> int:
        return self.generation

    def candidates(self, kid: str | None) -> list:
        return self._keys


def verify(token: str, *jwks: dict) -> None:
    TokenVerifier(Published(*jwks), now=Clock(1_300_819_000.0)).verify(token)


@pytest.mark.parametrize(
    ("token", "key", "restrictions"),
    [
        (A_2, RSA, {}),
        (A_2, RSA, {"alg": "RS256", "use": "sig"}),
        (A_3, EC, {}),
        (A_3, EC, {"alg": "ES256", "key_ops": ["verify"]}),
    ],
)
def test_signature_of_the_example_is_verified(token, key, restrictions):
    with pytest.raises(InvalidToken, match="names no user"):
        verify(token, {**key, **restrictions})


@pytest.mark.parametrize(
    ("token", "key"), [(A_2, {**RSA, "alg": "RS512"}), (A_2, {**RSA, "alg": "PS256"}), (A_2, EC), (A_3, RSA)]
)
def test_example_is_not_verified_with_another_key(token, key):
    with pytest.raises(InvalidToken, match="no trusted key"):
        verify(token, key)


def test_unsecured_example_is_rejected():
    with pytest.raises(InvalidToken, match="algorithm that is not accepted"):
        verify(A_5, RSA, EC)


@pytest.mark.parametrize("token", [A_2, A_3])
def test_expired_example_is_rejected(token):
    with pytest.raises(InvalidToken, match="expired"):
        TokenVerifier(Published(RSA, EC)).verify(token)
