"""Grants tokens to clients that prove who they are, within the limits on guessing."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from security.names import parse_scopes
from service.errors import LoanerError
from service.tokens.client_registry import ClientRegistry
from service.tokens.clients_file import Client
from service.tokens.issuer import TokenIssuer
from service.tokens.throttle import AttemptThrottle

WRONG_CLIENT = "client_id or client_secret is missing or wrong"


class GrantRefused(LoanerError):
    """A token is refused (RFC 6749, section 5.2).

    Args:
        error: The error code.
        description: The reason, for the client.
        status: The HTTP status.
        retry_after_s: When to retry, in seconds.
    """

    def __init__(self, error: str, description: str, status: int = 400, retry_after_s: int | None = None) -> None:
        super().__init__(description)
        self.error = error
        self.status = status
        self.retry_after_s = retry_after_s


class Grant(NamedTuple):
    """A token, how long it is valid, and its scopes."""

    token: str
    lifetime_s: int
    scopes: tuple[str, ...]


class TokenGrants:
    """Grants tokens to clients.

    Args:
        issuer: Signs the tokens.
        clients: The clients that may request tokens.
        attempts: Throttles guesses of clients' secrets.
    """

    def __init__(self, issuer: TokenIssuer, clients: ClientRegistry, attempts: AttemptThrottle) -> None:
        self._issuer = issuer
        self._clients = clients
        self._attempts = attempts

    def are_possible(self) -> bool:
        """Return whether there are a signing key and a client. Both may change while the service runs."""
        return self._issuer.can_sign() and bool(self._clients)

    def grant(
        self,
        client_id: str,
        secrets: Sequence[str],
        address: str,
        requested: object = None,
        on_client: Callable[[str], None] = lambda _: None,
    ) -> Grant:
        """Return a token for a client.

        Args:
            client_id: The client's id.
            secrets: The readings of its secret. Each wrong one counts as a guess.
            address: Where the request came from.
            requested: The requested scopes; all scopes of the client if none is requested.
            on_client: Receives the id of the client as soon as its secret has proved right.

        Raises:
            GrantRefused: If the client is not authenticated, must wait, or may not have a requested scope.
            NoSigningKey: If no signing key is available.
        """
        with self._attempts.serialize(client_id, address):
            client = self._authenticate(client_id, secrets, address)
        on_client(client.client_id)
        scopes = _grant_scopes(client, requested)
        return Grant(self._issuer.issue(client.subject(), scopes), self._issuer.lifetime_s, scopes)

    def _authenticate(self, client_id: str, secrets: Sequence[str], address: str) -> Client:
        retry_after_s = self._attempts.retry_after_s(client_id, address)
        if retry_after_s:
            # RFC 6749 has no error for this case; RFC 8628, section 3.5, has one.
            raise GrantRefused("slow_down", f"too many failed attempts; retry in {retry_after_s} s", 429, retry_after_s)
        client = next(filter(None, (self._clients.authenticate(client_id, secret) for secret in secrets)), None)
        if client is None:
            self._attempts.record_failure(client_id, address, guesses=len(secrets))
            raise GrantRefused("invalid_client", WRONG_CLIENT, 401)
        self._attempts.record_success(client_id, address)
        return client


def _grant_scopes(client: Client, requested: object) -> tuple[str, ...]:
    """Return the requested scopes, or all scopes of the client if none is requested."""
    scopes = parse_scopes(requested) if isinstance(requested, str) else None if requested else ()
    if scopes is None or not set(scopes) <= set(client.scopes):
        raise GrantRefused("invalid_scope", f"scope: this client may request {' '.join(client.scopes)}")
    return tuple(scopes or client.scopes)
