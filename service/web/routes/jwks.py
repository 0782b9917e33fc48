"""This service's public keys, for whoever verifies its tokens."""

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
    """A public key (RFC 7517): `n` and `e` of an RSA key; `crv`, `x` and `y` of one of an elliptic curve."""

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
    """The keys that verify this service's tokens: those that sign, will sign or have signed."""

    model_config = with_headers(PUBLIC)

    keys: list[PublicKey]


def jwks_routes(own_keys: SigningKeys) -> APIBlueprint:
    """The blueprint `key_set`."""
    routes = APIBlueprint("key_set", __name__, abp_tags=[Tag(name="access", description="Tokens")])

    @routes.get(
        "/.well-known/jwks.json",
        summary="This service's public keys",
        responses={200: KeySetReply, **not_modified(PUBLIC)},
    )
    @public
    def key_set() -> Response:
        """The JWK set. A key is in it for longer than a copy may be kept before it signs."""
        response = json_reply(build_jwk_set(own_keys.public()))
        response.cache_control.public = True
        response.cache_control.max_age = int(PUBLISH_S)
        response.add_etag()
        response.make_conditional(request)
        return response

    return routes
