"""A login to Vault that all leases of a process share: it renews its token, replaces it, and revokes it at the end."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import hvac

from service.clock import boot_clock
from service.observability import metrics
from service.settings import VaultSettings
from service.vault.failure import REQUEST_ERRORS, VaultUnavailable, is_refused, to_vault_unavailable
from service.vault.lifetime import CHECK_INTERVAL_S, RENEW_AT, parse_seconds, renewal_time, retry_pause
from service.vault.login import Token, log_in, open_vault, read_login, read_token_file, vault_url
from service.vault.refused_login import RefusedLogin
from service.vault.repeated_failure import RepeatedFailure
from service.vault.revocation import Revocation

log = logging.getLogger(__name__)

REPLACE_INTERVAL_S = 10.0  # between logins because Vault rejects the token
REVOKE_TIMEOUT_S = 5.0

Reply = TypeVar("Reply")


class VaultSession:
    """Logs in once for several leases, and keeps the token valid in a background thread. Thread-safe.

    Args:
        settings: Where Vault is, and how to log in to it.
        now: A monotonic clock, in seconds.
    """

    def __init__(self, settings: VaultSettings, now: Callable[[], float] = boot_clock) -> None:
        self.now = now
        self._settings = settings
        self._client = open_vault(settings)
        self._url = vault_url(settings)
        self._who = ""
        self._refused = RefusedLogin(now)
        self._lock = threading.RLock()  # held during a login
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vault", daemon=True)
        self._stop_leases: list[Callable[[], None]] = []
        self._token = Token("", 0, is_renewable=False, is_from_login=False)
        self._expires_at: list[float] = []  # of the token of each generation
        self._expiries: dict[str, float] = {}  # of the credentials of each role, in Unix time
        self._revocation = Revocation(self._client)
        self._renew_at = math.inf
        self._replace_at = -math.inf
        self._failures = RepeatedFailure(log, "the renewal of the Vault token")

    @property
    def generation(self) -> int:
        """The number of logins so far. A change means that leases end with the token that created them."""
        return len(self._expires_at)

    def expires_at(self, generation: int) -> float:
        """Return when the token of a generation expires unless it is renewed."""
        return self._expires_at[generation - 1] if generation else math.inf

    def start(self, timeout_s: float) -> None:
        """Log in, and keep the token valid in a background thread.

        Args:
            timeout_s: Seconds to keep retrying while Vault is unreachable or sealed.

        Raises:
            SettingsError: If the settings name no way to log in, or an unreadable file.
            VaultUnavailable: If Vault does not accept the login. A login that it refuses is tried only once.
        """
        self.retry(self._log_in, timeout_s)
        self._thread.start()

    def retry(self, action: Callable[[], None], timeout_s: float) -> None:
        """Repeat an action until it succeeds, while it may succeed and the time is not over."""
        deadline = self.now() + timeout_s
        failures = RepeatedFailure(log, "the request to Vault")
        while True:
            try:
                action()
            except VaultUnavailable as err:
                if not err.is_temporary or self.now() > deadline:
                    raise
                failures.record(err, f"retrying for up to {timeout_s:.0f} s")
                time.sleep(min(1.0, timeout_s / 4))
            else:
                failures.clear()
                return

    def request(self, path: str, send: Callable[[hvac.Client], Reply]) -> Reply:
        """Send a request and return its reply.

        Args:
            path: Vault's path, for messages.
            send: Sends the request.

        Raises:
            VaultUnavailable: If it fails.
        """
        try:
            return send(self._client)
        except REQUEST_ERRORS as err:
            raise to_vault_unavailable(self._url, f"{path} as {self._who}", err) from err

    def add_lease(self, lease_id: str) -> None:
        """Take over the revocation of a lease."""
        self._revocation.add_lease(lease_id, self._token)

    def report_expiry(self, role: str, expires_at: float) -> None:
        """Publish when the first credentials expire, of those of all roles.

        Args:
            role: The role whose credentials are new or were extended.
            expires_at: When they expire, by this session's clock.
        """
        self._expiries[role] = time.time() + expires_at - self.now()
        metrics.vault_lease_expiry.set(min(self._expiries.values()))

    def call_on_stop(self, stop_lease: Callable[[], None]) -> None:
        """Stop a lease before its credentials are revoked."""
        self._stop_leases.append(stop_lease)

    def replace_token(self, generation: int, denied: VaultUnavailable) -> None:
        """Log in again if Vault rejects the token of a generation, rather than what it was used for.

        Args:
            generation: The generation of the token that was used.
            denied: What Vault answered.

        Raises:
            VaultUnavailable: If the token is valid or cannot be replaced, or if logging in fails.
        """
        with self._lock:
            if self.generation != generation:
                return  # another lease has noticed it before
            replaceable = denied.is_denied and self._token.is_from_login and not self._stop.is_set()
            if not replaceable or self.now() < self._replace_at or self._is_token_valid():
                raise denied
            self._replace_at = self.now() + REPLACE_INTERVAL_S
            log.info("Vault rejects the token; logging in again")
            self._log_in()

    def stop(self) -> None:
        """Stop the leases, then revoke them and the tokens. Waits at most REVOKE_TIMEOUT_S; the rest expires."""
        self._stop.set()
        revocation = threading.Thread(target=self._revoke, name="vault-stop", daemon=True)
        revocation.start()
        revocation.join(REVOKE_TIMEOUT_S)
        if revocation.is_alive():
            log.warning("Vault did not confirm the revocation of the credentials in time; they will expire")

    def _is_token_valid(self) -> bool:
        try:
            self.request("auth/token/lookup-self", lambda client: client.auth.token.lookup_self())
        except VaultUnavailable as err:
            return not err.is_denied
        return True

    def _log_in(self) -> None:
        with self._lock:
            login = read_login(self._settings)
            self._refused.check(login)
            self._who = login.who
            requested_at = self.now()
            try:
                self._token = log_in(self._client, login)
            except REQUEST_ERRORS as err:
                failure = to_vault_unavailable(self._url, f"{login.path} as {login.who}", err)
                if not is_refused(err):
                    raise failure from err
                failure = self._refused.record(login, failure)
                if self.generation:
                    log.warning("Vault refused the login; the next attempt is in %.0f s", self._refused.pause_s)
                raise failure from err
            self._refused.clear()
            self._failures.clear()
            self._revocation.add_token(self._token)
            lease_s = self._token.lease_s
            self._renew_at = renewal_time(requested_at, lease_s) if lease_s else math.inf
            self._expires_at.append(requested_at + lease_s if lease_s else math.inf)

    def _run(self) -> None:
        while not self._stop.wait(min(CHECK_INTERVAL_S, max(0.01, self._renew_at - self.now()))):
            try:
                self._maintain()
            except Exception as err:  # logged, so that the thread keeps running
                metrics.vault_renewals.labels("failed").inc()
                self._failures.record(err, "the token still has to be renewed")
                remaining_s = self._expires_at[-1] - self.now()
                self._renew_at = self.now() + retry_pause(remaining_s)

    def _maintain(self) -> None:
        token = read_token_file(self._settings)
        if token is not None and token != self._token.value:
            log.info("VAULT_TOKEN_FILE has changed")
            self._log_in()
        elif self.now() >= self._renew_at:
            with self._lock:
                self._renew()

    def _renew(self) -> None:
        requested_at, lease_s = self.now(), 0.0
        if self._token.is_renewable:
            try:
                lease_s = self.request(
                    "auth/token/renew-self",
                    lambda client: parse_seconds(client.auth.token.renew_self()["auth"]["lease_duration"]),
                )
            except VaultUnavailable as err:
                if err.is_temporary or not self._token.is_from_login:
                    raise
        if lease_s:
            self._expires_at[-1] = requested_at + lease_s
        if lease_s > self._token.lease_s * RENEW_AT:
            self._failures.clear()
            self._renew_at = renewal_time(requested_at, lease_s)
        elif self._token.is_from_login:
            log.info("logging in to Vault again")
            self._log_in()
        else:
            self._renew_at = math.inf
            log.warning("the Vault token cannot be renewed any longer; credentials fail when it expires")

    def _revoke(self) -> None:
        for stop_lease in self._stop_leases:
            stop_lease()
        if self._thread.is_alive():
            self._thread.join()
        self._revocation.revoke_all(self._token)
