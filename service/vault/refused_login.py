"""Limits the attempts of a login that Vault refuses, because Vault locks a role after several of them.

Source: https://developer.hashicorp.com/vault/docs/concepts/user-lockout. Since Vault 1.13, five
refusals within 15 minutes lock an AppRole for all its users for 15 minutes, by default.
"""

from collections.abc import Callable

from service.vault.failure import VaultUnavailable
from service.vault.login import Login

FIRST_PAUSE_S = 60.0  # doubles with each refusal
MAX_PAUSE_S = 960.0
LOCKOUT = "; Vault 1.13 and later lock a role after five refusals, and then refuse correct logins for 15 minutes"


class RefusedLogin:
    """Remembers which login was refused, and when it may be tried again. Another secret may be tried immediately.

    Args:
        now: A clock, in seconds.

    Attributes:
        pause_s: Seconds between the last refusal and the next attempt.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._login: Login | None = None
        self._failure: VaultUnavailable | None = None
        self.pause_s = 0.0
        self._next_attempt = 0.0

    def check(self, login: Login) -> None:
        """Return if the login may be tried now.

        Raises:
            VaultUnavailable: The last refusal, if it is too early to try again.
        """
        if self._failure is not None and login == self._login and self._now() < self._next_attempt:
            raise self._failure

    def record(self, login: Login, failure: VaultUnavailable) -> VaultUnavailable:
        """Record a refusal, and return it with what follows from it."""
        self.pause_s = min(2 * self.pause_s, MAX_PAUSE_S) if login == self._login else FIRST_PAUSE_S
        lockout = LOCKOUT if login.locks_role else ""
        self._login, self._failure = login, VaultUnavailable(f"{failure}{lockout}", is_temporary=False)
        self._next_attempt = self._now() + self.pause_s
        return self._failure

    def clear(self) -> None:
        """Forget the refusals, after a login that succeeded."""
        self._login = self._failure = None
