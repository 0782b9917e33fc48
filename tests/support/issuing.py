"""Keys and tokens of an authorization server, and a call of a provider with such a token."""

import json
import time
from types import SimpleNamespace

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from security import Auth, Request, Response, ThreadLocalSecurityContext

FIRST, SECOND = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
CURVE = ec.generate_private_key(ec.SECP256R1())
SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)


def jwk(key, kid: str | None, **members) -> dict:
    algorithm = (
        jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    )
    named = {} if kid is None else {"kid": kid}
    return {**json.loads(algorithm.to_jwk(key.public_key())), **named, **members}


def token(key=FIRST, kid: str | None = "one", algorithm: str = "RS256", **claims) -> str:
    base = {
        "exp": time.time() + 60,
        "sub": "ann",
        "scope": "api:read",
        "iss": "https://issuer.example",
        "aud": "loaner",
    }
    payload = {name: value for name, value in {**base, **claims}.items() if value is not None}
    return jwt.encode(payload, key, algorithm=algorithm, headers=None if kid is None else {"kid": kid})


def ask(provider, shown: str | None, context=None) -> Auth | None:
    context = context or ThreadLocalSecurityContext()
    headers = {} if shown is None else {"Authorization": f"Bearer {shown}"}
    provider(context, Request(SimpleNamespace(headers=headers, path="/", method="GET")), Response())
    return context.get_auth()
