"""Registration with a Kong gateway of version 3.

Source: Kong's Admin API, "Update Or Create Service / Route": PUT by name is an upsert that answers 200 either way and
resets what it does not name, so the same PUT twice leaves the same entity.
"""

import logging
from typing import Any

from service.gateway.admin_api import AdminApi, without_password
from service.gateway.registrator import RegistrationException, Registrator

log = logging.getLogger(__name__)


class KongGatewayRegistrator(Registrator):
    """Registers a service and one route of the same name.

    patience_s: seconds to keep trying while the gateway is starting or out of reach.
    """

    def __init__(self, gw_admin_url: str = "http://localhost:8001", patience_s: float = 30) -> None:
        super().__init__(gw_admin_url)
        self._patience_s = patience_s
        self._shown_url = without_password(self.gw_admin_url)

    def register_service(self, service: dict[str, Any]) -> None:
        """Create or update the service, then its route; never one that somebody else owns.

        Raises: RegistrationException.
        """
        name = service["name"]
        tags = [f"managed-by:{name}", f"service:{name}"]
        api = AdminApi(self.gw_admin_url, self._patience_s)
        try:
            self._refuse_without_database(api)
            existing = api.get(f"/services/{name}")
            self._refuse_foreign("service", name, existing, tags)
            entity = api.put(
                f"/services/{name}",
                {"protocol": "http", "host": service["host"], "port": service["port"], "retries": 5, "tags": tags},
            )
            # Route names are global, and a PUT under our service would take another's route from it.
            route = api.get(f"/routes/{name}")
            if route is not None and route.get("service") != {"id": entity.get("id")}:
                raise RegistrationException(f"{self._shown_url}: the route {name} belongs to another service")
            self._refuse_foreign("route", name, route, tags)
            api.put(
                f"/services/{name}/routes/{name}",
                {
                    "paths": service["paths"],
                    "protocols": ["http", "https"],
                    "strip_path": True,
                    "preserve_host": False,
                    "tags": tags,
                },
            )
        finally:
            api.close()
        log.info("registered %s with the gateway at %s", name, self._shown_url)

    def _refuse_without_database(self, api: AdminApi) -> None:
        node = api.get("/") or {}
        configuration = node.get("configuration")
        if isinstance(configuration, dict) and configuration.get("database") == "off":
            raise RegistrationException(
                f"{self._shown_url} runs without a database (DB-less) and takes no registrations: "
                "declare the service in its configuration file instead"
            )

    def _refuse_foreign(self, kind: str, name: str, entity: dict[str, Any] | None, tags: list[str]) -> None:
        if entity is None:
            return
        found = entity.get("tags")
        owners = [str(tag) for tag in found] if isinstance(found, list) else []
        if tags[0] not in owners:
            raise RegistrationException(
                f"{self._shown_url}: a {kind} named {name} exists and is not ours "
                f"(tags: {', '.join(owners) or 'none'}); rename this service with SERVICE_NAME, or remove that {kind}"
            )
