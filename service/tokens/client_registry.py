"""The clients that may request tokens: those in the clients file, which may change, and CLIENT_ID."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

from security.files import Fingerprint, fingerprint
from security.secret_hash import hash_secret, matches
from service.errors import SettingsError
from service.invocation import command_line
from service.plural import counted
from service.settings import TokenSettings
from service.tokens.background_thread import background_executor
from service.tokens.clients_file import Client, read_clients

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.5


class ClientRegistry:
    """The clients by name. A changed file is loaded completely or not at all; errors are logged.

    Args:
        path: The clients file, if any. It need not exist.
        client_id: Name of an additional client, which may read. Requires `secret`.
        secret: Its secret.
        now: A monotonic clock, in seconds.
        strict: Whether an unusable file is an error at first. Otherwise it is only logged.
        hashing_threads: How many secrets are checked at a time.

    Raises:
        SettingsError: If the file is unusable and `strict` is set.
    """

    def __init__(
        self,
        path: Path | None = None,
        client_id: str = "",
        secret: SecretStr | None = None,
        now: Callable[[], float] = time.monotonic,
        strict: bool = True,
        hashing_threads: int = 1,
    ) -> None:
        self._path = path
        self._now = now
        self._own = [Client(client_id=client_id, secret_hash=hash_secret(secret.get_secret_value()))] if secret else []
        self._dummy = Client(client_id="-", secret_hash=hash_secret("-"))
        self._hashing = background_executor("argon2", hashing_threads)
        self._lock = threading.Lock()
        self._fingerprint: Fingerprint | None = None
        self._last_error = ""
        self._clients: Mapping[str, Client] = {client.client_id: client for client in self._own}
        self._checked_at = now()
        if strict:
            self._reload(self._read_fingerprint())
        else:
            self._reload_if_changed()

    def __bool__(self) -> bool:
        """Return whether any client exists."""
        return bool(self.by_name())

    def by_name(self) -> Mapping[str, Client]:
        """Return the clients by name, from the current file."""
        if self._now() - self._checked_at >= CHECK_INTERVAL_S:
            with self._lock:
                self._checked_at = self._now()
                self._reload_if_changed()
        return self._clients

    def authenticate(self, client_id: str, secret: str) -> Client | None:
        """Return the client if the secret is right. An unknown name takes as long as a wrong secret."""
        client = self.by_name().get(client_id)
        # Argon2 takes a processor for a while, and must not take it from requests.
        is_right = self._hashing.submit(matches, secret, (client or self._dummy).secret_hash).result()
        return client if is_right else None

    def _reload_if_changed(self) -> None:
        try:
            found = self._read_fingerprint()
            if found != self._fingerprint:
                self._reload(found)
                log.info("loaded %s", counted(len(self._clients), "client"))
            self._last_error = ""
        except SettingsError as err:
            if str(err) != self._last_error:
                log.error("keeping the current clients; reload failed: %s", err)
                self._last_error = str(err)

    def _read_fingerprint(self) -> Fingerprint | None:
        """Return a value that changes with the file; None if it does not exist.

        Raises:
            SettingsError: If the file cannot be read.
        """
        try:
            return None if self._path is None else fingerprint(self._path)
        except FileNotFoundError:
            return None
        except OSError as err:
            raise SettingsError(f"CLIENTS_FILE: {self._path} cannot be read: {err.strerror}") from err

    def _reload(self, found: Fingerprint | None) -> None:
        """Replace the clients by those in the file with this fingerprint.

        Raises:
            SettingsError: If the file is unusable. Nothing changes then.
        """
        clients = {client.client_id: client for client in self._own}
        for client in read_clients(self._path) if self._path and found else ():
            if client.client_id in clients:
                raise SettingsError(f"CLIENTS_FILE: {self._path}: {client.client_id} is already defined by CLIENT_ID")
            clients[client.client_id] = client
        self._clients, self._fingerprint = clients, found


def open_clients(settings: TokenSettings, strict: bool = True, hashing_threads: int = 1) -> ClientRegistry:
    """Open the registry of the clients in the settings.

    Args:
        settings: Names the clients file and the additional client.
        strict: Whether an unusable file is an error. Otherwise it is only logged.
        hashing_threads: How many secrets are checked at a time.

    Raises:
        SettingsError: If the file is unusable and `strict` is set.
    """
    path = Path(settings.clients_file)
    if strict and "clients_file" in settings.model_fields_set and not path.exists():
        log.warning("CLIENTS_FILE: %s does not exist; create it with: %s", path, command_line("client add NAME"))
    return ClientRegistry(
        path, settings.client_id, settings.client_secret, strict=strict, hashing_threads=hashing_threads
    )
