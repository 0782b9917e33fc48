"""Keeping credentials alive: renewed in time, replaced when that ends, given back at the end."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hvac.exceptions import VaultError
from requests import RequestException

from service.clock import running_clock
from service.errors import SettingsError
from service.observability import metrics
from service.settings import Login, VaultSettings
from service.vault.login import Token, VaultUnavailable, failure, log_in, open_vault, token_in_file
from service.vault.shared_credentials import SharedCredentials

log = logging.getLogger(__name__)

RENEW_AT = 2 / 3  # of the lease
JITTER = 0.1  # of the time until then, so that many instances do not ask at once
RETRY_S = 5.0  # between two tries while Vault is out of reach, or less near the end of a lease
LOOK_S = 1.0  # how often it is looked whether Postgres has refused the credentials, or the token's file has changed
REFUSED_S = 10.0  # between two answers to the former
STOP_S = 5.0

_ERRORS = (VaultError, RequestException, KeyError, TypeError, ValueError, AttributeError, OverflowError)


class VaultLease:
    """Credentials of a database role, kept valid for as long as this process runs.

    Args:
        settings: Where Vault is, and how to log in to it.
        role: The role for which Vault's database secrets engine issues credentials.
        shared: Where the credentials are published. Replaced ones stay valid for about a third of their lease.
        now: A clock, in seconds.
    """

    def __init__(
        self,
        settings: VaultSettings,
        role: str,
        shared: SharedCredentials,
        now: Callable[[], float] = running_clock,
    ) -> None:
        self._settings = settings
        self._role = role
        self._shared = shared
        self._now = now
        self._vault = open_vault(settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name="vault", daemon=True)
        self._token = Token("", 0, False, made=False)
        self._tokens: list[str] = []  # that were made for us
        self._leases: list[str] = []  # the last one is in use
        self._lease_s = 0.0
        self._ends = -math.inf
        self._token_ends = self._lease_due = self._token_due = math.inf
        self._renewable = False
        self._refused_until = -math.inf
        self._complaints: dict[str, str] = {}

    def start(self, timeout_s: float) -> None:
        """Log in, get credentials, and keep them alive in the background. patience_s: how long to try while Vault is
        out of reach or sealed.

        Raises: SettingsError; VaultUnavailable. Nothing stays in Vault then.
        """
        deadline = self._now() + timeout_s
        try:
            while True:
                try:
                    if not self._token.value:
                        self._log_in()
                    self._get_credentials()
                    break
                except VaultUnavailable as err:
                    if not err.may_pass or self._now() > deadline:
                        raise
                    log.warning("%s; trying again", err)
                    time.sleep(min(1.0, timeout_s / 4))
        except BaseException:
            self.stop()
            raise
        self._thread.start()

    def remaining_s(self) -> float:
        """For how long the credentials are good, as things stand."""
        return self._ends - self._now()

    def stop(self) -> None:
        """Give everything back, within a bound. What Vault does not take back it forgets in time."""
        self._stop.set()
        giving = threading.Thread(target=self._give_back, name="vault-stop", daemon=True)
        giving.start()
        giving.join(STOP_S)
        if giving.is_alive():
            log.warning("Vault takes too long to take the credentials back; they end by themselves")

    def _give_back(self) -> None:
        if self._thread.is_alive():
            self._thread.join()
        left = list(self._leases)
        for token in self._tokens:
            self._vault.token = token
            with suppress(*_ERRORS):
                self._vault.auth.token.revoke_self()  # its leases go with it
                left = left if token != self._token.value else []
        self._vault.token = self._token.value
        for lease_id in left:
            try:
                self._vault.sys.revoke_lease(lease_id)
            except _ERRORS as err:
                log.warning("credentials were not given back: %s", failure(self._settings, err))
        if self._leases:
            log.info("the credentials were given back to Vault")

    def _live(self) -> None:
        while not self._stop.wait(min(LOOK_S, max(0.01, min(self._lease_due, self._token_due) - self._now()))):
            self._token_due = self._try("token", self._keep_token, self._token_due)
            self._lease_due = self._try("lease", self._keep_lease, self._lease_due)

    def _try(self, name: str, act: Callable[[], None], due: float) -> float:
        """Act, and say when to act again: as was decided, or after a failure in a while. Nothing ends the thread."""
        try:
            act()
            self._complaints.pop(name, None)
            return self._token_due if name == "token" else self._lease_due
        except Exception as err:
            metrics.vault_renewals.labels("failed").inc()
            remaining_s = self.remaining_s()
            if self._complaints.get(name) != str(err):
                known = isinstance(err, VaultUnavailable | SettingsError)
                left = f"the credentials are good for another {max(0.0, remaining_s):.0f} s"
                log.warning("%s; %s", err, left, exc_info=not known)
                self._complaints[name] = str(err)
            return self._now() + (max(0.2, min(RETRY_S, remaining_s / 4)) if remaining_s > 0 else RETRY_S)

    def _keep_token(self) -> None:
        """Raises: VaultUnavailable; SettingsError."""
        written = token_in_file(self._settings)
        if written is not None and written != self._token.value:
            log.info("VAULT_TOKEN_FILE holds another token")
            self._log_in()
        elif self._now() >= self._token_due:
            self._renew_token()

    def _renew_token(self) -> None:
        asked, lease_s = self._now(), 0.0
        if self._token.renewable:
            try:
                lease_s = _seconds(self._vault.auth.token.renew_self()["auth"]["lease_duration"])
            except _ERRORS as err:
                refused = failure(self._settings, err)
                if refused.may_pass or not self._token.made:
                    raise refused from err
        if lease_s:
            self._token_ends = asked + lease_s
        if lease_s > self._token.lease_s * RENEW_AT:
            self._token_due = _due(asked, lease_s)
        elif self._token.made:
            log.info("logging in to Vault again")
            self._log_in()
        else:
            self._token_due = math.inf
            log.warning("the token for Vault cannot be renewed any more")

    def _keep_lease(self) -> None:
        """Raises: VaultUnavailable; SettingsError."""
        refused = self._shared.is_refused() and self._now() >= self._refused_until
        if refused:
            log.warning("Postgres refuses the credentials: asking for others")
            self._refused_until = self._now() + REFUSED_S
        elif self._now() < self._lease_due:
            return
        try:
            # renewals shrink towards the longest time that a lease may have: then it is time for another one
            if refused or not self._renewable or not self._renew_lease():
                self._get_credentials()
        except VaultUnavailable as err:
            if err.may_pass or not self._token.made:
                raise
            self._log_in()  # the token is gone, and everything with it
            self._get_credentials()

    def _renew_lease(self) -> bool:
        """Whether the lease goes on for long enough. Raises: VaultUnavailable for what may pass."""
        asked = self._now()
        try:
            renewed = self._vault.sys.renew_lease(self._leases[-1], increment=int(self._lease_s))
            lease_s = _seconds(renewed["lease_duration"])
        except _ERRORS as err:
            refused = failure(self._settings, err)
            if refused.may_pass:
                raise refused from err
            return False
        if lease_s <= self._lease_s * RENEW_AT:
            return False
        self._last_until(asked + lease_s)
        self._lease_due = _due(asked, lease_s)
        metrics.vault_renewals.labels("renewed").inc()
        return True

    def _log_in(self) -> None:
        asked = self._now()
        try:
            self._token = log_in(self._vault, self._settings)
        except _ERRORS as err:
            raise failure(self._settings, err) from err
        if self._token.made:
            self._tokens.append(self._token.value)
        # what was got under the old token goes with it
        self._last_until(min(self._ends, self._token_ends))
        self._lease_due, self._renewable = asked, False
        self._token_due = _due(asked, self._token.lease_s) if self._token.lease_s else math.inf
        self._token_ends = asked + self._token.lease_s if self._token.lease_s else math.inf

    def _get_credentials(self) -> None:
        asked = self._now()
        try:
            made: Any = self._vault.secrets.database.generate_credentials(self._role, mount_point=self._settings.mount)
            self._leases.append(str(made["lease_id"]))
            lease_s = _seconds(made["lease_duration"])
            user, password = made["data"]["username"], made["data"]["password"]
            if lease_s < 1 or not (isinstance(user, str) and user and isinstance(password, str)):
                raise ValueError("credentials of no use")
            self._shared.publish(Login(user, password))
        except _ERRORS as err:
            raise failure(self._settings, err) from err
        self._lease_s, self._renewable = lease_s, bool(made.get("renewable"))
        self._last_until(asked + lease_s)
        self._lease_due = _due(asked, lease_s)
        metrics.vault_renewals.labels("new").inc()
        log.info("reading from Postgres as %s, for %.0f s at first", user, lease_s)

    def _last_until(self, ends: float) -> None:
        self._ends = ends
        if math.isfinite(ends):  # there have been credentials
            metrics.vault_lease_expiry.set(time.time() + self.remaining_s())


def _seconds(value: Any) -> float:
    """A time that Vault tells. Raises: ValueError for what is none."""
    seconds = float(value)
    if not 0 <= seconds < 1e10:
        raise ValueError("not a time")
    return seconds


def _due(asked: float, lease_s: float) -> float:
    return asked + lease_s * RENEW_AT * (1 - random.uniform(0, JITTER))  # noqa: S311  (no secret depends on it)
