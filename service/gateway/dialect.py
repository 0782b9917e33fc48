"""The dialect of Kong 1.0 and later: services, routes, upstreams, plugins and consumers."""

from collections.abc import Collection, Iterator, Sequence

from service.gateway.admin_api import Entity
from service.gateway.definition import DECLARATION_TAG_PREFIX, Plugin
from service.gateway.dialect_base import Dialect
from service.gateway.diff import Change, created, diff, patch_for
from service.gateway.registrator import RegistrationException

HEALTH_CHECK_INTERVAL_S = 1


class KongDialect(Dialect):
    """Registers a service, a route and, if declared, an upstream, plugins and a consumer with public keys."""

    def register(self, own_declarations: Collection[str] | None = None) -> Iterator[Change]:
        """Create missing entities and change those that differ; see `Reconciler.register`."""
        definition = self.definition
        name = definition.name
        if definition.plugins and not self.version.has_tags:
            # Without tags the service's own plugins cannot be distinguished from those of other owners.
            raise RegistrationException(
                f"{self.describe_gateway()} does not support GATEWAY_PLUGINS; use Kong 1.1 or later"
            )
        if own_declarations is not None and self._declared_by_another_release(own_declarations):
            return
        if definition.upstream is not None:
            upstream = f"/upstreams/{definition.upstream}"
            _, change = self._ensure(f"upstream {definition.upstream}", upstream, upstream, self._upstream())
            yield from change
        service, change = self._ensure(
            f"service {name}",
            f"/services/{name}",
            f"/services/{name}",
            {
                "protocol": definition.protocol,
                "host": definition.target_host,
                "port": definition.port,
                "retries": 5,
                **self._with_declaration_tag(),
            },
        )
        yield from change
        # Route names are global, and a PUT under our service would take over the route of another service. The lookup
        # by name alone finds that route first.
        nested = f"/services/{name}/routes/{name}" if self.version.has_nested_routes else f"/routes/{name}"
        _, change = self._ensure(
            f"route {name}",
            f"/routes/{name}",
            nested,
            {
                "paths": self.paths,
                "protocols": ["http", "https"],
                "strip_path": True,
                "preserve_host": False,
                **({} if service is None else {"service": {"id": service.get("id")}}),
                **self.tags,
            },
        )
        yield from change
        if definition.upstream is None:
            yield from self._remove_if_own(f"upstreams/{definition.name}.upstream")
        if definition.plugins is not None:
            yield from self._plugins(definition.plugins)
            if any(plugin.name == "jwt" for plugin in definition.plugins):
                yield from self._jwt_keys()
            else:
                yield from self._remove_if_own(f"consumers/{definition.name}")

    def service(self) -> Entity:
        """Return the service entity; see `Reconciler.service`."""
        return self.api.get(f"/services/{self.definition.name}") or {}

    def unregister(self) -> Iterator[Change]:
        """Remove all own entities, or none if one belongs to another owner; see `Reconciler.unregister`."""
        name = self.definition.name
        service, route = self.api.get(f"/services/{name}"), self.api.get(f"/routes/{name}")
        if service is not None:
            self.reject_foreign(f"service {name}", self._is_own("services", service), self._owner(service))
            for other in self.api.list(f"/services/{name}/routes"):
                if other.get("name") != name:
                    raise RegistrationException(
                        f"{self.describe_gateway()}: the route {other.get('name') or other.get('id')} of service {name}"
                        " belongs to another owner; nothing was removed"
                    )
        if route is not None:
            self.reject_foreign(f"route {name}", self._is_own("routes", route), self._owner(route))
        for what, found in ((f"routes/{name}", route), (f"services/{name}", service)):
            if found is not None:
                yield self._remove(what)
        yield from self._remove_if_own(f"upstreams/{name}.upstream")
        yield from self._remove_if_own(f"consumers/{name}")

    def add_target(self, target: str) -> Iterator[Change]:
        """Add a target to the upstream, or restore its weight; see `Reconciler.add_target`."""
        path = f"/upstreams/{self.definition.upstream}/targets"
        if any(found.get("target") == target and found.get("weight") != 0 for found in self.api.list(path)):
            return
        status, found = self.api.write("POST", path, {"target": target, "weight": 100, **self.tags})
        if status == 409:
            status, found = self.api.write("PATCH", f"{path}/{target}", {"weight": 100})
        if status not in (200, 201):
            raise RegistrationException(f"POST {self.api.redacted_url}{path} answered {status}: {found}")
        yield Change("create", f"target {target}")

    def remove_target(self, target: str) -> None:
        """Remove a target from the upstream; see `Reconciler.remove_target`."""
        path = f"/upstreams/{self.definition.upstream}/targets/{target}"
        self.api.write("DELETE", path)

    def targets(self) -> Iterator[str]:
        """Yield the targets of the upstream, each with its health; see `Reconciler.targets`."""
        if self.definition.upstream is not None:
            for found in self.api.list(f"/upstreams/{self.definition.upstream}/health"):
                yield f"{found.get('target')} {found.get('health', 'unknown health')}"

    def _upstream(self) -> Entity:
        active: Entity = {
            "type": self.definition.protocol,
            "http_path": self.definition.health_path,
            "healthy": {"interval": HEALTH_CHECK_INTERVAL_S, "successes": 1},
            "unhealthy": {"interval": HEALTH_CHECK_INTERVAL_S, "http_failures": 1, "tcp_failures": 2, "timeouts": 3},
        }
        if self.definition.protocol == "https":
            # Targets are IP addresses, which certificates rarely name.
            active["https_verify_certificate"] = False
        return {"healthchecks": {"active": active}, **self.tags}

    def _ensure(self, what: str, path: str, create_path: str, declared: Entity) -> tuple[Entity | None, list[Change]]:
        """Create or change an entity.

        Args:
            what: Kind and name of the entity.
            path: Path for reading and changing it.
            create_path: Path for creating it.
            declared: The declared fields.

        Returns:
            The entity, or None if a dry run would create it; and the changes.
        """
        found = self.api.get(path)
        if found is None:
            entity = None if self.dry_run else self.write("PUT", create_path, declared)
            return entity, [created(what, {name: value for name, value in declared.items() if name != "service"})]
        self.reject_foreign(what, self._is_own(path.split("/")[1], found), self._owner(found))
        fields = diff(found, declared)
        if not fields:
            return found, []
        change = [Change("change", what, fields)]
        if self.dry_run:
            return found, change
        status, changed = self.api.write("PATCH", path, patch_for(found, declared))
        if status == 404:  # removed since it was read
            changed = self.write("PUT", create_path, declared)
        return changed, change

    def _with_declaration_tag(self) -> Entity:
        """Return the tags of the service entity, which also identify the declaration."""
        return {"tags": [*self.definition.tags, self.definition.declaration_tag]} if self.version.has_tags else {}

    def _declared_by_another_release(self, own_declarations: Collection[str]) -> bool:
        """Return whether another release, started later, has declared the service.

        Two releases that undid each other's declaration would never stop.
        """
        tags = (self.api.get(f"/services/{self.definition.name}") or {}).get("tags")
        if not isinstance(tags, list):
            return False
        declarations = {tag for tag in map(str, tags) if tag.startswith(DECLARATION_TAG_PREFIX)}
        return bool(declarations) and declarations.isdisjoint(own_declarations)

    def _remove_if_own(self, what: str) -> Iterator[Change]:
        """Remove an entity that is no longer declared, unless it belongs to another owner."""
        if self.version.has_tags:
            found = self.api.get(f"/{what}")
            if found is not None and self._is_own(what.partition("/")[0], found):
                yield self._remove(what)

    def _remove(self, what: str) -> Change:
        if not self.dry_run:
            self.api.write("DELETE", f"/{what}")
        kind, _, name = what.partition("/")
        return Change("remove", f"{kind[:-1]} {name}")

    def _is_own(self, kind: str, entity: Entity) -> bool:
        """Return whether the service owns an entity: by its tag or, on gateways without tags, by its host."""
        if self.version.has_tags:
            tags = entity.get("tags")
            return isinstance(tags, list) and self.definition.tags[0] in tags
        if kind == "routes":
            service = self.api.get(f"/services/{self.definition.name}") or {}
            return self._is_own("services", service) and entity.get("service") == {"id": service.get("id")}
        if kind == "upstreams":
            return self.definition.upstream is not None
        return entity.get("host") in (self.definition.host, f"{self.definition.name}.upstream")

    def _owner(self, entity: Entity) -> str:
        tags = entity.get("tags")
        details = [f"tags: {', '.join(map(str, tags)) if isinstance(tags, list) and tags else 'none'}"]
        if entity.get("host"):
            details.append(f"host: {entity['host']}")
        if isinstance(entity.get("service"), dict):
            details.append(f"service: {entity['service'].get('id')}")
        return ", ".join(details)

    def _plugins(self, plugins: Sequence[Plugin]) -> Iterator[Change]:
        path = f"/services/{self.definition.name}/plugins"
        found = {
            str(entity.get("name")): entity
            for entity in self.api.list(path)
            if not entity.get("route") and not entity.get("consumer")
        }
        for plugin in plugins:
            what = f"plugin {plugin.name}"
            declared = {**plugin.fields, **self.tags}
            entity = found.pop(plugin.name, None)
            if entity is None:
                if not self.dry_run:
                    status, _ = self.api.write("POST", path, {"name": plugin.name, **declared})
                    if status not in (201, 409):  # 409: another instance created it first
                        raise RegistrationException(f"POST {self.api.redacted_url}{path} answered {status}")
                yield created(what, declared)
                continue
            self.reject_foreign(what, self._is_own("plugins", entity), self._owner(entity))
            fields = diff(entity, declared)
            if fields:
                if not self.dry_run:
                    self.write("PATCH", f"/plugins/{entity.get('id')}", patch_for(entity, declared))
                yield Change("change", what, fields)
        for name, entity in found.items():
            if self._is_own("plugins", entity):
                if not self.dry_run:
                    self.api.write("DELETE", f"/plugins/{entity.get('id')}")
                yield Change("remove", f"plugin {name}")

    def _jwt_keys(self) -> Iterator[Change]:
        """Register the public keys as credentials of a consumer with the service's name, for the plugin `jwt`.

        Source: Kong's documentation of the JWT plugin.
        """
        name = self.definition.name
        _, change = self._ensure(f"consumer {name}", f"/consumers/{name}", f"/consumers/{name}", dict(self.tags))
        yield from change
        path = f"/consumers/{name}/jwt"
        found = {str(entity.get("key")): entity for entity in ([] if change and self.dry_run else self.api.list(path))}
        for kid, (algorithm, pem) in self.definition.jwt_keys.items():
            declared = {"key": kid, "algorithm": algorithm, "rsa_public_key": pem, **self.tags}
            entity = found.pop(kid, None)
            if entity is not None:
                self.reject_foreign(f"jwt key {kid}", self._is_own("jwt", entity), self._owner(entity))
                if not diff(entity, declared):
                    continue
            if not self.dry_run:
                if entity is not None:
                    self.api.write("DELETE", f"{path}/{entity.get('id')}")
                self.write("POST", path, declared)
            yield Change("create", f"jwt key {kid}")
        for kid, entity in found.items():
            if self._is_own("jwt", entity):
                if not self.dry_run:
                    self.api.write("DELETE", f"{path}/{entity.get('id')}")
                yield Change("remove", f"jwt key {kid}")
