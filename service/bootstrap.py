"""From settings to a working application: the one place where everything is wired together."""

import logging

from flask import Flask

from security.flask_security import FlaskSecurity
from service.app import create_app
from service.database import PooledDatabase
from service.health import Health
from service.ledger import PostgresLedger
from service.reader import BalanceReader
from service.settings import Settings
from service.tokens import Client, open_keys, open_own_issuer

log = logging.getLogger(__name__)


def build_reader(settings: Settings) -> BalanceReader:
    """Answers from Postgres, without the web."""
    return BalanceReader(PostgresLedger(PooledDatabase(settings)), settings.timezone)


def build_app(settings: Settings) -> Flask:
    """The application over Postgres and the key directory. Raises: SettingsError."""
    keys = open_keys(settings)
    if not settings.secure_loans:
        log.warning("SECURE_LOANS=false: loan routes are open to everybody")
    database = PooledDatabase(settings)
    return create_app(
        reader=BalanceReader(PostgresLedger(database), settings.timezone),
        security=FlaskSecurity(key_store=keys).jwt().oauth2().build(),
        health=Health(database),
        issuer=open_own_issuer(settings, keys),
        client=Client(settings.client_id, settings.secret.get_secret_value()) if settings.secret else None,
        token_expires_s=settings.access_token_expires,
        secure_loans=settings.secure_loans,
    )
