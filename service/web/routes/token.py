"""Route: access tokens for clients.

Requests are OAuth2 client credentials (RFC 6749, section 4.4), or JSON with `user` and `pw`.
"""

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from security.basic_credentials import readings
from security.names import parse_scopes
from service.errors import InvalidRequest, NoSigningKey
from service.observability import metrics
from service.observability.request_marks import note_caller
from service.tokens.client_registry import ClientRegistry
from service.tokens.clients_file import Client
from service.tokens.issuer import TokenIssuer
from service.tokens.throttle import AttemptThrottle
from service.web.access import public
from service.web.error_handlers import problem_response
from service.web.request import ignores_query
from service.web.schemas.headers import CHALLENGE, NO_STORE, RETRY_AFTER, with_headers
from service.web.schemas.problem import problems
from service.web.schemas.replies import json_reply

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749, section 5.1
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
                        "description": "Required unless the client uses HTTP Basic.",
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

    model_config = with_headers(NO_STORE)

    access_token: str
    token_type: str = Field(json_schema_extra={"example": "Bearer"})
    expires_in: int = Field(description="The lifetime in seconds.", json_schema_extra={"example": 3600})
    scope: str = Field(json_schema_extra={"example": "api:read"})


class TokenErrorReply(BaseModel):
    """An error (RFC 6749, section 5.2), with Microkubes' `code` and `message`."""

    error: str = Field(json_schema_extra={"example": "invalid_client"})
    error_description: str
    code: int = Field(json_schema_extra={"example": 401})
    message: str

    model_config = with_headers(NO_STORE)


class InvalidClientReply(TokenErrorReply):
    """The client is unknown, or its secret is wrong."""

    model_config = with_headers({**NO_STORE, **CHALLENGE})


class TooManyAttemptsReply(TokenErrorReply):
    """The client must wait after too many failed attempts."""

    model_config = with_headers({**NO_STORE, **RETRY_AFTER})


