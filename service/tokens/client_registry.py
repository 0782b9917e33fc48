"""The clients that may ask for tokens: those of a file that may change while it is in use, and the one of SECRET."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

from security.files import Fingerprint, fingerprint
from security.secret_hash import hash_secret, matches
from service.errors import SettingsError
from service.settings import TokenSettings
from service.tokens.clients_file import Client, read_clients

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.5


class ClientRegistry:
    """Clients by name. A change of the file is taken up whole or not at all; what is wrong with it is logged.

    path: the file, or None. It need not exist. client_id, secret: one more client, when there is a secret; it may
    read. now: a clock, in seconds. strict: whether a file that cannot be used is an error at first, or only logged.

    Raises: SettingsError for a file that cannot be used.
    """

    def __init__(
        self,
        path: Path | None = None,
        client_id: str = "",
        secret: SecretStr | None = None,
        now: Callable[[], float] = time.monotonic,
        strict: bool = True,
    ) -> None:
        self._path = path
        self._now = now
        self._own = [Client(client_id=client_id, secret_hash=hash_secret(secret.get_secret_value()))] if secret else []
        self._nobody = Client(client_id="-", secret_hash=hash_secret("-"))
        self._lock = threading.Lock()
        self._mark: Fingerprint | None = None
        self._last_error = ""
        self._clients: Mapping[str, Client] = {client.client_id: client for client in self._own}
        self._looked_at = now()
        if strict:
            self._take_up(self._look())
        else:
            self._notice_changes()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.by_name())

    def by_name(self) -> Mapping[str, Client]:
        """Every client by its name, as the file is now."""
        if self._now() - self._looked_at >= CHECK_INTERVAL_S:
            with self._lock:
                self._looked_at = self._now()
                self._notice_changes()
        return self._clients

    def proved(self, client_id: str, secret: str) -> Client | None:
        """The client of this name, if this is its secret. Takes as long for a name that nobody has."""
        client = self.by_name().get(client_id)
        right = matches(secret, (client or self._nobody).secret_hash)
        return client if right else None

    def _notice_changes(self) -> None:
        try:
            found = self._look()
            if found != self._mark:
                self._take_up(found)
                log.info("the clients have changed; there are %d", len(self._clients))
            self._last_error = ""
        except SettingsError as err:
            if str(err) != self._last_error:
                log.error("the clients stay as they were: %s", err)
                self._last_error = str(err)

    def _look(self) -> Fingerprint | None:
        """What changes when the file does; None while there is none. Raises: SettingsError."""
        try:
            return None if self._path is None else fingerprint(self._path)
        except FileNotFoundError:
            return None
        except OSError as err:
            raise SettingsError(f"CLIENTS_FILE: {self._path} cannot be read: {err.strerror}") from err

    def _take_up(self, found: Fingerprint | None) -> None:
        """Raises: SettingsError; the clients and what they were read from stay as they were then."""
        clients = {client.client_id: client for client in self._own}
        for client in read_clients(self._path) if self._path and found else ():
            if client.client_id in clients:
                raise SettingsError(f"CLIENTS_FILE: {self._path}: {client.client_id} is the client of CLIENT_ID")
            clients[client.client_id] = client
        self._clients, self._mark = clients, found


def open_clients(settings: TokenSettings, strict: bool = True) -> ClientRegistry:
    """The clients of these settings. strict: see Clients. Raises: SettingsError for a file that cannot be used."""
    path = Path(settings.clients_file)
    if strict and "clients_file" in settings.model_fields_set and not path.exists():
        log.warning("CLIENTS_FILE: %s does not exist; make it: service.py client add NAME", path)
    return ClientRegistry(path, settings.client_id, settings.client_secret, strict=strict)
