"""The base class of registrators, compatible with the Python library of Microkubes."""

import re
from collections.abc import Sequence
from typing import Any


class RegistrationException(Exception):
    """Registration failed. The message names the gateway's address and its reply.

    Args:
        message: What failed.
        status: The status of the gateway's reply, if there was one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Registrator:
    """Registers services with an API gateway.

    Args:
        gw_admin_url: URL of the gateway's Admin API.
    """

    def __init__(self, gw_admin_url: str = "http://localhost:8001") -> None:
        self.gw_admin_url = gw_admin_url.rstrip("/")

    def register(
        self,
        name: str | None = None,
        paths: Sequence[str] | None = None,
        host: str | None = None,
        port: int = 8080,
    ) -> dict[str, Any]:
        """Route requests for some paths of the gateway to a service; idempotent.

        Args:
            name: Name of the service: letters, digits and `. _ ~ -`.
            paths: Paths of the gateway, such as `/loaner`. One that begins with `~/` is a regular expression.
            host: Host at which the gateway finds the service.
            port: Port at which the gateway finds the service.

        Returns:
            The registered service, as the gateway returns it.

        Raises:
            ValueError: If an argument is missing or malformed.
            RegistrationException: If the gateway is unavailable or rejects the registration.
        """
        for argument, value in (("name", name), ("paths", paths), ("host", host)):
            if not value:
                raise ValueError(f"register() needs {argument}")
        if isinstance(paths, str):
            raise ValueError(f"register() needs paths as a list, such as [{paths!r}]")
        if not re.fullmatch(r"[A-Za-z0-9._~-]+", str(name)):
            raise ValueError(f"register() needs a name of letters, digits and . _ ~ -, not {name!r}")
        for path in paths or ():
            if not isinstance(path, str) or not path.startswith(("/", "~/")):
                raise ValueError(f"register() needs paths such as '/loaner', not {path!r}")
        try:
            number = int(port)
        except (TypeError, ValueError) as err:
            raise ValueError(f"register() needs port as a number, not {port!r}") from err
        if not 1 <= number <= 65535 or isinstance(port, bool):
            raise ValueError(f"register() needs a port from 1 to 65535, not {port!r}")
        return self.register_service({"name": name, "paths": list(paths or ()), "host": host, "port": number})

    def register_service(self, service: dict[str, Any]) -> dict[str, Any]:
        """Register a validated service; subclasses override this.

        Args:
            service: `name`, `paths`, `host` and `port`, as passed to `register`.

        Returns:
            The registered service, as the gateway returns it.

        Raises:
            RegistrationException: If the gateway is unavailable or rejects the registration.
        """
        raise TypeError(f"{type(self).__name__} does not implement register_service()")
