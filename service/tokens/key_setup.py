"""Opens the key directory: the keys that the service trusts, and those that it signs with."""

import logging
from pathlib import Path

from security import KeyException, KeyStore
from security.keys.permissions import find_loose_permissions
from security.keys.rotation import KeyRing
from security.keys.signing_key import SigningKeys, own_key_names
from service.errors import SettingsError
from service.invocation import command_line
from service.settings import TokenSettings
from service.tokens.issuer import TokenIssuer

log = logging.getLogger(__name__)

OWN_KEY = "loaner"  # prefix of the names of this service's own key pairs


def open_keys(settings: TokenSettings, strict: bool = True) -> KeyStore:
    """Open the key store.

    Args:
        settings: Names the key directory.
        strict: Whether an unusable key is an error. Otherwise it is logged and skipped.

    Raises:
        SettingsError: If a key is unusable, or if the directory has no public key.
    """
    try:
        keys = KeyStore(settings.keys_dir, strict=strict)
        keys.verification_keys()
    except KeyException as err:
        raise SettingsError(f"KEYS_DIR: {err}") from err
    if strict and not keys.public_keys():
        raise SettingsError(
            f"KEYS_DIR: {settings.keys_dir} has no public key (*.pub), so no token can be verified; "
            f"add the platform's key, or create a pair with: {command_line('keys generate')}"
        )
    return keys


def check_keys(settings: TokenSettings) -> None:
    """Check every key in the directory.

    Raises:
        SettingsError: If a key cannot be used. The message names its file.
    """
    keys = open_keys(settings)
    signing = SigningKeys(keys, OWN_KEY)
    try:
        for name in signing.pairs():
            signing.load(name)
    except KeyException as err:
        raise SettingsError(f"KEYS_DIR: {err}") from err
    for name in set(own_key_names(keys.private_keys(), OWN_KEY)) - set(signing.pairs()):
        log.warning("KEYS_DIR: %s has no public key, so it does not sign; run: %s", name, command_line("keys check"))


def warn_about_permissions(settings: TokenSettings) -> None:
    """Log a warning for each private key, or its directory, that other users can access."""
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
    """Open this service's own keys for administration."""
    return KeyRing(settings.keys_dir, OWN_KEY, settings.lifetime_s)
