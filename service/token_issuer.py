"""Tokens of this service's own, signed with its own key and never with the platform's."""

import hmac
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import jwt

from security import Key, KeyException, KeyStore
from service.errors import SettingsError
from service.settings import Settings

OWN_KEY = "loaner"  # the key pair in the key directory that this service signs with


class TokenIssuer:
    """Signs tokens with the claims of Microkubes' jwt-issuer (RS256, integer seconds), plus a `kid`.

    key: an RSA private key. issuer: the claim `iss`. now: the clock, in seconds.

    Raises: KeyException for a key that cannot be used.
    """

    def __init__(self, key: Key, issuer: str, now: Callable[[], float] = time.time) -> None:
        self._key = key.private_key()
        self.public_key = self._key.public_key()
        self._kid = Path(key.key_file).stem
        self._issuer = issuer
        self._now = now

    def issue(self, subject: str, scopes: Iterable[str], lifetime_s: int) -> str:
        """A token that says who `subject` is and what they may do, for so many seconds."""
        issued = int(self._now())
        claims = {
            "jti": str(uuid.uuid4()),
            "iss": self._issuer,
            "iat": issued,
            "nbf": 0,
            "exp": issued + lifetime_s,
            "sub": subject,
            "userId": subject,
            "username": subject,
            "scopes": " ".join(scopes),
            "roles": "",
            "organizations": "",
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self._kid})


class Client:
    """The client that may ask for tokens, and what it may ask for."""

    scopes = ("api:read",)

    def __init__(self, client_id: str, secret: str) -> None:
        self.client_id = client_id
        self._secret = secret

    def is_proved_by(self, client_id: str, secret: str) -> bool:
        """Whether these are the client's. Takes as long for a wrong answer as for a right one."""
        # JSON can carry halves of surrogate pairs, which are no text but can be compared
        right_id = hmac.compare_digest(client_id.encode("utf-8", "surrogatepass"), self.client_id.encode())
        right_secret = hmac.compare_digest(secret.encode("utf-8", "surrogatepass"), self._secret.encode())
        return right_id and right_secret


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


def open_own_issuer(settings: Settings, keys: KeyStore) -> TokenIssuer | None:
    """The issuer of this service, or None where it has no private key of its own.

    Raises: SettingsError for a key that cannot be used, or whose public half is missing or another's: its tokens
    would be refused here.
    """
    try:
        key = keys.get_private_key(OWN_KEY)
    except KeyException:
        return None
    try:
        issuer = TokenIssuer(key, settings.service_name)
    except KeyException as err:
        raise SettingsError(f"KEYS_DIR: {err}") from err
    public = keys.verification_keys().get(OWN_KEY)
    if public is None or public.key != issuer.public_key:
        raise SettingsError(
            f"KEYS_DIR: {key.key_file}.pub is {'missing' if public is None else 'not the public half of its key'}; "
            f"make it with: openssl pkey -in {key.key_file} -pubout -out {key.key_file}.pub"
        )
    return issuer
