"""The clients that may ask for tokens: those of a file that may change while it is in use, and the one of SECRET."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

from security.secret_hash import hash_secret, matches
from service.client_file import Client, read_clients
from service.errors import SettingsError
from service.settings import Settings

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.5


class Clients:
    """Clients by name. A change of the file is taken up whole or not at all; what is wrong with it is logged.

    path: the file, or None. It need not exist. client_id, secret: one more client, when there is a secret; it may
    read. now: a clock, in seconds.

    Raises: SettingsError for a file that cannot be used.
    """

    def __init__(
        self,
        path: Path | None = None,
        client_id: str = "",
        secret: SecretStr | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._now = now
        self._own = [Client(client_id=client_id, secret_hash=hash_secret(secret.get_secret_value()))] if secret else []
        self._nobody = Client(client_id="-", secret_hash=hash_secret("-"))
        self._lock = threading.Lock()
        self._mark = self._look()
        self._clients = self._read()
        self._looked_at = now()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.by_name())

    def by_name(self) -> Mapping[str, Client]:
        """Every client by its name, as the file is now."""
        if self._path is not None and self._now() - self._looked_at >= CHECK_INTERVAL_S:
            with self._lock:
                self._looked_at = self._now()
                mark = self._look()
                if mark != self._mark:
                    self._mark = mark
                    try:
                        self._clients = self._read()
                        log.info("the clients have changed; there are %d", len(self._clients))
                    except SettingsError as err:
                        log.error("the clients stay as they were: %s", err)
        return self._clients

    def proved(self, client_id: str, secret: str) -> Client | None:
        """The client of this name, if this is its secret. Takes as long for a name that nobody has."""
        client = self.by_name().get(client_id)
        right = matches(secret, (client or self._nobody).secret_hash)
        return client if right else None

    def _look(self) -> tuple[int, ...] | None:
        """What changes when the file does; None while there is none."""
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as err:
            return (err.errno or 0,)  # whoever reads the file says what is wrong
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> dict[str, Client]:
        listed = [] if self._path is None or self._mark is None else read_clients(self._path)
        clients: dict[str, Client] = {}
        for client in [*self._own, *listed]:
            if client.client_id in clients:
                raise SettingsError(
                    f"CLIENTS_FILE: {self._path}: the client {client.client_id} is there twice"
                    + (" (once as CLIENT_ID)" if client.client_id == self._own[0].client_id else "")
                )
            clients[client.client_id] = client
        return clients


def open_clients(settings: Settings) -> Clients:
    """The clients of these settings. Raises: SettingsError for a file that cannot be used."""
    path = Path(settings.clients_file)
    if "clients_file" in settings.model_fields_set and not path.exists():
        log.warning("CLIENTS_FILE: %s does not exist; make it: service.py client add NAME", path)
    return Clients(path, settings.client_id, settings.secret)
