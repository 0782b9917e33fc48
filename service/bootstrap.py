"""From settings to a working application: the one place where everything is wired together."""

from flask import Flask

from security import KeyStore
from security.errors import KeyException
from security.flask_security import FlaskSecurity
from service.app import create_app
from service.database import PooledDatabase
from service.errors import SettingsError
from service.health import Health
from service.ledger import PostgresLedger
from service.reader import BalanceReader
from service.settings import Settings
from service.tokens import Client, own_issuer


def open_keys(settings: Settings) -> KeyStore:
    """The key store. Raises: SettingsError when it cannot be used, naming the file."""
    try:
        keys = KeyStore(settings.keys_dir)
        keys.verification_keys()
    except KeyException as err:
        raise SettingsError(f"KEYS_DIR: {err}") from err
    if not keys.public_keys():
        raise SettingsError(f"KEYS_DIR: {settings.keys_dir} holds no public key (*.pub), so no token could be verified")
    return keys


def build_reader(settings: Settings) -> BalanceReader:
    """Answers from Postgres, without the web."""
    return BalanceReader(PostgresLedger(PooledDatabase(settings)), settings.timezone)


def build_app(settings: Settings) -> Flask:
    """The application over Postgres and the key directory. Raises: SettingsError."""
    keys = open_keys(settings)
    database = PooledDatabase(settings)
    try:
        issuer = own_issuer(settings, keys)
    except KeyException as err:
        raise SettingsError(f"KEYS_DIR: {err}") from err
    return create_app(
        reader=BalanceReader(PostgresLedger(database), settings.timezone),
        security=FlaskSecurity(key_store=keys).jwt().oauth2().build(),
        health=Health(database),
        issuer=issuer,
        client=Client(settings.client_id, settings.secret.get_secret_value()) if settings.secret else None,
        token_expires_s=settings.access_token_expires,
        secure_loans=settings.secure_loans,
    )
