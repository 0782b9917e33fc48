"""Keeps credentials from Vault valid: renews them in time, replaces them, and revokes them at the end."""

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

from service.clock import boot_clock
from service.errors import SettingsError
from service.observability import metrics
from service.settings import Login, VaultSettings
from service.vault.login import Token, VaultUnavailable, log_in, open_vault, read_token_file, to_vault_unavailable
from service.vault.shared_credentials import SharedCredentials

log = logging.getLogger(__name__)

RENEW_AT = 2 / 3  # of the lease
JITTER = 0.1  # of the time until renewal, so that many instances do not renew at the same time
RETRY_INTERVAL_S = 5.0  # while Vault is unavailable; shorter near the end of a lease
CHECK_INTERVAL_S = 1.0  # between checks for rejected credentials and for a changed token file
# Credentials that were valid for a while were revoked and are replaced immediately. Ones that Postgres rejects from the
# beginning point to a wrong role in Vault: the pause before the next replacement doubles between these bounds.
VALID_FOR_A_WHILE_S = 2.0
MIN_REJECTION_PAUSE_S = 0.1
MAX_REJECTION_PAUSE_S = 10.0
REVOKE_TIMEOUT_S = 5.0

_ERRORS = (VaultError, RequestException, KeyError, TypeError, ValueError, AttributeError, OverflowError)


