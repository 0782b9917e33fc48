"""A token for a client: OAuth2 client credentials (RFC 6749, section 4.4), or Loaner's JSON `{"user", "pw"}`."""

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.problem import reply
from service.routes.access import public
from service.routes.fields import problems
from service.routes.json_reply import json_reply
from service.tokens import Client, TokenIssuer

_FORM = "application/x-www-form-urlencoded"
_REQUEST = {
    "required": True,
    "content": {
        _FORM: {
            "schema": {
                "type": "object",
                "required": ["grant_type"],
                "properties": {
                    "grant_type": {"type": "string", "enum": ["client_credentials"]},
                    "client_id": {
                        "type": "string",
                        "description": "unless sent by HTTP Basic",
                        "example": "loaner-client",
                    },
                    "client_secret": {"type": "string", "format": "password", "example": ""},
                    "scope": {"type": "string", "example": "api:read"},
                },
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["user", "pw"],
                "properties": {
                    "user": {"type": "string", "example": "loaner-client"},
                    "pw": {"type": "string", "format": "password", "example": ""},
                },
            }
        },
    },
}


class TokenReply(BaseModel):
    """An access token (RFC 6749, section 5.1)."""

    access_token: str
    token_type: str = Field(json_schema_extra={"example": "Bearer"})
    expires_in: int = Field(description="seconds", json_schema_extra={"example": 3600})
    scope: str = Field(json_schema_extra={"example": "api:read"})


class TokenRefusal(BaseModel):
    """Why there is no token (RFC 6749, section 5.2), with Microkubes' code and message."""

    error: str = Field(json_schema_extra={"example": "invalid_client"})
    error_description: str
    code: int = Field(json_schema_extra={"example": 401})
    message: str


class _Refused(Exception):
    """An error of RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status


def token_routes(issuer: TokenIssuer | None, client: Client | None, expires_s: int) -> APIBlueprint:
    """The blueprint `token`. Without an issuer or a client there is nothing to hand out: 404."""
    routes = APIBlueprint("token", __name__, abp_tags=[Tag(name="access", description="Tokens")])

    @routes.post(
        "/token",
        summary="A token for a client",
        responses={200: TokenReply, 400: TokenRefusal, 401: TokenRefusal, **problems(404, 413)},
        openapi_extensions={"requestBody": _REQUEST},
    )
    @public
    def token() -> Response:
        """OAuth2 client credentials by form or HTTP Basic, or JSON with `user` and `pw`."""
        if issuer is None or client is None:
            return reply(404, "this service hands out no tokens")
        try:
            scopes = _granted(client)
        except _Refused as err:
            return _refusal(err)
        response = json_reply(
            {
                "access_token": issuer.issue(client.client_id, scopes, expires_s),
                "token_type": "Bearer",
                "expires_in": expires_s,
                "scope": " ".join(scopes),
            }
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    return routes


def _granted(client: Client) -> list[str]:
    """The scopes that this request is granted. Raises: _Refused."""
    asked: dict[str, Any]
    if request.mimetype == "application/json":
        try:
            body = request.get_json(silent=True)
        except RecursionError:  # brackets within brackets within brackets
            body = None
        asked = body if isinstance(body, dict) else {}
        client_id, secret = asked.get("user"), asked.get("pw")
        if not isinstance(client_id, str) or not isinstance(secret, str):
            raise _Refused("invalid_request", 'expected JSON such as {"user": "name", "pw": "secret"}')
    else:
        asked = request.form.to_dict()
        if any(len(request.form.getlist(name)) > 1 for name in asked):  # RFC 6749, section 3.2
            raise _Refused("invalid_request", "a parameter is there twice")
        basic = request.authorization if request.authorization and request.authorization.type == "basic" else None
        client_id = basic.username if basic else asked.get("client_id")
        secret = basic.password if basic else asked.get("client_secret")
        if asked.get("grant_type") is None:
            raise _Refused("invalid_request", "grant_type is missing; expected client_credentials")
        if asked["grant_type"] != "client_credentials":
            raise _Refused("unsupported_grant_type", "grant_type: expected client_credentials")
    if not client.is_proved_by(client_id or "", secret or ""):
        raise _Refused("invalid_client", "client_id or client_secret is missing or wrong", 401)
    scope = asked.get("scope") or " ".join(client.scopes)
    if not isinstance(scope, str) or not set(scope.split()) <= set(client.scopes):
        raise _Refused("invalid_scope", f"scope: expected {' '.join(client.scopes)}")
    return scope.split()


def _refusal(err: _Refused) -> Response:
    response = json_reply(
        {"error": err.error, "error_description": str(err), "code": err.status, "message": str(err)}, err.status
    )
    response.headers["Cache-Control"] = "no-store"
    if err.status == 401:
        # RFC 6749 wants the scheme that the client used. For a form that is none, and a browser that was told Basic
        # would ask its user for a password.
        scheme = "Basic" if "Authorization" in request.headers else "Form"
        response.headers["WWW-Authenticate"] = f'{scheme} realm="loaner"'
    return response
