"""The documented ways to get a token, for OpenAPI: pasting one, and client credentials where tokens are issued."""

from typing import Any

from service.web.access import READ, WRITE

BEARER, CLIENT = "bearer", "client_credentials"
_SCOPES = {READ: "Read loans and balances.", WRITE: "Create loans and post events."}


def describe_schemes(prefix: str, issues_tokens: bool) -> dict[str, Any]:
    """Return the `securitySchemes` of the document.

    Args:
        prefix: The path under which clients reach the service.
        issues_tokens: Whether this service issues tokens.
    """
    issuing = " or one from `POST /token`" if issues_tokens else ""
    schemes: dict[str, Any] = {
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": f"A token of the platform{issuing}. `make run` writes one to `.auth`.",
        }
    }
    if issues_tokens:
        schemes[CLIENT] = {
            "type": "oauth2",
            "description": "The id and the secret of a client of this service. Without a scope, the token has all "
            "scopes of the client.",
            "flows": {"clientCredentials": {"tokenUrl": f"{prefix}/token", "scopes": _SCOPES}},
        }
    return schemes


def describe_requirement(scopes: tuple[str, ...], issues_tokens: bool) -> list[dict[str, list[str]]]:
    """Return the `security` of an operation: the schemes, each of which is sufficient.

    Args:
        scopes: The scopes that a token must have.
        issues_tokens: Whether this service issues tokens.
    """
    return [{scheme: [*scopes]} for scheme in ((BEARER, CLIENT) if issues_tokens else (BEARER,))]
