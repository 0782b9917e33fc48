"""Keeping credentials alive: renewed in time, replaced when that ends, given back at the end."""

import logging
import random
import threading
import time
from collections.abc import Callable

from hvac.exceptions import VaultError
from requests import RequestException

from service.errors import SettingsError
from service.settings import Settings
from service.vault.credentials import Credentials
from service.vault.login import Token, VaultUnavailable, failure, log_in, open_vault

log = logging.getLogger(__name__)

RENEW_AT = 2 / 3  # of the lease
JITTER = 0.1  # of the time until then, so that many instances do not ask at once
RETRY_S = 5.0  # between two tries while Vault is out of reach, or less near the end of a lease
STOP_S = 5.0

_ERRORS = (VaultError, RequestException, KeyError, TypeError, ValueError)


class VaultLease:
    """Credentials of the role VAULT_ROLE, for as long as this process runs.

    publish: is told of credentials whenever there are new ones; those before them live for at least a third of their
    lease yet. now: a clock, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        publish: Callable[[Credentials], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._publish = publish
        self._now = now
        self._vault = open_vault(settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name="vault", daemon=True)
        self._token = Token(0, False, ours=False)
        self._lease_id = ""
        self._lease_s = 0.0
        self._ends = self._lease_due = self._token_due = float("inf")
        self._complaint = ""

    def start(self, patience_s: float) -> None:
        """Log in, get credentials, and keep them alive in the background. patience_s: how long to try while Vault is
        out of reach or sealed.

        Raises: SettingsError; VaultUnavailable.
        """
        deadline = self._now() + patience_s
        while True:
            try:
                self._log_in()
                break
            except VaultUnavailable as err:
                if not err.may_pass or self._now() > deadline:
                    raise
                log.warning("%s; trying again", err)
                time.sleep(min(1.0, patience_s / 4))
        self._thread.start()

    def remaining_s(self) -> float:
        """For how long the credentials are good, as things stand."""
        return self._ends - self._now()

    def stop(self) -> None:
        """Give everything back. What Vault does not take back it forgets in time."""
        self._stop.set()
        self._thread.join(STOP_S)
        try:
            if self._token.ours:
                self._vault.auth.token.revoke_self()  # its leases go with it
            else:
                self._vault.sys.revoke_lease(self._lease_id)
            log.info("the credentials were given back to Vault")
        except _ERRORS as err:
            log.warning("the credentials were not given back: %s", failure(self._settings, err))

    def _live(self) -> None:
        while not self._stop.wait(max(0.0, min(self._lease_due, self._token_due) - self._now())):
            try:
                self._keep_alive()
                self._complaint = ""
            except (VaultUnavailable, SettingsError) as err:
                if str(err) != self._complaint:
                    log.warning("%s; the credentials are good for another %.0f s", err, max(0.0, self.remaining_s()))
                    self._complaint = str(err)
                remaining_s = self.remaining_s()
                again = self._now() + (max(0.1, min(RETRY_S, remaining_s / 4)) if remaining_s > 0 else RETRY_S)
                self._lease_due, self._token_due = max(self._lease_due, again), max(self._token_due, again)

    def _keep_alive(self) -> None:
        """Raises: VaultUnavailable; SettingsError."""
        if self._now() >= self._token_due:
            self._renew_token()
        if self._now() >= self._lease_due:
            self._renew_lease()

    def _log_in(self) -> None:
        """Log in and get credentials under the new token: those of the old one go with it."""
        try:
            self._token = log_in(self._vault, self._settings)
        except _ERRORS as err:
            raise failure(self._settings, err) from err
        self._token_due = self._due(self._token.lease_s) if self._token.lease_s else float("inf")
        self._get_credentials()

    def _renew_token(self) -> None:
        if self._token.renewable:
            try:
                lease_s = float(self._vault.auth.token.renew_self()["auth"]["lease_duration"])
            except _ERRORS as err:
                refused = failure(self._settings, err)
                if refused.may_pass or not self._token.ours:
                    raise refused from err
                lease_s = 0.0  # revoked, or at its end
            if lease_s > self._token.lease_s * RENEW_AT:
                self._token_due = self._due(lease_s)
                return
        if self._token.ours:
            log.info("logging in to Vault again")
            self._log_in()
        else:
            self._token_due = float("inf")
            log.warning("VAULT_TOKEN cannot be renewed any more; it lasts %.0f s at first", self._token.lease_s)

    def _renew_lease(self) -> None:
        try:
            renewed = self._vault.sys.renew_lease(self._lease_id, increment=int(self._lease_s))
            lease_s = float(renewed["lease_duration"])
        except _ERRORS as err:
            refused = failure(self._settings, err)
            if refused.may_pass:
                raise refused from err
            lease_s = 0.0  # the lease is gone, or the token is
        if lease_s > self._lease_s * RENEW_AT:
            self._ends = self._now() + lease_s
            self._lease_due = self._due(lease_s)
            return
        # renewals shrink towards the longest time that a lease may have: time for another one, while this one lives
        try:
            self._get_credentials()
        except VaultUnavailable as err:
            if err.may_pass or not self._token.ours:
                raise
            self._log_in()

    def _get_credentials(self) -> None:
        try:
            made = self._vault.secrets.database.generate_credentials(
                self._settings.vault_role, mount_point=self._settings.vault_mount
            )
            credentials = Credentials(made["data"]["username"], made["data"]["password"])
            lease_id, lease_s = str(made["lease_id"]), float(made["lease_duration"])
        except _ERRORS as err:
            raise failure(self._settings, err) from err
        self._lease_id, self._lease_s = lease_id, lease_s
        self._ends = self._now() + lease_s
        self._lease_due = self._due(lease_s)
        self._publish(credentials)
        log.info("reading from Postgres as %s, for %.0f s at first", credentials.user, lease_s)

    def _due(self, lease_s: float) -> float:
        return self._now() + lease_s * RENEW_AT * (1 - random.uniform(0, JITTER))  # noqa: S311  (no secret depends on it)
