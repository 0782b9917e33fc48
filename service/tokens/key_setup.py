"""The key directory as the service uses it: what it trusts, and what it signs with."""

import logging
from pathlib import Path

from security import KeyException, KeyStore
from security.keys.permissions import find_loose_permissions
from security.keys.rotation import KeyRing
from security.keys.signing_key import SigningKeys, own_key_names
from service.errors import SettingsError
from service.settings import TokenSettings
from service.tokens.issuer import TokenIssuer

log = logging.getLogger(__name__)

OWN_KEY = "loaner"  # what the names of the key pairs begin with that this service signs with


def open_keys(settings: TokenSettings, strict: bool = True) -> KeyStore:
    """The key store. strict: see KeyStore. Raises: SettingsError when it cannot be used, naming the file."""
    try:
        keys = KeyStore(settings.keys_dir, strict=strict)
        keys.verification_keys()
    except KeyException as err:
        raise SettingsError(f"KEYS_DIR: {err}") from err
    if strict and not keys.public_keys():
        raise SettingsError(
            f"KEYS_DIR: {settings.keys_dir} holds no public key (*.pub), so no token could be verified; "
            "put the platform's there, or make a pair: python service.py keys generate"
        )
    return keys


def check_keys(settings: TokenSettings) -> None:
    """Look at the whole key directory before serving from it.

    Raises: SettingsError for a key that cannot be used, naming its file.
    """
    keys = open_keys(settings)
    signing = SigningKeys(keys, OWN_KEY)
    try:
        for name in signing.pairs():
            signing.load(name)
    except KeyException as err:
        raise SettingsError(f"KEYS_DIR: {err}") from err
    for name in set(own_key_names(keys.private_keys(), OWN_KEY)) - set(signing.pairs()):
        log.warning("KEYS_DIR: %s is not signed with: it has no public half; see: service.py keys check", name)


def warn_of_exposure(settings: TokenSettings) -> None:
    """Say in the log what of the key directory lies open to others."""
    private = [Path(key.key_file) for key in open_keys(settings).private_keys().values()]
    for loose in find_loose_permissions(Path(settings.keys_dir), private):
        log.warning("KEYS_DIR: %s %s", loose.file, loose.remedy)


def open_issuer(settings: TokenSettings, name: str, keys: KeyStore | None = None) -> TokenIssuer:
    """Return the issuer of this service's tokens.

    Args:
        settings: The key directory, and how long a token is valid.
        name: The issuer's name (`iss`).
        keys: The key store, if it is open already.

    Raises:
        SettingsError: If the key directory cannot be used.
    """
    own_keys = SigningKeys(keys or open_keys(settings), OWN_KEY)
    return TokenIssuer(own_keys, name, settings.lifetime_s)


def open_key_ring(settings: TokenSettings) -> KeyRing:
    """This service's own keys, to be changed."""
    return KeyRing(settings.keys_dir, OWN_KEY, settings.lifetime_s)
