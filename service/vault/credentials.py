"""Which roles get their credentials from Vault, for as long as a process runs."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from service.postgres.connect import Role
from service.settings import PostgresSettings, VaultSettings
from service.vault.lease import VaultLease
from service.vault.session import VaultSession
from service.vault.shared_credentials import SharedCredentials


def vault_role(vault: VaultSettings, role: Role) -> str | None:
    """Return the name of a role in Vault; None if its user is a setting."""
    return {"reader": vault.role, "posting": vault.posting_role, "admin": vault.admin_role}[role]


def uses_vault(vault: VaultSettings, postgres: PostgresSettings) -> bool:
    """Return whether the service gets credentials from Vault."""
    if vault.enabled is not None:
        return vault.enabled
    return postgres.password is None


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
            name = vault_role(vault, role)
            if name is not None:
                credentials[role] = SharedCredentials()
                lease = VaultLease(session, name, vault.mount, credentials[role])
                lease.start(max(1.0, deadline - session.now()))
        yield credentials