class VaultLease:
    """Keeps the credentials of a database role valid while this process runs.

    Args:
        settings: Where Vault is, and how to log in to it.
        role: The role for which Vault's database secrets engine issues credentials.
        shared: Where the credentials are published. Replaced ones stay valid for about a third of their lease.
        now: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        settings: VaultSettings,
        role: str,
        shared: SharedCredentials,
        now: Callable[[], float] = boot_clock,
    ) -> None:
        self._settings = settings
        self._role = role
        self._shared = shared
        self._now = now
        self._vault = open_vault(settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vault", daemon=True)
        self._token = Token("", 0, is_renewable=False, is_from_login=False)
        self._tokens: list[str] = []  # from logins, to be revoked
        self._leases: list[str] = []  # the last one is current
        self._lease_s = 0.0
        self._expires_at = -math.inf
        self._token_expires_at = self._lease_renew_at = self._token_renew_at = math.inf
        self._is_renewable = False
        self._published_at = math.inf
        self._ignore_rejections_until = -math.inf
        self._rejection_pause_s = 0.0
        self._last_errors: dict[str, str] = {}

    def start(self, timeout_s: float) -> None:
        """Log in, get credentials, and keep them valid in a background thread. A failure leaves nothing in Vault.

        Args:
            timeout_s: Seconds to keep retrying while Vault is unreachable or sealed.

        Raises:
            SettingsError: If the settings name no way to log in, or an unreadable file.
            VaultUnavailable: If Vault does not issue credentials.
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
                    if not err.is_temporary or self._now() > deadline:
                        raise
                    log.warning("%s; retrying", err)
                    time.sleep(min(1.0, timeout_s / 4))
        except BaseException:
            self.stop()
            raise
        self._thread.start()

    def remaining_s(self) -> float:
        """Return the seconds until the credentials expire unless they are renewed."""
        return self._expires_at - self._now()

    def stop(self) -> None:
        """Revoke all leases and tokens. Waits at most REVOKE_TIMEOUT_S; the rest expires."""
        self._stop.set()
        self._shared.wake()
        revocation = threading.Thread(target=self._revoke, name="vault-stop", daemon=True)
        revocation.start()
        revocation.join(REVOKE_TIMEOUT_S)
        if revocation.is_alive():
            log.warning("Vault did not confirm the revocation of the credentials in time; they will expire")

    def _revoke(self) -> None:
        if self._thread.is_alive():
            self._thread.join()
        remaining = list(self._leases)
        for token in self._tokens:
            self._vault.token = token
            with suppress(*_ERRORS):
                self._vault.auth.token.revoke_self()  # also revokes its leases
                remaining = remaining if token != self._token.value else []
        self._vault.token = self._token.value
        for lease_id in remaining:
            try:
                self._vault.sys.revoke_lease(lease_id)
            except _ERRORS as err:
                log.warning("cannot revoke a lease: %s", to_vault_unavailable(self._settings, err))
        if self._leases:
            log.info("revoked the credentials in Vault")

    def _run(self) -> None:
        while True:
            self._shared.wait(self._pause_s())
            if self._stop.is_set():
                return
            self._token_renew_at = self._attempt("token", self._maintain_token)
            self._lease_renew_at = self._attempt("lease", self._maintain_lease)

    def _pause_s(self) -> float:
        next_at = min(self._lease_renew_at, self._token_renew_at)
        if self._shared.refused_at() is not None:
            next_at = min(next_at, self._ignore_rejections_until)
        next_s = next_at - self._now()
        return min(CHECK_INTERVAL_S, max(0.01, next_s))

    def _attempt(self, name: str, action: Callable[[], None]) -> float:
        """Perform an action and return when to repeat it. Logs every failure, so that the thread keeps running."""
        try:
            action()
            self._last_errors.pop(name, None)
            return self._token_renew_at if name == "token" else self._lease_renew_at
        except Exception as err:
            metrics.vault_renewals.labels("failed").inc()
            remaining_s = self.remaining_s()
            if self._last_errors.get(name) != str(err):
                is_expected = isinstance(err, VaultUnavailable | SettingsError)
                log.warning(
                    "%s; the current credentials expire in %.0f s", err, max(0.0, remaining_s), exc_info=not is_expected
                )
                self._last_errors[name] = str(err)
            near_end_s = max(0.2, min(RETRY_INTERVAL_S, remaining_s / 4))
            return self._now() + (near_end_s if remaining_s > 0 else RETRY_INTERVAL_S)

    def _maintain_token(self) -> None:
        token = read_token_file(self._settings)
        if token is not None and token != self._token.value:
            log.info("VAULT_TOKEN_FILE has changed")
            self._log_in()
        elif self._now() >= self._token_renew_at:
            self._renew_token()

    def _renew_token(self) -> None:
        requested_at, lease_s = self._now(), 0.0
        if self._token.is_renewable:
            try:
                lease_s = _parse_seconds(self._vault.auth.token.renew_self()["auth"]["lease_duration"])
            except _ERRORS as err:
                failure = to_vault_unavailable(self._settings, err)
                if failure.is_temporary or not self._token.is_from_login:
                    raise failure from err
        if lease_s:
            self._token_expires_at = requested_at + lease_s
        if lease_s > self._token.lease_s * RENEW_AT:
            self._token_renew_at = _renewal_time(requested_at, lease_s)
        elif self._token.is_from_login:
            log.info("logging in to Vault again")
            self._log_in()
        else:
            self._token_renew_at = math.inf
            log.warning("the Vault token cannot be renewed any longer; credentials fail when it expires")

    def _maintain_lease(self) -> None:
        is_rejected = self._must_replace_rejected()
        if is_rejected:
            log.warning("Postgres rejects the credentials; requesting new ones from Vault")
        elif self._now() < self._lease_renew_at:
            return
        try:
            # Renewals get shorter as a lease approaches its maximum lifetime. Then a new one is needed.
            if is_rejected or not self._is_renewable or not self._renew_lease():
                self._get_credentials()
        except VaultUnavailable as err:
            if err.is_temporary or not self._token.is_from_login:
                raise
            self._log_in()  # the token was revoked, and its leases with it
            self._get_credentials()

    def _must_replace_rejected(self) -> bool:
        """Return whether Postgres rejects the credentials and the pause since the last replacement is over."""
        rejected_at = self._shared.refused_at()
        if rejected_at is None:
            return False
        if self._published_at <= rejected_at - VALID_FOR_A_WHILE_S:
            self._rejection_pause_s = 0.0
            self._ignore_rejections_until = -math.inf
            self._published_at = math.inf  # if Vault fails, the next attempt has to pause
        if self._now() < self._ignore_rejections_until:
            return False
        self._ignore_rejections_until = self._now() + self._rejection_pause_s
        self._rejection_pause_s = min(MAX_REJECTION_PAUSE_S, max(MIN_REJECTION_PAUSE_S, 2 * self._rejection_pause_s))
        return True

    def _renew_lease(self) -> bool:
        """Renew the lease, and return whether it lasts long enough.

        Raises:
            VaultUnavailable: If the failure is temporary.
        """
        requested_at = self._now()
        try:
            renewed = self._vault.sys.renew_lease(self._leases[-1], increment=int(self._lease_s))
            lease_s = _parse_seconds(renewed["lease_duration"])
        except _ERRORS as err:
            failure = to_vault_unavailable(self._settings, err)
            if failure.is_temporary:
                raise failure from err
            return False
        if lease_s <= self._lease_s * RENEW_AT:
            return False
        self._set_expiry(requested_at + lease_s)
        self._lease_renew_at = _renewal_time(requested_at, lease_s)
        metrics.vault_renewals.labels("renewed").inc()
        return True

    def _log_in(self) -> None:
        requested_at = self._now()
        try:
            self._token = log_in(self._vault, self._settings)
        except _ERRORS as err:
            raise to_vault_unavailable(self._settings, err) from err
        if self._token.is_from_login:
            self._tokens.append(self._token.value)
        # Leases end with the token that created them.
        self._set_expiry(min(self._expires_at, self._token_expires_at))
        self._lease_renew_at, self._is_renewable = requested_at, False
        self._token_renew_at = _renewal_time(requested_at, self._token.lease_s) if self._token.lease_s else math.inf
        self._token_expires_at = requested_at + self._token.lease_s if self._token.lease_s else math.inf

    def _get_credentials(self) -> None:
        requested_at = self._now()
        try:
            reply: Any = self._vault.secrets.database.generate_credentials(self._role, mount_point=self._settings.mount)
            self._leases.append(str(reply["lease_id"]))
            lease_s = _parse_seconds(reply["lease_duration"])
            user, password = reply["data"]["username"], reply["data"]["password"]
            if lease_s < 1 or not (isinstance(user, str) and user and isinstance(password, str)):
                raise ValueError("unusable credentials")
            self._shared.publish(Login(user, password))
            self._published_at = boot_clock()  # compared with times of the workers
        except _ERRORS as err:
            raise to_vault_unavailable(self._settings, err) from err
        self._lease_s, self._is_renewable = lease_s, bool(reply.get("renewable"))
        self._set_expiry(requested_at + lease_s)
        self._lease_renew_at = _renewal_time(requested_at, lease_s)
        metrics.vault_renewals.labels("new").inc()
        log.info("got credentials for Postgres from Vault: %s, valid for %.0f s unless renewed", user, lease_s)

    def _set_expiry(self, expires_at: float) -> None:
        self._expires_at = expires_at
        if math.isfinite(expires_at):  # it is infinite until the first credentials
            metrics.vault_lease_expiry.set(time.time() + self.remaining_s())


def _parse_seconds(value: Any) -> float:
    """Parse a duration from Vault.

    Raises:
        ValueError: If it is not a plausible number of seconds.
    """
    seconds = float(value)
    if not 0 <= seconds < 1e10:
        raise ValueError("not a duration")
    return seconds


def _renewal_time(requested_at: float, lease_s: float) -> float:
    return requested_at + lease_s * RENEW_AT * (1 - random.uniform(0, JITTER))  # noqa: S311  (no secret depends on it)