class _TokenError(Exception):
    """An error (RFC 6749, section 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400, retry_after_s: int | None = None) -> None:
        super().__init__(description)
        self.error = error
        self.status = status
        self.retry_after_s = retry_after_s


def issues_tokens(issuer: TokenIssuer, clients: ClientRegistry) -> bool:
    """Return whether there are a signing key and a client. Both may change while the service runs."""
    return issuer.can_sign() and bool(clients)


def build_token_routes(issuer: TokenIssuer, clients: ClientRegistry, attempts: AttemptThrottle) -> APIBlueprint:
    """Build the blueprint `token`. Without a signing key or without clients, its route is 404.

    Args:
        issuer: Signs the tokens.
        clients: The clients that may request tokens.
        attempts: Throttles guesses of clients' secrets.
    """
    routes = APIBlueprint(
        "token", __name__, abp_tags=[Tag(name="access", description="Access tokens and the keys that verify them")]
    )

    @routes.post(
        "/token",
        summary="Issue an access token",
        responses={
            200: TokenReply,
            400: TokenErrorReply,
            401: InvalidClientReply,
            429: TooManyAttemptsReply,
            **problems(404, 413),
        },
        openapi_extensions={"requestBody": _REQUEST},
    )
    @public
    @ignores_query  # RFC 6749, section 3.2, for the form
    def token() -> Response:
        """Issue an access token to a client.

        The request is a form with OAuth2 client credentials (RFC 6749, section 4.4), with the client in the form or
        in HTTP Basic, or JSON with `user` and `pw`. In HTTP Basic, the id and the secret are form-encoded (section
        2.3.1); a secret that is not is accepted too. Without `scope`, the token has all scopes of the client. Unknown
        parameters beside a form are ignored, as RFC 6749, section 3.2, requires.
        """
        try:
            if not issues_tokens(issuer, clients):
                raise NoSigningKey
            client_id, secrets, scope = _parse_credentials()
            with attempts.serialize(client_id, request.remote_addr or ""):
                client = _authenticate(clients, attempts, client_id, secrets)
            note_caller(client.client_id)
            scopes = _grant_scopes(client, scope)
            signed = issuer.issue(client.subject(), scopes)
        except NoSigningKey:
            metrics.token_requests.labels("nothing_to_issue").inc()
            return problem_response(404, "token issuing is not configured on this service")
        except _TokenError as err:
            metrics.token_requests.labels(err.error).inc()
            return _error_response(err)
        metrics.token_requests.labels("issued").inc()
        response = json_reply(
            {
                "access_token": signed,
                "token_type": "Bearer",
                "expires_in": issuer.lifetime_s,
                "scope": " ".join(scopes),
            }
        )
        response.headers.update(_NO_STORE)
        return response

    return routes


def busy_response() -> Response:
    """Return the reply to a request while too many others are being checked."""
    metrics.token_requests.labels("slow_down").inc()
    return _error_response(_TokenError("slow_down", "too many requests for tokens; retry later", 429, 1))


def _parse_credentials() -> tuple[str, list[str], object]:
    """Return the client's id, the readings of its secret, and the requested scope.

    Raises:
        _TokenError: If the request is malformed or has no credentials.
    """
    members: dict[str, Any]
    if request.mimetype == "application/json":
        if request.query_string:
            raise _TokenError("invalid_request", "JSON is accepted without query parameters only")
        try:
            members = request.get_json()
        except InvalidRequest:
            members = {}
        client_id, secret = members.get("user"), members.get("pw")
        if not isinstance(client_id, str) or not isinstance(secret, str):
            raise _TokenError("invalid_request", 'expected JSON such as {"user": "name", "pw": "secret"}')
        secrets = [secret]
    else:
        members = request.form.to_dict()
        if any(len(request.form.getlist(name)) > 1 for name in members):  # RFC 6749, section 3.2
            raise _TokenError("invalid_request", "duplicate parameter")
        basic = request.authorization if request.authorization and request.authorization.type == "basic" else None
        if basic:
            # No id contains the characters of an escape, so only the decoded one can be right.
            client_id, secrets = readings(basic.username or "")[0], readings(basic.password or "")
        else:
            client_id, secrets = members.get("client_id", ""), [members.get("client_secret", "")]
        if basic and ("client_secret" in members or members.get("client_id") not in (None, client_id)):
            raise _TokenError("invalid_request", "use only one client authentication method")  # section 2.3
        if members.get("grant_type") is None:
            raise _TokenError("invalid_request", "grant_type is missing; expected client_credentials")
        if members["grant_type"] != "client_credentials":
            raise _TokenError("unsupported_grant_type", "grant_type: expected client_credentials")
    if not client_id or not all(secrets):
        raise _TokenError("invalid_client", _WRONG, 401)
    return client_id, secrets, members.get("scope")


def _authenticate(clients: ClientRegistry, attempts: AttemptThrottle, client_id: str, secrets: list[str]) -> Client:
    """Return the client if a reading of the secret is right. Each wrong one counts as a guess.

    Raises:
        _TokenError: If it is not, or after too many failed attempts.
    """
    address = request.remote_addr or ""
    retry_after_s = attempts.retry_after_s(client_id, address)
    if retry_after_s:
        # RFC 6749 has no error for this case; RFC 8628, section 3.5, has one.
        raise _TokenError("slow_down", f"too many failed attempts; retry in {retry_after_s} s", 429, retry_after_s)
    client = next(filter(None, (clients.authenticate(client_id, secret) for secret in secrets)), None)
    if client is None:
        attempts.record_failure(client_id, address, guesses=len(secrets))
        raise _TokenError("invalid_client", _WRONG, 401)
    attempts.record_success(client_id, address)
    return client


def _grant_scopes(client: Client, requested: object) -> list[str]:
    """Return the requested scopes, or all scopes of the client if none is requested.

    Raises:
        _TokenError: If the client may not have a requested scope.
    """
    scopes = parse_scopes(requested) if isinstance(requested, str) else None if requested else ()
    if scopes is None or not set(scopes) <= set(client.scopes):
        raise _TokenError("invalid_scope", f"scope: this client may request {' '.join(client.scopes)}")
    return list(scopes or client.scopes)


def _error_response(err: _TokenError) -> Response:
    response = json_reply(
        {"error": err.error, "error_description": str(err), "code": err.status, "message": str(err)}, err.status
    )
    response.headers.update(_NO_STORE)
    if err.retry_after_s is not None:
        response.headers["Retry-After"] = str(err.retry_after_s)
    if err.status == 401:
        # RFC 6749, section 5.2, requires the scheme that the client used. A form has none; "Basic" would make a browser
        # prompt for a password.
        scheme = "Basic" if "Authorization" in request.headers else "Form"
        response.headers["WWW-Authenticate"] = f'{scheme} realm="loaner"'
    return response
