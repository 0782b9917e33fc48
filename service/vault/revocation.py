"""Takes back what a process got from Vault, so that no user stays behind in Postgres."""

import logging
from collections import deque
from contextlib import suppress

import hvac

from service.vault.failure import REQUEST_ERRORS, describe
from service.vault.login import Token

log = logging.getLogger(__name__)

MAX_TOKENS, MAX_LEASES = 10, 1000  # earlier ones have expired


class Revocation:
    """Remembers the tokens and leases of a process, and revokes them.

    Args:
        client: The client that got them.
    """

    def __init__(self, client: hvac.Client) -> None:
        self._client = client
        self._tokens: deque[Token] = deque(maxlen=MAX_TOKENS)  # from logins
        self._leases: dict[str, Token] = {}  # with the token that created each

    def add_token(self, token: Token) -> None:
        """Remember a token, if a login created it for this process."""
        if token.is_from_login:
            self._tokens.append(token)

    def add_lease(self, lease_id: str, token: Token) -> None:
        """Remember a lease and the token that created it."""
        self._leases[lease_id] = token
        if len(self._leases) > MAX_LEASES:
            del self._leases[next(iter(self._leases))]

    def revoke_all(self, current: Token) -> None:
        """Revoke everything. What fails is logged, and expires.

        Revoking a token revokes its leases. Batch tokens cannot be revoked, and tokens from the settings may be used by
        others; their leases are revoked one by one, the latest first.
        """
        has_leases = bool(self._leases)
        self._client.token = current.value
        self._revoke_leases([lease for lease, owner in self._leases.items() if not _can_revoke(owner)])
        if _can_revoke(current) and not self._revoke_token(current):
            self._revoke_leases([lease for lease, owner in self._leases.items() if owner == current])
        for token in reversed(self._tokens):
            if token != current and _can_revoke(token):
                self._revoke_token(token)
        if has_leases and not self._leases:
            log.info("revoked the credentials in Vault")

    def _revoke_token(self, token: Token) -> bool:
        """Revoke a token with its leases, and return whether it has been revoked."""
        self._client.token = token.value
        with suppress(*REQUEST_ERRORS):
            self._client.auth.token.revoke_self()
            self._leases = {lease: owner for lease, owner in self._leases.items() if owner != token}
            return True
        return False

    def _revoke_leases(self, leases: list[str]) -> None:
        for lease_id in reversed(leases):
            try:
                self._client.sys.revoke_lease(lease_id)
                del self._leases[lease_id]
            except REQUEST_ERRORS as err:
                log.warning("sys/leases/revoke failed, so that a user stays until its lease ends: %s", describe(err))


def _can_revoke(token: Token) -> bool:
    return token.is_from_login and not token.is_batch
