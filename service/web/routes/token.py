"""Route: access tokens for clients.

Requests are OAuth2 client credentials (RFC 6749, section 4.4), or JSON with `user` and `pw`.
"""

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from security.basic_credentials import readings
from service.errors import InvalidRequest, NoSigningKey
from service.observability import metrics
from service.observability.request_marks import note_caller
from service.tokens.grants import WRONG_CLIENT, GrantRefused, TokenGrants
from service.web.access import public
from service.web.error_handlers import problem_response
from service.web.request import ignores_query
from service.web.schemas.headers import CHALLENGE, NO_STORE, RETRY_AFTER, with_headers
from service.web.schemas.problem import problems
from service.web.schemas.replies import json_reply

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749, section 5.1
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


def build_token_routes(grants: TokenGrants) -> APIBlueprint:
    """Build the blueprint `token`. Without a signing key or without clients, its route is 404.

    Args:
        grants: Grants tokens to clients.
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
            if not grants.are_possible():
                raise NoSigningKey
            client_id, secrets, scope = _parse_credentials()
            grant = grants.grant(client_id, secrets, request.remote_addr or "", scope, note_caller)
        except NoSigningKey:
            metrics.token_requests.labels("nothing_to_issue").inc()
            return problem_response(404, "token issuing is not configured on this service")
        except GrantRefused as err:
            metrics.token_requests.labels(err.error).inc()
            return _error_response(err)
        metrics.token_requests.labels("issued").inc()
        response = json_reply(
            {
                "access_token": grant.token,
                "token_type": "Bearer",
                "expires_in": grant.lifetime_s,
                "scope": " ".join(grant.scopes),
            }
        )
        response.headers.update(_NO_STORE)
        return response

    return routes


def busy_response() -> Response:
    """Return the reply to a request while too many others are being checked."""
    return _error_response(GrantRefused("slow_down", "too many requests for tokens; retry later", 429, 1))


def _parse_credentials() -> tuple[str, list[str], object]:
    """Return the client's id, the readings of its secret, and the requested scope.

    Raises:
        GrantRefused: If the request is malformed or has no credentials.
    """
    members: dict[str, Any]
    if request.mimetype == "application/json":
        if request.query_string:
            raise GrantRefused("invalid_request", "JSON is accepted without query parameters only")
        try:
            members = request.get_json()
        except InvalidRequest:
            members = {}
        client_id, secret = members.get("user"), members.get("pw")
        if not isinstance(client_id, str) or not isinstance(secret, str):
            raise GrantRefused("invalid_request", 'expected JSON such as {"user": "name", "pw": "secret"}')
        secrets = [secret]
    else:
        members = request.form.to_dict()
        if any(len(request.form.getlist(name)) > 1 for name in members):  # RFC 6749, section 3.2
            raise GrantRefused("invalid_request", "duplicate parameter")
        basic = request.authorization if request.authorization and request.authorization.type == "basic" else None
        if basic:
            # No id contains the characters of an escape, so only the decoded one can be right.
            client_id, secrets = readings(basic.username or "")[0], readings(basic.password or "")
        else:
            client_id, secrets = members.get("client_id", ""), [members.get("client_secret", "")]
        if basic and ("client_secret" in members or members.get("client_id") not in (None, client_id)):
            raise GrantRefused("invalid_request", "use only one client authentication method")  # section 2.3
        if members.get("grant_type") is None:
            raise GrantRefused("invalid_request", "grant_type is missing; expected client_credentials")
        if members["grant_type"] != "client_credentials":
            raise GrantRefused("unsupported_grant_type", "grant_type: expected client_credentials")
    if not client_id or not all(secrets):
        raise GrantRefused("invalid_client", WRONG_CLIENT, 401)
    return client_id, secrets, members.get("scope")


def _error_response(err: GrantRefused) -> Response:
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
