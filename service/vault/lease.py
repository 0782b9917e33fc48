"""Keeps credentials from Vault valid: renews them in time, replaces them, and notices when Postgres rejects them."""

import logging
import math
import threading
from typing import Any

from service.clock import boot_clock
from service.observability import metrics
from service.settings import Login
from service.vault.failure import VaultUnavailable
from service.vault.lifetime import CHECK_INTERVAL_S, RENEW_AT, parse_seconds, renewal_time, retry_pause
from service.vault.repeated_failure import RepeatedFailure
from service.vault.session import VaultSession
from service.vault.shared_credentials import SharedCredentials

log = logging.getLogger(__name__)

# Credentials that were valid for a while were revoked and are replaced immediately. Ones that Postgres rejects from the
# beginning point to a wrong role in Vault: the pause before the next replacement doubles between these bounds.
VALID_FOR_A_WHILE_S = 2.0
MIN_REJECTION_PAUSE_S = 0.1
MAX_REJECTION_PAUSE_S = 10.0


class VaultLease:
    """Keeps the credentials of a database role valid while this process runs.

    Args:
        session: The login to Vault, which revokes the credentials when it stops.
        role: The role for which Vault's database secrets engine issues credentials.
        mount: The path of that engine.
        shared: Where the credentials are published. Replaced ones stay valid for about a third of their lease.
    """

    def __init__(self, session: VaultSession, role: str, mount: str, shared: SharedCredentials) -> None:
        self._session = session
        self._role = role
        self._mount = mount
        self._shared = shared
        self._now = session.now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"vault-{role}", daemon=True)
        self._lease_id = ""
        self._lease_s = 0.0
        self._expires_at = -math.inf
        self._renew_at = math.inf
        self._is_renewable = False
        self._generation = 0  # of the session's token that created the lease
        self._published_at = math.inf
        self._ignore_rejections_until = -math.inf
        self._rejection_pause_s = 0.0
        self._failures = RepeatedFailure(log, f"the renewal of the credentials of the role {role}")

    def start(self, timeout_s: float) -> None:
        """Get credentials, and keep them valid in a background thread until the session stops.

        Args:
            timeout_s: Seconds to keep retrying while Vault is unreachable or sealed.

        Raises:
            VaultUnavailable: If Vault does not issue credentials.
        """
        self._session.retry(self._get_credentials, timeout_s)
        self._session.call_on_stop(self.stop)
        self._thread.start()

    def remaining_s(self) -> float:
        """Return the seconds until the credentials expire unless they are renewed."""
        expires_at = self._expires_at
        if self._generation != self._session.generation:
            expires_at = min(expires_at, self._session.expires_at(self._generation))
        return expires_at - self._now()

    def stop(self) -> None:
        """Stop renewing the credentials. The session revokes them."""
        self._stop.set()
        self._shared.wake()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._shared.wait(self._pause_s())
            if self._stop.is_set():
                return
            self._renew_at = self._attempt()

    def _pause_s(self) -> float:
        next_at = self._renew_at
        if self._shared.refused_at() is not None:
            next_at = min(next_at, self._ignore_rejections_until)
        return min(CHECK_INTERVAL_S, max(0.01, next_at - self._now()))

    def _attempt(self) -> float:
        """Do what is due, and return when to do so again. Logs every failure, so that the thread keeps running."""
        try:
            self._maintain()
            return self._renew_at
        except Exception as err:
            metrics.vault_renewals.labels("failed").inc()
            remaining_s = self.remaining_s()
            self._failures.record(
                err, f"the credentials of the role {self._role} expire in {max(0.0, remaining_s):.0f} s"
            )
            return self._now() + retry_pause(remaining_s)

    def _maintain(self) -> None:
        generation = self._session.generation
        is_rejected = self._must_replace_rejected()
        if is_rejected:
            log.warning("Postgres rejects the credentials of the role %s; requesting new ones from Vault", self._role)
        elif self._generation == generation and self._now() < self._renew_at:
            return
        try:
            # Renewals get shorter as a lease approaches its maximum lifetime. Then a new one is needed.
            if is_rejected or not self._renew_lease():
                self._get_credentials()
        except VaultUnavailable as err:
            if err.is_temporary:
                raise
            self._session.replace_token(generation, err)  # the token was revoked, and its leases with it
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
        if not self._is_renewable or self._generation != self._session.generation:
            return False
        requested_at = self._now()
        try:
            lease_s = self._session.request(
                "sys/leases/renew",
                lambda client: parse_seconds(
                    client.sys.renew_lease(self._lease_id, increment=int(self._lease_s))["lease_duration"]
                ),
            )
        except VaultUnavailable as err:
            if err.is_temporary:
                raise
            return False
        if lease_s <= self._lease_s * RENEW_AT:
            return False
        self._set_expiry(requested_at + lease_s)
        self._renew_at = renewal_time(requested_at, lease_s)
        metrics.vault_renewals.labels("renewed").inc()
        return True

    def _get_credentials(self) -> None:
        generation, requested_at = self._session.generation, self._now()
        path = f"{self._mount}/creds/{self._role}"
        user, lease_s, is_renewable = self._session.request(
            path,
            lambda client: self._publish(
                client.secrets.database.generate_credentials(self._role, mount_point=self._mount)
            ),
        )
        self._generation, self._lease_s, self._is_renewable = generation, lease_s, is_renewable
        self._set_expiry(requested_at + lease_s)
        self._renew_at = renewal_time(requested_at, lease_s)
        metrics.vault_renewals.labels("new").inc()
        log.info(
            "got credentials of the role %s from Vault: user %s, valid for %.0f s unless renewed",
            self._role,
            user,
            lease_s,
        )

    def _publish(self, reply: Any) -> tuple[str, float, bool]:
        """Publish new credentials, and return their user, their duration, and whether it can be extended."""
        lease_id = str(reply["lease_id"])
        self._session.add_lease(lease_id)
        lease_s = parse_seconds(reply["lease_duration"])
        user, password = reply["data"]["username"], reply["data"]["password"]
        if lease_s < 1 or not (isinstance(user, str) and user and isinstance(password, str)):
            raise ValueError("unusable credentials")
        self._shared.publish(Login(user, password))
        self._published_at = boot_clock()  # compared with times of the workers
        self._lease_id = lease_id
        return user, lease_s, bool(reply.get("renewable"))

    def _set_expiry(self, expires_at: float) -> None:
        self._expires_at = expires_at
        self._failures.clear()
        self._session.report_expiry(self._role, expires_at)
