"""From settings to a working application: the one place where everything is wired together."""

import logging
from pathlib import Path

from flask import Flask

from security.flask_security import FlaskSecurity
from service.app import create_app
from service.clients import open_clients
from service.database import PooledDatabase
from service.failed_attempts import FailedAttempts
from service.health import Health
from service.keys import open_issuer, open_keys
from service.ledger import PostgresLedger
from service.reader import BalanceReader
from service.settings import Settings

log = logging.getLogger(__name__)


def build_reader(settings: Settings) -> BalanceReader:
    """Answers from Postgres, without the web."""
    return BalanceReader(PostgresLedger(PooledDatabase(settings)), settings.timezone)


def build_app(settings: Settings, attempts_file: Path | None = None) -> Flask:
    """The application over Postgres and the key directory.

    attempts_file: where failed attempts at /token are counted together with other processes.

    Raises: SettingsError.
    """
    keys = open_keys(settings)
    if not settings.secure_loans:
        log.warning("SECURE_LOANS=false: loan routes are open to everybody")
    database = PooledDatabase(settings)
    return create_app(
        reader=BalanceReader(PostgresLedger(database), settings.timezone),
        security=FlaskSecurity(key_store=keys).jwt().oauth2().build(),
        health=Health(database),
        issuer=open_issuer(settings, keys),
        clients=open_clients(settings),
        attempts=FailedAttempts(attempts_file),
        secure_loans=settings.secure_loans,
    )
