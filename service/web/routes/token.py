"""A token for a client: OAuth2 client credentials (RFC 6749, section 4.4), or Loaner's JSON `{"user", "pw"}`."""

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.errors import InvalidRequest, NoSigningKey
from service.observability import metrics
from service.tokens.client_registry import ClientRegistry
from service.tokens.clients_file import Client
from service.tokens.issuer import TokenIssuer
from service.tokens.throttle import AttemptThrottle
from service.web.access import public
from service.web.error_handlers import reply
from service.web.schemas.headers import CHALLENGE, NOT_KEPT, RETRY_AFTER, with_headers
from service.web.schemas.problem import problems
from service.web.schemas.replies import json_reply

_NOT_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749, section 5.1
_WRONG = "client_id or client_secret is missing or wrong"
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
                    "scope": {"type": "string", "example": "api:read"},
                },
            }
        },
    },
}


class TokenReply(BaseModel):
    """An access token (RFC 6749, section 5.1)."""

    model_config = with_headers(NOT_KEPT)

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

    model_config = with_headers(NOT_KEPT)


class UnknownClient(TokenRefusal):
    """The client is not known, or is another one."""

    model_config = with_headers({**NOT_KEPT, **CHALLENGE})


class TooManyAttempts(TokenRefusal):
    """There were too many wrong secrets."""

    model_config = with_headers({**NOT_KEPT, **RETRY_AFTER})


class _Refused(Exception):
    """An error of RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str, status: int = 400, retry_after_s: int | None = None) -> None:
        super().__init__(description)
        self.error = error
        self.status = status
        self.retry_after_s = retry_after_s


def token_routes(issuer: TokenIssuer, clients: ClientRegistry, attempts: AttemptThrottle) -> APIBlueprint:
    """The blueprint `token`. Without a key to sign with or any client there is nothing to hand out: 404."""
    routes = APIBlueprint("token", __name__, abp_tags=[Tag(name="access", description="Tokens")])

    @routes.post(
        "/token",
        summary="A token for a client",
        responses={
            200: TokenReply,
            400: TokenRefusal,
            401: UnknownClient,
            429: TooManyAttempts,
            **problems(404, 413),
        },
        openapi_extensions={"requestBody": _REQUEST},
    )
    @public
    def token() -> Response:
        """OAuth2 client credentials by form or HTTP Basic, or JSON with `user` and `pw`."""
        try:
            if not issuer.can_sign() or not clients:
                raise NoSigningKey
            client_id, secret, asked = _credentials()
            with attempts.turn(client_id, request.remote_addr or ""):
                client = _proved(clients, attempts, client_id, secret)
            scopes = _granted(client, asked)
            signed = issuer.issue(client.subject(), scopes)
        except NoSigningKey:
            metrics.token_requests.labels("nothing_to_issue").inc()
            return reply(404, "this service hands out no tokens")
        except _Refused as err:
            metrics.token_requests.labels(err.error).inc()
            return _refusal(err)
        metrics.token_requests.labels("issued").inc()
        response = json_reply(
            {
                "access_token": signed,
                "token_type": "Bearer",
                "expires_in": issuer.lifetime_s,
                "scope": " ".join(scopes),
            }
        )
        response.headers.update(_NOT_KEPT)
        return response

    return routes


def _credentials() -> tuple[str, str, object]:
    """Who asks, their secret, and the scope that they ask for. Raises: _Refused."""
    asked: dict[str, Any]
    if request.mimetype == "application/json":
        try:
            asked = request.get_json()
        except InvalidRequest:
            asked = {}
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
        if basic and ("client_secret" in asked or asked.get("client_id") not in (None, basic.username)):
            raise _Refused("invalid_request", "the client proves itself twice; expected once")  # section 2.3
        if asked.get("grant_type") is None:
            raise _Refused("invalid_request", "grant_type is missing; expected client_credentials")
        if asked["grant_type"] != "client_credentials":
            raise _Refused("unsupported_grant_type", "grant_type: expected client_credentials")
    if not client_id or not secret:
        raise _Refused("invalid_client", _WRONG, 401)
    return client_id, secret, asked.get("scope")


def _proved(clients: ClientRegistry, attempts: AttemptThrottle, client_id: str, secret: str) -> Client:
    """The client that this is. Raises: _Refused."""
    address = request.remote_addr or ""
    wait_s = attempts.wait_s(client_id, address)
    if wait_s:
        # the word of RFC 8628, section 3.5, for whoever comes too often
        raise _Refused("slow_down", f"too many wrong secrets; try again in {wait_s} s", 429, wait_s)
    client = clients.proved(client_id, secret)
    if client is None:
        attempts.failed(client_id, address)
        raise _Refused("invalid_client", _WRONG, 401)
    attempts.succeeded(client_id, address)
    return client


def _granted(client: Client, asked: object) -> list[str]:
    """The scopes that this request is granted: those asked for, which must be the client's. Raises: _Refused."""
    scope = asked or " ".join(client.scopes)
    if not isinstance(scope, str) or not set(scope.split()) <= set(client.scopes):
        raise _Refused("invalid_scope", f"scope: this client may ask for {' '.join(client.scopes)}")
    return list(dict.fromkeys(scope.split())) or list(client.scopes)


def _refusal(err: _Refused) -> Response:
    response = json_reply(
        {"error": err.error, "error_description": str(err), "code": err.status, "message": str(err)}, err.status
    )
    response.headers.update(_NOT_KEPT)
    if err.retry_after_s is not None:
        response.headers["Retry-After"] = str(err.retry_after_s)
    if err.status == 401:
        # RFC 6749 wants the scheme that the client used. For a form that is none, and a browser that was told Basic
        # would ask its user for a password.
        scheme = "Basic" if "Authorization" in request.headers else "Form"
        response.headers["WWW-Authenticate"] = f'{scheme} realm="loaner"'
    return response
