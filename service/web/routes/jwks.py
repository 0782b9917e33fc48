"""Route: the public keys that verify this service's tokens."""

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel

from security.keys.jwk import build_jwk_set
from security.keys.rotation import PUBLISH_S
from security.keys.signing_key import SigningKeys
from service.web.access import public
from service.web.schemas.headers import PUBLIC, not_modified, with_headers
from service.web.schemas.replies import json_reply


class PublicKey(BaseModel):
    """A public key (RFC 7517). RSA keys have `n` and `e`; elliptic curve keys have `crv`, `x` and `y`."""

    kty: str
    kid: str
    use: str
    alg: str
    n: str | None = None
    e: str | None = None
    crv: str | None = None
    x: str | None = None
    y: str | None = None


class KeySetReply(BaseModel):
    """The keys that verify this service's tokens: current, next and former signing keys."""

    model_config = with_headers(PUBLIC)

    keys: list[PublicKey]


def build_jwks_routes(signing_keys: SigningKeys) -> APIBlueprint:
    """Build the blueprint `key_set`."""
    routes = APIBlueprint(
        "key_set", __name__, abp_tags=[Tag(name="access", description="Access tokens and the keys that verify them")]
    )

    @routes.get(
        "/.well-known/jwks.json",
        summary="Get the public keys",
        responses={200: KeySetReply, **not_modified(PUBLIC)},
    )
    @public
    def key_set() -> Response:
        """Return the JWK set of this service's signing keys.

        A key is published before it signs, for longer than the set may be cached.
        """
        response = json_reply(build_jwk_set(signing_keys.public()))
        response.cache_control.public = True
        response.cache_control.max_age = int(PUBLISH_S)
        response.add_etag()
        response.make_conditional(request)
        return response

    return routes
