"""Credentials from Vault for several roles, for as long as a process runs."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from service.postgres.connect import Role
from service.settings import VaultSettings
from service.vault.lease import VaultLease
from service.vault.session import VaultSession
from service.vault.shared_credentials import SharedCredentials


@contextmanager
def lease_credentials(vault: VaultSettings, roles: Collection[Role]) -> Iterator[dict[Role, SharedCredentials]]:
    """Log in to Vault, yield credentials for those of the roles that Vault has, and renew them until the block ends.

    Raises:
        SettingsError: If a setting is wrong.
        VaultUnavailable: If Vault does not issue credentials. Then nothing is left in Vault.
    """
    credentials: dict[Role, SharedCredentials] = {}
    with ExitStack() as ended:
        session = VaultSession(vault)
        ended.callback(session.stop)
        deadline = session.now() + vault.timeout_s
        session.start(vault.timeout_s)
        for role in roles:
            name = vault.roles[role]
            if name is not None:
                credentials[role] = SharedCredentials()
                lease = VaultLease(session, name, vault.mount, credentials[role])
                lease.start(max(1.0, deadline - session.now()))
        yield credentials
