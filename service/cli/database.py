"""Selects the Postgres that a command uses, and the user as whom it connects."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from service.cli.termination import closed_before_termination
from service.postgres.connect import Role
from service.settings import Login, PostgresSettings, Settings

# The settings of the user of each role.
_USERS = {
    "reader": ("user", "password"),
    "posting": ("posting_user", "posting_password"),
    "admin": ("admin_user", "admin_password"),
}


@contextmanager
def open_postgres(ctx: click.Context, role: Role, embedded: bool = False) -> Iterator[PostgresSettings]:
    """Yield the settings of a running Postgres, with a user of Vault's where the service would use one.

    Args:
        ctx: The context of the command.
        role: Who connects.
        embedded: Whether to run the embedded PostgreSQL even without `--standalone`.
    """
    settings, is_standalone = ctx.obj
    if is_standalone or embedded:
        from service.standalone.environment import standalone

        with standalone(settings.postgres) as postgres:
            yield postgres
    elif _uses_vault(settings, role):
        from service.vault.credentials import lease_credentials

        with closed_before_termination(lease_credentials(settings.vault, (role,))) as credentials:
            yield _with_login(settings.postgres, role, credentials[role].read())
    else:
        yield settings.postgres


def _uses_vault(settings: Settings, role: Role) -> bool:
    """Return whether a role's user comes from Vault.

    Unlike the service, commands work without USE_VAULT=false where no login to Vault is configured.
    """
    vault = settings.vault
    is_chosen = settings.uses_vault and (vault.enabled is True or vault.has_login)
    return is_chosen and settings.postgres.hosts is not None and vault.roles[role] is not None


def _with_login(settings: PostgresSettings, role: Role, login: Login) -> PostgresSettings:
    user, password = _USERS[role]
    return settings.replace(**{user: login.user, password: login.password})
