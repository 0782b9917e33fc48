"""The dialect of Kong 1.0 and later: services, routes, upstreams, plugins and consumers."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from service.gateway.admin_api import Entity
from service.gateway.competing_routes import Competitor, find_competitors
from service.gateway.definition import DECLARATION_TAG_PREFIX
from service.gateway.dialect_base import Dialect
from service.gateway.diff import Change, created, diff, patch_for
from service.gateway.jwt_key_plan import plan_jwt_keys
from service.gateway.kept_fields import ROUTE_FIELDS, SERVICE_FIELDS, describe_kept
from service.gateway.plan import Step
from service.gateway.plugin_plan import plan_plugins
from service.gateway.registrator import RegistrationException
from service.gateway.targets import Target, Targets

HEALTH_CHECK_INTERVAL_S = 1
HEALTHY_STATUS = 200
# All others that Kong accepts in a list. A status in neither list would leave a target as it was.
UNHEALTHY_STATUSES = [status for status in range(100, 1000) if status != HEALTHY_STATUS]
ROUTES_PER_PAGE = 500

# What a service and a route must not have: each of these keeps calls away, or sends them elsewhere. A field is compared
# only if the gateway's version has it.
SERVICE_NEUTRAL: Mapping[str, Any] = {"path": None, "enabled": True}
ROUTE_NEUTRAL: Mapping[str, Any] = {
    "methods": None, "hosts": None, "headers": None, "snis": None, "sources": None, "destinations": None,
}  # fmt: skip


class KongDialect(Dialect):
    """Registers a service, a route and, if declared, an upstream, plugins and a consumer with public keys."""

    _service_id: str | None = None

    def plan(self, *, lenient: bool = False) -> Sequence[Step]:
        """Return the steps that create missing entities and change those that differ; see `Reconciler.plan`.

        The route comes after the plugins, so that no call arrives without them. The mark of the declaration comes last:
        until then, the declaration does not stand.
        """
        definition = self.definition
        name = definition.name
        if definition.plugins and not self.version.has_tags:
            # Without tags the service's own plugins cannot be distinguished from those of other owners.
            raise RegistrationException(
                f"{self.describe_gateway()} does not support GATEWAY_PLUGINS; use Kong 1.1 or later"
            )
        steps: list[Step] = []
        if definition.upstream is not None:
            upstream = f"/upstreams/{definition.upstream}"
            steps += self._ensure(f"upstream {definition.upstream}", upstream, self.read(upstream), self._upstream())
        service = self.read(f"/services/{name}")
        steps += self._ensure(f"service {name}", f"/services/{name}", service, self._service(service), SERVICE_NEUTRAL)
        self._service_id = None if service is None else str(service.get("id"))
        # Route names are global, and a PUT under our service would take over the route of another service. The lookup
        # by name alone finds that route first.
        nested = f"/services/{name}/routes/{name}" if self.version.has_nested_routes else f"/routes/{name}"
        found = self.read(f"/routes/{name}")
        route = self._ensure(f"route {name}", f"/routes/{name}", found, self._route, ROUTE_NEUTRAL, nested)
        stale: list[Step] = []
        if definition.plugins is not None:
            steps += plan_plugins(self, definition.plugins, lenient)
            if any(plugin.name == "jwt" for plugin in definition.plugins):
                consumer = f"/consumers/{name}"
                steps += self._ensure(f"consumer {name}", consumer, self.read(consumer), dict(self.tags))
                steps += plan_jwt_keys(self)
            else:
                stale += self._remove_if_own(f"consumers/{name}")
        steps += route
        if definition.upstream is None:
            stale += self._remove_if_own(f"upstreams/{name}.upstream")
        return [*steps, *stale, *self._mark(service)]

    def plan_removal(self) -> Sequence[Step]:
        """Return the steps that remove all own entities, or fail if one has another owner."""
        name = self.definition.name
        service, route = self.read(f"/services/{name}"), self.read(f"/routes/{name}")
        if service is not None:
            self.reject_foreign(f"service {name}", self._is_own("services", service), self.describe_owner(service))
            for other in self.api.list(f"/services/{name}/routes"):
                if other.get("name") != name:
                    raise RegistrationException(
                        f"{self.describe_gateway()}: the route {other.get('name') or other.get('id')} of service {name}"
                        " belongs to another owner; nothing was removed"
                    )
        if route is not None:
            self.reject_foreign(f"route {name}", self._is_own("routes", route), self.describe_owner(route))
        return [
            *(
                self._remove(what)
                for what, found in ((f"routes/{name}", route), (f"services/{name}", service))
                if found
            ),
            *self._remove_if_own(f"upstreams/{name}.upstream"),
            *self._remove_if_own(f"consumers/{name}"),
        ]

    def service(self) -> Entity:
        """Return the gateway's service entity; see `Reconciler.service`."""
        return self.read(f"/services/{self.definition.name}") or {}

    def declaration(self) -> str | None:
        """Return the tag of the declaration that stands on the gateway; None if it has none."""
        return next(iter(_marks(self.service())), None)

    def is_missing(self) -> bool:
        """Return whether the gateway lacks the service or its route, or has the service turned off."""
        service = self.service()
        return not service or service.get("enabled") is False or self.read(f"/routes/{self.definition.name}") is None

    def kept(self) -> Sequence[str]:
        """Return what operators have set in fields that are theirs; see `Reconciler.kept`."""
        name = self.definition.name
        return [
            *describe_kept(f"service {name}", self.service(), SERVICE_FIELDS),
            *describe_kept(f"route {name}", self.read(f"/routes/{name}") or {}, ROUTE_FIELDS),
        ]

    def competitors(self) -> Sequence[Competitor]:
        """Return routes of other services that match calls for this one; see `Reconciler.competitors`."""
        own = self.read(f"/routes/{self.definition.name}")
        routes = self.api.list(f"/routes?size={ROUTES_PER_PAGE}")
        return find_competitors(self.paths, own, routes, self._service_of, tilde=self.version.has_regex_prefix)

    def targets(self) -> Sequence[Target]:
        """Return the targets of the upstream; see `Reconciler.targets`."""
        return [] if self.definition.upstream is None else Targets(self.api, self.version, self.definition).read()

    def add_target(self, address: str, instance: str) -> bool:
        """Make an address a target of an instance; see `Reconciler.add_target`."""
        return Targets(self.api, self.version, self.definition).add(address, instance)

    def remove_target(self, target: Target) -> None:
        """Remove a target from the upstream; see `Reconciler.remove_target`."""
        Targets(self.api, self.version, self.definition).remove(target)

    def _service(self, found: Entity | None) -> Entity:
        definition = self.definition
        # The port of a service whose host is an upstream means nothing, and would differ between instances.
        port = {"port": definition.port} if definition.upstream is None else {}
        tags = {"tags": [*definition.tags, *_marks(found)]} if self.version.has_tags else {}
        return {"protocol": definition.protocol, "host": definition.target_host, **port, **tags}

    def _route(self) -> Entity:
        return {
            "paths": self.paths,
            "protocols": ["http", "https"],
            "strip_path": True,
            "preserve_host": False,
            "service": {"id": self._service_id},
            **self.tags,
        }

    def _upstream(self) -> Entity:
        active: Entity = {
            "type": self.definition.protocol,
            "http_path": self.definition.health_path,
            "healthy": {"interval": HEALTH_CHECK_INTERVAL_S, "successes": 1, "http_statuses": [HEALTHY_STATUS]},
            "unhealthy": {
                "interval": HEALTH_CHECK_INTERVAL_S,
                "http_failures": 1,
                "tcp_failures": 1,
                "timeouts": 3,
                "http_statuses": UNHEALTHY_STATUSES,
            },
        }
        if self.definition.protocol == "https":
            # Targets are IP addresses, which certificates rarely name.
            active["https_verify_certificate"] = False
        return {"healthchecks": {"active": active}, **self.tags}

    def _ensure(
        self,
        what: str,
        path: str,
        found: Entity | None,
        declared: Entity | Callable[[], Entity],
        neutral: Mapping[str, Any] | None = None,
        create_path: str | None = None,
    ) -> list[Step]:
        """Plan the creation or the change of an entity.

        Args:
            what: Kind and name of the entity.
            path: Path for changing it.
            found: The entity, if the gateway has it.
            declared: The declared fields, or a function that returns them when they are written.
            neutral: Values that further fields must have, if the gateway has these fields.
            create_path: Path for creating it, if it is another.
        """

        def fields_now() -> Entity:
            return declared() if callable(declared) else declared

        def create() -> None:
            entity = self.write("PUT", create_path or path, fields_now())
            if path.startswith("/services/"):
                self._service_id = str(entity.get("id"))

        if found is None:
            shown = {name: value for name, value in fields_now().items() if name != "service"}
            return [Step(create, partial(self.api.write, "DELETE", path), created(what, shown))]
        self.reject_foreign(what, self._is_own(path.split("/")[1], found), self.describe_owner(found))
        existing = found
        unset = {
            name: value for name, value in (neutral or {}).items() if found.get(name, value) not in (value, [], {})
        }

        def wanted() -> Entity:
            return {**fields_now(), **unset}

        fields = diff(existing, wanted())
        if not fields:
            return []
        restored = {name: existing.get(name) for name in fields}

        def change() -> None:
            status, _ = self.api.write("PATCH", path, patch_for(existing, wanted()))
            if status == 404:  # removed since it was read
                create()

        return [Step(change, partial(self.api.write, "PATCH", path, restored), Change("change", what, fields))]

    def _mark(self, service: Entity | None) -> list[Step]:
        """Plan the tag of the service that marks the declaration."""
        if not self.version.has_tags or _marks(service) == [self.definition.declaration_tag]:
            return []
        name = self.definition.name
        tags = [*self.definition.tags, self.definition.declaration_tag]
        merged = diff(service or {"tags": self.definition.tags}, {"tags": tags})["tags"]
        return [
            Step(
                partial(self.write, "PATCH", f"/services/{name}", {"tags": merged[1]}),
                partial(self.api.write, "PATCH", f"/services/{name}", {"tags": merged[0]}),
                None if service is None else Change("change", f"declaration of service {name}", {"tags": merged}),
            )
        ]

    def _service_of(self, route: Mapping[str, Any]) -> Mapping[str, Any]:
        reference = route.get("service") or {}
        return self.read(f"/services/{reference.get('id')}") or reference

    def _remove_if_own(self, what: str) -> list[Step]:
        """Plan the removal of an entity that is no longer declared, unless it belongs to another owner."""
        if self.version.has_tags:
            found = self.read(f"/{what}")
            if found is not None and self._is_own(what.partition("/")[0], found):
                return [self._remove(what)]
        return []

    def _remove(self, what: str) -> Step:
        kind, _, name = what.partition("/")
        # What a removal takes along, such as targets and credentials, cannot be restored, so it comes last.
        return Step(
            partial(self.api.write, "DELETE", f"/{what}"), lambda: None, Change("remove", f"{kind[:-1]} {name}")
        )

    def _is_own(self, kind: str, entity: Entity) -> bool:
        """Return whether the service owns an entity: by its tag or, on gateways without tags, by its host."""
        if self.version.has_tags:
            return self.has_own_tag(entity)
        if kind == "routes":
            service = self.read(f"/services/{self.definition.name}") or {}
            return self._is_own("services", service) and entity.get("service") == {"id": service.get("id")}
        if kind == "upstreams":
            return self.definition.upstream is not None
        return entity.get("host") in (self.definition.host, f"{self.definition.name}.upstream")


def _marks(service: Entity | None) -> list[str]:
    tags = (service or {}).get("tags")
    return [str(tag) for tag in tags if str(tag).startswith(DECLARATION_TAG_PREFIX)] if isinstance(tags, list) else []
