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
from service.vault.credentials import CurrentCredentials

log = logging.getLogger(__name__)

ATTEMPTS = "attempts"  # the database of failed attempts
LEAVING = "leaving"  # the file that says so


def build_reader(settings: Settings) -> BalanceReader:
    """Answers from Postgres, without the web."""
    return BalanceReader(PostgresLedger(PooledDatabase(settings)), settings.timezone)


def build_app(settings: Settings, shared: Path | None = None, credentials: CurrentCredentials | None = None) -> Flask:
    """The application over Postgres and the key directory.

    shared: a folder for what this process shares with others: failed attempts at /token, and the sign to leave.
    credentials: who reads from Postgres, if Vault says so.

    A file of keys or clients that cannot be used is named in the log and left out: a start has looked at them before,
    and a worker that is replaced later must not fail where those that run go on.
    """
    keys = open_keys(settings, strict=False)
    if not settings.secure_loans:
        log.warning("SECURE_LOANS=false: loan routes are open to everybody")
    database = PooledDatabase(settings, credentials)
    issuer = open_issuer(settings, keys)
    issuer.can_sign()  # so that the key is known as it is now, whatever becomes of its file
    return create_app(
        reader=BalanceReader(PostgresLedger(database), settings.timezone),
        security=FlaskSecurity(key_store=keys).jwt().oauth2().build(),
        health=Health(database, shared and shared / LEAVING),
        issuer=issuer,
        clients=open_clients(settings, strict=False),
        attempts=FailedAttempts(shared and shared / ATTEMPTS),
        secure_loans=settings.secure_loans,
        trusted_proxies=settings.trusted_proxies,
    )
